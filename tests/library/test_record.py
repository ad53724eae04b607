"""Records of runs: what is kept is what was trained, and nothing else is served."""

import abc
import dataclasses
import functools
import hashlib
import json
import linecache
import math
import os
import re
import textwrap

import numpy as np
import pytest

from trainlab import data, losses, models
from trainlab.evidence import Arm, Record, Task, contest, making
from trainlab.evidence.records import read, spelled
from trainlab.optimizers import SGD
from trainlab.schedules import Constant, LinearDecay

TASK = Task(
    models.Linear(10, 1), losses.squared_error, data.diabetes(), updates=20, batch_size=8, every=5
)
ARMS = {
    "constant": Arm(Constant, peak=[0.1, 0.03]),
    "linear": Arm(lambda peak: LinearDecay(peak, 20), peak=[0.1, 0.03]),
}
RULES = {"by": "validation", "tuning_seeds": [8, 9], "seeds": range(3), "progress": False}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine" / "records" / "runs.jsonl"


def test_a_contest_reads_from_the_record_what_it_finds_by_itself(path):
    with making(1):
        made = contest(Record(path, TASK), ARMS, **RULES)
    again, alone = contest(Record(path, TASK), ARMS, **RULES), contest(TASK, ARMS, **RULES)
    assert made.chosen == again.chosen == alone.chosen
    assert made.budget == again.budget == alone.budget and again.looks.tolist() == [5, 10, 15, 20]
    for arm in ARMS:
        assert (made["test"][arm] == again["test"][arm]).all()
        assert again["test"][arm] == pytest.approx(alone["test"][arm], rel=1e-5)
        assert again.curves["test"][arm] == pytest.approx(alone.curves["test"][arm], rel=1e-5)


def split_of(seed):
    return data.diabetes(seed)


def test_a_contest_with_a_record_knows_what_its_task_does(path):
    with making(1):
        found = contest(Record(path, TASK.but(split=split_of)), ARMS, **RULES | {"seeds": [0]})
    assert found.luck == ("training", "split") and found.budget == "20 updates of 8 examples"


def test_a_record_says_what_it_lacks(path):
    Record(path, TASK, make=True)([{"schedule": Constant(0.1)}], [0])
    record = Record(path, TASK)
    with pytest.raises(LookupError, match=r"lacks 1 of 2 runs, the first with seed 1.*peak=0.1"):
        record([{"schedule": Constant(0.1)}], [0, 1])
    told = (
        'They take 40 updates of 8 examples each: Record("mine.jsonl", task, make=True) trains them'
    )
    with pytest.raises(LookupError, match=re.escape(told) + "$"):
        record([{"schedule": Constant(0.1), "updates": 40}], [0])
    with pytest.raises(FileNotFoundError, match="chapters/records"):
        Record(path.with_name("none.jsonl"), TASK)
    with pytest.raises(TypeError, match="must be a Task"):
        Record(path, ARMS)


def test_a_record_of_another_task_is_refused_and_made_anew(path):
    Record(path, TASK, make=True)([{"schedule": Constant(0.1)}], [0])
    other = TASK.but(batch_size=4, every=None)
    with pytest.raises(
        ValueError,
        match="another task: batch_size was 8 and is 4; every was 5 and is None. Make it again: make records$",
    ):
        Record(path, other)
    Record(path, other, make=True)([{"schedule": Constant(0.2)}], [0])
    assert [text for text, _ in read(path)[1]] == ["{'schedule': Constant(peak=0.2)}"]


def test_a_record_says_what_it_was_made_with(path, monkeypatch):
    setting = {"schedule": Constant(0.1)}
    (now,) = (made := Record(path, TASK, make=True), made([setting], [0]))[0].made_with
    assert re.fullmatch(r"Python 3\.\d+, NumPy \d\S*, trainlab \d\S*", now)
    monkeypatch.setattr(np, "__version__", "99.0")
    later = Record(path, TASK, make=True)
    later([setting], [0])  # which is there
    assert later.made_with == [now]
    later([setting], [1])
    assert Record(path, TASK).made_with == sorted([now, re.sub("NumPy [^,]*", "NumPy 99.0", now)])
    Record(path, TASK.but(batch_size=4), make=True)([setting], [0])
    assert len(Record(path, TASK.but(batch_size=4)).made_with) == 1


def test_what_it_is_to_keep_is_all_that_it_keeps(path):
    record = Record(path, TASK, make=True)
    record.keep({})  # makes its folders
    assert read(path)[1] == {}
    record([{"schedule": Constant(0.1)}], [0, 1])
    record.keep({(text, seed): run for (text, seed), run in record.runs.items() if seed == 1})
    assert [seed for _, seed in read(path)[1]] == [seed for _, seed in record.runs] == [1]


def noted(trainer, split):
    """A measure that writes down what it saw, and fails where it is told to."""
    (seed,) = trainer.seeds
    if str(seed) in os.environ["FAILS"]:
        raise RuntimeError("power cut")
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{seed}\n")
    return {"test": trainer.evaluate(*split.test)}


def test_a_run_that_is_finished_is_not_made_again_whatever_happens(path, tmp_path, monkeypatch):
    def notes():
        return [int(line) for line in (tmp_path / "notes").read_text().splitlines()]

    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("FAILS", "2")
    task, settings = TASK.but(measure=noted, every=None), [{"schedule": Constant(0.1)}]
    with pytest.raises(RuntimeError, match="power cut"):
        Record(path, task, make=True)(settings, [0, 1, 2])
    assert notes() == [0, 1]
    assert [part.name for part in path.parent.iterdir()] == ["runs.jsonl.unfinished"]
    monkeypatch.setenv("FAILS", "")
    Record(path, task, make=True)(settings, [0, 1, 2])
    assert notes() == [0, 1, 2]
    assert [part.name for part in path.parent.iterdir()] == ["runs.jsonl"]


def test_what_is_unfinished_of_some_seeds_or_settings_is_not_taken_for_others(
    path, tmp_path, monkeypatch
):
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    task = TASK.but(measure=noted, every=None)
    one, two = {"schedule": Constant(0.1)}, {"schedule": Constant(0.2)}
    for settings, seeds in (([one], [0, 1]), ([one], [1, 2]), ([two], [0, 1]), ([one, two], [1])):
        monkeypatch.setenv("FAILS", "1")
        with pytest.raises(RuntimeError, match="power cut"):
            Record(path, task, make=True)(settings, seeds)
    monkeypatch.setenv("FAILS", "")
    found = Record(path, task, make=True)([one, two], [0, 1, 2])
    alone = [
        [task([setting], [seed])["test"].item() for seed in range(3)] for setting in (one, two)
    ]
    assert found["test"] == pytest.approx(np.array(alone), rel=1e-5)


def test_a_run_that_is_lost_is_kept_as_one(path):
    setting = [{"schedule": Constant(1e6)}]
    made = Record(path, TASK, make=True)(setting, [0])
    assert math.isinf(made["test"][0, 0]) and math.isinf(
        Record(path, TASK)(setting, [0])["test"][0, 0]
    )


def test_a_record_that_names_the_setting_of_every_run_is_read_as_well(path):
    record = Record(path, TASK, make=True)
    record([{"schedule": Constant(0.1)}, {"schedule": Constant(0.2)}], [0, 1])
    about, runs = read(path)
    lines = [
        json.dumps({"setting": text, "seed": seed, **run}) for (text, seed), run in runs.items()
    ]
    about["sum"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    path.write_text("\n".join([json.dumps(about), *lines, ""]))
    assert read(path)[1] == runs and Record(path, TASK).runs == runs


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda text: text[:-30], "ValueError: its lines are not those that were written$"),
        (lambda text: "", "ValueError: not enough values to unpack"),
        (lambda text: "[]\n", "TypeError: list indices must be"),
    ],
)
def test_a_damaged_file_is_refused(path, spoil, why):
    Record(path, TASK, make=True)([{"schedule": Constant(0.1)}], [0])
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ValueError, match=f"is no record of runs, or a damaged one: {why}"):
        Record(path, TASK)


def test_a_run_is_made_again_whole_or_begun(path):
    setting = {"schedule": Constant(0.1)}
    record = Record(path, TASK, make=True)
    record([setting], [3])
    kept, again = record.runs[spelled(setting), 3], record.again(setting, 3)
    assert again["test"] == pytest.approx(kept["test"], rel=1e-5)
    begun = record.again(setting, 3, updates=5)
    assert begun["curve/test"] == pytest.approx(kept["curve/test"][:1], rel=1e-5)
    assert record.asked == {(spelled(setting), 3): (setting, 3)}
    record([setting], [4])
    assert list(record.asked.values()) == [(setting, 3), (setting, 4)]
    longer = record.again(setting | {"updates": 40}, 3, updates=5)  # its own budget is no other
    assert longer["curve/test"].tolist() == begun["curve/test"].tolist()


def test_lines_are_sorted_and_end_in_six_digits(path):
    record = Record(path, TASK, make=True)
    record([{"schedule": Constant(0.2)}, {"schedule": Constant(0.1)}], [1, 0])
    lines = list(map(json.loads, path.read_text().splitlines()))[1:]
    assert [(line.get("setting", "")[-5:], line["seed"]) for line in lines] == [
        ("0.1)}", 0), ("", 1), ("0.2)}", 0), ("", 1)
    ]  # fmt: skip
    kept = [(text[-5:], seed) for text, seed in read(path)[1]]
    assert kept == [("0.1)}", 0), ("0.1)}", 1), ("0.2)}", 0), ("0.2)}", 1)]
    assert all(line["test"] == float(f"{line['test']:.6g}") for line in lines)


def measure(trainer, split):
    """Only a docstring."""
    return {"test": trainer.evaluate(*split.test)}  # and a comment


def same():
    def measure(trainer, split):
        return {"test": trainer.evaluate(*split.test)}

    return measure


def other():
    def measure(trainer, split):
        return {"test": trainer.evaluate(*split.train)}

    return measure


SHARE = 0.5


def half(x):
    return SHARE * x


def sets(x):
    share = np.sum(x)
    return share * losses.huber(x, x, delta=SHARE).value


def of_half(x):
    return half(x)


def scaled_by(factor):
    def scaled(x):
        return factor * x

    return scaled


class Plain:
    def update(self, params):
        return params


class Mine(SGD):
    scale = 8

    def update(self, params, gradients, state, rate):
        """Only a docstring."""
        return super().update(params, gradients, state, self.part * rate)

    @property
    def part(self):
        return half(1.0)


class Kinds(abc.ABC):
    @staticmethod
    def first(x):
        return x

    @classmethod
    def second(cls):
        return half(2)

    @abc.abstractmethod
    def third(self): ...


class Caller:
    def __call__(self):
        return 1


NAMELESS = {"lambda": lambda x: x}


def short(*parts):
    """Of what a text consists of, as the records have it: the beginning of a SHA-256."""
    lines = b"\n".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return hashlib.sha256(lines).hexdigest()[:16]


OF_HALF = "def half(x):\n    return SHARE * x\nSHARE = 0.5"
UPDATE = "def update(self, params, gradients, state, rate):\n    return super().update(params, gradients, state, self.part * rate)"
# The texts by which the records of the book know their runs: another text for the same thing, and every record is stale.
TEXTS = [
    ([1, (2.5, "a"), range(2)], "[1, [2.5, 'a'], [0, 1]]"),
    ({"a": None, "b": True}, "{'a': None, 'b': True}"),
    (np.array([0, 7], "u1"), "uint8 (2,) " + short(b"\x00\x07")),
    (np.array([[258]]), "int64 (1, 1) " + short(b"\x02\x01" + bytes(6))),
    (np.array([258], ">i2"), "int16 (1,) " + short(b"\x02\x01")),
    (
        functools.partial(losses.huber, 1, [2], delta=2.0, n=None),
        "huber(1, [2], delta=2.0, n=None)",
    ),
    (SGD(momentum=0.5, nesterov=True), "SGD(momentum=0.5, nesterov=True)"),
    (models.Linear, "Linear"),
    (float.fromhex, "float.fromhex"),  # functions of C have no module
    (half, "half " + short(OF_HALF)),
    (of_half, "of_half " + short("def of_half(x):\n    return half(x)", OF_HALF)),
    (
        scaled_by(2),
        "scaled_by.<locals>.scaled " + short("def scaled(x):\n    return factor * x\nfactor = 2"),
    ),
    (
        Mine,
        "Mine "
        + short(
            "Mine\npart is\nscale = 8\nupdate is\n0 = SGD",
            "@property\ndef part(self):\n    return half(1.0)",
            OF_HALF,
            UPDATE,
        ),
    ),
    (
        Kinds,
        "Kinds "
        + short(
            "Kinds\nfirst is\nsecond is\nthird is\n0 = ABC",
            "@staticmethod\ndef first(x):\n    return x",
            "@classmethod\ndef second(cls):\n    return half(2)",
            OF_HALF,
            "@abc.abstractmethod\ndef third(self):\n    ...",
        ),
    ),
]


def mine(body, name="Mine"):
    """A class as a chapter would define it: its code from a text."""
    text = f"class {name}(SGD):\n    scale = 8\n" + textwrap.indent(textwrap.dedent(body), "    ")
    file = f"<cell {hashlib.sha256(text.encode()).hexdigest()}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = {"SGD": SGD, "__name__": "__main__", "half": half}
    exec(compile(text, file, "exec"), space)
    return dataclasses.dataclass(frozen=True)(space[name])


class TestSpelled:
    @pytest.mark.parametrize("thing, text", TEXTS, ids=[text for _, text in TEXTS])
    def test_its_text_is_the_one_that_records_have(self, thing, text):
        assert spelled(thing) == text

    def test_of_an_options_class_what_dataclasses_make_does_not_count(self):
        kind = mine("factor: float = 2.0\ndef half(self):\n    return 1.0\n")
        code = short("Mine\nhalf is\nscale = 8\n0 = SGD", "def half(self):\n    return 1.0")
        assert spelled(kind(factor=3.0)) == f"Mine {code}(factor=3.0)"

    def test_functions_count_by_their_code(self):
        code = [spelled(function).split()[1] for function in (measure, same(), other())]
        assert code[0] == code[1] != code[2]

    def test_what_a_function_uses_counts(self, monkeypatch):
        before = spelled(of_half), spelled(scaled_by(2))
        assert before == (spelled(of_half), spelled(scaled_by(2)))
        assert spelled(scaled_by(3)) != before[1]
        monkeypatch.setitem(globals(), "SHARE", 0.25)
        assert spelled(of_half) != before[0]
        monkeypatch.undo()
        monkeypatch.setitem(globals(), "half", lambda x: x)
        with pytest.raises(TypeError, match="to be known by"):
            spelled(of_half)

    def test_a_name_that_a_function_sets_is_not_that_of_its_surroundings(self, monkeypatch):
        before = spelled(other)
        monkeypatch.setitem(globals(), "split", 3)
        assert spelled(other) == before
        before = spelled(sets)
        monkeypatch.setitem(globals(), "share", 3)
        assert spelled(sets) == before

    def test_an_object_of_a_class_of_ones_own_counts_by_its_methods(self):
        body = """
            def update(self, params, gradients, state, rate):
                return super().update(params, gradients, state, 2 * rate)
            @property
            def part(self):
                return half(1.0)
            """
        first = spelled(mine(body)())
        assert first == spelled(mine(body.replace("half(1.0)", "half(1.0)  # a comment"))())
        for old, new in {
            "2 *": "3 *",
            "half(1.0)": "half(2.0)",
            "update(self": "before(self",
        }.items():
            assert spelled(mine(body.replace(old, new))()) != first, new
        assert spelled(mine(body)) != spelled(mine(body.replace("2 *", "3 *")))
        assert spelled(Mine) != spelled(type("Mine", (Mine,), {"scale": 4}))

    def test_what_python_3_14_makes_of_annotations_does_not_count(self):
        first = mine("def half(self):\n    return 1.0")
        before = spelled(first)
        made = compile("lambda format: {}", "a cell", "eval")
        first.__annotate_func__ = eval(made, {"__name__": "__main__"})
        assert spelled(first) == before

    def test_whole_numbers_of_the_machine_are_the_same_on_every_machine(self, monkeypatch):
        wide = spelled(np.arange(3, dtype=np.int64))
        monkeypatch.setattr(np, "intp", np.int32)
        assert spelled(np.arange(3, dtype=np.int32)) == wide

    def test_options_of_the_library_at_their_defaults_are_not_said(self):
        assert spelled(SGD()) == spelled(SGD(momentum=0.0)) == "SGD()"
        assert spelled(SGD(momentum=0.5)) == "SGD(momentum=0.5)"
        assert re.fullmatch(r"Mine \w+\(\)", spelled(Mine()))

    def test_options_of_ones_own_are_said_also_at_their_defaults(self):
        mild, strong = (spelled(mine(f"factor: float = {n}\n")()) for n in (1.0, 2.0))
        assert mild.endswith("(factor=1.0)") and strong.endswith("(factor=2.0)")

    def test_values_are_told_apart(self):
        things = [
            None, True, 1, 1.0, "1", [1], {"a": 1}, np.zeros(2), np.zeros((1, 2)), np.zeros(2, "f4"),
            SGD(), SGD(momentum=0.5), Plain, Mine, Mine(), models.Linear(1, 2), losses.huber, functools.partial(losses.huber, delta=2.0),
        ]  # fmt: skip
        texts = list(map(spelled, things))
        assert len(set(texts)) == len(things)
        assert texts == list(map(spelled, things))
        assert spelled(np.float64(0.5)) == spelled(0.5)

    @pytest.mark.parametrize(
        "thing, words",
        [
            (NAMELESS["lambda"], "<lambda> has no code .* write it with def: it has no name$"),
            (object(), "^a object has no text to be known by: <object"),
            ({1: object()}, "^a object has no text to be known by"),
            (Caller(), "^a Caller has no text to be known by"),
        ],
    )
    def test_what_has_no_text_is_refused(self, thing, words):
        with pytest.raises(TypeError, match=words):
            spelled(thing)


def test_a_record_stays_where_it_is_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = Record("runs.jsonl", TASK, make=True)
    monkeypatch.chdir("..")
    record([{"schedule": Constant(0.1)}], [0])
    assert record.path == tmp_path / "runs.jsonl" and record.path.exists()
