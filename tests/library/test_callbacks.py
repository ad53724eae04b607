"""Callbacks: evaluation, early stopping, plateaus, checkpoints, and trainings killed at any moment."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from trainlab import callbacks
from trainlab.callbacks import (
    Average,
    Checkpoint,
    EarlyStopping,
    Evaluation,
    ReduceOnPlateau,
    StopTraining,
)
from trainlab.checkpoints import saved_files
from trainlab.losses import softmax_cross_entropy, squared_error
from trainlab.models import MLP, Linear
from trainlab.optimizers import SGD, Adam, AdamW, Muon, ScheduleFreeAdamW
from trainlab.schedules import Constant, Cosine
from trainlab.trainer import Trainer

RNG = np.random.default_rng(0)
N, D = 40, 5
X, Y, LABELS = RNG.normal(size=(N, D)), RNG.normal(size=(N, 1)), RNG.integers(0, 3, N)
MODEL = Linear(D, 1, dtype=np.float64)


def make(optimizer=None, schedule=None, **options):
    return Trainer(
        MODEL,
        squared_error,
        optimizer or SGD(),
        schedule or Constant(0.01),
        batch_size=8,
        **options,
    )


def scripted(values):
    """A measure that reads its values from a list: what the callback does with them is what is tested."""
    values = iter(values)
    return lambda trainer, x, y: np.broadcast_to(next(values), trainer.diverged.shape)


def fit(trainer, steps, callback):
    return trainer.fit(X, Y, steps=steps, callback=callback, progress=False)


# --- Evaluation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [None, 3])
def test_evaluation_records_the_loss_on_other_examples(replicas):
    watch, seen = Evaluation(X[:9], Y[:9], every=3), []
    trainer = make(replicas=replicas)
    fit(trainer, 10, [watch, lambda t: seen.append(t.evaluate(X[:9], Y[:9]))])
    assert watch.history["step"].tolist() == [3, 6, 9]
    assert watch.history["value"].shape == (3,) + trainer.diverged.shape
    np.testing.assert_array_equal(watch.history["value"], [seen[2], seen[5], seen[8]])


def test_nothing_evaluated_is_an_empty_history():
    watch = Evaluation(X, Y, every=5)
    fit(make(), 4, watch)
    assert {name: rows.tolist() for name, rows in watch.history.items()} == {
        "step": [],
        "value": [],
    }


@pytest.mark.parametrize("value", [np.nan, [1.0, 2.0]])
def test_a_measure_that_is_no_number_is_refused(value):
    with pytest.raises(
        ValueError, match=r"a measure must return numbers of shape \(\), received .* at step 2"
    ):
        fit(make(), 3, Evaluation(X, Y, every=2, measure=lambda trainer, x, y: value))


def test_evaluation_weighs_as_evaluate_does():
    weights = RNG.random(9)
    watch, seen = Evaluation(X[:9], Y[:9], every=3, weights=weights), []
    fit(make(), 3, [watch, lambda t: seen.append(t.evaluate(X[:9], Y[:9], weights=weights))])
    assert watch.history["value"].tolist() == [seen[2]] and seen[2] != make().evaluate(X[:9], Y[:9])
    with pytest.raises(ValueError, match="received weights and a measure, which weighs by itself"):
        Evaluation(X, Y, every=1, weights=np.ones(N), measure=lambda *_: 0.0)


# --- One callback, several trainings -------------------------------------------------------------


def test_early_stopping_begins_anew_with_each_training():
    def trained(stopping, seed):
        trainer = fit(make(schedule=Constant(0.05), seed=seed), 3000, stopping)
        return trainer.step, stopping.best_step, stopping.best, stopping.best_params["W"].tolist()

    options = {"every": 5, "patience": 3}
    used = EarlyStopping(X[:20], Y[:20], **options)
    results = [trained(used, seed) for seed in (0, 1)]
    assert results == [trained(EarlyStopping(X[:20], Y[:20], **options), seed) for seed in (0, 1)]
    assert results[1][0] > 15, "the second training would have stopped at once in any case"


def test_a_plateau_begins_anew_with_each_training():
    values = [3.0, 2.0, 2.0, 1.0] + [3.0, 2.5, 2.4, 2.3]
    plateau = ReduceOnPlateau(
        X, Y, every=1, patience=1, factor=0.5, better="lower", measure=scripted(values)
    )
    assert [fit(make(), 4, plateau).rate_scale for _ in range(2)] == [0.5, 1.0]


def test_evaluation_keeps_a_history_for_each_training_and_finds_it_again():
    watch, first, second = Evaluation(X, Y, every=2), make(), make(seed=1)
    alone = Evaluation(X, Y, every=2)
    fit(make(), 6, alone)
    fit(first, 3, watch)
    fit(second, 4, watch)
    assert watch.history["step"].tolist() == [2, 4]
    fit(first, 3, watch)
    for name, rows in alone.history.items():
        np.testing.assert_array_equal(watch.history[name], rows)


def test_a_callback_called_by_another_one_tells_trainings_apart_too():
    stopping = EarlyStopping(
        X, Y, every=1, patience=2, better="lower", measure=scripted([1.0, 2.0, 2.0, 5.0, 4.0, 3.0])
    )
    assert [fit(make(), 3, lambda trainer: stopping(trainer)).step for _ in range(2)] == [3, 3]
    assert stopping.best == 3.0


def test_the_same_callback_twice_is_refused():
    watch = Evaluation(X, Y, every=1)
    with pytest.raises(
        ValueError, match="callbacks must be different objects, received one of them twice"
    ):
        fit(make(), 1, [watch, watch])


# --- Early stopping ------------------------------------------------------------------------------


def test_early_stopping_by_hand():
    stopping = EarlyStopping(
        X,
        Y,
        every=2,
        patience=2,
        better="lower",
        measure=scripted([5.0, 4.0, 4.0, 3.9, 4.5, 3.9, 0.0]),
    )
    params = {}
    trainer = fit(make(), 100, [lambda t: params.update({t.step: t.params["W"].copy()}), stopping])
    # Improvements at steps 2, 4 and 8; the evaluations at 10 and 12 (a tie) spend the patience.
    assert trainer.step == 12
    assert (stopping.best, stopping.best_step) == (3.9, 8)
    np.testing.assert_array_equal(stopping.best_params["W"], params[8])
    assert not np.array_equal(trainer.params["W"], params[8])


def test_an_improvement_has_to_pass_the_threshold_whatever_the_sign():
    for values, steps in (
        ([-1.0, -1.05, -1.2, -1.2, -1.2], 5),
        ([1.0, 0.95, 0.89, 0.89, 0.89], 5),
        ([1.0, 0.95, 0.91], 3),
    ):
        stopping = EarlyStopping(
            X, Y, every=1, patience=2, threshold=0.1, better="lower", measure=scripted(values)
        )
        assert fit(make(), 50, stopping).step == steps


def accuracies(values):
    return EarlyStopping(
        X, Y, every=1, patience=2, threshold=0.1, better="higher", measure=scripted(values)
    )


def test_of_an_accuracy_the_highest_is_kept():
    stopping = accuracies([0.5, 0.9, 0.7, 0.95, 0.2])
    assert fit(make(), 50, stopping).step == 4
    assert (stopping.best, stopping.best_step) == (0.9, 2)
    assert fit(make(), 50, accuracies([-0.5, -0.4, -0.39, -0.3, -0.3, -0.3])).step == 6


def test_a_plateau_of_an_accuracy_is_where_it_no_longer_rises():
    values = [0.5, 0.6, 0.6, 0.7]
    plateau = ReduceOnPlateau(
        X, Y, every=1, patience=1, factor=0.5, better="higher", measure=scripted(values)
    )
    assert fit(make(), 4, plateau).rate_scale == 0.5


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceOnPlateau])
def test_whether_more_is_better_has_to_be_said(kind):
    with pytest.raises(
        ValueError,
        match="a measure of your own needs better='lower' or better='higher', received none",
    ):
        kind(X, Y, every=1, patience=1, measure=lambda *_: 0.5)
    with pytest.raises(
        ValueError, match="better must be one of 'lower', 'higher', received 'more'"
    ):
        kind(X, Y, every=1, patience=1, better="more")
    assert kind(X, Y, every=1, patience=1).better == "lower"


def test_an_infinite_value_is_no_improvement():
    stopping = EarlyStopping(
        X, Y, every=1, patience=2, threshold=0.5, better="lower", measure=scripted([np.inf, np.inf])
    )
    assert fit(make(), 50, stopping).step == 2


def test_each_replica_stops_by_itself_as_it_would_alone():
    rates = [0.001, 0.2, 0.05]
    options = {"every": 2, "patience": 2}
    together = EarlyStopping(X[:20], Y[:20], **options)
    fit(make(schedule=[Constant(rate) for rate in rates], seed=[3, 3, 3]), 60, together)
    steps = []
    for r, rate in enumerate(rates):
        alone = EarlyStopping(X[:20], Y[:20], **options)
        fit(make(schedule=Constant(rate), seed=3), 60, alone)
        steps.append(alone.best_step)
        assert together.best[r] == alone.best and together.best_step[r] == alone.best_step
        for name, value in alone.best_params.items():
            np.testing.assert_array_equal(together.best_params[name][r], value)
    assert len(set(steps)) > 1


def test_before_the_first_evaluation_there_is_no_best():
    stopping = EarlyStopping(X, Y, every=7, patience=1)
    for name in ("best", "best_step", "best_params"):
        with pytest.raises(
            ValueError,
            match="nothing was evaluated yet: the first evaluation comes after 7 updates",
        ):
            getattr(stopping, name)


def test_the_best_parameters_are_a_copy_that_a_trainer_can_go_on_from():
    stopping = EarlyStopping(
        X, Y, every=1, patience=3, better="lower", measure=scripted([1.0, 2.0, 3.0, 4.0])
    )
    trainer = fit(make(), 20, stopping)
    trainer.params = stopping.best_params
    fit(trainer, 5, None)
    assert not np.array_equal(trainer.params["W"], stopping.best_params["W"])


# --- Plateaus ------------------------------------------------------------------------------------


def test_the_rate_falls_on_a_plateau_by_hand():
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    plateau = ReduceOnPlateau(
        X, Y, every=1, patience=2, factor=0.5, better="lower", measure=scripted(values)
    )
    trainer = fit(make(schedule=Constant(1e-3)), 8, plateau)
    # The values at steps 3 and 4 are the first plateau; 5 begins a new count, 6 improves, 7 and 8
    # do not.
    assert (trainer.history["rate"] / 1e-3).tolist() == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    assert trainer.rate_scale == 0.25


def test_a_plateau_of_a_negative_loss_is_a_plateau():
    plateau = ReduceOnPlateau(
        X, Y, every=1, patience=1, factor=0.5, better="lower", measure=scripted([-1.0, -1.0, -1.0])
    )
    assert fit(make(), 3, plateau).rate_scale == 0.25


def test_the_scale_does_not_fall_below_the_smallest_nor_rise_to_it():
    plateau = ReduceOnPlateau(
        X,
        Y,
        every=1,
        patience=1,
        factor=0.1,
        smallest=0.05,
        better="lower",
        measure=scripted([1.0] * 9),
    )
    trainer = fit(make(), 5, plateau)
    assert trainer.rate_scale == 0.05
    trainer.rate_scale = np.array(0.01)
    assert fit(trainer, 2, plateau).rate_scale == 0.01


def test_each_replica_has_its_own_plateau():
    plateau = ReduceOnPlateau(
        X,
        Y,
        every=1,
        patience=1,
        factor=0.5,
        better="lower",
        measure=scripted([[1.0, 1.0], [0.5, 1.0], [0.2, 1.0]]),
    )
    assert fit(make(replicas=2), 3, plateau).rate_scale.tolist() == [1.0, 0.25]


# --- Averages ------------------------------------------------------------------------------------


def recorded(trainer, steps, callbacks):
    """The parameters after each update, in float64, and what the callbacks did beside."""
    path = []

    def record(trainer):
        path.append({name: value.astype(np.float64) for name, value in trainer.params.items()})

    fit(trainer, steps, [*callbacks, record])
    return path


@pytest.mark.parametrize(
    "options, taken",
    [
        ({}, range(1, 11)),
        ({"start": 1}, range(1, 11)),
        ({"start": 4}, range(4, 11)),
        ({"every": 3}, (3, 6, 9)),
        ({"start": 4, "every": 3}, (6, 9)),
        ({"start": 10}, (10,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("decay", [None, 0.75, 0.0])
@pytest.mark.parametrize("replicas", [None, 2])
def test_an_average_is_the_weighted_mean_of_what_the_updates_left(options, taken, decay, replicas):
    average = Average(decay=decay, **options)
    path = recorded(make(replicas=replicas), 10, [average])
    ages = np.arange(len(taken))[::-1]
    weights = np.ones(len(taken)) if decay is None else decay**ages
    assert average.count == len(taken)
    for name, value in average.params.items():
        values = [path[step - 1][name] for step in taken]
        expected = np.average(values, axis=0, weights=weights)
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-15)


def test_the_average_of_a_noisy_descent_is_closer_to_the_best_than_its_last_point():
    best = np.linalg.lstsq(np.hstack([X, np.ones((N, 1))]), Y, rcond=None)[0][:D]
    average = Average(start=300)
    trainer = fit(make(schedule=Constant(0.1), replicas=8), 2000, average)
    last, mean = (
        np.linalg.norm(each["W"] - best, axis=(1, 2)) for each in (trainer.params, average.params)
    )
    assert (mean < 0.5 * last).all()


def test_an_average_changes_nothing_in_the_training():
    arguments, options, _ = run_of(KINDS[0])
    plain, watched = (
        Trainer(*arguments, **options).fit(X, LABELS, steps=9, callback=callback, progress=False)
        for callback in (None, Average(decay=0.5))
    )
    assert_identical(everything(plain, []), everything(watched, []))


@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_average_of_a_replica_is_that_of_the_run_alone_bit_for_bit(decay):
    together = Average(start=2, decay=decay)
    fit(make(seed=[3, 4, 5]), 8, together)
    for r, seed in enumerate((3, 4, 5)):
        alone = Average(start=2, decay=decay)
        fit(make(seed=seed), 8, alone)
        for name, value in alone.params.items():
            np.testing.assert_array_equal(together.params[name][r], value)


def test_an_average_has_the_parameters_type_and_float64s_digits():
    model = Linear(D, 1)
    average = Average(decay=1 - 1e-9)
    trainer = Trainer(model, squared_error, SGD(), Constant(0.01), batch_size=8)
    path = recorded(trainer, 30, [average])
    for name, value in average.params.items():
        assert value.dtype == np.float32 and average.state[f"params/{name}"].dtype == np.float64
        expected = np.mean([each[name] for each in path], axis=0)
        np.testing.assert_allclose(average.state[f"params/{name}"], expected, rtol=1e-7)
        np.testing.assert_array_equal(value, average.state[f"params/{name}"].astype(np.float32))


@pytest.mark.parametrize("replicas", [None, 3])
def test_to_evaluate_with_the_average_is_to_evaluate_a_trainer_that_has_it(replicas):
    average, weights = Average(start=5), RNG.random(9)
    watch = Evaluation(X[:9], Y[:9], every=5, measure=average.evaluate)
    trainer = make(schedule=Constant(0.05), replicas=replicas)
    fit(trainer, 10, [average, watch])
    before = {name: value.copy() for name, value in trainer.params.items()}
    found = average.evaluate(trainer, X[:9], Y[:9], weights=weights)
    for name, value in before.items():
        np.testing.assert_array_equal(trainer.params[name], value)
    other = make(replicas=replicas)
    other.params = average.params
    np.testing.assert_array_equal(found, other.evaluate(X[:9], Y[:9], weights=weights))
    np.testing.assert_array_equal(watch.history["value"][-1], other.evaluate(X[:9], Y[:9]))
    assert np.all(watch.history["value"][-1] != trainer.evaluate(X[:9], Y[:9]))
    # The trainer goes on as if it had not been asked.
    alone = fit(make(schedule=Constant(0.05), replicas=replicas), 15, None)
    np.testing.assert_array_equal(fit(trainer, 5, None).params["W"], alone.params["W"])


def test_asked_twice_at_a_step_an_average_takes_the_parameters_once():
    once, twice = Average(), Average()
    fit(make(), 3, once)
    fit(make(), 3, [twice, lambda trainer: twice(trainer)])
    assert once.count == twice.count == 3
    np.testing.assert_array_equal(once.params["W"], twice.params["W"])


def test_an_average_begins_anew_with_each_training_and_finds_it_again():
    average, alone, first = Average(), Average(), make()
    fit(make(), 6, alone)
    fit(first, 2, average)
    fit(make(seed=1), 5, average)
    assert average.count == 5
    fit(first, 4, average)
    assert average.count == 6
    np.testing.assert_array_equal(average.params["W"], alone.params["W"])


@pytest.mark.parametrize(
    "options, first",
    [({}, 1), ({"start": 7}, 7), ({"start": 7, "every": 5}, 10), ({"every": 6}, 6)],
    ids=str,
)
def test_before_the_first_parameters_there_is_no_average(options, first):
    average = Average(**options)
    fit(make(), first - 1, average)
    assert average.count == 0
    message = f"nothing was averaged yet: the first parameters are those after {first} updates"
    for ask in (lambda: average.params, lambda: average.evaluate(make(), X, Y)):
        with pytest.raises(ValueError, match=message):
            ask()
    fit(make(), first, average)
    assert average.count == 1


def test_the_average_of_a_lost_run_is_nan_and_leaves_the_others_alone():
    rates, average, alone = [Constant(0.01), Constant(1e200)], Average(), Average()
    lost = make(schedule=rates, seed=[0, 0], on_divergence="record")
    fit(lost, 6, average)
    fit(make(), 6, alone)
    assert lost.diverged.tolist() == [False, True]
    np.testing.assert_array_equal(average.params["W"][0], alone.params["W"])
    assert np.isnan(average.params["W"][1]).all()
    assert average.evaluate(lost, X, Y).tolist() == [alone.evaluate(make(), X, Y), np.inf]


def test_the_average_is_a_copy_that_a_trainer_can_go_on_from():
    average = Average()
    trainer = fit(make(), 4, average)
    trainer.params = average.params
    average.params["W"][...] = 7
    np.testing.assert_array_equal(trainer.params["W"], average.params["W"])


REFUSALS = [
    (lambda: Evaluation(X, Y, every=0), "every must be at least 1, received 0"),
    (lambda: EarlyStopping(X, Y, every=1, patience=0), "patience must be at least 1, received 0"),
    (
        lambda: EarlyStopping(X, Y, every=1, patience=1, threshold=1),
        "threshold must be below 1, received 1",
    ),
    (
        lambda: EarlyStopping(X, Y, every=1, patience=1, threshold=-0.1),
        "threshold must be at least 0, received -0.1",
    ),
    (
        lambda: ReduceOnPlateau(X, Y, every=1, patience=1, factor=1),
        "factor must be below 1, received 1",
    ),
    (
        lambda: ReduceOnPlateau(X, Y, every=1, patience=1, factor=0),
        "factor must be above 0, received 0",
    ),
    (
        lambda: ReduceOnPlateau(X, Y, every=1, patience=1, smallest=-1),
        "smallest must be at least 0, received -1",
    ),
    (
        lambda: ReduceOnPlateau(X, Y, every=1, patience=1, smallest=1),
        "smallest must be below 1, received 1",
    ),
    (lambda: Average(start=-1), "start must be at least 0, received -1"),
    (lambda: Average(every=0), "every must be at least 1, received 0"),
    (lambda: Average(decay=1), "decay must be below 1, received 1"),
    (lambda: Average(decay=-0.1), "decay must be at least 0, received -0.1"),
    (lambda: Checkpoint("folder", every=0), "every must be at least 1, received 0"),
    (lambda: Checkpoint("folder", every=1, keep=0), "keep must be at least 1, received 0"),
]


@pytest.mark.parametrize("call, message", REFUSALS, ids=[row[1] for row in REFUSALS])
def test_wrong_options_are_refused(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


# --- Lists of callbacks --------------------------------------------------------------------------


def test_callbacks_run_in_their_order_and_all_of_them_before_a_stop():
    calls = []

    def stop(trainer):
        calls.append("stop")
        raise StopTraining

    trainer = fit(
        make(), 5, (lambda t: calls.append("first"), stop, lambda t: calls.append("last"))
    )
    assert calls == ["first", "stop", "last"] and trainer.step == 1


def stray(trainer):
    return next(iter([]))


@pytest.mark.parametrize("place", ["callback", "measure", "schedule", "loss"])
def test_a_stray_stop_iteration_is_the_error_that_it_is(place):
    trainer = make(schedule=stray) if place == "schedule" else make()
    if place == "loss":
        trainer.loss = lambda *_, **__: stray(None)
    callback = {
        "callback": stray,
        "measure": Evaluation(X, Y, every=1, measure=lambda t, x, y: stray(t)),
    }.get(place)
    with pytest.raises(StopIteration):
        fit(trainer, 3, callback)
    assert trainer.step == (1 if callback else 0)


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match="a callback must be callable, received 3"):
        fit(make(), 1, [3])
    with pytest.raises(ValueError, match="a Checkpoint must be the last callback"):
        fit(make(), 1, [Checkpoint("folder", every=1), print])


# --- Checkpoints ---------------------------------------------------------------------------------

STEPS = 13


def run_of(kind, folder=None, every=1):
    """A short run with everything in it that has a memory: how to make it, and its callbacks."""
    optimizer = {
        "momentum": SGD(0.9, nesterov=True),
        "adam": Adam(),
        "adamw": AdamW(weight_decay=0.1),
        "muon": Muon(weight_decay=0.1, matrices="W1"),
        "free": ScheduleFreeAdamW(),
    }[kind[0]]
    model = MLP((D, 6, 3))
    options = {"batch_size": 4, "accumulate": 2, "max_norm": 1.0, "replicas": kind[1]}
    callbacks = [
        Evaluation(X, LABELS, every=2),
        ReduceOnPlateau(X, LABELS, every=2, patience=1, factor=0.5, threshold=0.5),
        EarlyStopping(X, LABELS, every=3, patience=9),
    ]
    if kind[0] in ("adam", "muon"):
        callbacks.insert(0, Average(start=3, every=2, decay=0.75 if kind[0] == "adam" else None))
    if folder is not None:
        callbacks.append(Checkpoint(folder, every=every))
    return (model, softmax_cross_entropy, optimizer, Cosine(0.1, STEPS)), options, callbacks


def everything(trainer, callbacks):
    """All that a run leaves behind, by name."""
    found = {"step": trainer.step, "scale": trainer.rate_scale, "diverged": trainer.diverged}
    groups = {"params": trainer.params, "state": trainer.state, "history": trainer.history}
    groups |= {type(each).__name__: each.state for each in callbacks if hasattr(each, "state")}
    return found | {
        f"{group}/{name}": value
        for group, values in groups.items()
        for name, value in values.items()
    }


def assert_identical(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


KINDS = [
    ("momentum", None),
    ("adam", 2),
    ("adamw", None),
    ("adamw", 3),
    ("muon", None),
    ("muon", 2),
    ("free", None),
    ("free", 2),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("middle", range(STEPS + 1))
def test_a_run_resumed_at_any_step_is_the_unbroken_run(kind, middle, tmp_path):
    arguments, options, callbacks = run_of(kind)
    unbroken = Trainer(*arguments, **options).fit(
        X, LABELS, steps=STEPS, callback=callbacks, progress=False
    )
    assert np.any(unbroken.rate_scale < 1)  # the plateau had something to remember

    arguments, options, first = run_of(kind)
    Trainer(*arguments, **options).fit(
        X, LABELS, steps=middle, callback=first, progress=False
    ).save(tmp_path / "run")
    arguments, options, second = run_of(kind)
    resumed = Trainer.resume(tmp_path / "run", *arguments, **options)
    resumed.save(tmp_path / "again")  # a copy of a copy keeps the callbacks' memory
    resumed = Trainer.resume(tmp_path / "again", *arguments, **options)
    resumed.fit(X, LABELS, steps=STEPS - middle, callback=second, progress=False)
    assert_identical(everything(resumed, second), everything(unbroken, callbacks))


def test_a_resumed_run_asks_for_the_callbacks_it_was_saved_with(tmp_path):
    arguments, options, callbacks = run_of(KINDS[0], tmp_path, every=5)
    Trainer(*arguments, **options).fit(X, LABELS, steps=5, callback=callbacks, progress=False)
    resumed = Trainer.resume(tmp_path, *arguments, **options)
    names = "['Evaluation', 'ReduceOnPlateau', 'EarlyStopping']"
    for given, received in ((None, "[]"), (callbacks[:1], "['Evaluation']")):
        with pytest.raises(ValueError) as caught:
            resumed.fit(X, LABELS, steps=1, callback=given, progress=False)
        assert (
            str(caught.value)
            == f"this training was saved with the callbacks {names}, received {received}"
        )
    resumed.fit(X, LABELS, steps=1, callback=run_of(KINDS[0])[2], progress=False)
    resumed.fit(X, LABELS, steps=1, progress=False)  # asked once: from here on the caller decides


def test_what_was_owed_the_last_update_is_called_after_a_resume(tmp_path):
    def interrupt(trainer):
        raise KeyboardInterrupt

    trainer = make()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, 5, [interrupt, Evaluation(X, Y, every=1)])
    trainer.save(tmp_path / "run")
    watch = Evaluation(X, Y, every=1)
    fit(resume(tmp_path / "run"), 2, watch)
    assert watch.history["step"].tolist() == [1, 2, 3]


def test_a_checkpoint_keeps_the_last_files_only(tmp_path):
    folder = tmp_path / "deep" / "folder"
    fit(make(), 9, Checkpoint(folder, every=2, keep=3))
    # The last one is that of the end, whatever its number.
    assert [file.name for file in saved_files(folder)] == [
        "step-000000009.npz",
        "step-000000008.npz",
        "step-000000006.npz",
    ]
    assert len(list(folder.iterdir())) == 3


def test_the_last_update_and_the_one_that_stopped_are_saved(tmp_path):
    fit(make(), 7, Checkpoint(tmp_path / "end", every=5))
    assert [file.name for file in saved_files(tmp_path / "end")] == [
        "step-000000007.npz",
        "step-000000005.npz",
    ]
    stopping = EarlyStopping(
        X, Y, every=1, patience=2, better="lower", measure=scripted([1.0, 2.0, 2.0])
    )
    fit(make(), 50, [stopping, Checkpoint(tmp_path / "stop", every=100)])
    assert [file.name for file in saved_files(tmp_path / "stop")] == ["step-000000003.npz"]


def test_a_run_that_stopped_is_not_trained_further_by_a_restart(tmp_path):
    def parts():
        return [
            EarlyStopping(X, LABELS, every=2, patience=1, threshold=0.9),
            Checkpoint(tmp_path, every=1),
        ]

    arguments, options, _ = run_of(KINDS[0])
    callbacks = parts()

    def killed(trainer):
        trainer.save(tmp_path / "at the stop")

    done = Trainer(*arguments, **options).fit(
        X, LABELS, steps=20, callback=[callbacks[0], killed], progress=False
    )
    assert done.step == 4
    again = Trainer.resume(tmp_path / "at the stop", *arguments, **options)
    assert again.fit(X, LABELS, steps=16, callback=parts()[0], progress=False).step == 4


def test_the_folder_of_another_run_is_refused_before_the_first_update(tmp_path):
    fit(make(), 10, Checkpoint(tmp_path, every=5))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for other in (
        make(seed=1),
        make(),
    ):  # the same options again are another run too: nothing was resumed
        for callback in (
            Checkpoint(tmp_path, every=5),
            [lambda t: None, Checkpoint(tmp_path, every=1)],
        ):
            with pytest.raises(
                ValueError,
                match="holds checkpoints of another run, step-000000010.npz for one: resume that run, ",
            ):
                fit(other, 5, callback)
            assert other.step == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert fit(resume(tmp_path), 5, Checkpoint(tmp_path, every=5)).step == 15
    assert [file.name for file in saved_files(tmp_path)] == [
        "step-000000015.npz",
        "step-000000010.npz",
    ]


def test_a_folder_that_another_run_enters_meanwhile_is_refused(tmp_path):
    intruder = []

    def enter(trainer):
        if trainer.step == 4:
            intruder.append(fit(make(seed=1), 2, None))
            intruder[0].save(tmp_path / "step-000000002.npz")

    with pytest.raises(
        ValueError, match="holds checkpoints of another run, step-000000002.npz for one"
    ):
        fit(make(), 10, [enter, Checkpoint(tmp_path, every=5)])


@pytest.mark.parametrize("same_object", [True, False])
def test_a_branch_does_not_mistake_the_trunks_future_for_its_own(same_object, tmp_path):
    keeper = Checkpoint(tmp_path, every=2, keep=5)
    fit(make(), 8, keeper)
    branch = resume(tmp_path / "step-000000004.npz")
    with pytest.raises(
        ValueError,
        match=(
            "holds step-000000008.npz of this run, which is back at step 4: resume from it, delete it, or take another folder$"
        ),
    ):
        fit(branch, 2, keeper if same_object else Checkpoint(tmp_path, every=2))
    assert fit(branch, 2, Checkpoint(tmp_path / "branch", every=2)).step == 6


@pytest.mark.parametrize("step", [3, 10**8, 10**9])
def test_a_file_of_any_later_step_is_the_runs_future(step, tmp_path):
    fit(make(), 2, Checkpoint(tmp_path, every=2))
    branch = resume(tmp_path)
    (tmp_path / "step-000000002.npz").rename(tmp_path / f"step-{step:09d}.npz")
    with pytest.raises(ValueError, match=f"holds step-{step:09d}.npz of this run, which is back"):
        fit(branch, 1, Checkpoint(tmp_path, every=2))


def test_a_damaged_file_ahead_is_replaced(tmp_path):
    fit(make(), 6, Checkpoint(tmp_path, every=2))
    newest = saved_files(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="passed over"):
        resumed = resume(tmp_path)
    fit(resumed, 2, Checkpoint(tmp_path, every=2))
    assert resume(tmp_path).step == 6


def test_a_damaged_file_does_not_hide_those_of_another_run(tmp_path):
    fit(make(), 4, Checkpoint(tmp_path, every=2))
    (tmp_path / "step-000000009.npz").write_bytes(b"half")
    with pytest.raises(
        ValueError, match="holds checkpoints of another run, step-000000004.npz for one"
    ):
        fit(make(seed=1), 5, Checkpoint(tmp_path, every=5))


def test_saving_through_a_symbolic_link_writes_the_file_that_it_leads_to(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    make().save(target)
    link.symlink_to(target)
    fit(make(), 3, lambda trainer: trainer.save(link))
    assert link.is_symlink() and resume(target).step == resume(link).step == 3
    assert [file.name for file in target.parent.iterdir()] == ["target"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match=f"{path} is no file to write to"):
            make().save(path)


def resume(path):
    return Trainer.resume(path, MODEL, squared_error, SGD(), Constant(0.01), batch_size=8)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "text"])
def test_a_damaged_newest_file_is_passed_over_with_a_warning(damage, tmp_path):
    unbroken = fit(make(), 6, Checkpoint(tmp_path, every=2))
    newest = saved_files(tmp_path)[0]
    content = bytearray(newest.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 255
    damaged = {
        "truncated": content[:middle],
        "empty": b"",
        "flipped": content,
        "text": b"not a checkpoint",
    }[damage]
    newest.write_bytes(damaged)
    with pytest.warns(
        UserWarning, match="passed over: .*step-000000006.npz is not a whole checkpoint"
    ):
        resumed = resume(tmp_path)
    assert resumed.step == 4
    np.testing.assert_array_equal(fit(resumed, 2, None).params["W"], unbroken.params["W"])


def test_a_folder_without_a_whole_checkpoint_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        resume(tmp_path)
    (tmp_path / "step-000000001.npz").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no checkpoint in .* is whole"):
        resume(tmp_path)


def test_files_of_other_names_are_left_alone(tmp_path):
    (tmp_path / "step-000000009.npz.123.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    fit(make(), 3, Checkpoint(tmp_path, every=1, keep=1))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "notes.txt",
        "step-000000003.npz",
        "step-000000009.npz.123.tmp",
    ]
    assert resume(tmp_path).step == 3


RUN = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[2])
    import numpy as np
    from test_callbacks import LABELS, X, Trainer, run_of, saved_files
    from pathlib import Path

    arguments, options, callbacks = run_of(("adamw", 3), sys.argv[1])
    folder = Path(sys.argv[1])
    if folder.exists() and saved_files(folder):
        trainer = Trainer.resume(folder, *arguments, **options)
    else:
        trainer = Trainer(*arguments, **options)
    trainer.fit(X, LABELS, steps=400 - trainer.step, callback=callbacks, progress=False)
    print("done")
    """
)


def start(folder, **options):
    here = __file__.rsplit("/", 1)[0]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), here], stdout=subprocess.PIPE, text=True, **options
    )


def test_a_training_killed_again_and_again_ends_bit_identical(tmp_path):
    arguments, options, callbacks = run_of(("adamw", 3))
    unbroken = Trainer(*arguments, **options).fit(
        X, LABELS, steps=400, callback=callbacks, progress=False
    )

    folder, kills, last = tmp_path / "run", 0, 0
    for _ in range(40):
        process = start(folder)
        # Killed once it has saved something new: at that moment it may be anywhere in the next
        # update.
        while kills < 3 and process.poll() is None:
            files = saved_files(folder) if folder.exists() else []
            if files and int(files[0].stem[5:]) > last:
                last = int(files[0].stem[5:])
                time.sleep(0.003 * kills)
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        printed, _ = process.communicate(timeout=120)
        if process.returncode == 0:
            assert printed == "done\n"
            break
        assert process.returncode == -signal.SIGKILL
    assert kills == 3
    arguments, options, callbacks = run_of(("adamw", 3))
    resumed = Trainer.resume(folder, *arguments, **options).fit(
        X, LABELS, steps=0, callback=callbacks, progress=False
    )
    assert_identical(everything(resumed, callbacks), everything(unbroken, run_callbacks(unbroken)))


def run_callbacks(trainer):
    return [each for each in trainer._callbacks if hasattr(each, "state")]


def test_a_full_disk_ends_the_run_and_spoils_nothing(tmp_path):
    folder = tmp_path / "run"
    # A limit on the size of files stands in for the disk: the history grows past it.
    process = start(
        folder,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (17_000, 17_000)),
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "OSError" in errors
    assert len(saved_files(folder)) == len(list(folder.iterdir())) == 2
    arguments, options, callbacks = run_of(("adamw", 3))
    resumed = Trainer.resume(folder, *arguments, **options)
    assert 0 < resumed.step < 400
    process = start(folder)
    assert process.communicate(timeout=120)[0] == "done\n"
    unbroken = Trainer(*arguments, **options).fit(
        X, LABELS, steps=400, callback=callbacks, progress=False
    )
    _, _, again = run_of(("adamw", 3))
    resumed = Trainer.resume(folder, *arguments, **options).fit(
        X, LABELS, steps=0, callback=again, progress=False
    )
    assert_identical(everything(resumed, again), everything(unbroken, callbacks))


def test_the_newest_file_is_that_of_the_largest_step(tmp_path):
    # Sorted as texts, a thousand million would come before the number one below it.
    for step in ("999999999", "1000000000", "000000010"):
        (tmp_path / f"step-{step}.npz").touch()
    assert [file.stem[5:] for file in saved_files(tmp_path)] == [
        "1000000000",
        "999999999",
        "000000010",
    ]


def test_a_measure_is_given_the_trainer_and_the_examples():
    seen = []
    watch = Evaluation(X, Y, every=1, measure=lambda *given: seen.append(given) or 1)
    trainer = fit(make(), 1, watch)
    assert len(seen) == 1 and seen[0][0] is trainer and seen[0][1] is X and seen[0][2] is Y
    assert watch.history["value"].dtype == np.float64


def test_two_files_are_kept_unless_told_otherwise(tmp_path):
    fit(make(), 5, Checkpoint(tmp_path, every=1))
    assert len(saved_files(tmp_path)) == 2


# --- What only a planted fault showed to be untested ----------------------------------------------


def test_asked_twice_at_a_step_it_evaluates_once():
    calls = []

    def measure(trainer, x, y):
        calls.append(trainer.step)
        return 1.0

    watch = Evaluation(X, Y, every=1, measure=measure)
    fit(make(), 2, [watch, lambda trainer: watch(trainer)])
    assert calls == [1, 2] and watch.history["step"].tolist() == [1, 2]


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceOnPlateau])
def test_those_with_patience_weigh_and_remember_as_an_evaluation_does(kind):
    weights = RNG.random(N)
    watch, patient = (
        make_one(X, Y, every=2, weights=weights, **options)
        for make_one, options in ((Evaluation, {}), (kind, {"patience": 9}))
    )
    fit(make(), 6, [watch, patient])
    assert watch.history["value"].shape == (3,)
    for name, rows in watch.history.items():
        np.testing.assert_array_equal(patient.history[name], rows)


def test_without_an_improvement_the_best_step_is_none_that_was_made():
    stopping = EarlyStopping(
        X, Y, every=1, patience=2, measure=scripted([np.inf, np.inf]), better="lower"
    )
    fit(make(), 5, stopping)
    assert stopping.best_step == 0 and stopping.best == np.inf


def test_the_scale_of_a_single_run_is_a_number():
    trainer = make()
    plateau = ReduceOnPlateau(
        X, Y, every=1, patience=1, measure=scripted([1.0, 1.0, 1.0]), better="lower"
    )
    fit(trainer, 3, plateau)
    assert type(trainer.rate_scale) is float and trainer.rate_scale < 1


def test_an_object_is_among_others_if_it_is_one_of_them():
    one, other = [1], [1]
    assert callbacks.among(one, [other, one])
    assert not callbacks.among(one, [other]) and not callbacks.among(one, [])
