"""What is kept of the chapters' repetitions: it belongs to their code as it is, and some of it, drawn anew at every change, is run again."""

import ast
import hashlib
from pathlib import Path

import pytest

import records
import replicate
import store
from test_stored import ALL as CHAPTERS
from test_stored import ROOT
from trainlab.evidence import Record

ALL = [name for name in CHAPTERS if Path(name).stem not in replicate.NOT_REPEATED]
LONG = [name for name in ALL if records.reads_a_record(ROOT / name)]
SHORT = [name for name in ALL if name not in LONG]
BEGUN = 2  # so many runs of each record of the long repetition that is drawn are made again to their first look


def record(name):
    kept = replicate.kept(ROOT / name)
    assert kept, (
        f"nothing is kept of {name} as it is now: make replicate NOTEBOOKS={name} takes minutes"
    )
    return kept


def drawn(kept):
    """One entry of a list, by the state of chapters and library: another state draws others."""
    files = sorted([*ROOT.glob("lib/trainlab/**/*.py"), *ROOT.glob("chapters/*/*.ipynb")])
    content = b"".join(path.read_bytes() for path in files)
    return kept[int(hashlib.sha256(content).hexdigest(), 16) % len(kept)]


@pytest.mark.parametrize("name", ALL)
def test_every_chapter_was_repeated_as_it_is_now(name):
    kept = record(name)
    assert list(kept) == list(replicate.REPETITIONS)[: len(kept) if name in LONG else None]
    notebook = store.read((ROOT / name).read_text("utf-8"))
    stored = replicate.found(replicate.outputs_of(notebook))
    for result in kept.values():
        for part in ("effects", "sentences", "verdicts"):
            assert result[part].keys() == stored[part].keys()


def test_a_repetition_that_is_drawn_says_the_same_again():
    name, repetition = drawn([(name, k) for k in replicate.REPETITIONS for name in SHORT])
    again = replicate.repeated(ROOT / name, repetition)
    assert replicate.differing(record(name)[repetition], again) == [], f"{name}, {repetition}"


def test_a_long_repetition_that_is_drawn_follows_from_its_runs_and_they_come_out_again(tmp_path):
    name, repetition = drawn([(name, k) for name in LONG for k in record(name)])
    again, opened = replicate.read_again(ROOT / name, repetition, tmp_path / "again")
    assert replicate.differing(record(name)[repetition], again) == [], f"{name}, {repetition}"
    for one in opened:
        assert one.runs.keys() == one.asked.keys()
        keys = [key for key in sorted(one.asked) if records.first_look(one.runs[key])]
        for place in records.drawn(one.path, len(keys))[:BEGUN]:
            share, spreads = records.early_difference(one, keys[place])
            assert share <= records.EARLY or spreads <= records.SPREADS, (
                f"{name}, {repetition}, {one.path.name}, {keys[place]}: "
                f"off by {share:.2g} of the loss, {spreads:.2g} spreads"
            )


def test_a_spoiled_record_differs():
    kept = record(SHORT[0])[1]
    sentence, claim = next(iter(kept["sentences"])), next(iter(kept["verdicts"]))
    what, ends = next(iter(kept["effects"][claim].items()))
    moved = {what: [ends[2] + 1e-3, *ends[1:]], "one more": [1, 0, 2]}
    spoiled = {
        "sentences": kept["sentences"] | {sentence: not kept["sentences"][sentence]},
        "verdicts": kept["verdicts"] | {claim: "refuted, perhaps"},
        "effects": kept["effects"] | {claim: kept["effects"][claim] | moved},
    }
    found = [sentence, claim, f"{claim}: {what}", f"{claim}: one more"]
    assert sorted(replicate.differing(kept, spoiled)) == sorted(found)
    assert replicate.differing(kept, kept) == []


def test_a_record_goes_stale_with_the_chapters_code(tmp_path, monkeypatch):
    notebook = store.read((ROOT / SHORT[0]).read_text("utf-8"))
    monkeypatch.setattr(replicate, "KEPT", tmp_path)
    path = tmp_path / "chapter.ipynb"
    path.write_text(store.write(notebook), "utf-8")
    result = {"sentences": {"it does": True}, "verdicts": {"C99": "supported"}, "effects": {}}
    replicate.keep(path, {2: result}, replicate.key_of(path))
    assert replicate.kept(path) == {2: result}
    notebook.cells[0].source += "\n\nOther words."
    code = replicate.code_of(notebook)[1]
    code.source += "  # a comment\n"
    path.write_text(store.write(notebook), "utf-8")
    assert replicate.kept(path) == {2: result}
    code.source += "unused = 1\n"
    path.write_text(store.write(notebook), "utf-8")
    assert replicate.kept(path) == {}


def test_a_chapter_that_is_edited_while_it_is_repeated_keeps_nothing(tmp_path, monkeypatch):
    notebook = store.nbformat.v4.new_notebook(cells=[store.nbformat.v4.new_code_cell("1")])
    path = tmp_path / "chapter.ipynb"
    path.write_text(store.write(notebook), "utf-8")
    monkeypatch.setattr(replicate, "repeated", lambda path, repetition: "found")
    assert replicate.tried(path, 1, replicate.key_of(path)) == "found"
    stopped = replicate.tried(path, 1, "the key of other code")
    assert isinstance(stopped, RuntimeError) and "changed meanwhile" in str(stopped)


def test_nothing_is_drawn_twice():
    notebook = store.read((ROOT / "chapters/03_algorithms/schedules.ipynb").read_text("utf-8"))
    texts = set()
    for repetition in range(9):
        change = replicate.DrawnAnew(repetition)
        code = [
            ast.unparse(change.visit(ast.parse(cell.source)))
            for cell in replicate.code_of(notebook)
        ]
        texts.add("\n".join(code))
    assert len(texts) == 9


def test_seeds_that_are_no_range_are_refused():
    with pytest.raises(ValueError, match=r"TUNING_SEEDS must be a range, received \[1, 2\]"):
        replicate.DrawnAnew(1).visit(ast.parse("TUNING_SEEDS = [1, 2]"))


def test_seeds_that_share_a_line_are_refused():
    with pytest.raises(ValueError, match="WATCH_SEEDS must be set alone, in a line of its own"):
        replicate.DrawnAnew(1).visit(ast.parse("WATCH_SEEDS, RATE = range(3), 0.1"))


def test_texts_and_made_up_languages_are_drawn_anew():
    source = "a = language.documentation_windows(4)\nb = language.MarkovLanguage(9, seed=1)"
    assert ast.unparse(replicate.DrawnAnew(2).visit(ast.parse(source))) == (
        "a = language.documentation_windows(4, seed=2000)\n"
        "b = language.MarkovLanguage(9, seed=1 + 2000)"
    )


def test_a_long_repetition_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """A small chapter with a record: what it finds comes from runs of its own, which are kept, and read again."""
    cells = [
        "from trainlab import data, evidence, losses, models\n"
        "from trainlab.evidence import Record, Task\n"
        "from trainlab.schedules import Constant\n"
        "SEEDS = range(3)\n"
        "task = Task(models.Linear(10, 1), losses.squared_error, data.diabetes(), 40, 8, every=10)\n"
        "record = Record('../records/small.jsonl', task)",
        "found = record([{'schedule': Constant(0.1)}], SEEDS)['test'][0]\n"
        "evidence.confirm('it learns', found.max() < 1)\n"
        "evidence.confirm('it does not', found.min() > 1)",
    ]
    notebook = store.nbformat.v4.new_notebook(
        cells=[store.nbformat.v4.new_code_cell(source) for source in cells]
    )
    path = tmp_path / "book" / "chapter" / "small.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(store.write(notebook), "utf-8")
    kept = tmp_path / "book" / "records" / "replications"
    kept.mkdir(parents=True)
    monkeypatch.setattr(replicate, "KEPT", kept)
    monkeypatch.setattr(replicate, "UNFINISHED", tmp_path / "unfinished")
    records.make(path, 1)
    own = path.parent.with_name("records") / "small.jsonl"
    before = own.read_bytes()

    with monkeypatch.context() as patched:
        patched.setattr(replicate, "found", lambda outputs: 1 / 0)
        assert isinstance(replicate.tried(path, 2, "", 1), ZeroDivisionError)
    unfinished = tmp_path / "unfinished" / "small" / "2" / "records" / "small.jsonl"
    runs = unfinished.read_bytes()
    made = replicate.repeated_with_runs(path, 2, 1)
    assert made == {
        "sentences": {"it learns": True, "it does not": False},
        "verdicts": {},
        "effects": {},
    }
    assert (kept / "2" / "small.jsonl").read_bytes() == runs != before == own.read_bytes()
    assert not unfinished.exists()
    with monkeypatch.context() as patched:  # nothing is trained a second time
        patched.setattr(Record, "_train", lambda self, missing: 1 / 0)
        assert replicate.repeated_with_runs(path, 2, 1) == made
    again, opened = replicate.read_again(path, 2, tmp_path / "again")
    assert again == made
    assert sorted(seed for _, seed in opened[0].asked) == [2000, 2001, 2002]


def test_a_sentence_said_twice_holds_if_it_held_both_times():
    cell = store.nbformat.v4.new_code_cell("1")
    texts = ["Confirmed: a\nConfirmed: b\n", "NOT CONFIRMED in this run: a\n"]
    cell.outputs = [
        store.nbformat.v4.new_output("stream", name="stdout", text=text) for text in texts
    ]
    notebook = store.nbformat.v4.new_notebook(cells=[cell])
    said = replicate.found(replicate.outputs_of(notebook))
    assert said == {"sentences": {"a": False, "b": True}, "verdicts": {}, "effects": {}}
