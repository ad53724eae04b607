"""The records of runs that chapters read: whole, of the code as it is, and what is drawn of them comes out again."""

import json
import shutil

import numpy as np
import pytest

import records
import store
from test_stored import ALL, ROOT
from trainlab.evidence import Record

READERS = [name for name in ALL if records.reads_a_record(ROOT / name)]
# Of a chapter's records so many runs are made again to their first look, but two at least of each.
BEGUN = 6
LONGEST = 2000  # One, with no more updates than that, is made again to its end.


@pytest.fixture(scope="module", params=READERS)
def opened(request):
    """The records of a chapter, read by running it: a stale one stops it, and says `make records`."""
    return records.records_of(records.run(ROOT / request.param)[0])


def short(record, keys):
    """Those of some runs that are short enough to be made again to their end."""
    updates = {key: record.asked[key][0].get("updates", record.updates) for key in keys}
    return [key for key, count in updates.items() if count <= LONGEST]


def test_a_chapter_asks_for_every_run_of_its_records(opened):
    assert opened
    for record in opened:
        assert record.runs.keys() == record.asked.keys(), (
            f"{record.path.name} holds runs that the chapter does not ask for: make records drops them"
        )


def test_runs_that_are_drawn_come_out_again(opened):
    shares, whole = [], []
    for record in opened:
        keys = sorted(record.asked)
        order = records.drawn(record.path, len(keys))
        finite = [keys[i] for i in order if records.first_look(record.runs[keys[i]])]
        assert len(finite) > len(keys) / 2
        for key in finite[: max(2, BEGUN // len(opened))]:
            share, spreads = records.early_difference(record, key)
            assert share <= records.EARLY or spreads <= records.SPREADS, (
                f"{record.path.name}, {key}: off by {share:.2g} of the loss, {spreads:.2g} spreads"
            )
            shares.append(share)
        whole += [(record, key) for key in short(record, finite)]
    assert np.median(shares) <= records.EARLY, shares
    record, key = whole[records.drawn(opened[0].path, len(whole))[0]]
    off = records.late_difference(record, key)
    assert off <= records.SPREADS, f"{record.path.name}, {key}: off by {off:.2g} spreads"


def test_a_changed_number_is_found(opened, tmp_path):
    record = opened[0]
    first, run, *others = record.path.read_text("utf-8").splitlines()
    values = json.loads(run)
    values["test"] = 0.99 * values["test"]
    spoiled = tmp_path / record.path.name
    spoiled.write_text("\n".join([first, json.dumps(values), *others]) + "\n", "utf-8")
    with pytest.raises(ValueError, match="not those that were written"):
        Record(spoiled, record.task)


def test_changed_losses_are_found_though_their_sum_is_right(opened, tmp_path, monkeypatch):
    """What the run gives when it is made again is tested above; here it is taken from the record."""
    record = opened[0]
    copy = tmp_path / record.path.name
    shutil.copy(record.path, copy)
    spoiled = Record(copy, record.task)
    spoiled.asked = record.asked
    keys = short(record, sorted(record.asked))
    key = next(key for key in keys if records.first_look(record.runs[key]))
    values = dict(spoiled.runs[key])
    for name in records.curves(values):
        values[name] = [values[name][0] * 3, *values[name][1:]]
    alike = [run["test"] for (text, _), run in record.runs.items() if text == key[0]]
    values["test"] += 2 * records.SPREADS * max(np.ptp(alike), records.spread(record)["test"])
    spoiled.keep(spoiled.runs | {key: values})
    monkeypatch.setattr(spoiled, "again", lambda *options: record.runs[key])
    share, spreads = records.early_difference(spoiled, key)
    assert share > records.EARLY and spreads > records.SPREADS
    assert records.late_difference(spoiled, key) > records.SPREADS


def test_another_recipe_makes_a_record_stale(opened):
    record = opened[0]
    with pytest.raises(ValueError, match=r"made with another task: batch_size was .* make records"):
        Record(record.path, record.task.but(batch_size=record.task.batch_size + 1))


def test_make_records_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """A small chapter, whole at once and stopped in the middle: the same bytes."""
    cells = [
        "from trainlab import data, losses, models\n"
        "from trainlab.evidence import Arm, Record, Task, contest\n"
        "from trainlab.schedules import Constant\n"
        "task = Task(models.Linear(10, 1), losses.squared_error, data.diabetes(), 40, 8, every=10)\n"
        "record = Record('../records/small.jsonl', task)\n"
        "arms = {name: Arm(Constant, peak=peaks) for name, peaks in (('a', [0.1, 0.03]), ('b', [0.2, 0.05]))}\n"
        "found = contest(record, arms, by='validation', tuning_seeds=[8, 9], seeds=[0, 1, 2], progress=False)"
    ]
    notebook = store.nbformat.v4.new_notebook(
        cells=[store.nbformat.v4.new_code_cell(source) for source in cells]
    )
    made = []
    for name in ("whole", "stopped"):
        folder = tmp_path / name / "chapter"
        folder.mkdir(parents=True)
        (folder / "small.ipynb").write_text(store.write(notebook), "utf-8")
        if name == "stopped":
            kept, times = Record.keep, []

            def stop(self, runs):
                kept(self, runs)
                times.append(len(runs))
                if len(times) == 2:
                    raise KeyboardInterrupt

            with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
                patched.setattr(Record, "keep", stop)
                records.make(folder / "small.ipynb", 1)
            assert 0 < times[-1] < 14
        records.make(folder / "small.ipynb", 1)
        made.append((tmp_path / name / "records" / "small.jsonl").read_bytes())
    assert made[0] == made[1]
