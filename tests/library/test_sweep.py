"""Sweeps: the same numbers however they are computed, and nothing lost when one is interrupted."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import joblib
import numpy as np
import pytest

from trainlab.files import read_arrays, write_arrays
from trainlab.losses import softmax_cross_entropy
from trainlab.models import MLP
from trainlab.optimizers import SGD
from trainlab.schedules import Constant, Linear
from trainlab.sweep import grid, sweep
from trainlab.trainer import Trainer

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(60, 5)), RNG.integers(0, 3, 60)


def train(seeds, rate, batch_size=8):
    """A real training: the loss at the end, and a whole curve of them."""
    trainer = Trainer(MLP((5, 8, 3)), softmax_cross_entropy, SGD(), Constant(rate), batch_size=batch_size, seed=seeds)
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
        options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with distributed.LocalCluster(**options) as cluster:
            # start dask
            with distributed.Client(cluster), joblib.parallel_config(backend="dask"):
                results = sweep(train, ARMS, seeds=range(5), chunk=2)
            # end dask
    np.testing.assert_array_equal(results["loss"], expected())


def test_the_order_is_that_of_the_arms_whichever_finishes_first():
    def slow_first(seeds, wait):
        time.sleep(wait)
        return {"wait": np.full(len(seeds), wait)}

    results = sweep(slow_first, grid(wait=[0.3, 0.0, 0.1]), seeds=[7], n_jobs=2)
    assert results["wait"].ravel().tolist() == [0.3, 0.0, 0.1]


def test_the_table_has_a_row_for_each_arm_and_seed():
    results = sweep(train, grid(rate=[0.1, 0.2]), seeds=[3, 5], n_jobs=1)
    rows = results.table()
    assert [(row["arm"], row["rate"], row["seed"]) for row in rows] == [
        ("rate=0.1", 0.1, 3), ("rate=0.1", 0.1, 5), ("rate=0.2", 0.2, 3), ("rate=0.2", 0.2, 5),
    ]  # fmt: skip
    assert rows[2]["loss"] == results["loss"][1, 0] and type(rows[2]["loss"]) is float
    assert len(rows[0]["curve"]) == 20


def test_a_grid_is_every_combination_and_names_functions_by_name():
    arms = grid(schedule=[Constant(0.1), Linear(0.1, 5)], loss=[softmax_cross_entropy])
    assert list(arms) == [
        "schedule=Constant(peak=0.1), loss=softmax_cross_entropy",
        "schedule=Linear(peak=0.1, total_steps=5, floor=0.0), loss=softmax_cross_entropy",
    ]
    assert arms["schedule=Constant(peak=0.1), loss=softmax_cross_entropy"]["loss"] is softmax_cross_entropy
    with pytest.raises(ValueError, match="a grid needs different values, received rate=1 twice"):
        grid(rate=[1, 1])


def test_diverged_runs_are_results():
    results = sweep(lambda seeds: {"loss": np.array([np.inf, np.nan])}, {"lost": {}}, seeds=[0, 1], n_jobs=1)
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
        assert str(caught.value) == "arm 'arm=2' with seeds [4, 5] failed: RuntimeError: out of luck"
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
    with pytest.warns(UserWarning, match="computed again: .*task-00001.npz is not a whole file of arrays"):
        second = sweep(runs, grid(arm=[0, 1]), **options)
    np.testing.assert_array_equal(first["value"], second["value"])
    assert runs.calls() == ["0:1", "1:1", "1:1"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seeds": [1, 3]}, "seeds: saved [1, 2], received [1, 3]"),
        ({"chunk": 1}, "chunk: saved 2, received 1"),
        ({"arms": grid(arm=[0, 9])}, "arms: saved {'arm=0': {'arm': '0'}, 'arm=1': {'arm': '1'}}, received {'arm=0': {'arm': '0'}, 'arm=9': {'arm': '9'}}"),
        ({"train": train}, "train: saved Interrupted, received train"),
    ],
    ids=["seeds", "chunk", "arms", "train"],
)
def test_the_folder_of_another_sweep_is_refused(change, message, tmp_path):
    options = {"train": Interrupted(tmp_path), "arms": grid(arm=[0, 1]), "seeds": [1, 2], "chunk": 2}
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
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
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
    ({"seeds": [1, 1]}, ValueError, "seeds must be different numbers, at least one, received [1, 1]"),
    ({"seeds": [-1]}, ValueError, "a seed must be at least 0, received -1"),
    ({"n_jobs": 0}, ValueError, "n_jobs must not be 0: -1 takes every core, 1 stays in this process"),
    ({"chunk": 0}, ValueError, "chunk must be at least 1, received 0"),
    (returning(3.0), ValueError, "train must return a dict of arrays, received 3.0 from arm 'a'"),
    (returning({}), ValueError, "train must return a dict of arrays, received {} from arm 'a'"),
    (returning({"v": [1.0]}), ValueError, "'v' of arm 'a' has shape (1,) and dtype float64 for 2 seeds"),
    (returning({"v": 1.0}), ValueError, "'v' of arm 'a' has shape () and dtype float64 for 2 seeds"),
    (returning({"v": ["x", "y"]}), ValueError, "'v' of arm 'a' has shape (2,) and dtype <U1 for 2 seeds"),
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

    with pytest.raises(RuntimeError, match=r"^arm 'arm=60' with seeds \[0\] failed: ValueError: out of luck") as caught:
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
        sweep(lambda seeds, arm: {"value": np.zeros(1)}, grid(arm=range(20)), seeds=[0], n_jobs=2, folder=tmp_path)


def test_the_same_arms_in_another_order_are_another_sweep(tmp_path):
    def train(seeds, k):
        return {"value": np.full(len(seeds), k)}

    sweep(train, {"a": {"k": 1}, "b": {"k": 2}}, seeds=[0], n_jobs=1, folder=tmp_path)
    with pytest.raises(ValueError, match=r"order of the arms: saved \['a', 'b'\], received \['b', 'a'\]"):
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
        return {"file": np.zeros(1), "b": np.ones(1)} if k else {"b": np.ones(1), "file": np.zeros(1)}

    assert sweep(train, grid(k=[0, 1]), seeds=[0], n_jobs=1, folder=tmp_path)["b"].tolist() == [[1], [1]]


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
    with pytest.raises(ValueError, match=r"; seeds: saved \[1, 2\], received \[3\]; chunk: saved 2, received 1$"):
        sweep(runs, grid(arm=[0]), seeds=[3], folder=tmp_path / "sweep", n_jobs=1)


def test_a_task_of_another_number_is_left_alone(tmp_path):
    runs = Interrupted(tmp_path)
    sweep(runs, grid(arm=[0]), seeds=[1], folder=tmp_path / "sweep", n_jobs=1)
    (tmp_path / "sweep" / "task-00001.npz").write_bytes(b"not of this sweep")
    assert sweep(runs, grid(arm=[0]), seeds=[1], folder=tmp_path / "sweep", n_jobs=1)["value"].shape == (1, 1)


@pytest.mark.parametrize("reserved", ["seed", "seeds"])
def test_an_option_cannot_be_called_like_the_seeds(reserved):
    with pytest.raises(ValueError, match=f"an option must not be called '{reserved}', received one in arm 'a'"):
        sweep(train, {"a": {reserved: 1}}, seeds=[0], n_jobs=1)


def test_n_jobs_must_be_whole():
    with pytest.raises(TypeError, match="n_jobs must be a whole number, received 1.5"):
        sweep(train, ARMS, seeds=[0], n_jobs=1.5)
