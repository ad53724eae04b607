"""Trainings interrupted anywhere: at every line that `fit` can reach, and by what users really press."""

import functools
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import trainlab
from trainlab.callbacks import Checkpoint, EarlyStopping, Evaluation, ReduceOnPlateau
from trainlab.losses import softmax_cross_entropy
from trainlab.models import MLP
from trainlab.optimizers import SGD, Adam, AdamW
from trainlab.schedules import Cosine
from trainlab.trainer import Trainer

LIBRARY = str(Path(trainlab.__file__).parent)
RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(12, 3)), RNG.integers(0, 2, 12)
STEPS = 4


class InPlace:
    """An optimizer of a user's own: momentum, changed in place, without `out`."""

    def init(self, params):
        return {name: np.zeros_like(value) for name, value in params.items()}

    def update(self, params, gradients, state, rate):
        for name in params:
            state[name] *= 0.5
            state[name] += gradients[name]
            params[name] -= rate * state[name]


class Interrupt(BaseException):
    """Neither an error nor Ctrl-C: what no code may expect."""


def traced(call, on_line, files=LIBRARY):
    """Call, and have `on_line(file, line)` called before each line of the library that is reached; it may raise."""

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(files):
            return None
        if event == "line":
            on_line(frame.f_code.co_filename, frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)


def interrupted(call, error, file, line, time):
    """Call, and raise `error` when a line is reached the `time`-th time; return whether it came so far."""
    left = time

    def on_line(_, reached):
        nonlocal left
        left -= reached == line
        if left == 0 and reached == line:
            raise error

    try:
        traced(call, on_line, file)
    except type(error):
        return True
    return False


def parts(kind, folder):
    """A run with everything that has a memory, and the callbacks that go with it."""
    optimizer = {
        "adamw": AdamW(weight_decay=0.1),
        "adam": Adam(),
        "momentum": SGD(0.9),
        "in place": InPlace(),
    }[kind]
    options = {
        "batch_size": 2,
        "accumulate": 2,
        "max_norm": 0.5,
        "replicas": 2 if kind == "adam" else None,
    }
    callbacks = [
        ReduceOnPlateau(X, LABELS, every=1, patience=1, factor=0.5, threshold=0.5),
        Evaluation(X, LABELS, every=2),
        EarlyStopping(X, LABELS, every=1, patience=9),
        Checkpoint(folder, every=3),
    ]
    loss = functools.partial(softmax_cross_entropy, label_smoothing=0.1)
    return (MLP((3, 2, 2)), loss, optimizer, Cosine(0.5, STEPS)), options, callbacks


def ends(trainer, callbacks):
    found = {"step": trainer.step, "scale": trainer.rate_scale, "diverged": trainer.diverged}
    groups = {"params": trainer.params, "state": trainer.state, "history": trainer.history}
    groups |= {type(each).__name__: each.state for each in callbacks if hasattr(each, "state")}
    return found | {
        f"{group}/{name}": value
        for group, values in groups.items()
        for name, value in values.items()
    }


def assert_identical(first, second, line):
    assert first.keys() == second.keys(), line
    for name in first:
        np.testing.assert_array_equal(
            first[name], second[name], err_msg=f"{name}, interrupted at line {line}"
        )


def go_on(trainer, callbacks):
    trainer.fit(X, LABELS, steps=STEPS - trainer.step, callback=callbacks, progress=False)


@pytest.mark.parametrize("kind", ["adamw", "adam", "momentum", "in place"])
def test_interrupted_at_every_line_it_goes_on_as_if_nothing_had_been(kind, tmp_path):
    # A file that was opened and not yet held when the interruption came is closed by the collector,
    # which warns.
    warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
    arguments, options, callbacks = parts(kind, tmp_path / "unbroken")
    unbroken = Trainer(*arguments, **options)
    go_on(unbroken, callbacks)
    expected = ends(unbroken, callbacks)
    assert np.any(expected["scale"] < 1), "the plateau had nothing to do"

    arguments, options, callbacks = parts(kind, tmp_path / "lines")
    trainer, times = Trainer(*arguments, **options), {}
    traced(
        lambda: go_on(trainer, callbacks),
        lambda *line: times.update({line: times.get(line, 0) + 1}),
    )
    assert len(times) > 400 and {Path(file).stem for file, _ in times} > {
        "trainer",
        "callbacks",
        "files",
        "models",
        "identity",
    }
    for number, (file, line) in enumerate(times):
        if kind != "adamw" and Path(file).stem != "optimizers":
            continue  # the same lines as there
        # The first time it is reached, and late where something is changed; elsewhere numbers are
        # computed, and once will do.
        changing = Path(file).stem in {
            "trainer",
            "callbacks",
            "checkpoints",
            "files",
            "optimizers",
            "batches",
            "buffers",
            "history",
        }
        for time in sorted({1, max(1, times[file, line] - number % 3) if changing else 1}):
            folder = tmp_path / f"{number}-{time}"
            arguments, options, callbacks = parts(kind, folder)
            trainer = Trainer(*arguments, **options)
            error = (KeyboardInterrupt(), MemoryError(), Interrupt())[number % 3]
            came = interrupted(lambda: go_on(trainer, callbacks), error, file, line, time)
            # Which remembers what it has read, and may come by no more.
            assert came or Path(file).stem == "identity"
            if number % 5 == 0:
                # The process ends here; another one goes on from what can be saved now.
                trainer.save(tmp_path / "run")
                arguments, options, callbacks = parts(kind, folder)
                trainer = Trainer.resume(tmp_path / "run", *arguments, **options)
            go_on(trainer, callbacks)
            assert_identical(ends(trainer, callbacks), expected, f"{file}:{line}, time {time}")


def test_an_interruption_may_come_again_and_again(tmp_path):
    arguments, options, callbacks = parts("adamw", tmp_path / "unbroken")
    unbroken = Trainer(*arguments, **options)
    go_on(unbroken, callbacks)
    expected = ends(unbroken, callbacks)
    for gap in (211, 463, 1307):
        arguments, options, callbacks = parts("adamw", tmp_path / f"{gap}")
        trainer, interruptions, left = Trainer(*arguments, **options), 0, gap

        def on_line(file, line):
            nonlocal left
            left -= "identity" not in file
            if left == 0:
                raise KeyboardInterrupt

        while True:
            try:
                traced(lambda: go_on(trainer, callbacks), on_line)
                break
            except KeyboardInterrupt:
                interruptions, left = interruptions + 1, gap + 41 * interruptions
        assert interruptions > 2
        assert_identical(ends(trainer, callbacks), expected, gap)


def test_an_update_that_fails_leaves_no_trace_of_itself():
    class Failing(Adam):
        def update(self, params, gradients, state, rate, out=None):
            super().update(params, gradients, state, rate, out)
            if state["updates"] == self.fails_at:
                raise MemoryError

    class Stopping(Failing):
        fails_at = 2

    trainer = Trainer(
        MLP((3, 2, 2)), softmax_cross_entropy, Stopping(), Cosine(0.5, STEPS), batch_size=4
    )
    seen = []
    with pytest.raises(MemoryError):
        trainer.fit(
            X,
            LABELS,
            steps=STEPS,
            progress=False,
            callback=lambda t: seen.append(t.params["W1"].copy()),
        )
    assert trainer.step == 2 and trainer.state["updates"] == 2
    np.testing.assert_array_equal(trainer.params["W1"], seen[-1])
