"""Sweeps: the same numbers however they are computed, and nothing lost when one is interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import joblib
import numpy as np
import pytest

from trainlab.files import read_arrays, write_arrays
from trainlab.losses import softmax_cross_entropy
from trainlab.models import MLP
from trainlab.optimizers import SGD
from trainlab.schedules import Constant, LinearDecay
from trainlab.sweep import grid, sweep
from trainlab.trainer import Trainer

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(60, 5)), RNG.integers(0, 3, 60)


def train(seeds, rate, batch_size=8):
    """A real training: the loss at the end, and a whole curve of them."""
    trainer = Trainer(
        MLP((5, 8, 3)),
        softmax_cross_entropy,
        SGD(),
        Constant(rate),
        batch_size=batch_size,
        seed=seeds,
    )
    trainer.fit(X, LABELS, steps=20, progress=False)
    return {"loss": trainer.evaluate(X, LABELS), "curve": trainer.history["loss"].T}


ARMS = grid(rate=[0.01, 0.1, 1.0], batch_size=[4, 8])


def expected():
    losses = np.empty((6, 5))
    for a, options in enumerate(ARMS.values()):
        for s in range(5):
            losses[a, s] = train([s], **options)["loss"][0]
    return losses


@pytest.mark.parametrize("n_jobs, chunk", [(1, None), (1, 2), (2, 1), (2, 3)])
def test_the_results_are_those_of_each_run_alone(n_jobs, chunk):
    results = sweep(train, ARMS, seeds=range(5), n_jobs=n_jobs, chunk=chunk)
    np.testing.assert_array_equal(results["loss"], expected())
    assert results["curve"].shape == (6, 5, 20) and results.seeds == [0, 1, 2, 3, 4]


def test_a_dask_cluster_gives_the_same_numbers():
    import distributed

    with warnings.catch_warnings():
        # What the cluster's own start-up and shut-down warn of is not ours to mend.
        warnings.simplefilter("ignore")
        options = {
            "n_workers": 2,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": None,
        }
        with distributed.LocalCluster(**options) as cluster:
            # start dask
            with distributed.Client(cluster), joblib.parallel_config(backend="dask"):
                results = sweep(train, ARMS, seeds=range(5), chunk=2)
            # end dask
    np.testing.assert_array_equal(results["loss"], expected())


def test_the_order_is_that_of_the_arms_whichever_finishes_first():
    def slow_first(seeds, wait):
        time.sleep(wait)
        return {"waited": np.full(len(seeds), wait)}

    results = sweep(slow_first, grid(wait=[0.3, 0.0, 0.1]), seeds=[7], n_jobs=2)
    assert results["waited"].ravel().tolist() == [0.3, 0.0, 0.1]


def test_the_table_has_a_row_for_each_arm_and_seed():
    results = sweep(train, grid(rate=[0.1, 0.2]), seeds=[3, 5], n_jobs=1)
    rows = results.table()
    assert [(row["arm"], row["rate"], row["seed"]) for row in rows] == [
        ("rate=0.1", 0.1, 3), ("rate=0.1", 0.1, 5), ("rate=0.2", 0.2, 3), ("rate=0.2", 0.2, 5),
    ]  # fmt: skip
    assert rows[2]["loss"] == results["loss"][1, 0] and type(rows[2]["loss"]) is float
    assert len(rows[0]["curve"]) == 20


def test_a_grid_is_every_combination_and_names_functions_by_name():
    arms = grid(schedule=[Constant(0.1), LinearDecay(0.1, 5)], loss=[softmax_cross_entropy])
    assert list(arms) == [
        "schedule=Constant(peak=0.1), loss=softmax_cross_entropy",
        "schedule=LinearDecay(peak=0.1, total_steps=5, floor=0.0), loss=softmax_cross_entropy",
    ]
    assert (
        arms["schedule=Constant(peak=0.1), loss=softmax_cross_entropy"]["loss"]
        is softmax_cross_entropy
    )
    with pytest.raises(ValueError, match="a grid needs different values, received rate=1 twice"):
        grid(rate=[1, 1])


def test_diverged_runs_are_results():
    results = sweep(
        lambda seeds: {"loss": np.array([np.inf, np.nan])}, {"lost": {}}, seeds=[0, 1], n_jobs=1
    )
    assert np.isinf(results["loss"][0, 0]) and np.isnan(results["loss"][0, 1])


# --- Interruptions -------------------------------------------------------------------------------


class Interrupted:
    """Trains arms by writing down that it did; fails at one of them while a file says so."""

    def __init__(self, folder, error=RuntimeError):
        self.folder, self.error = folder, error

    def __call__(self, seeds, arm):
        if arm == 2 and (self.folder / "broken").exists():
            raise self.error("out of luck")
        with open(self.folder / "calls", "a") as file:
            file.write(f"{arm}:{seeds[0]} ")
        return {"value": np.array([arm + seed / 3 for seed in seeds])}

    def calls(self):
        return (self.folder / "calls").read_text().split()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_sweep_keeps_what_it_has(error, tmp_path):
    runs = Interrupted(tmp_path, error)
    (tmp_path / "broken").touch()
    options = {"seeds": [4, 5, 6], "chunk": 2, "folder": tmp_path / "sweep", "n_jobs": 1}
    with pytest.raises(error) as caught:
        sweep(runs, grid(arm=[0, 1, 2, 3]), **options)
    if error is RuntimeError:
        assert (
            str(caught.value) == "arm 'arm=2' with seeds [4, 5] failed: RuntimeError: out of luck"
        )
    assert runs.calls() == ["0:4", "0:6", "1:4", "1:6"]
    (tmp_path / "broken").unlink()
    results = sweep(runs, grid(arm=[0, 1, 2, 3]), **options)
    assert runs.calls()[4:] == ["2:4", "2:6", "3:4", "3:6"]
    assert results["value"].tolist() == [[arm + seed / 3 for seed in (4, 5, 6)] for arm in range(4)]
    again = sweep(runs, grid(arm=[0, 1, 2, 3]), **options)
    assert len(runs.calls()) == 8
    np.testing.assert_array_equal(again["value"], results["value"])


def test_a_damaged_file_is_computed_again_with_a_warning(tmp_path):
    runs = Interrupted(tmp_path)
    options = {"seeds": [1], "folder": tmp_path / "sweep", "n_jobs": 1}
    first = sweep(runs, grid(arm=[0, 1]), **options)
    file = tmp_path / "sweep" / "task-00001.npz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.warns(
        UserWarning, match="computed again: .*task-00001.npz is not a whole file of arrays"
    ):
        second = sweep(runs, grid(arm=[0, 1]), **options)
    np.testing.assert_array_equal(first["value"], second["value"])
    assert runs.calls() == ["0:1", "1:1", "1:1"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seeds": [1, 3]}, "seeds: saved [1, 2], received [1, 3]"),
        ({"chunk": 1}, "chunk: saved 2, received 1"),
        (
            {"arms": grid(arm=[0, 9])},
            "arms: saved {'arm=0': {'arm': '0'}, 'arm=1': {'arm': '1'}}, received {'arm=0': {'arm': '0'}, 'arm=9': {'arm': '9'}}",
        ),
        ({"train": train}, "train: saved Interrupted, received train"),
    ],
    ids=["seeds", "chunk", "arms", "train"],
)
def test_the_folder_of_another_sweep_is_refused(change, message, tmp_path):
    options = {
        "train": Interrupted(tmp_path),
        "arms": grid(arm=[0, 1]),
        "seeds": [1, 2],
        "chunk": 2,
    }
    sweep(**options, folder=tmp_path / "sweep", n_jobs=1)
    with pytest.raises(ValueError) as caught:
        sweep(**options | change, folder=tmp_path / "sweep", n_jobs=1)
    assert str(caught.value) == f"{tmp_path / 'sweep'} holds another sweep; {message}"


KILLED = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import numpy as np
    from trainlab.sweep import grid, sweep

    def train(seeds, arm):
        time.sleep(0.05)
        return {"value": np.array([arm + seed / 3 for seed in seeds])}

    results = sweep(train, grid(arm=list(range(20))), seeds=[0], folder=sys.argv[1], n_jobs=2)
    print(results["value"].ravel().tolist())
    """
)


def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "sweep")]
    process = subprocess.Popen(command)
    for _ in range(6000):
        kept = len(list(tmp_path.glob("sweep/task-*.npz")))
        if kept >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.glob("sweep/task-*.npz")}
    assert 3 <= len(kept) < 20
    printed = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert printed == f"{[float(arm) for arm in range(20)]}\n"
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


# --- Refusals ------------------------------------------------------------------------------------


def returning(value):
    return {"train": lambda seeds: value, "arms": {"a": {}}, "seeds": [0, 1]}


REFUSALS = [
    ({"arms": {}}, ValueError, "arms must be a dict of at least one arm, received {}"),
    ({"arms": [{}]}, ValueError, "arms must be a dict of at least one arm, received [{}]"),
    ({"arms": {"a": 3}}, TypeError, "an arm must be a dict of options, received 3 for 'a'"),
    ({"seeds": []}, ValueError, "seeds must be different numbers, at least one, received []"),
    (
        {"seeds": [1, 1]},
        ValueError,
        "seeds must be different numbers, at least one, received [1, 1]",
    ),
    ({"seeds": [-1]}, ValueError, "a seed must be at least 0, received -1"),
    (
        {"n_jobs": 0},
        ValueError,
        "n_jobs must not be 0: -1 takes every core, 1 stays in this process",
    ),
    ({"chunk": 0}, ValueError, "chunk must be at least 1, received 0"),
    (returning(3.0), ValueError, "train must return a dict of arrays, received 3.0 from arm 'a'"),
    (returning({}), ValueError, "train must return a dict of arrays, received {} from arm 'a'"),
    (
        returning({"v": [1.0]}),
        ValueError,
        "'v' of arm 'a' has shape (1,) and dtype float64 for 2 seeds",
    ),
    (
        returning({"v": 1.0}),
        ValueError,
        "'v' of arm 'a' has shape () and dtype float64 for 2 seeds",
    ),
    (
        returning({"v": ["x", "y"]}),
        ValueError,
        "'v' of arm 'a' has shape (2,) and dtype <U1 for 2 seeds",
    ),
    (
        {"train": lambda seeds, q: {q: np.zeros(len(seeds))}, "arms": grid(q=["x", "y"])},
        ValueError,
        "train must return the same quantities for every arm, received ['x'] and ['y']",
    ),
]


@pytest.mark.parametrize("change, error, message", REFUSALS, ids=[row[2][:60] for row in REFUSALS])
def test_wrong_input_is_refused_and_named(change, error, message):
    options = {"train": train, "arms": grid(rate=[0.1]), "seeds": [0], "n_jobs": 1} | change
    with pytest.raises(error) as caught:
        sweep(**options)
    assert message in str(caught.value)


def test_without_joblib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"sweeps need joblib: pip install 'trainlab\[sweep\]'"):
        sweep(train, ARMS, seeds=[0])


# --- Results kept at a failure, folders that must not be mixed up, names that must not collide -----


def test_a_failure_in_another_process_loses_no_finished_task(tmp_path):
    def train(seeds, arm):
        if arm == 60:
            time.sleep(0.5)
            raise ValueError("out of luck")
        (tmp_path / f"ran-{arm}").touch()
        return {"value": np.zeros(len(seeds))}

    with pytest.raises(
        RuntimeError, match=r"^arm 'arm=60' with seeds \[0\] failed: ValueError: out of luck"
    ) as caught:
        sweep(train, grid(arm=range(62)), seeds=[0], n_jobs=2, folder=tmp_path / "sweep")
    assert 'raise ValueError("out of luck")' in caught.value.__notes__[0]
    ran = {int(file.name[4:]) for file in tmp_path.glob("ran-*")}
    kept = {int(file.name[5:10]) for file in tmp_path.glob("sweep/task-*.npz")}
    assert set(range(60)) <= kept <= ran


def test_a_full_disk_is_that_error_and_no_warning(tmp_path, monkeypatch):
    def full(path, arrays):
        if os.fspath(path).endswith("task-00001.npz"):
            raise OSError(28, "No space left on device")
        write_arrays(path, arrays)

    monkeypatch.setattr("trainlab.sweep.write_arrays", full)
    with pytest.raises(OSError, match="No space left"):
        sweep(
            lambda seeds, arm: {"value": np.zeros(1)},
            grid(arm=range(20)),
            seeds=[0],
            n_jobs=2,
            folder=tmp_path,
        )


def test_the_same_arms_in_another_order_are_another_sweep(tmp_path):
    def train(seeds, k):
        return {"value": np.full(len(seeds), k)}

    sweep(train, {"a": {"k": 1}, "b": {"k": 2}}, seeds=[0], n_jobs=1, folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"order of the arms: saved \['a', 'b'\], received \['b', 'a'\]"
    ):
        sweep(train, {"b": {"k": 2}, "a": {"k": 1}}, seeds=[0], n_jobs=1, folder=tmp_path)


def test_a_file_of_another_shape_is_computed_again(tmp_path):
    def train(seeds, k):
        return {"value": np.full(len(seeds), k)}

    sweep(train, grid(k=[1, 2]), seeds=[0, 1], n_jobs=1, folder=tmp_path)
    write_arrays(tmp_path / "task-00000.npz", {"values/value": np.zeros(5)})
    with pytest.warns(UserWarning, match="computed again"):
        again = sweep(train, grid(k=[1, 2]), seeds=[0, 1], n_jobs=1, folder=tmp_path)
    assert again["value"].tolist() == [[1, 1], [2, 2]]


def test_every_flipped_byte_is_a_value_error_or_harmless(tmp_path):
    file = tmp_path / "file.npz"
    write_arrays(file, {"v": np.arange(4.0)})
    whole = file.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                assert read_arrays(file)["v"].tolist() == [0, 1, 2, 3]
            except ValueError:
                pass


def test_any_name_can_be_stored_and_the_order_of_names_is_free(tmp_path):
    def train(seeds, k):
        return (
            {"file": np.zeros(1), "b": np.ones(1)} if k else {"b": np.ones(1), "file": np.zeros(1)}
        )

    assert sweep(train, grid(k=[0, 1]), seeds=[0], n_jobs=1, folder=tmp_path)["b"].tolist() == [
        [1],
        [1],
    ]


@pytest.mark.parametrize("name", ["seed", "arm"])
def test_a_quantity_does_not_replace_a_column(name):
    with pytest.raises(ValueError, match=f"as another column of the table, received '{name}'"):
        sweep(lambda seeds, rate: {name: np.zeros(1)}, grid(rate=[1]), seeds=[0], n_jobs=1)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: sweep(None, {"a": {}}, seeds=[0]), TypeError, "train must be callable, received None"),
        (lambda: sweep(print, {"a": {}}, seeds=8), TypeError, "seeds must be a list of whole numbers, received 8"),
        (lambda: sweep(print, {"a": {"seeds": 3}}, seeds=[8]), ValueError, "an option must not be called 'seeds', received one in arm 'a'"),
        (lambda: grid(), ValueError, "a grid needs at least one choice, received none"),
    ],
)  # fmt: skip
def test_more_wrong_input_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_folder_is_made_with_its_parents_and_holds_the_named_files(tmp_path):
    folder = tmp_path / "a" / "b"
    sweep(lambda seeds: {"value": np.zeros(1)}, {"one": {}}, seeds=[0], folder=folder, n_jobs=1)
    assert sorted(file.name for file in folder.iterdir()) == ["sweep.npz", "task-00000.npz"]


def test_several_differences_are_all_named(tmp_path):
    runs = Interrupted(tmp_path)
    sweep(runs, grid(arm=[0]), seeds=[1, 2], folder=tmp_path / "sweep", n_jobs=1)
    with pytest.raises(
        ValueError, match=r"; seeds: saved \[1, 2\], received \[3\]; chunk: saved 2, received 1$"
    ):
        sweep(runs, grid(arm=[0]), seeds=[3], folder=tmp_path / "sweep", n_jobs=1)


def test_a_task_of_another_number_is_left_alone(tmp_path):
    runs = Interrupted(tmp_path)
    sweep(runs, grid(arm=[0]), seeds=[1], folder=tmp_path / "sweep", n_jobs=1)
    (tmp_path / "sweep" / "task-00001.npz").write_bytes(b"not of this sweep")
    assert sweep(runs, grid(arm=[0]), seeds=[1], folder=tmp_path / "sweep", n_jobs=1)[
        "value"
    ].shape == (1, 1)


@pytest.mark.parametrize("reserved", ["seed", "seeds"])
def test_an_option_cannot_be_called_like_the_seeds(reserved):
    with pytest.raises(
        ValueError, match=f"an option must not be called '{reserved}', received one in arm 'a'"
    ):
        sweep(train, {"a": {reserved: 1}}, seeds=[0], n_jobs=1)


def test_n_jobs_must_be_whole():
    with pytest.raises(TypeError, match="n_jobs must be a whole number, received 1.5"):
        sweep(train, ARMS, seeds=[0], n_jobs=1.5)


# --- A folder never gives results of other code or other options ------------------------------------


class Plain:
    """An object without a text of its own."""

    def __init__(self, value):
        self.value = value


class Locked:
    """Cannot be compared, but can be called."""

    def __init__(self, factor):
        self.factor, self.lock = factor, threading.Lock()

    def __call__(self, seeds):
        return {"value": np.full(len(seeds), self.factor)}


def written(source, **names):
    """Return the function `train` that a source defines, as an edited file or cell would."""
    space = {"__name__": "written", "np": np, **names}
    exec(textwrap.dedent(source), space)
    return space["train"]


def middle(value):
    array = np.zeros(5_000)
    array[2_500] = value
    return array


SINCE = "has changed since"
SILENT = {
    "an edited body": (
        {
            "train": written("def train(seeds): return {'v': np.full(len(seeds), 0.5)}"),
            "arms": {"a": {}},
        },
        {"train": written("def train(seeds): return {'v': np.full(len(seeds), 50.0)}")},
        f"train: its code or what it refers to {SINCE}",
    ),
    "an edited helper": (
        {
            "train": written(
                "def h(): return 1\ndef train(seeds): return {'v': np.full(len(seeds), h())}"
            ),
            "arms": {"a": {}},
        },
        {
            "train": written(
                "def h(): return 2\ndef train(seeds): return {'v': np.full(len(seeds), h())}"
            )
        },
        f"train: its code or what it refers to {SINCE}",
    ),
    "another lambda": (
        {"train": lambda seeds: {"v": np.full(len(seeds), 1)}, "arms": {"a": {}}},
        {"train": lambda seeds: {"v": np.full(len(seeds), 2)}},
        f"train: its code or what it refers to {SINCE}",
    ),
    "the middle of an array": (
        {
            "train": lambda seeds, x: {"v": np.full(len(seeds), x.sum())},
            "arms": {"a": {"x": middle(1)}},
        },
        {"arms": {"a": {"x": middle(2)}}},
        f"x of arm 'a': its content or what it refers to {SINCE}",
    ),
    "an object": (
        {
            "train": lambda seeds, x: {"v": np.full(len(seeds), x.value)},
            "arms": {"a": {"x": Plain(1)}, "b": {"x": Plain(1)}},
        },
        {"arms": {"a": {"x": Plain(1)}, "b": {"x": Plain(2)}}},
        f"x of arm 'b': its content or what it refers to {SINCE}",
    ),
    "a function": (
        {
            "train": lambda seeds, x: {"v": np.full(len(seeds), x())},
            "arms": {"a": {"x": lambda: 1}},
        },
        {"arms": {"a": {"x": lambda: 2}}},
        f"x of arm 'a': its content or what it refers to {SINCE}",
    ),
}


@pytest.mark.parametrize("first, change, message", SILENT.values(), ids=SILENT)
def test_a_folder_does_not_answer_for_what_was_edited(first, change, message, tmp_path):
    options = {"seeds": [0, 1], "folder": tmp_path / "kept", "n_jobs": 1}
    before = sweep(**first, **options)
    np.testing.assert_array_equal(sweep(**first, **options)["v"], before["v"])
    with pytest.raises(ValueError) as caught:
        sweep(**first | change, **options)
    assert str(caught.value) == f"{tmp_path / 'kept'} holds another sweep; {message}"
    part = message.partition(":")[0].partition(" ")[0]
    np.testing.assert_array_equal(
        sweep(**first | change, **options, changed=[part])["v"], before["v"]
    )
    with pytest.raises(ValueError, match=SINCE):  # said once, it is not said for ever
        sweep(**first | change, **options)


def test_results_of_two_codes_are_never_mixed_unasked(tmp_path):
    first = written(
        "def train(seeds, k):\n if k == 2: raise ValueError('no')\n return {'v': np.full(len(seeds), k)}"
    )
    second = written("def train(seeds, k): return {'v': np.full(len(seeds), 10 * k)}")
    options = {"arms": grid(k=[1, 2]), "seeds": [0], "folder": tmp_path, "n_jobs": 1}
    with pytest.raises(RuntimeError, match="ValueError: no"):
        sweep(first, **options)
    assert sweep(second, **options, changed=["train"])["v"].tolist() == [[1], [20]]
    # The folder is the first code's, and knows which of its files are not.
    with pytest.warns(
        UserWarning,
        match=f"computed again: {tmp_path}/task-00001.npz is of another sweep; train: its code or",
    ):
        with pytest.raises(RuntimeError, match="ValueError: no"):
            sweep(first, **options)
    with pytest.raises(ValueError, match="holds another sweep; train: its code or"):
        sweep(second, **options)


def test_what_cannot_be_compared_is_refused_unless_named(tmp_path):
    options = {"arms": {"a": {}}, "seeds": [0], "n_jobs": 1}
    assert sweep(Locked(1), **options)["value"].item() == 1
    with pytest.raises(TypeError) as caught:
        sweep(Locked(1), **options, folder=tmp_path)
    assert str(caught.value) == (
        "train would not be known again in the folder: a lock cannot be compared: cannot pickle '_thread.lock' object "
        "(found in Locked > lock); add 'train' to `changed` if it stays the same"
    )
    assert not list(tmp_path.iterdir())
    assert sweep(Locked(1), **options, folder=tmp_path, changed=["train"])["value"].item() == 1
    assert sweep(Locked(2), **options, folder=tmp_path, changed=["train"])["value"].item() == 1
    with pytest.raises(TypeError, match="would not be known again"):
        sweep(Locked(1), **options, folder=tmp_path)

    def train(seeds, lock):
        return {"value": np.full(len(seeds), 3)}

    options = {"arms": {"a": {"lock": threading.Lock()}}, "seeds": [0], "folder": tmp_path / "new"}
    with pytest.raises(
        TypeError, match="^lock of arm 'a' would not be known again .* add 'lock' to `changed`"
    ):
        sweep(train, **options)


def test_changed_options_are_not_compared_by_text_either(tmp_path):
    def train(seeds, k, data):
        return {"value": np.full(len(seeds), k)}

    options = {"seeds": [0], "folder": tmp_path, "n_jobs": 1}
    sweep(train, {"a": {"k": 1, "data": "v1"}}, **options)
    with pytest.raises(
        ValueError, match="holds another sweep; arms: saved .*'v1'.*, received .*'v2'"
    ):
        sweep(train, {"a": {"k": 1, "data": "v2"}}, **options)
    assert (
        sweep(train, {"a": {"k": 1, "data": "v2"}}, **options, changed=["data"])["value"].item()
        == 1
    )
    with pytest.raises(
        ValueError,
        match="holds another sweep; arms: saved {'a': {'k': '1'}}, received {'a': {'k': '2'}}",
    ):
        sweep(train, {"a": {"k": 2, "data": "v2"}}, **options, changed=["data"])


def test_a_changed_function_may_have_another_name(tmp_path):
    def train(seeds, k):
        return {"value": np.full(len(seeds), k)}

    def renamed(seeds, k):
        return {"value": np.full(len(seeds), 1 * k)}

    options = {"arms": {"a": {"k": 1}}, "seeds": [0], "folder": tmp_path, "n_jobs": 1}
    sweep(train, **options)
    with pytest.raises(ValueError, match="holds another sweep; train: saved .*received .*renamed"):
        sweep(renamed, **options)
    assert sweep(renamed, **options, changed=["train"])["value"].item() == 1


@pytest.mark.parametrize("changed", [["loss"], "train", ["train", "seeds"], None, [["train"]]])
def test_unknown_parts_are_no_changed_parts(changed):
    with pytest.raises(ValueError) as caught:
        sweep(train, grid(rate=[1]), seeds=[0], changed=changed)
    assert (
        str(caught.value)
        == f"changed must be a list of parts of this sweep, out of ['train', 'rate'], received {changed!r}"
    )


def test_a_file_of_another_sweep_is_not_taken(tmp_path):
    def train(seeds, k, factor=1):
        return {"value": np.full(len(seeds), k * factor)}

    arms = {"a": {"k": 1}, "b": {"k": 2}}
    others = {"a": {"k": 1, "factor": 5}, "b": {"k": 2, "factor": 5}}
    options = {"seeds": [0], "n_jobs": 1}
    sweep(train, arms, **options, folder=tmp_path / "first")
    sweep(train, others, **options, folder=tmp_path / "second")
    shutil.copy(tmp_path / "second" / "task-00001.npz", tmp_path / "first")
    with pytest.warns(
        UserWarning, match="computed again: .*task-00001.npz is of another sweep; arms: saved"
    ):
        assert sweep(train, arms, **options, folder=tmp_path / "first")["value"].tolist() == [
            [1],
            [2],
        ]
    # As if both had been started at once, and the second's label had come last.
    shutil.copy(tmp_path / "second" / "sweep.npz", tmp_path / "first")
    with pytest.raises(ValueError, match="holds another sweep"):
        sweep(train, arms, **options, folder=tmp_path / "first")
    with pytest.warns(UserWarning, match="is of another sweep"):
        assert sweep(train, others, **options, folder=tmp_path / "first")["value"].tolist() == [
            [5],
            [10],
        ]
    sweep(train, arms, **options | {"seeds": [7]}, folder=tmp_path / "third")
    shutil.copy(tmp_path / "third" / "task-00001.npz", tmp_path / "first")
    with pytest.warns(
        UserWarning, match="is of another sweep; arms: saved .*; seeds: saved .7., received .0."
    ):
        sweep(train, others, **options, folder=tmp_path / "first")
    shutil.copy(tmp_path / "first" / "task-00000.npz", tmp_path / "first" / "task-00001.npz")
    with pytest.warns(UserWarning, match="is of another sweep"):
        assert sweep(train, others, **options, folder=tmp_path / "first")["value"].tolist() == [
            [5],
            [10],
        ]


def test_a_folder_deleted_in_between_loses_nothing_silently(tmp_path):
    def train(seeds, k):
        if k == 1:
            shutil.rmtree(tmp_path / "kept")
        return {"value": np.full(len(seeds), k)}

    with pytest.raises(FileNotFoundError) as caught:
        sweep(train, grid(k=[0, 1, 2]), seeds=[0], n_jobs=1, folder=tmp_path / "kept")
    assert sorted(caught.value.finished) == ["k=0", "k=1"]


def test_a_label_that_is_none_is_refused(tmp_path):
    write_arrays(tmp_path / "sweep.npz", {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="sweep.npz is not of a sweep"):
        sweep(train, ARMS, seeds=[0], folder=tmp_path)
    write_arrays(tmp_path / "sweep.npz", {"about": np.array('{"train": "train"}')})
    with pytest.raises(ValueError, match="sweep.npz is not of a sweep"):
        sweep(train, ARMS, seeds=[0], folder=tmp_path)


def test_numbers_of_numpy_and_nan_are_the_same_sweep_again(tmp_path):
    def train(seeds, x):
        calls = tmp_path / "calls"
        calls.write_text((calls.read_text() if calls.exists() else "") + "x")
        return {"value": np.full(len(seeds), np.nansum(x))}

    for seeds in ([0, 1], np.array([0, 1], np.uint8), range(2)):
        arms = {"a": {"x": np.array([1.0, np.nan, 2.0])}}
        assert sweep(train, arms, seeds=seeds, folder=tmp_path / "kept", n_jobs=1)[
            "value"
        ].tolist() == [[3, 3]]
    assert (tmp_path / "calls").read_text() == "x"
    with pytest.raises(ValueError, match=r"seeds: saved \[0, 1\], received \[1, 0\]"):
        sweep(train, arms, seeds=[1, 0], folder=tmp_path / "kept", n_jobs=1)


def test_the_order_in_which_a_text_shows_what_is_equal_does_not_matter(tmp_path):
    def train(seeds, tags):
        return {"value": np.full(len(seeds), 1)}

    sweep(train, {"a": {"tags": {"x": 1, "y": 2}}}, seeds=[0], folder=tmp_path, n_jobs=1)
    sweep(train, {"a": {"tags": {"y": 2, "x": 1}}}, seeds=[0], folder=tmp_path, n_jobs=1)
    with pytest.raises(ValueError, match="arms: saved"):
        sweep(train, {"a": {"tags": {"y": 2, "x": 3}}}, seeds=[0], folder=tmp_path, n_jobs=1)
    assert list(grid(tags=[{20, 3}])) == ["tags=set of ['20', '3']"]


# --- Names ---------------------------------------------------------------------------------------


def test_arms_whose_names_are_one_as_text_are_refused():
    with pytest.raises(
        ValueError, match="^arms need names that differ as text, received 1 and '1'$"
    ):
        sweep(train, {1: {"rate": 1}, "1": {"rate": 2}}, seeds=[0])


@pytest.mark.parametrize(
    "values, text",
    [
        ([lambda: 1, lambda: 2], "<lambda>"),
        ([middle(1), middle(2)], repr(middle(1))),
        ([Plain(1), Plain(2)], "Plain"),
        ([threading.Lock(), threading.Lock()], "<unlocked _thread.lock object>"),
    ],
    ids=["lambdas", "arrays", "objects", "locks"],
)
def test_different_values_of_one_name_are_refused_as_that(values, text):
    with pytest.raises(ValueError) as caught:
        grid(rate=[1], x=values)
    assert str(caught.value) == (
        f"a grid names its arms by their values, and two different ones of 'x' are called {text}: "
        "write a dict of arms instead, with names of your own"
    )


def test_equal_values_of_any_kind_are_refused_as_before():
    with pytest.raises(ValueError, match="^a grid needs different values, received x=Plain twice$"):
        grid(x=[Plain(1), Plain(1)])


def test_a_quantity_does_not_replace_an_option():
    calls = []

    def train(seeds, loss):
        calls.append(loss)
        return {"loss": np.zeros(len(seeds))}

    with pytest.raises(
        ValueError,
        match="^a quantity must not be called as an option is, received the quantity and the option 'loss'",
    ):
        sweep(train, grid(loss=["a", "b"]), seeds=[0], n_jobs=1)
    assert calls == ["a"]


def test_an_option_called_arm_has_no_place_in_the_table():
    results = sweep(
        lambda seeds, arm: {"value": np.full(len(seeds), arm)},
        grid(arm=[1, 2]),
        seeds=[0],
        n_jobs=1,
    )
    assert results["value"].tolist() == [[1], [2]]
    with pytest.raises(
        ValueError,
        match="the table's column 'arm' holds the arms' names, received an option 'arm' in arm 'arm=1'",
    ):
        results.table()


# --- What train returns, and what it does to its options --------------------------------------------


@pytest.mark.parametrize(
    "second, message",
    [
        (np.zeros((1, 3)), "a row of 'v' has shape (2,) and dtype float64 for arm 'n=0', shape (3,) and dtype float64 for arm 'n=1'"),
        (np.zeros((1, 2), int), "a row of 'v' has shape (2,) and dtype float64 for arm 'n=0', shape (2,) and dtype int64 for arm 'n=1'"),
    ],
    ids=["shape", "dtype"],
)  # fmt: skip
@pytest.mark.parametrize("folder", [False, True])
def test_what_does_not_fit_is_refused_at_once_and_nothing_is_lost(
    second, message, folder, tmp_path
):
    trained = []

    def run(seeds, n):
        trained.append(n)
        return {"v": second if n == 1 else np.full((1, 2), 0.5)}

    options = {"seeds": [4], "n_jobs": 1} | (
        {"folder": tmp_path, "changed": ["train"]} if folder else {}
    )
    with pytest.raises(ValueError) as caught:
        sweep(run, grid(n=[0, 1, 2]), **options)
    assert (
        str(caught.value)
        == "train must return one shape and one kind of numbers for every arm and seed: " + message
    )
    assert trained == [0, 1] and list(caught.value.finished) == ["n=0", "n=1"]
    [(seeds, values)] = caught.value.finished["n=0"]
    assert seeds == [4] and values["v"].tolist() == [[0.5, 0.5]]
    np.testing.assert_array_equal(caught.value.finished["n=1"][0][1]["v"], second)
    assert "2 of 3 calls of train" in caught.value.__notes__[-1]
    if folder:
        second = np.full((1, 2), 0.25)
        assert sweep(run, grid(n=[0, 1, 2]), **options)["v"][:, 0, 0].tolist() == [0.5, 0.25, 0.5]
        assert trained == [0, 1, 1, 2]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_without_a_folder_keeps_what_was_trained(error, tmp_path):
    runs = Interrupted(tmp_path, error)
    (tmp_path / "broken").touch()
    with pytest.raises(error) as caught:
        sweep(runs, grid(arm=[0, 2, 3]), seeds=[0, 3, 6], chunk=2, n_jobs=1)
    [(first, values), (second, rest)] = caught.value.finished["arm=0"]
    assert (
        (first, second) == ([0, 3], [6])
        and values["value"].tolist() == [0, 1]
        and rest["value"].tolist() == [2]
    )
    assert list(caught.value.finished) == ["arm=0"]


def test_files_that_do_not_fit_each_other_are_refused_before_training(tmp_path):
    def run(seeds, n):
        (tmp_path / f"ran-{n}").touch()
        return {"v": np.zeros((len(seeds), 2))}

    options = {
        "train": run,
        "arms": grid(n=[0, 1]),
        "seeds": [0],
        "folder": tmp_path / "kept",
        "n_jobs": 1,
    }
    sweep(**options)
    file = tmp_path / "kept" / "task-00001.npz"
    write_arrays(file, read_arrays(file) | {"values/v": np.zeros((1, 3))})
    with pytest.raises(ValueError, match=r"shape \(3,\) and dtype float64 for arm 'n=1'") as caught:
        sweep(**options)
    assert sorted(caught.value.finished) == ["n=0", "n=1"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_task_that_changes_its_options_changes_nobody_elses(n_jobs):
    def train(seeds, options, rng):
        options["steps"] += 1
        options["list"].append(0)
        return {
            "steps": np.full(len(seeds), options["steps"]),
            "draw": np.full(len(seeds), rng.normal()),
        }

    shared = {"options": {"steps": 1, "list": []}, "rng": np.random.default_rng(0)}
    results = sweep(train, {"a": shared, "b": shared}, seeds=[0, 1], chunk=1, n_jobs=n_jobs)
    assert results["steps"].tolist() == [[2, 2], [2, 2]] and len(set(results["draw"].ravel())) == 1
    assert results.arms["a"]["options"] == {"steps": 1, "list": []} == shared["options"]


def test_a_buffer_that_is_filled_again_does_not_change_what_was_returned():
    buffer = np.zeros((4, 3))

    def train(seeds, k):
        buffer[:] = k
        return {"value": buffer[: len(seeds)], "column": buffer[: len(seeds), 0]}

    results = sweep(train, grid(k=[1.0, 2.0]), seeds=[0, 1], n_jobs=1)
    assert results["value"][:, 0, 0].tolist() == [1, 2] == results["column"][:, 1].tolist()


@pytest.mark.parametrize(
    "value, message",
    [
        (
            {"v": np.ma.array([1, 2], mask=[0, 1])},
            "train must return numbers, received masked ones as 'v' of arm 'a'",
        ),
        (
            {"v": np.array([1, 2], object)},
            "'v' of arm 'a' has shape (2,) and dtype object for 2 seeds",
        ),
        (
            {"v": [[1], [1, 2]]},
            "train must return arrays, received from arm 'a' what is none: setting an array element",
        ),
        ({"v": np.array([1j, 2])}, "'v' of arm 'a' has shape (2,) and dtype complex128"),
        ({3: [1, 2]}, "train must name its quantities by text, received 3 from arm 'a'"),
    ],
)
def test_what_is_no_plain_array_of_numbers_is_refused(value, message):
    with pytest.raises(ValueError) as caught:
        sweep(**returning(value), n_jobs=1)
    assert message in str(caught.value)


def test_half_precision_comes_back_as_it_was(tmp_path):
    def train(seeds):
        return {"v": np.array([0.1, 1e-7], np.float16)}

    for _ in range(2):
        results = sweep(train, {"a": {}}, seeds=[0, 1], folder=tmp_path, n_jobs=1)
        assert results["v"].dtype == np.float16 and results["v"].tolist() == [
            train([0, 1])["v"].tolist()
        ]
