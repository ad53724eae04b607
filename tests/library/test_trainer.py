"""The training loop: the rates it uses, replicas, accumulation, divergence and checkpoints."""

import functools
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from trainlab.losses import Loss, softmax_cross_entropy, squared_error
from trainlab.models import MLP, Linear
from trainlab.optimizers import SGD, Adam
from trainlab.schedules import (
    Constant,
    Cosine,
    Exponential,
    Join,
    Piecewise,
    Schedule,
    StepDecay,
    StepSubtract,
    Warmup,
    WarmupStableDecay,
)  # fmt: skip
from trainlab.trainer import StopTraining, Trainer, batch_order
from trainlab.transformer import Decoder

RNG = np.random.default_rng(0)
N, D = 70, 5
X, LABELS = RNG.normal(size=(N, D)), RNG.integers(0, 10, N)
NUMBERS = {1: RNG.normal(size=(N, 1)), 10: RNG.normal(size=(N, 10))}
HEAVY = SGD(momentum=0.9, nesterov=True, weight_decay=1e-3)
NAN, INF = float("nan"), float("inf")


def make(model=None, loss=squared_error, optimizer=None, schedule=None, *, batch_size=7, **options):
    model = Linear(D, 1, dtype=np.float64) if model is None else model
    return Trainer(
        model,
        loss,
        optimizer or SGD(),
        Constant(0.05) if schedule is None else schedule,
        batch_size=batch_size,
        **options,
    )


def fit(trainer, x=X, y=NUMBERS[1], **options):
    return trainer.fit(x, y, progress=False, **options)


def same(first, second):
    return set(first) == set(second) and all(
        np.array_equal(first[name], second[name], equal_nan=True) for name in first
    )


def snapshot(values):
    return {name: np.copy(value) for name, value in values.items()}


# --- The rates a run really uses -----------------------------------------------------------------


def halve_after_six(step):
    return 0.5 if step < 6 else 0.25


# Boundaries by hand, in powers of two; each run makes 16 updates.
RATES = [
    (Constant(0.5), {0: 0.5, 8: 0.5, 15: 0.5}),
    (Exponential(0.5, factor=0.25, every=2), {0: 0.5, 1: 0.25, 2: 0.125, 15: 0.5 * 2.0**-15}),
    (
        Exponential(0.5, factor=0.5, every=5, staircase=True),
        {0: 0.5, 4: 0.5, 5: 0.25, 6: 0.25, 9: 0.25, 10: 0.125, 11: 0.125, 14: 0.125, 15: 0.0625},
    ),
    (
        StepDecay(0.5, factor=0.5, every=5),
        {0: 0.5, 4: 0.5, 5: 0.25, 6: 0.25, 9: 0.25, 10: 0.125, 11: 0.125, 14: 0.125, 15: 0.0625},
    ),
    (
        StepSubtract(0.5, amount=0.125, every=4, floor=0.25),
        {0: 0.5, 3: 0.5, 4: 0.375, 5: 0.375, 7: 0.375, 8: 0.25, 9: 0.25, 12: 0.25, 15: 0.25},
    ),
    (
        Piecewise([6, 11], [0.5, 0.125, 0.25]),
        {0: 0.5, 5: 0.5, 6: 0.125, 7: 0.125, 10: 0.125, 11: 0.25, 12: 0.25, 15: 0.25},
    ),
    (
        Warmup(StepDecay(0.5, 0.5, 6), 4),
        {0: 0.0, 1: 0.125, 3: 0.375, 4: 0.5, 5: 0.5, 9: 0.5, 10: 0.25, 11: 0.25, 15: 0.25},
    ),
    (
        Join([Constant(0.25), StepDecay(0.5, 0.5, 3)], [7]),
        {0: 0.25, 6: 0.25, 7: 0.5, 8: 0.5, 9: 0.5, 10: 0.25, 12: 0.25, 13: 0.125, 15: 0.125},
    ),
    (halve_after_six, {0: 0.5, 5: 0.5, 6: 0.25, 7: 0.25, 15: 0.25}),
]
every_rate = pytest.mark.parametrize(
    "schedule, table", RATES, ids=[getattr(row[0], "__name__", repr(row[0])) for row in RATES]
)


def pull(predictions, targets, reduction):
    """A loss of slope 1 everywhere, so that the bias of a linear model falls by exactly the rate."""
    return Loss(predictions[..., 0], np.ones_like(predictions))


@every_rate
@pytest.mark.parametrize("replicas", [None, 3])
def test_the_rate_used_is_the_schedules_at_every_boundary(schedule, table, replicas):
    biases = []
    trainer = make(loss=pull, schedule=schedule, replicas=replicas)
    biases.append(trainer.params["b"].copy())
    fit(trainer, steps=16, callback=lambda t: biases.append(t.params["b"].copy()))
    rate = trainer.history["rate"]
    assert rate.shape == ((16,) if replicas is None else (16, 3))
    rate = rate.reshape(16, -1)
    moved = -np.diff(np.array(biases), axis=0).reshape(16, -1)
    for step in range(16):
        assert rate[step].tolist() == [schedule(step)] * rate.shape[1]
    for step, expected in table.items():
        assert rate[step].tolist() == [expected] * rate.shape[1]
        np.testing.assert_allclose(moved[step], expected, rtol=0, atol=1e-15)
    assert trainer.history["step"].tolist() == list(range(16)) and trainer.step == 16


@every_rate
@pytest.mark.parametrize("middle", [1, 6, 7, 15])
def test_the_rate_goes_on_after_a_resume(schedule, table, middle, tmp_path):
    fit(make(schedule=schedule), steps=middle).save(tmp_path / "run")
    resumed = Trainer.resume(
        tmp_path / "run",
        Linear(D, 1, dtype=np.float64),
        squared_error,
        SGD(),
        schedule,
        batch_size=7,
    )
    rate = fit(resumed, steps=16 - middle).history["rate"]
    assert rate.tolist() == [schedule(step) for step in range(16)]
    assert {step: rate[step] for step in table} == table


def test_each_replica_has_the_rates_of_its_own_schedule():
    schedules = [row[0] for row in RATES]
    trainer = fit(make(loss=pull, schedule=schedules), steps=16)
    assert trainer.replicas == len(RATES)
    for r, (_, table) in enumerate(RATES):
        assert {step: trainer.history["rate"][step, r] for step in table} == table


def test_a_schedule_is_asked_once_an_update_with_the_updates_already_made():
    asked = []

    def spy(step):
        asked.append(step)
        return 0.1

    trainer = fit(make(schedule=spy, replicas=4, accumulate=2), steps=3)
    fit(trainer, steps=2)
    assert asked == [0, 1, 2, 3, 4]


# --- Against closed forms ------------------------------------------------------------------------


def test_whole_batch_descent_follows_the_closed_form():
    # The mean squared error is quadratic with Hessian 2 A'A / n: the error shrinks by (1 - rate H)
    # an update.
    A = np.column_stack([X, np.ones(N)])
    best = np.linalg.lstsq(A, NUMBERS[1], rcond=None)[0]
    values, vectors = np.linalg.eigh(2 * A.T @ A / N)
    trainer = make(batch_size=N, seed=4)
    start = np.vstack([trainer.params["W"], trainer.params["b"][None]])
    for steps in (1, 1, 18):
        fit(trainer, steps=steps)
        expected = (
            best
            + vectors @ ((1 - 0.05 * values) ** trainer.step * (vectors.T @ (start - best)).T).T
        )
        np.testing.assert_allclose(
            np.vstack([trainer.params["W"], trainer.params["b"][None]]),
            expected,
            rtol=0,
            atol=1e-14,
        )


def test_the_recorded_loss_is_that_of_the_batch_before_the_update():
    trainer = make(seed=2)
    start = snapshot(trainer.params)
    fit(trainer, steps=1)
    rows = batch_order(2, 0, N)[:7]
    predictions = X[rows] @ start["W"] + start["b"]
    expected = sklearn.metrics.mean_squared_error(NUMBERS[1][rows], predictions)
    assert trainer.history["loss"][0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("outputs", [1, 10])
def test_evaluate_is_sklearns_error_of_predict(replicas, outputs):
    trainer = make(Linear(D, outputs, dtype=np.float64), replicas=replicas)
    predictions = trainer.predict(X)
    value = trainer.evaluate(X, NUMBERS[outputs])
    if replicas is None:
        assert predictions.shape == (N, outputs) and type(value) is float
        assert value == pytest.approx(
            sklearn.metrics.mean_squared_error(NUMBERS[outputs], predictions), rel=1e-14
        )
    else:
        assert predictions.shape == (3, N, outputs) and value.shape == (3,)
        for r in range(3):
            assert value[r] == pytest.approx(
                sklearn.metrics.mean_squared_error(NUMBERS[outputs], predictions[r]), rel=1e-14
            )


def test_the_mean_loss_of_a_float32_run_is_summed_in_float64():
    # In float32, 2**24 + 1 is 2**24: the ones would vanish.
    def uneven(predictions, targets, reduction):
        return Loss(np.float32([2**24, 1, 1, 1, 1, 1, 1]), np.zeros_like(predictions))

    trainer = fit(make(Linear(D, 1), loss=uneven), steps=1)
    assert trainer.history["loss"][0] == (2**24 + 6) / 7


# --- Batches -------------------------------------------------------------------------------------


def test_an_epochs_order_is_a_permutation_and_a_function_of_seed_and_epoch():
    orders = {
        (seed, epoch): batch_order(seed, epoch, N).tolist()
        for seed in range(4)
        for epoch in range(4)
    }
    assert all(sorted(order) == list(range(N)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 16
    assert all(
        batch_order(seed, epoch, N).tolist() == order for (seed, epoch), order in orders.items()
    )


def test_the_order_is_pinned_because_old_checkpoints_go_on_with_it():
    orders = [batch_order(seed, epoch, 8).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders == [[1, 3, 7, 6, 0, 4, 2, 5], [5, 2, 6, 0, 7, 1, 4, 3], [6, 1, 4, 0, 3, 2, 5, 7]]


def test_the_order_does_not_use_the_random_numbers_of_the_initial_parameters():
    for seed in range(4):
        initial = np.random.default_rng([seed, 0])
        assert np.array_equal(
            make(seed=seed).params["W"], Linear(D, 1, dtype=np.float64).init(initial)["W"]
        )
        reused = np.random.default_rng([seed, 0]).permutation(N).tolist()
        assert reused not in [batch_order(seed, epoch, N).tolist() for epoch in range(4)]


def spied_run(*, steps, n=23, parts=None, **options):
    """The examples of each call of the loss: targets are the examples' own numbers."""
    seen = []

    def spy(predictions, targets, reduction):
        seen.append(targets[..., 0].astype(int).tolist())
        return squared_error(predictions, targets, reduction=reduction)

    trainer = make(loss=spy, **options)
    for part in parts or [steps]:
        fit(trainer, X[:n], np.arange(float(n))[:, None], steps=part)
    return seen


@pytest.mark.parametrize("batch_size, accumulate", [(5, 1), (1, 1), (23, 1), (2, 3), (7, 2)])
def test_each_epoch_visits_distinct_examples_in_the_order_of_seed_and_epoch(batch_size, accumulate):
    per_update = batch_size * accumulate
    per_epoch = 23 // per_update
    seen = spied_run(steps=3 * per_epoch, batch_size=batch_size, accumulate=accumulate, seed=6)
    assert all(len(batch) == batch_size for batch in seen)
    flat = [example for batch in seen for example in batch]
    used = per_epoch * per_update
    for epoch in range(3):
        visited = flat[epoch * used : (epoch + 1) * used]
        assert len(set(visited)) == used
        assert visited == batch_order(6, epoch, 23)[:used].tolist()


def test_the_batches_do_not_depend_on_how_the_run_is_cut():
    assert spied_run(steps=13, batch_size=5) == spied_run(
        steps=13, batch_size=5, parts=[1, 3, 0, 5, 4]
    )


def test_each_replica_sees_the_batches_of_its_own_seed():
    together = spied_run(steps=6, batch_size=5, seed=[3, 8, 3])
    for r, seed in enumerate([3, 8, 3]):
        assert [batch[r] for batch in together] == spied_run(steps=6, batch_size=5, seed=seed)


# --- Replicas ------------------------------------------------------------------------------------


def assert_replicas_equal_runs_alone(together, alone):
    """Bit for bit: parameters, optimizer state and history."""
    for r in range(together.replicas):
        one = alone(r)
        assert one.replicas is None
        for name, value in one.params.items():
            np.testing.assert_array_equal(together.params[name][r], value)
        for name, value in one.state.items():
            np.testing.assert_array_equal(together.state[name][r], value)
        assert set(one.history) == set(together.history)
        for name, value in one.history.items():
            rows = together.history[name]
            np.testing.assert_array_equal(rows if name == "step" else rows[:, r], value)
        assert together.diverged[r] == one.diverged


@pytest.mark.parametrize("loss", ["squared_error-1", "squared_error-10", "cross_entropy-10"])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["linear", "relu", "tanh"])
def test_32_replicas_in_one_call_are_32_runs_alone_bit_for_bit(kind, dtype, batch_size, loss):
    name, outputs = loss.split("-")
    outputs = int(outputs)
    loss, y = (
        (squared_error, NUMBERS[outputs])
        if name == "squared_error"
        else (softmax_cross_entropy, LABELS)
    )
    model = Linear(D, outputs, dtype) if kind == "linear" else MLP((D, 16, outputs), kind, dtype)
    schedule = StepDecay(0.02, 0.5, 3)
    for optimizer in (SGD(), SGD(0.9), HEAVY):
        settings = {
            "model": model,
            "loss": loss,
            "optimizer": optimizer,
            "schedule": schedule,
            "batch_size": batch_size,
        }
        together = fit(make(**settings, replicas=32, seed=5), y=y, steps=5)
        assert_replicas_equal_runs_alone(
            together, lambda r: fit(make(**settings, seed=5 + r), y=y, steps=5)
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 2},
        {"accumulate": 3, "max_norm": 0.3},
        {"max_norm": 0.3},
        {"max_norm": 1e9},
        {"max_norm": 0.3, "optimizer": HEAVY},
        {"optimizer": HEAVY, "accumulate": 2, "batch_size": 1},
    ],
    ids=str,
)
def test_replicas_equal_runs_alone_with_accumulation_and_clipping(options, dtype):
    settings = {"model": MLP((D, 16, 10), dtype=dtype), "loss": softmax_cross_entropy} | options
    together = fit(make(**settings, replicas=32), y=LABELS, steps=5)
    assert_replicas_equal_runs_alone(
        together, lambda r: fit(make(**settings, seed=r), y=LABELS, steps=5)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_replicas_with_lists_of_schedules_and_seeds_equal_runs_alone(dtype):
    schedules = [
        Constant(0.1 / (r + 1)) if r % 2 else Warmup(StepDecay(0.3 / (r + 1), 0.5, 2), 2)
        for r in range(32)
    ]
    seeds = [int(seed) for seed in np.random.default_rng(1).integers(0, 10**9, 32)]
    settings = {
        "model": MLP((D, 16, 10), dtype=dtype),
        "loss": softmax_cross_entropy,
        "optimizer": HEAVY,
    }
    together = fit(make(**settings, schedule=schedules, seed=seeds), y=LABELS, steps=5)
    assert_replicas_equal_runs_alone(
        together,
        lambda r: fit(make(**settings, schedule=schedules[r], seed=seeds[r]), y=LABELS, steps=5),
    )


def test_the_books_own_network_and_long_batches_are_bit_equal_too():
    # Sizes at which the matrix routine and the sums take other paths than in the small cases.
    x = np.random.default_rng(2).normal(size=(3000, 64))
    y = np.random.default_rng(3).integers(0, 10, 3000)
    settings = {
        "model": MLP((64, 32, 10)),
        "loss": softmax_cross_entropy,
        "optimizer": HEAVY,
        "batch_size": 1500,
    }
    together = fit(make(**settings, replicas=3), x, y, steps=3)
    assert_replicas_equal_runs_alone(
        together, lambda r: fit(make(**settings, seed=r), x, y, steps=3)
    )
    numbers = np.random.default_rng(4).normal(size=(3000, 10))
    settings = {"model": Linear(64, 10), "batch_size": 1500}
    together = fit(make(**settings, replicas=3), x, numbers, steps=3)
    assert_replicas_equal_runs_alone(
        together, lambda r: fit(make(**settings, seed=r), x, numbers, steps=3)
    )


def test_one_replica_is_one_run_with_an_axis():
    together = fit(make(replicas=1), steps=5)
    assert together.params["W"].shape == (1, D, 1)
    assert_replicas_equal_runs_alone(together, lambda r: fit(make(), steps=5))


def test_the_same_seed_begins_with_the_same_parameters_and_other_seeds_with_others():
    trainer = make(seed=[4, 9, 4])
    W = trainer.params["W"]
    assert np.array_equal(W[0], W[2]) and not np.array_equal(W[0], W[1])
    assert make(replicas=3, seed=4).seeds == [4, 5, 6]


def test_seeds_may_come_in_any_sequence():
    for seeds in (range(2, 4), (2, 3), np.array([2, 3]), [np.int64(2), 3]):
        assert make(seed=seeds).seeds == [2, 3] and make(seed=seeds).replicas == 2


# --- Accumulation and clipping -------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2, N)], ids=["plain", "weighed"])
@pytest.mark.parametrize("batch_size, accumulate", [(6, 2), (4, 3), (1, 12)])
def test_accumulation_makes_the_update_of_the_whole_batch(
    batch_size, accumulate, weights, max_norm, replicas
):
    model = MLP((D, 8, 10), dtype=np.float64)
    options = {
        "model": model,
        "loss": softmax_cross_entropy,
        "optimizer": HEAVY,
        "max_norm": max_norm,
        "replicas": replicas,
    }
    data = {"y": LABELS, "weights": weights, "steps": 12}
    whole = fit(make(batch_size=12, **options), **data)
    parts = fit(make(batch_size=batch_size, accumulate=accumulate, **options), **data)
    for name in whole.params:
        np.testing.assert_allclose(parts.params[name], whole.params[name], rtol=0, atol=1e-13)
    for name in whole.history:
        np.testing.assert_allclose(parts.history[name], whole.history[name], rtol=1e-12)


def test_accumulation_uses_the_same_examples_in_the_same_order():
    whole = spied_run(steps=5, batch_size=6)
    parts = spied_run(steps=5, batch_size=2, accumulate=3)
    assert [sum(parts[3 * i : 3 * i + 3], []) for i in range(5)] == whole


def test_clipping_shortens_the_update_to_the_maximum_and_records_the_norm():
    free, clipped = make(), make(max_norm=0.1)
    start = snapshot(free.params)
    fit(free, steps=1), fit(clipped, steps=1)
    gradient = {name: (start[name] - free.params[name]) / 0.05 for name in start}
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    assert norm > 0.1, "the test needs a gradient to clip"
    assert clipped.history["gradient_norm"].tolist() == [pytest.approx(norm, rel=1e-12)]
    for name in start:
        np.testing.assert_allclose(
            start[name] - clipped.params[name], 0.05 * gradient[name] * 0.1 / norm, rtol=1e-10
        )
    assert "gradient_norm" not in free.history


# --- fit -----------------------------------------------------------------------------------------


def test_clipping_leaves_the_arrays_of_a_model_as_they_are():
    kept = []

    class Keeping(Linear):
        def backward(self, params, cache, gradient):
            found = super().backward(params, cache, gradient)
            kept.append({name: g.astype(np.float64) for name, g in found.items()})
            kept.append({name: g.copy() for name, g in kept[0].items()})
            return kept[0]

    fit(make(Keeping(D, 1), max_norm=1e-6), steps=1)
    assert same(*kept)


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("parts", [[9, 14], [0, 23], [1] * 23, [10, 10, 3]], ids=str)
def test_training_twice_is_training_once(parts, replicas):
    options = {
        "optimizer": HEAVY,
        "replicas": replicas,
        "max_norm": 1.0,
        "schedule": StepDecay(0.1, 0.5, 6),
    }
    once, often = fit(make(**options), steps=23), make(**options)
    for part in parts:
        fit(often, steps=part)
    assert (
        same(often.params, once.params)
        and same(often.state, once.state)
        and same(often.history, once.history)
    )


def test_no_steps_change_nothing():
    trainer = make()
    start = snapshot(trainer.params)
    assert fit(trainer, steps=0) is trainer
    assert same(trainer.params, start) and trainer.step == 0
    assert {name: rows.shape for name, rows in trainer.history.items()} == {
        "step": (0,),
        "rate": (0,),
        "loss": (0,),
    }
    assert fit(trainer, epochs=0).step == 0


@pytest.mark.parametrize(
    "batch_size, accumulate, updates", [(7, 1, 10), (8, 1, 8), (8, 2, 4), (70, 1, 1)]
)
def test_an_epoch_is_the_whole_number_of_updates_that_fit(batch_size, accumulate, updates):
    by_epochs = fit(make(batch_size=batch_size, accumulate=accumulate), epochs=3)
    by_steps = fit(make(batch_size=batch_size, accumulate=accumulate), steps=3 * updates)
    assert by_epochs.step == 3 * updates and same(by_epochs.params, by_steps.params)


def test_the_callback_sees_every_update_and_may_stop():
    steps = []

    def stop_at_three(trainer):
        steps.append((trainer.step, len(trainer.history["loss"])))
        if trainer.step == 3:
            raise StopTraining

    trainer = make()
    assert fit(trainer, steps=10, callback=stop_at_three) is trainer
    assert steps == [(1, 1), (2, 2), (3, 3)] and trainer.step == 3
    assert same(trainer.history, fit(make(), steps=3).history)
    assert same(fit(trainer, steps=7).params, fit(make(), steps=10).params)


def test_another_error_in_the_callback_is_not_swallowed():
    def fail(trainer):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(make(), steps=2, callback=fail)


def test_whole_number_inputs_and_lists_are_real_numbers():
    x, y = np.arange(20).reshape(10, 2) % 7, np.arange(10)[:, None]
    floats = fit(
        make(Linear(2, 1), schedule=Constant(0.01)), x.astype(float), y.astype(float), steps=4
    )
    for given in ((x, y), (x.tolist(), y.tolist()), (x.astype(np.uint8), y.astype(np.int16))):
        assert same(
            fit(make(Linear(2, 1), schedule=Constant(0.01)), *given, steps=4).params, floats.params
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_run_stays_in_the_models_type(dtype):
    trainer = fit(
        make(MLP((D, 4, 1), dtype=dtype), optimizer=HEAVY, max_norm=1.0, accumulate=2), steps=3
    )
    assert {value.dtype for value in [*trainer.params.values(), *trainer.state.values()]} == {
        np.dtype(dtype)
    }
    assert trainer.predict(X).dtype == dtype
    assert trainer.history["loss"].dtype == trainer.history["rate"].dtype == np.float64


def test_the_data_are_not_changed():
    x, y = X.copy(), NUMBERS[1].copy()
    fit(make(), x, y, steps=5)
    assert np.array_equal(x, X) and np.array_equal(y, NUMBERS[1])


def test_the_arrays_of_the_parameters_stay_the_same_from_call_to_call():
    trainer = make(MLP((D, 4, 1)), optimizer=SGD(0.9))
    held, state = trainer.params, trainer.state
    for steps in (1, 2, 3):
        fit(trainer, steps=steps)
        assert trainer.params is held and trainer.state is state
    for steps in (1, 2):
        with pytest.raises(KeyError):
            fit(trainer, steps=9, callback=lambda t: {}["stop"] if t.step == 6 + steps else None)
        assert trainer.params is held
        trainer = fit(make(MLP((D, 4, 1)), optimizer=SGD(0.9)), steps=6)
        held = trainer.params
    assert same(held, fit(make(MLP((D, 4, 1)), optimizer=SGD(0.9)), steps=6).params)


def test_assigned_parameters_are_copied_and_must_fit():
    first, second = fit(make(optimizer=SGD(0.9)), steps=3), make(optimizer=SGD(0.9), seed=1)
    second.params, second.state = first.params, first.state
    before = snapshot(first.params)
    alone = make(optimizer=SGD(0.9), seed=1)
    alone.params, alone.state = snapshot(before), snapshot(first.state)
    assert same(fit(second, steps=3).params, fit(alone, steps=3).params) and same(
        first.params, before
    )
    for wrong in ({"W": np.ones((D, 1))}, {"W": np.ones((D, 1)), "b": np.ones((1, 1))}):
        with pytest.raises(
            ValueError,
            match=r"params must have the shapes \{'W': \(5, 1\), 'b': \(1,\)\}, received",
        ):
            first.params = wrong
    first.params = {"W": [[1]] * D, "b": [0]}
    assert {value.dtype for value in first.params.values()} == {np.dtype(float)}


# --- Divergence ----------------------------------------------------------------------------------

# A rate of 1e30 throws the parameters so far that the next update's predictions or losses overflow
# float32.
WILD = Piecewise([3], [0.01, 1e30])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_divergence_raises_with_the_step_and_keeps_what_was(accumulate):
    trainer = make(Linear(D, 1), optimizer=SGD(0.9), schedule=WILD, accumulate=accumulate)
    states = []
    with pytest.raises(FloatingPointError) as caught:
        fit(
            trainer,
            steps=20,
            callback=lambda t: states.append((snapshot(t.params), snapshot(t.state))),
        )
    lost_at = trainer.step
    assert 4 <= lost_at < 20 and str(caught.value).endswith(
        f"stopped being finite at step {lost_at}"
    )
    assert len(states) == lost_at
    assert same(trainer.params, states[-1][0]) and same(trainer.state, states[-1][1])
    assert {len(rows) for rows in trainer.history.values()} == {lost_at}
    assert np.isfinite(trainer.history["loss"]).all()
    assert trainer.history["rate"].tolist() == [WILD(step) for step in range(lost_at)]


def test_divergence_of_replicas_raises_with_their_numbers():
    trainer = make(Linear(D, 1), schedule=[Constant(0.01), WILD, Constant(0.01), WILD])
    with pytest.raises(
        FloatingPointError, match=r"of replicas \[1, 3\] stopped being finite at step [45]"
    ):
        fit(trainer, steps=20)


def test_predictions_that_overflow_are_named_before_the_loss_sees_them():
    trainer = make(Linear(D, 1), loss=lambda *_, **__: pytest.fail("the loss was asked"))
    trainer.params["W"][:] = 3e38
    with pytest.raises(
        FloatingPointError, match="^the predictions stopped being finite at step 0$"
    ):
        fit(trainer, np.full((N, D), 10.0), steps=1)


def test_losses_that_overflow_are_named():
    trainer = make(Linear(D, 1))
    trainer.params["W"][:] = 1e30
    with pytest.raises(FloatingPointError, match="^the losses stopped being finite at step 0$"):
        fit(trainer, steps=1)
    with pytest.raises(FloatingPointError, match="^the losses stopped being finite at step 0$"):
        trainer.evaluate(X, NUMBERS[1])


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"max_norm": 1.0}], ids=str)
@pytest.mark.parametrize(
    "model, loss, y",
    [(Linear(D, 1), squared_error, NUMBERS[1]), (MLP((D, 8, 10)), softmax_cross_entropy, LABELS)],
)
def test_recorded_divergence_leaves_the_other_replicas_untouched(model, loss, y, options):
    # Clipping tames a wild rate; a rate that overflows the parameters does not stop there.
    wild = Piecewise([3], [0.01, 3e38])
    settings = {
        "model": model,
        "loss": loss,
        "optimizer": SGD(0.9),
        "on_divergence": "record",
    } | options
    mixed = fit(
        make(**settings, schedule=[Constant(0.01), wild, Constant(0.02)], seed=[1, 2, 3]),
        y=y,
        steps=12,
    )
    calm = fit(
        make(**settings, schedule=[Constant(0.01), Constant(0.02)], seed=[1, 3]), y=y, steps=12
    )
    assert mixed.diverged.tolist() == [False, True, False]
    for name in calm.params:
        np.testing.assert_array_equal(mixed.params[name][[0, 2]], calm.params[name])
        assert np.isnan(mixed.params[name][1]).all()
    lost_at = int(np.isinf(mixed.history["loss"][:, 1]).argmax())
    assert 4 <= lost_at < 12
    assert (
        np.isfinite(mixed.history["loss"][:lost_at, 1]).all()
        and (mixed.history["loss"][lost_at:, 1] == INF).all()
    )
    for name in ("rate", "loss"):
        np.testing.assert_array_equal(mixed.history[name][:, [0, 2]], calm.history[name])
    values = mixed.evaluate(X, y)
    assert values[1] == INF and np.array_equal(values[[0, 2]], calm.evaluate(X, y))


@pytest.mark.parametrize("x", [np.full((N, D), 10.0), np.eye(N, D) * 10])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_lost_run_is_looked_at_without_a_warning(x, sign):
    # Sums that overflow, and those of infinities of both signs.
    trainer = make(Linear(D, 1), on_divergence="record")
    trainer.params["W"][:] = 3e38
    trainer.params["W"][0] *= sign
    assert not np.isfinite(trainer.predict(x)).all()
    assert trainer.evaluate(x, NUMBERS[1]) == INF


@pytest.mark.parametrize("on_divergence", ["raise", "record"])
def test_a_gradient_whose_square_overflows_is_no_silent_stop(on_divergence):
    def steep(predictions, targets, reduction):
        return Loss(predictions[..., 0], np.full_like(predictions, 1e20))

    trainer = make(Linear(D, 1), steep, Adam(), on_divergence=on_divergence)
    if on_divergence == "record":
        assert fit(trainer, steps=2).step == 2
        return
    with pytest.raises(
        FloatingPointError, match="the square of the gradient of 'W' overflows float32"
    ):
        fit(trainer, steps=2)
    assert trainer.step == 0


def test_a_single_recorded_divergence():
    trainer = fit(make(Linear(D, 1), schedule=WILD, on_divergence="record"), steps=8)
    assert trainer.diverged and trainer.step == 8
    assert all(np.isnan(value).all() for value in trainer.params.values())
    assert trainer.history["loss"][-1] == INF and trainer.evaluate(X, NUMBERS[1]) == INF
    assert not fit(make(), steps=3).diverged


# --- Checkpoints ---------------------------------------------------------------------------------

RESUMED = {
    "momentum": {"optimizer": SGD(0.9), "schedule": StepDecay(0.05, 0.5, 4)},
    "replicas": {
        "optimizer": HEAVY,
        "schedule": [Constant(0.01), Warmup(Constant(0.05), 5), Constant(0.03)],
        "seed": [1, 5, 1],
    },
    "plain, accumulating": {"accumulate": 3, "batch_size": 5},
    "clipped": {"optimizer": SGD(0.5), "max_norm": 0.5, "replicas": 2},
    "recording": {
        "model": Linear(D, 1),
        "schedule": [WILD, Constant(0.01)],
        "on_divergence": "record",
    },
}


def again(
    path, model=None, loss=squared_error, optimizer=None, schedule=None, batch_size=7, **options
):
    model = Linear(D, 1, dtype=np.float64) if model is None else model
    return Trainer.resume(
        path,
        model,
        loss,
        optimizer or SGD(),
        Constant(0.05) if schedule is None else schedule,
        batch_size=batch_size,
        **options,
    )


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_resumed_at_any_step_is_the_run_never_stopped(name, tmp_path):
    options, steps = RESUMED[name], 13
    path = tmp_path / "run"
    straight = fit(make(**options), steps=steps)
    for middle in range(steps + 1):
        fit(make(**options), steps=middle).save(path)
        resumed = again(path, **options)
        assert resumed.step == middle
        fit(resumed, steps=steps - middle)
        assert resumed.step == steps and np.array_equal(resumed.diverged, straight.diverged)
        for group in ("params", "state", "history"):
            ours, theirs = getattr(resumed, group), getattr(straight, group)
            assert same(ours, theirs), (middle, group)
            assert all(ours[key].dtype == theirs[key].dtype for key in theirs)


def test_a_checkpoint_before_the_first_update_resumes(tmp_path):
    make(seed=3).save(tmp_path / "run")
    assert same(
        fit(again(tmp_path / "run", seed=3), steps=4).params, fit(make(seed=3), steps=4).params
    )


def test_saving_after_a_stop_keeps_no_empty_rows(tmp_path):
    def stop(trainer):
        if trainer.step == 2:
            raise StopTraining

    trainer = fit(make(), steps=10, callback=stop)
    trainer.save(tmp_path / "run")
    resumed = again(tmp_path / "run")
    with np.load(tmp_path / "run") as file:
        assert file["history/loss"].shape == (2,)
    assert same(fit(resumed, steps=3).history, fit(make(), steps=5).history)


def test_a_checkpoint_may_be_written_in_a_callback(tmp_path):
    trainer = fit(make(), steps=6, callback=lambda t: t.save(tmp_path / f"{t.step}"))
    assert sorted(os.listdir(tmp_path)) == list("123456")
    assert same(fit(again(tmp_path / "4"), steps=2).history, trainer.history)


@pytest.mark.parametrize("name", ["run", "run.npz", "a run.of.mine"])
@pytest.mark.parametrize("kind", [str, Path])
def test_saving_writes_exactly_the_path_and_nothing_else(name, kind, tmp_path):
    trainer = make()
    for _ in range(2):
        fit(trainer, steps=1).save(kind(tmp_path / name))
        assert os.listdir(tmp_path) == [name]
    assert again(tmp_path / name).step == 2


def test_saving_to_a_bare_name_writes_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make().save("run")
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("broken", ["np.savez", "os.replace"])
def test_a_failed_save_leaves_the_old_checkpoint_and_no_other_file(
    error, broken, tmp_path, monkeypatch
):
    path = tmp_path / "run"
    trainer = fit(make(), steps=2)
    trainer.save(path)
    before = path.read_bytes()

    def fail(file, *_, **__):
        if broken == "np.savez":
            file.write(b"half a file")
        raise error

    fit(trainer, steps=1)
    monkeypatch.setattr("trainlab.trainer." + broken, fail)
    with pytest.raises(type(error)):
        trainer.save(path)
    assert os.listdir(tmp_path) == ["run"] and path.read_bytes() == before
    monkeypatch.undo()
    assert again(path).step == 2


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "run"
    fit(make(), steps=2).save(path)
    whole = path.read_bytes()
    for length in [*range(12), *range(12, len(whole), 61), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="run is not a whole checkpoint"):
            again(path)
    path.write_bytes(whole)
    assert again(path).step == 2


def test_other_files_are_refused_and_a_missing_one_is_missing(tmp_path):
    (tmp_path / "text").write_text("not a checkpoint")
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "arrays.npz", W=np.ones(3))
    for name in ("text", "array.npy", "arrays.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a whole checkpoint"):
            again(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        again(tmp_path / "nothing")


def other_loss(predictions, targets, reduction):
    return squared_error(predictions, targets, reduction=reduction)


OTHERS = [
    (
        {"model": Linear(D, 2, dtype=np.float64)},
        ["model: saved Linear(inputs=5, outputs=1, ", "received Linear(inputs=5, outputs=2, "],
    ),
    ({"model": Linear(D, 1)}, ["model: saved", "float64", "float32"]),
    ({"loss": other_loss}, ["loss: saved squared_error, received other_loss"]),
    (
        {"loss": functools.partial(squared_error, weights=None)},
        ["loss: saved squared_error, received squared_error(){'weights': None}"],
    ),
    (
        {"optimizer": SGD(0.9)},
        ["optimizer: saved SGD(momentum=0.0, ", "received SGD(momentum=0.9, "],
    ),
    ({"seed": 1}, ["seeds: saved [0], received [1]"]),
    ({"replicas": 2}, ["replicas: saved None, received 2", "seeds: saved [0], received [0, 1]"]),
    ({"batch_size": 8}, ["batch_size: saved 7, received 8"]),
    ({"accumulate": 2}, ["accumulate: saved 1, received 2"]),
    ({"max_norm": 1}, ["max_norm: saved None, received 1.0"]),
    ({"on_divergence": "record"}, ["on_divergence: saved raise, received record"]),
    (
        {"seed": 1, "batch_size": 8},
        [
            "seeds: saved [0], received [1]; changed=['seed'] takes it; batch_size: saved 7, received 8"
        ],
    ),
]


@pytest.mark.parametrize("options, messages", OTHERS, ids=[row[1][0] for row in OTHERS])
def test_a_checkpoint_of_another_training_is_refused_with_each_difference(
    options, messages, tmp_path
):
    fit(make(), steps=2).save(tmp_path / "run")
    with pytest.raises(ValueError, match="run is a checkpoint of another training; ") as caught:
        again(tmp_path / "run", **options)
    assert all(message in str(caught.value) for message in messages)
    assert str(caught.value).count(": saved") == str(messages).count(": saved")


def test_a_schedule_that_agrees_on_the_past_may_go_on(tmp_path):
    fit(make(schedule=Constant(0.5)), steps=4).save(tmp_path / "run")
    cooldown = WarmupStableDecay(0.5, warmup_steps=0, stable_steps=4, decay_steps=4, shape="linear")
    assert fit(again(tmp_path / "run", schedule=cooldown), steps=2).history["rate"].tolist() == [
        0.5
    ] * 5 + [0.375]


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_schedule_with_another_past_is_refused_unless_it_is_named(replicas, tmp_path):
    options = {"schedule": Cosine(0.5, 100), "replicas": replicas}
    fit(make(**options), steps=3).save(tmp_path / "run")
    for other in (Cosine(0.5, 101), lambda step: Cosine(0.5, 101)(step)):
        with pytest.raises(
            ValueError,
            match=r"schedule: the update of step 1 had the rate 0.4998\d*, .* says 0.4998",
        ):
            again(tmp_path / "run", **options | {"schedule": other})
    resumed = fit(
        again(tmp_path / "run", **options | {"schedule": Cosine(0.5, 9)}, changed=["schedule"]),
        steps=1,
    )
    rates = [Cosine(0.5, 100)(step) for step in range(3)] + [Cosine(0.5, 9)(3)]
    assert resumed.history["rate"].reshape(4, -1)[:, 0].tolist() == rates


@pytest.mark.parametrize("rate", [1e-9, 1e-14])
def test_small_rates_of_another_schedule_are_another_past_too(rate, tmp_path):
    fit(make(schedule=Constant(rate)), steps=2).save(tmp_path / "run")
    with pytest.raises(ValueError, match="schedule: the update of step 0 had the rate"):
        again(tmp_path / "run", schedule=Constant(1.5 * rate))


def test_only_the_schedule_is_compared_not_what_a_plateau_made_of_it(tmp_path):
    trainer = make(schedule=Constant(0.5))
    trainer.rate_scale = 0.25
    fit(trainer, steps=2).save(tmp_path / "run")
    assert (
        fit(again(tmp_path / "run", schedule=Constant(0.5)), steps=1).history["rate"].tolist()
        == [0.125] * 3
    )


def test_other_data_are_refused_after_a_resume_and_before_one(tmp_path):
    trainer = make()
    trainer.fit(X, NUMBERS[1], weights=np.ones(N), steps=2, progress=False).save(tmp_path / "run")
    other_x, other_y = X.copy(), NUMBERS[1].copy()
    other_x[41, 3] += 1e-9
    other_y[69] = -other_y[69]
    for run in (trainer, again(tmp_path / "run")):
        for x, y, weights, names in (
            (other_x, NUMBERS[1], np.ones(N), "x"),
            (X, other_y, np.ones(N), "y"),
            (X, NUMBERS[1], None, "weights"),
            (X[::-1], NUMBERS[1][::-1], np.ones(N), "x, y"),
        ):
            with pytest.raises(
                ValueError,
                match=f"^this training began with other {names}; new_data=True takes them$",
            ):
                run.fit(x, y, weights=weights, steps=1, progress=False)
        with pytest.raises(
            ValueError,
            match="^this training began with 70 examples, received 69; new_data=True takes them$",
        ):
            run.fit(X[1:], NUMBERS[1][1:], weights=np.ones(N - 1), steps=1, progress=False)
        assert (
            run.fit(X.tolist(), NUMBERS[1].copy(), weights=[1] * N, steps=1, progress=False).step
            == 3
        )


def test_new_data_asked_for_by_name_begin_an_epoch(tmp_path):
    def train(trainer, x, y, steps, **options):
        return trainer.fit(x, y, steps=steps, progress=False, **options)

    seen = []

    def spy(predictions, targets, reduction):
        seen.append(targets[:, 0].astype(int).tolist())
        return squared_error(predictions, targets, reduction=reduction)

    numbers = np.arange(float(N))[:, None]
    # One epoch of seven updates, and two updates more.
    trainer = train(make(loss=spy, batch_size=10), X, numbers, 9)
    train(trainer, X[:40], 1000 + numbers[:40], 3, new_data=True)
    assert sum(seen[9:], []) == (1000 + batch_order(0, 2, 40)[:30]).tolist()
    trainer.save(tmp_path / "run")
    # Its list has grown.
    resumed = again(tmp_path / "run", loss=spy, batch_size=10, changed=["loss"])
    for run in (trainer, resumed):
        del seen[:]
        train(run, X[:40], 1000 + numbers[:40], 2)
        assert seen == [
            (1000 + batch_order(0, 2, 40)[30:]).tolist(),
            (1000 + batch_order(0, 3, 40)[:10]).tolist(),
        ]


def test_as_many_new_data_go_on_with_the_epoch():
    whole, halves = spied_run(steps=9, batch_size=5), []

    def spy(predictions, targets, reduction):
        halves.append(np.abs(targets[:, 0]).astype(int).tolist())
        return squared_error(predictions, targets, reduction=reduction)

    trainer, y = make(loss=spy, batch_size=5), np.arange(23.0)[:, None]
    for step in range(9):  # examples that are made anew for every update: augmentation
        fit(trainer, X[:23] + step, -y if step % 2 else y, steps=1, new_data=True)
    assert halves == whole


def test_data_of_a_refused_update_are_not_the_trainings():
    trainer = make()
    with pytest.raises(ValueError, match="losses do not broadcast"):
        fit(trainer, X, NUMBERS[1][:, 0], steps=1)
    assert same(fit(trainer, steps=2).params, fit(make(), steps=2).params)
    fewer = make()
    with pytest.raises(ValueError, match="losses do not broadcast"):
        fit(fewer, X, NUMBERS[1][:, 0], steps=1)
    assert same(
        fit(fewer, X[:40], NUMBERS[1][:40], steps=9).params,
        fit(make(), X[:40], NUMBERS[1][:40], steps=9).params,
    )


def test_data_of_no_update_are_not_the_trainings_but_the_next_ones_are():
    trainer, few = fit(make(), steps=0), (X[:40], NUMBERS[1][:40])
    fit(trainer, *few, steps=2)
    fit(trainer, *few, steps=2)
    assert same(trainer.params, fit(make(), *few, steps=4).params)
    others = few[0] + 1, few[1]
    fit(trainer, *others, steps=1, new_data=True)
    fit(trainer, *others, steps=1)
    with pytest.raises(ValueError, match="^this training began with other x; "):
        fit(trainer, *few, steps=1)


@pytest.mark.parametrize("x", [[[0.5, 1.0]], [[2.0, 1.0]]], ids=str)
def test_tokens_are_whole_numbers(x):
    trainer = make(Decoder(3, 2, 4, 1, 1), softmax_cross_entropy, batch_size=1)
    fit(trainer, [[2, 1]], [[1, 0]], steps=1)
    with pytest.raises(TypeError, match="^x must be whole numbers, received dtype float64$"):
        trainer.evaluate(x, [[1, 0]])


def offset_loss(offset):
    def loss(predictions, targets, reduction):
        return squared_error(predictions, targets + offset, reduction=reduction)

    return loss


class Offset:
    def __init__(self, offset):
        self.offset = offset

    def __call__(self, predictions, targets, reduction):
        return squared_error(predictions, targets + self.offset, reduction=reduction)


def named_loss(body):
    """A function as an edited file would define it: the same name, another body."""
    space = {"squared_error": squared_error}
    exec(f"def loss(predictions, targets, reduction):\n    return {body}", space)
    return space["loss"]


ARRAY = np.linspace(0, 1, 5000)
ALMOST = np.where(np.arange(5000) == 2500, 7.0, ARRAY)
PAIRS = {
    "lambda": (
        lambda p, t, reduction: squared_error(p, t, reduction=reduction),
        lambda p, t, reduction: squared_error(p, 2 * t, reduction=reduction),
    ),
    "closure": (offset_loss(0.0), offset_loss(1.0)),
    "object": (Offset(0.0), Offset(1.0)),
    "array in the middle": (offset_loss(ARRAY[2500]), offset_loss(ALMOST[2500])),
    "edited body": (
        named_loss("squared_error(predictions, targets, reduction=reduction)"),
        named_loss("squared_error(predictions, -targets, reduction=reduction)"),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_function_under_the_same_name_is_refused_unless_it_is_named(name, tmp_path):
    first, second = PAIRS[name]
    fit(make(loss=first), steps=2).save(tmp_path / "run")
    assert fit(again(tmp_path / "run", loss=first), steps=1).step == 3
    with pytest.raises(
        ValueError,
        match="loss: the code or the values of .* are not those that were saved; changed=\\['loss'\\] takes them",
    ):
        again(tmp_path / "run", loss=second)
    assert fit(again(tmp_path / "run", loss=second, changed=["loss"]), steps=1).step == 3


def test_a_change_that_is_named_lets_no_other_one_pass(tmp_path):
    fit(make(), steps=2).save(tmp_path / "run")
    with pytest.raises(ValueError, match="training; loss: saved squared_error, received other"):
        again(tmp_path / "run", loss=other_loss, changed=["model"])


def test_what_cannot_be_compared_is_refused_unless_it_is_named(tmp_path):
    class Locked(Offset):
        lock = threading.Lock()

    fit(make(loss=Locked(0.0)), steps=2).save(tmp_path / "run")
    with pytest.raises(
        ValueError,
        match="loss: .*Locked cannot be compared with the one that was saved; changed=\\['loss'\\] takes it",
    ):
        again(tmp_path / "run", loss=Locked(0.0))
    assert fit(again(tmp_path / "run", loss=Locked(0.0), changed=["loss"]), steps=1).step == 3
    with pytest.raises(
        ValueError,
        match="changed must be one of 'model', 'loss', .*, 'max_norm', 'seed', received 'batch_size'",
    ):
        again(tmp_path / "run", changed=["batch_size"])


def test_another_optimizer_keeps_a_state_that_fits_and_begins_one_that_does_not(tmp_path):
    trainer = fit(make(optimizer=SGD(0.9)), steps=2)
    trainer.save(tmp_path / "run")
    assert same(
        again(tmp_path / "run", optimizer=SGD(0.5), changed=["optimizer"]).state, trainer.state
    )
    begun = again(tmp_path / "run", optimizer=Adam(), changed=["optimizer"])
    assert begun.state["updates"] == 0 and fit(begun, steps=1).step == 3


def test_another_model_has_to_have_the_same_parameters(tmp_path):
    fit(make(MLP((D, 4, 1))), steps=2).save(tmp_path / "run")
    assert (
        fit(again(tmp_path / "run", MLP((D, 4, 1), "tanh"), changed=["model"]), steps=1).step == 3
    )
    with pytest.raises(ValueError, match="params must have the shapes"):
        again(tmp_path / "run", MLP((D, 5, 1)), changed=["model"])


def test_replicas_counted_by_numpy_can_be_saved(tmp_path):
    make(replicas=np.int64(2)).save(tmp_path / "run")
    assert again(tmp_path / "run", replicas=2).replicas == 2


# --- Refusals ------------------------------------------------------------------------------------


def returning(rate):
    def schedule(step):
        return rate if step == 2 else 0.1

    return schedule


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize(
    "rate, received",
    [
        (-0.1, "-0.1"),
        (NAN, "nan"),
        (INF, "inf"),
        (-INF, "-inf"),
        (None, "None"),
        ("0.1", "0.1"),
        (np.ones(2), "[1. 1.]"),
        (1j, "1j"),
        (np.float32(-1), "-1.0"),
    ],
    ids=str,
)
def test_a_users_wrong_rate_is_refused_with_its_step(rate, received, replicas):
    trainer = make(schedule=returning(rate), replicas=replicas)
    states = []
    with pytest.raises(ValueError) as caught:
        fit(trainer, steps=5, callback=lambda t: states.append(snapshot(t.params)))
    assert (
        str(caught.value) == f"returning.<locals>.schedule returned the rate {received} at step 2"
    )
    assert (
        trainer.step == 2 and len(trainer.history["rate"]) == 2 and same(trainer.params, states[-1])
    )


class Falling(Schedule):
    """A schedule of a user's own on the library's class: 0.3, 0.2, 0.1 and so on, below zero at last."""

    def __init__(self, steps=3):
        self.steps = steps

    def _rate(self, step, xp):
        return 0.1 * (self.steps - step)


@pytest.mark.parametrize("falls", [[3], [9, 3], [9, 9, 9, 9, 9, 1]], ids=str)
def test_a_rate_that_is_wrong_later_is_refused_by_the_update_that_asks_for_it(falls):
    schedules, good = [Falling(steps) for steps in falls], falls[-1] + 1
    trainer = make(schedule=schedules if len(falls) > 1 else schedules[0])
    with pytest.raises(ValueError, match=rf"Falling.* returned the rate -0\.1\d* at step {good}$"):
        fit(trainer, steps=8)
    assert trainer.step == good
    expected = [[0.1 * (steps - step) for steps in falls] for step in range(good)]
    rates = trainer.history["rate"].reshape(good, -1)
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("rate", [0, 1, np.float32(0.5), np.array(0.5)], ids=repr)
def test_any_real_number_will_do_as_a_rate(rate):
    trainer = fit(make(loss=pull, schedule=lambda step: rate), steps=1)
    assert trainer.history["rate"].tolist() == [float(rate)]


def test_a_schedule_need_not_be_hashable():
    class Mine:
        __hash__ = None

        def __call__(self, step):
            return 0.5

    assert fit(make(schedule=Mine()), steps=2).history["rate"].tolist() == [0.5, 0.5]
    assert fit(make(schedule=[Mine(), Constant(0.25)]), steps=1).history["rate"].tolist() == [
        [0.5, 0.25]
    ]


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, received 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be a whole number, received 2.5"),
        ({"accumulate": 0}, ValueError, "accumulate must be at least 1, received 0"),
        ({"max_norm": 0}, ValueError, "max_norm must be above 0, received 0"),
        ({"max_norm": NAN}, ValueError, "max_norm must be finite, received nan"),
        (
            {"on_divergence": "ignore"},
            ValueError,
            "on_divergence must be one of 'raise', 'record', received 'ignore'",
        ),
        ({"seed": -1}, ValueError, "seed must be at least 0, received -1"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number, received 0.5"),
        ({"seed": None}, TypeError, "seed must be a whole number, received None"),
        ({"seed": [1, -2]}, ValueError, "seed must be at least 0, received -2"),
        ({"seed": []}, ValueError, "replicas must be at least 1, received 0"),
        ({"schedule": []}, ValueError, "replicas must be at least 1, received 0"),
        ({"replicas": 0}, ValueError, "replicas must be at least 1, received 0"),
        ({"replicas": 2.0}, TypeError, "replicas must be a whole number, received 2.0"),
        (
            {"replicas": 3, "seed": [1, 2]},
            ValueError,
            "replicas, seed and schedule must agree, received lengths {'replicas': 3, 'seed': 2}",
        ),
        (
            {"schedule": [Constant(0.1)] * 3, "seed": [1, 2]},
            ValueError,
            "replicas, seed and schedule must agree, received lengths {'seed': 2, 'schedule': 3}",
        ),
        ({"schedule": 0.1}, TypeError, "a schedule must be callable, received 0.1"),
        (
            {"schedule": [Constant(0.1), 0.2]},
            TypeError,
            "a schedule must be callable, received 0.2",
        ),
    ],
)
def test_a_wrong_option_is_refused_and_named(options, error, message):
    with pytest.raises(error) as caught:
        make(**options)
    assert str(caught.value) == message


Y = NUMBERS[1]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: fit(make(), X, Y[:, 0], steps=1),
            ValueError,
            "predictions have shape (7, 1), targets (7,); losses do not broadcast",
        ),
        (
            lambda: fit(make(replicas=2), X, Y[:, 0], steps=1),
            ValueError,
            "predictions have shape (2, 7, 1), targets (2, 7); losses do not broadcast",
        ),
        (lambda: fit(make(), X, Y[1:], steps=1), ValueError, "received shapes (70, 5) and (69, 1)"),
        (lambda: fit(make(), X, 1.0, steps=1), ValueError, "received shapes (70, 5) and ()"),
        (lambda: fit(make(), 1.0, Y, steps=1), ValueError, "received shapes () and (70, 1)"),
        (
            lambda: fit(make(), X[:0], Y[:0], steps=1),
            ValueError,
            "x must not be empty, received shape (0, 5)",
        ),
        (
            lambda: fit(make(batch_size=71), steps=1),
            ValueError,
            "batch_size 71 x accumulate 1 asks for 71 examples an update, received 70 in all",
        ),
        (
            lambda: fit(make(batch_size=36, accumulate=2), steps=1),
            ValueError,
            "batch_size 36 x accumulate 2 asks for 72 examples an update, received 70",
        ),
        (
            lambda: fit(make(), np.where(X == X[3, 2], NAN, X), steps=1),
            ValueError,
            "x must be finite, received nan at index (3, 2)",
        ),
        (
            lambda: fit(make(), X, np.where(Y == Y[4], INF, Y), steps=1),
            ValueError,
            "y must be finite, received inf at index (4, 0)",
        ),
        (
            lambda: fit(make(), [["a"] * D] * N, steps=1),
            TypeError,
            "x must be real numbers, received dtype <U1",
        ),
        (
            lambda: fit(make(), X, [["a"]] * N, steps=1),
            TypeError,
            "y must be real numbers, received dtype <U1",
        ),
        (
            lambda: fit(make(), np.ma.masked_greater(X, 2), Y, steps=1),
            ValueError,
            "x must not be masked",
        ),
        (
            lambda: fit(make(), X, np.ma.masked_greater(Y, 2), steps=1),
            ValueError,
            "y must not be masked",
        ),
        (
            lambda: fit(make(Linear(D, 1)), X * 1e300, Y, steps=1),
            ValueError,
            "x must fit float32, received",
        ),
        (
            lambda: fit(make(), X[:, 1:], steps=1),
            ValueError,
            "inputs must have shape (..., n, 5), received (7, 4)",
        ),
        (
            lambda: fit(make()),
            ValueError,
            "give steps or epochs, received steps=None and epochs=None",
        ),
        (
            lambda: fit(make(), steps=1, epochs=2),
            ValueError,
            "give steps or epochs, received steps=1 and epochs=2",
        ),
        (lambda: fit(make(), steps=-1), ValueError, "steps must be at least 0, received -1"),
        (lambda: fit(make(), steps=1.5), TypeError, "steps must be a whole number, received 1.5"),
        (lambda: fit(make(), epochs=-1), ValueError, "epochs must be at least 0, received -1"),
        (lambda: fit(make(), epochs=0.5), TypeError, "epochs must be a whole number, received 0.5"),
        (
            lambda: fit(fit(make(), steps=1), X[1:], Y[1:], steps=1),
            ValueError,
            "this training began with 70 examples, received 69; new_data=True takes them",
        ),
        (
            lambda: fit(
                make(Linear(D, 9), softmax_cross_entropy, batch_size=70), X, LABELS, steps=1
            ),
            ValueError,
            "labels must be 0 to 8, received 9 at index",
        ),
        (
            lambda: fit(
                make(Linear(D, 10), softmax_cross_entropy, batch_size=70), X, LABELS - 1, steps=1
            ),
            ValueError,
            "labels must be 0 to 9, received -1 at index",
        ),
        (
            lambda: fit(make(Linear(D, 10), softmax_cross_entropy), X, LABELS * 1.0, steps=1),
            TypeError,
            "labels must be whole numbers, received dtype float",
        ),
        (
            lambda: make().evaluate(X, Y[:, 0]),
            ValueError,
            "predictions have shape (70, 1), targets (70,); losses do not broadcast",
        ),
        (
            lambda: make(replicas=2).evaluate(X, Y[:, 0]),
            ValueError,
            "predictions have shape (2, 70, 1), targets (2, 70); losses do not broadcast",
        ),
        (
            lambda: make().evaluate(X[:0], Y[:0]),
            ValueError,
            "x must not be empty, received shape (0, 5)",
        ),
    ],
)
def test_wrong_data_are_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_a_refused_call_leaves_the_trainer_as_it_was():
    trainer = fit(make(), steps=3)
    params, history = snapshot(trainer.params), snapshot(trainer.history)
    for x, y in ((X, Y[:, 0]), (X[:3], Y[:3]), (X * NAN, Y)):
        with pytest.raises(ValueError):
            fit(trainer, x, y, steps=2)
    assert trainer.step == 3 and same(trainer.params, params) and same(trainer.history, history)
    assert same(fit(trainer, steps=2).params, fit(make(), steps=5).params)


def test_nan_inputs_of_predict_are_named_as_such():
    trainer = Trainer(Linear(2, 1), squared_error, SGD(), Constant(0.1), batch_size=2)
    with pytest.raises(ValueError, match=r"x must be finite, received nan at index \(1, 0\)"):
        trainer.predict([[1.0, 2.0], [np.nan, 0.0]])


def test_a_refused_call_does_not_fix_the_number_of_examples():
    trainer = Trainer(Linear(1, 1), squared_error, SGD(), Constant(0.1), batch_size=2)
    with pytest.raises(ValueError, match="steps"):
        trainer.fit(np.ones((4, 1)), np.ones((4, 1)))
    assert trainer.fit(np.ones((3, 1)), np.ones((3, 1)), steps=1, progress=False).step == 1


# --- Weights, ignored targets and micro-batches --------------------------------------------------

TOKENS = RNG.integers(0, 10, N)
SPARSE = np.where(RNG.random(N) < 0.4, -1, TOKENS)
SPARSE[:2] = TOKENS[:2]
ignoring = functools.partial(softmax_cross_entropy, ignore_index=-1)


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("parts", [2, 5, 7])
def test_uneven_micro_batches_are_the_whole_batch(parts, replicas):
    # With two fifths of the labels ignored, no two micro-batches have the same number left.
    model = MLP((D, 8, 10), dtype=np.float64)
    runs = []
    for size, accumulate in ((35, 1), (35 // parts, parts) if 35 % parts == 0 else (17, parts)):
        whole = make(
            model, ignoring, HEAVY, batch_size=size, accumulate=accumulate, replicas=replicas
        )
        runs.append((fit(whole, y=SPARSE, steps=4), size * accumulate))
    if runs[1][1] != 35:
        whole = make(model, ignoring, HEAVY, batch_size=runs[1][1], replicas=replicas)
        runs[0] = fit(whole, y=SPARSE, steps=4), runs[1][1]
    (one, _), (many, _) = runs
    np.testing.assert_allclose(many.history["loss"], one.history["loss"], rtol=1e-13)
    for name in one.params:
        np.testing.assert_allclose(many.params[name], one.params[name], rtol=1e-11, atol=1e-14)


def test_an_ignored_target_counts_for_nothing_in_the_mean():
    # Every update sees all examples, so leaving the ignored ones out is the same training.
    keep = SPARSE != -1
    model = MLP((D, 8, 10), dtype=np.float64)
    ignored = fit(make(model, ignoring, batch_size=N), y=SPARSE, steps=5)
    removed = fit(
        make(model, softmax_cross_entropy, batch_size=int(keep.sum())),
        X[keep],
        SPARSE[keep],
        steps=5,
    )
    np.testing.assert_allclose(ignored.history["loss"], removed.history["loss"], rtol=1e-13)
    assert ignored.evaluate(X, SPARSE) == pytest.approx(
        removed.evaluate(X[keep], SPARSE[keep]), rel=1e-13
    )


def test_a_micro_batch_may_be_ignored_altogether_but_not_an_update():
    y = np.full(4, -1)
    y[3] = 2
    model = MLP((D, 8, 10))
    trainer = make(model, ignoring, batch_size=1, accumulate=4)
    assert np.isfinite(fit(trainer, X[:4], y, steps=3).history["loss"]).all()
    for replicas, which in ((None, ""), (2, " of replicas [0, 1]")):
        with pytest.raises(ValueError) as caught:
            fit(
                make(model, ignoring, batch_size=4, replicas=replicas),
                X[:4],
                np.full(4, -1),
                steps=1,
            )
        assert (
            str(caught.value)
            == f"the weights{which} at step 0 are all zero: nothing is left to average"
        )


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("outputs", [1, 10])
def test_a_weight_of_two_is_an_example_twice(outputs, replicas):
    weights = RNG.integers(0, 3, N)
    model, y = Linear(D, outputs, dtype=np.float64), NUMBERS[outputs]
    weighted = make(model, batch_size=N, replicas=replicas)
    weighted.fit(X, y, weights=weights, steps=5, progress=False)
    twice = make(model, batch_size=int(weights.sum()), replicas=replicas)
    fit(twice, np.repeat(X, weights, axis=0), np.repeat(y, weights, axis=0), steps=5)
    np.testing.assert_allclose(weighted.history["loss"], twice.history["loss"], rtol=1e-13)
    np.testing.assert_allclose(weighted.params["W"], twice.params["W"], rtol=1e-12)
    np.testing.assert_allclose(
        weighted.evaluate(X, y, weights=weights),
        twice.evaluate(np.repeat(X, weights, axis=0), np.repeat(y, weights, axis=0)),
        rtol=1e-13,
    )


def test_weights_for_each_number_of_an_example():
    weights = RNG.random((N, 10))
    trainer = make(Linear(D, 10, dtype=np.float64), batch_size=N)
    before = trainer.predict(X)
    trainer.fit(X, NUMBERS[10], weights=weights, steps=1, progress=False)
    expected = (weights * (before - NUMBERS[10]) ** 2).sum() / weights.sum()
    assert trainer.history["loss"][0] == pytest.approx(expected, rel=1e-13)


def test_weights_and_ignored_targets_together():
    weights = RNG.random(N)
    kept = np.where(SPARSE == -1, 0, weights)
    model = MLP((D, 8, 10), dtype=np.float64)
    together, by_hand = (
        make(model, ignoring, batch_size=N),
        make(model, softmax_cross_entropy, batch_size=N),
    )
    together.fit(X, SPARSE, weights=weights, steps=3, progress=False)
    by_hand.fit(X, np.maximum(SPARSE, 0), weights=kept, steps=3, progress=False)
    np.testing.assert_allclose(together.history["loss"], by_hand.history["loss"], rtol=1e-14)


def plain(predictions, targets, reduction):
    """The loss of `ignoring` as a user writes it."""
    return softmax_cross_entropy(predictions, targets, ignore_index=-1, reduction=reduction)


class Ignoring:
    def __call__(self, predictions, targets, reduction):
        return plain(predictions, targets, reduction)


def rebuilt(predictions, targets, reduction):
    """One that makes something else of the loss, and says what counts."""
    loss = plain(predictions, targets, reduction)
    return Loss(2 * loss.value, 2 * loss.gradient, loss.weights)


@pytest.mark.parametrize("batch_size, accumulate", [(N, 1), (N // 2, 2)])
@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize(
    "loss",
    [plain, Ignoring(), lambda p, t, reduction: plain(p, t, reduction), rebuilt],
    ids=["function", "object", "lambda", "rebuilt"],
)
def test_what_counts_comes_from_the_loss_however_it_is_written(
    loss, replicas, batch_size, accumulate
):
    keep, factor = SPARSE != -1, 2 if loss is rebuilt else 1
    model = MLP((D, 8, 10), dtype=np.float64)
    ignored = make(
        model,
        loss,
        batch_size=batch_size,
        accumulate=accumulate,
        replicas=replicas,
        schedule=Constant(0.05 / factor),
    )
    removed = make(model, softmax_cross_entropy, batch_size=int(keep.sum()), replicas=replicas)
    fit(ignored, y=SPARSE, steps=4), fit(removed, X[keep], SPARSE[keep], steps=4)
    np.testing.assert_allclose(
        ignored.history["loss"], factor * removed.history["loss"], rtol=1e-12
    )
    for name in removed.params:
        np.testing.assert_allclose(
            ignored.params[name], removed.params[name], rtol=1e-9, atol=1e-14
        )
    found, expected = ignored.evaluate(X, SPARSE), removed.evaluate(X[keep], SPARSE[keep])
    np.testing.assert_allclose(found, factor * expected, rtol=1e-12)


def test_class_weights_inside_a_loss_make_a_weighted_mean():
    classes = RNG.random(10)

    def weighed(predictions, targets, reduction):
        return softmax_cross_entropy(
            predictions, targets, weights=classes[targets], reduction=reduction
        )

    model = MLP((D, 8, 10), dtype=np.float64)
    inside, outside = (
        make(model, weighed, batch_size=N),
        make(model, softmax_cross_entropy, batch_size=N),
    )
    fit(inside, y=LABELS, steps=3)
    outside.fit(X, LABELS, weights=classes[LABELS], steps=3, progress=False)
    np.testing.assert_allclose(inside.history["loss"], outside.history["loss"], rtol=1e-13)


def test_an_example_of_weight_zero_may_have_an_infinite_loss():
    def cliff(predictions, targets, reduction):
        loss = squared_error(predictions, targets, reduction="none")
        at = targets == NUMBERS[1][3]
        return Loss(np.where(at, INF, loss.value), np.where(at, INF, loss.gradient))

    weights = np.ones(N)
    weights[3] = 0
    trainer = make(loss=cliff, batch_size=N).fit(
        X, NUMBERS[1], weights=weights, steps=2, progress=False
    )
    plainly = make(batch_size=N).fit(X, NUMBERS[1], weights=weights, steps=2, progress=False)
    assert same(trainer.params, plainly.params)


def test_weights_of_a_loss_in_another_shape_are_refused():
    def wrong(predictions, targets, reduction):
        loss = squared_error(predictions, targets, reduction="none")
        return Loss(loss.value, loss.gradient, np.ones(7))

    with pytest.raises(
        ValueError, match=r"the loss returned weights of shape \(7,\) for values of shape \(7, 1\)"
    ):
        fit(make(loss=wrong), steps=1)


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones(3), f"weights must have shape ({N},) or that of the losses, received (3,)"),
        (1.0, f"weights must have shape ({N},) or that of the losses, received ()"),
        (-np.ones(N), "weights must not be negative, received -1.0 at index (0,)"),
        (np.full(N, NAN), "weights must be finite, received nan at index (0,)"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ValueError) as caught:
        make().fit(X, NUMBERS[1], weights=weights, steps=1, progress=False)
    assert str(caught.value) == message


def test_weights_finer_than_the_losses_are_refused():
    def one_an_example(predictions, targets, reduction):
        loss = squared_error(predictions, targets, reduction="none")
        return Loss(loss.value.sum(axis=-1), loss.gradient)

    trainer = make(Linear(D, 10, dtype=np.float64), one_an_example)
    with pytest.raises(ValueError, match=r"weights have shape \(7, 10\), the losses \(7,\)"):
        trainer.fit(X, NUMBERS[10], weights=np.ones((N, 10)), steps=1, progress=False)


# --- The table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas, max_norm", [(None, None), (3, 0.5)])
def test_the_table_has_a_row_for_each_update_and_replica(replicas, max_norm):
    trainer = make(seed=5, replicas=replicas, max_norm=max_norm)
    assert trainer.table() == []
    rows = fit(trainer, steps=4).table()
    history, runs = trainer.history, replicas or 1
    assert len(rows) == 4 * runs
    for place, row in enumerate(rows):
        t, r = divmod(place, runs)
        assert row["step"] == t and row["seed"] == 5 + r
        for name in ("rate", "loss") + (("gradient_norm",) if max_norm else ()):
            assert row[name] == history[name].reshape(4, runs)[t, r] and type(row[name]) is float
    assert "step" in trainer.history


# --- The rate's scale ----------------------------------------------------------------------------


def test_the_scale_multiplies_the_schedule_for_each_replica():
    trainer = make(loss=pull, schedule=Constant(0.5), replicas=3)
    trainer.rate_scale = np.array([1.0, 0.5, 0.0])
    before = trainer.params["b"].copy()
    fit(trainer, steps=2)
    assert trainer.history["rate"].tolist() == [[0.5, 0.25, 0.0]] * 2
    np.testing.assert_allclose(before - trainer.params["b"], [[1.0], [0.5], [0.0]], atol=1e-15)


@pytest.mark.parametrize(
    "schedule", [lambda step: 0.5, Constant(0.5)], ids=["function", "schedule"]
)
@pytest.mark.parametrize("replicas", [None, 2])
def test_the_scale_multiplies_whatever_gives_the_rate(schedule, replicas):
    trainer = make(loss=pull, schedule=schedule, replicas=replicas)
    trainer.rate_scale = trainer.rate_scale * 0.25
    assert np.all(fit(trainer, steps=2).history["rate"] == 0.125)


def test_the_history_has_whole_steps_and_float64_numbers():
    history = fit(make(MLP((D, 4, 1)), max_norm=1.0), steps=2).history
    assert {name: rows.dtype for name, rows in history.items()} == {
        "step": np.int64, "rate": np.float64, "loss": np.float64, "gradient_norm": np.float64,
    }  # fmt: skip


@pytest.mark.parametrize("on_divergence", ["record", "raise"])
def test_a_loss_that_is_infinite_for_one_replica_is_that_replicas_end(on_divergence):
    def cliff(predictions, targets, reduction):
        loss = squared_error(predictions, targets, reduction="none")
        values = loss.value.copy()
        values[1] = INF
        return Loss(values, loss.gradient)

    trainer = make(loss=cliff, replicas=3, on_divergence=on_divergence)
    if on_divergence == "raise":
        with pytest.raises(
            FloatingPointError, match=r"the losses of replicas \[1\] stopped being finite at step 0"
        ):
            fit(trainer, steps=1)
        return
    fit(trainer, steps=1)
    assert trainer.diverged.tolist() == [False, True, False]
    assert np.isfinite(trainer.history["loss"][0]).tolist() == [True, False, True]
    assert np.isnan(trainer.params["W"]).all(axis=(1, 2)).tolist() == [False, True, False]


def test_float32_training_keeps_float32_throughout():
    seen = {}

    def spying(predictions, targets, reduction):
        loss = squared_error(predictions, targets, reduction="none")
        seen.update(predictions=predictions.dtype, targets=targets.dtype)
        return loss

    trainer = make(MLP((D, 4, 1)), spying, batch_size=7)
    trainer.fit(X, NUMBERS[1], weights=np.ones(N), steps=1, progress=False)
    assert set(seen.values()) == {np.dtype(np.float32)}
    assert {value.dtype for value in trainer.params.values()} == {np.dtype(np.float32)}


def test_a_table_ends_where_the_training_did():
    def stop(trainer):
        if trainer.step == 3:
            raise StopTraining

    assert [row["step"] for row in fit(make(), steps=9, callback=stop).table()] == [0, 1, 2]


@pytest.mark.parametrize("lost", [False, True])
def test_the_loss_of_a_single_run_is_a_python_number(lost):
    trainer = fit(make(on_divergence="record"), steps=1)
    if lost:
        trainer.params = {name: np.full_like(v, 1e200) for name, v in trainer.params.items()}
    value = trainer.evaluate(X, NUMBERS[1])
    assert type(value) is float and (value == INF) == lost


def test_examples_that_the_loss_ignores_altogether_are_refused_with_the_step():
    loss = functools.partial(softmax_cross_entropy, ignore_index=0)
    trainer = fit(make(MLP((D, 4, 10)), loss), X, LABELS, steps=2)
    with pytest.raises(ValueError, match="at step 2 are all zero"):
        trainer.evaluate(X, np.zeros(N, int))


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("before, after", [(None, 0.01), (0.01, None), (0.01, 0.02)])
def test_a_resumed_run_may_clip_what_comes(before, after, replicas, tmp_path):
    first = fit(make(max_norm=before, replicas=replicas), steps=4)
    first.save(tmp_path / "run")
    parts = (first.model, first.loss, first.optimizer, Constant(0.05))
    options = {"batch_size": 7, "replicas": replicas}
    with pytest.raises(ValueError, match=r"max_norm: saved .*; changed=\['max_norm'\] takes it"):
        Trainer.resume(tmp_path / "run", *parts, max_norm=after, **options)
    second = Trainer.resume(
        tmp_path / "run", *parts, max_norm=after, changed=["max_norm"], **options
    )
    fit(second, steps=1)
    if after is not None:
        runs = replicas or 1
        moved = [(second.params[n] - first.params[n]).reshape(runs, -1) for n in first.params]
        lengths = np.linalg.norm(np.concatenate(moved, axis=1), axis=1)
        np.testing.assert_allclose(lengths, 0.05 * after, rtol=1e-9)
    fit(second, steps=2)
    norms = second.history["gradient_norm"]
    known = np.isfinite(norms).reshape(7, -1).all(axis=1).tolist()
    assert known == [before is not None] * 4 + [after is not None] * 3
    assert second.history["step"].tolist() == list(range(7))
    assert np.isfinite(second.history["loss"]).all()
    second.save(tmp_path / "again")
    third = Trainer.resume(tmp_path / "again", *parts, max_norm=after, **options)
    assert same(third.history, second.history) and len(third.table()) == 7 * (replicas or 1)


def test_a_resumed_run_may_meet_the_examples_in_another_order(tmp_path):
    first = fit(make(), steps=3)
    first.save(tmp_path / "run")
    parts = (first.model, first.loss, first.optimizer, Constant(0.05))
    with pytest.raises(ValueError, match=r"seeds: saved \[0\], received \[5\]; changed=\['seed'\]"):
        Trainer.resume(tmp_path / "run", *parts, batch_size=7, seed=5)
    other = Trainer.resume(tmp_path / "run", *parts, batch_size=7, seed=5, changed=["seed"])
    assert same(other.params, first.params) and other.step == 3
    seen = []

    def spy(predictions, targets, reduction):
        seen.append(targets.ravel())
        return squared_error(predictions, targets, reduction=reduction)

    other.loss = spy
    fit(other, steps=1)
    assert seen[0].tolist() == NUMBERS[1].ravel()[batch_order(5, 0, N)[21:28]].tolist()


class InPlace:
    """Momentum that knows of no `out`: it changes what it is given."""

    def __init__(self, stumbles_at=None):
        self.updates, self.stumbles_at = 0, stumbles_at

    def init(self, params):
        return {name: np.zeros_like(value) for name, value in params.items()}

    def update(self, params, gradients, state, rate):
        for name, value in params.items():
            state[name] *= 0.5
            state[name] += gradients[name]
            value -= rate * state[name]
        self.updates += 1
        if self.updates == self.stumbles_at:
            raise KeyboardInterrupt


class MLPWithoutOut(MLP):
    def backward(self, params, cache, gradient):
        return super().backward(params, cache, gradient)


def test_who_cannot_write_elsewhere_trains_the_same():
    shape, falling = (D, 4, 1), Exponential(0.05, 0.5, 3)
    whole = fit(make(MLP(shape), optimizer=SGD(0.5), schedule=falling), steps=8)
    plain = fit(make(MLPWithoutOut(shape), optimizer=InPlace(), schedule=falling), steps=8)
    assert same(whole.params, plain.params)


def test_an_update_in_place_that_is_interrupted_has_not_happened():
    whole = fit(make(optimizer=InPlace()), steps=6)
    broken = make(optimizer=InPlace(stumbles_at=4))
    with pytest.raises(KeyboardInterrupt):
        fit(broken, steps=6)
    assert broken.step == 3
    assert same(broken.params, fit(make(optimizer=InPlace()), steps=3).params)
    fit(broken, steps=3)
    assert same(whole.params, broken.params) and same(whole.state, broken.state)
