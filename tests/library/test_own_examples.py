"""Replicas with examples of their own, and some of a trainer's replicas."""

import numpy as np
import pytest

from trainlab import data
from trainlab.callbacks import Evaluation
from trainlab.evidence import Task
from trainlab.losses import softmax_cross_entropy, squared_error
from trainlab.models import MLP, Linear
from trainlab.optimizers import SGD, AdamW
from trainlab.schedules import Constant, Cosine
from trainlab.trainer import Trainer

RNG = np.random.default_rng(0)
R, N, D = 3, 20, 4
X, Y = RNG.normal(size=(R, N, D)), RNG.normal(size=(R, N, 1))
LABELS, WEIGHTS = RNG.integers(0, 5, (R, N)), RNG.integers(0, 3, (R, N)) + 0.5
SCHEDULES = [Constant(0.1), Cosine(0.2, 30), Constant(0.01)]
SEEDS = [4, 9, 4]


def make(seed=SEEDS, schedule=SCHEDULES, *, loss=squared_error, optimizer=None, **options):
    model = Linear(D, 1, dtype=np.float64)
    if loss is softmax_cross_entropy:
        model = MLP((D, 6, 5))
    options = {"batch_size": 3, "accumulate": 2, "max_norm": 0.5} | options
    return Trainer(model, loss, optimizer or SGD(momentum=0.9), schedule, seed=seed, **options)


def fit(trainer, x=X, y=Y, *, own=True, **options):
    options = {"steps": 11} | options
    return trainer.fit(x, y, progress=False, per_replica=own, **options)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


def assert_is_replica(trainer, r, single):
    """The replica at place r is the run `single`, bit for bit."""
    assert_same({name: values[r] for name, values in trainer.params.items()}, single.params)
    for name, rows in single.history.items():
        kept = trainer.history[name]
        np.testing.assert_array_equal(kept if name == "step" else kept[:, r], rows)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), AdamW()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("loss, y", [(squared_error, Y), (softmax_cross_entropy, LABELS)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_each_replica_is_the_run_alone_on_its_own_examples(loss, y, weights, optimizer):
    options = {"loss": loss, "optimizer": optimizer}
    together = fit(make(**options), y=y, weights=weights)
    fit(together, y=y, weights=weights, steps=None, epochs=2)
    assert together.step == 11 + 2 * 3
    for r in range(R):
        alone = make(SEEDS[r], SCHEDULES[r], **options)
        own = None if weights is None else weights[r]
        fit(alone, X[r], y[r], own=False, weights=own, steps=17)
        assert_is_replica(together, r, alone)
        value = together.evaluate(X, y, weights=weights, per_replica=True)[r]
        assert value == alone.evaluate(X[r], y[r], weights=own)
        np.testing.assert_array_equal(together.predict(X)[r], alone.predict(X[r]))


def test_the_same_examples_for_each_are_shared_examples():
    own = fit(make(), np.stack([X[0]] * R), np.stack([Y[0]] * R))
    shared = fit(make(), X[0], Y[0], own=False)
    assert_same(own.params, shared.params)


def test_replicas_may_all_have_one_number_of_examples_and_updates():
    # As many examples as replicas: nothing may be told by a length.
    x, y = X[:, :R], Y[:, :R]
    together = fit(make(batch_size=1, accumulate=1), x, y, steps=7)
    for r in range(R):
        single = make(SEEDS[r], SCHEDULES[r], batch_size=1, accumulate=1)
        assert_is_replica(together, r, fit(single, x[r], y[r], own=False, steps=7))


def test_a_resumed_run_has_its_own_examples_again(tmp_path):
    whole = fit(make(), steps=20)
    fit(make(), steps=8).save(tmp_path / "half")
    half = make()
    parts = (half.model, half.loss, half.optimizer, SCHEDULES)
    options = {"seed": SEEDS, "batch_size": 3, "accumulate": 2, "max_norm": 0.5}
    resumed = Trainer.resume(tmp_path / "half", *parts, **options)
    assert_same(fit(resumed, steps=12).params, whole.params)


@pytest.mark.parametrize(
    "x, y, weights, complaint",
    [
        (X[0], Y[0], None, r"the shape \(replicas, examples, ...\), received shapes \(20, 4\) and"),
        (X, Y[:, :19], None, r"received shapes \(3, 20, 4\) and \(3, 19, 1\)"),
        (X, Y[0, :3, 0], None, r"received shapes \(3, 20, 4\) and \(3,\)"),
        (X[:2], Y[:2], None, "one row for each of 3 replicas, received 2"),
        (X, Y, WEIGHTS[:, :3], r"weights must have shape \(3, 20\) .*, received \(3, 3\)"),
        (X, Y, WEIGHTS[:, 0], r"weights must have shape \(3, 20\) .*, received \(3,\)"),
        (X[:, :5], Y[:, :5], None, "asks for 6 examples an update, received 5 in all"),
    ],
)
def test_examples_that_do_not_fit_the_replicas_are_refused(x, y, weights, complaint):
    with pytest.raises(ValueError, match=complaint):
        fit(make(), x, y, weights=weights)


def test_a_single_run_has_no_replicas_to_own_examples():
    with pytest.raises(ValueError, match="this one has a single run"):
        fit(make(0, Constant(0.1)))
    with pytest.raises(ValueError, match="this one has a single run"):
        make(0, Constant(0.1)).evaluate(X, Y, per_replica=True)


def test_other_examples_are_refused_until_they_are_asked_for():
    trainer = fit(make())
    with pytest.raises(ValueError, match="began with other x; new_data=True"):
        fit(trainer, X + 1)
    with pytest.raises(ValueError, match="began with 20 examples, received 19"):
        fit(trainer, X[:, :19], Y[:, :19])
    assert fit(trainer, X[:, :19], Y[:, :19], new_data=True).step == 22


# --- Some of the replicas ------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), AdamW()], ids=str)
@pytest.mark.parametrize("chosen", [[2], [1, 0], range(3), [0, 0]], ids=str)
def test_some_replicas_go_on_as_they_would(chosen, optimizer):
    trainer = fit(make(optimizer=optimizer), X[0], Y[0], own=False)
    trainer.rate_scale = np.array([1.0, 0.5, 0.25])
    before = {name: values.copy() for name, values in trainer.params.items()}
    some = fit(trainer.only(chosen), X[0], Y[0], own=False)
    assert_same(trainer.params, before)
    assert some.replicas == len(chosen) and some.step == 22 and trainer.step == 11
    assert some.seeds == [SEEDS[r] for r in chosen]
    assert some.schedules == [SCHEDULES[r] for r in chosen]
    fit(trainer, X[0], Y[0], own=False)
    rows = list(chosen)
    for found, whole in ((some.params, trainer.params), (some.state, trainer.state)):
        kept = {name: v if v.ndim == 0 else v[rows] for name, v in whole.items()}
        assert_same(found, kept)
    history = trainer.history
    kept = {name: v if name == "step" else v[:, rows] for name, v in history.items()}
    assert_same(some.history, kept)
    assert some.table()[-1]["seed"] == SEEDS[rows[-1]]


def test_some_of_replicas_with_own_examples_want_to_be_told_theirs():
    trainer = fit(make())
    some = trainer.only([2, 1])
    with pytest.raises(ValueError, match="began with other x, y; new_data=True"):
        fit(some, X[[2, 1]], Y[[2, 1]])
    assert some.diverged.dtype == bool
    fit(some, X[[2, 1]], Y[[2, 1]], new_data=True)
    fit(trainer)
    assert_same(some.params, {name: values[[2, 1]] for name, values in trainer.params.items()})


def test_some_of_replicas_are_a_run_of_their_own():
    trainer, watch = fit(make(), X[0], Y[0], own=False), Evaluation(X[0], Y[0], every=1)
    fit(trainer, X[0], Y[0], own=False, callback=watch, steps=3)
    some = trainer.only([1])
    assert some.run != trainer.run
    fit(some, X[0], Y[0], own=False, callback=watch, steps=2)
    assert watch.history["step"].tolist() == [15, 16]
    assert watch.history["value"].shape == (2, 1)


def test_lost_replicas_stay_lost_and_others_go_on():
    schedules = [Constant(1e200), Constant(0.1)]
    options = {"max_norm": None, "on_divergence": "record"}
    trainer = fit(make([0, 1], schedules, **options), X[0], Y[0], own=False)
    assert trainer.diverged.tolist() == [True, False]
    lost, kept = trainer.only([0]), trainer.only([1])
    assert lost.diverged.tolist() == [True] and kept.diverged.tolist() == [False]
    assert fit(kept, X[0], Y[0], own=False).diverged.tolist() == [False]
    assert np.isinf(fit(lost, X[0], Y[0], own=False).history["loss"][-1]).all()


@pytest.mark.parametrize(
    "chosen, complaint", [([3], "a replica must be below 3, received 3"), ([-1], "at least 0")]
)
def test_a_replica_that_is_not_there_is_refused(chosen, complaint):
    with pytest.raises(ValueError, match=complaint):
        make().only(chosen)


def test_a_single_run_has_no_replicas_to_choose_from():
    with pytest.raises(ValueError, match="the number of replicas must be at least 1, received 0"):
        make(0, Constant(0.1)).only([0])


# --- A task whose split is a function of the seed ------------------------------------------------

TASK = Task(
    Linear(10, 1, dtype=np.float64), squared_error, data.diabetes, updates=20, batch_size=8, every=8
)
SETTINGS = [{"schedule": Constant(rate)} for rate in (0.1, 0.01)]


def shortened(seed):
    split = data.diabetes(seed)
    x, y = split.train
    return split._replace(train=data.Examples(x[: 100 + seed % 2], y[: 100 + seed % 2]))


@pytest.mark.parametrize("split", [data.diabetes, shortened])
@pytest.mark.parametrize("callback", [None, lambda trainer: None])
def test_seeds_trained_together_are_seeds_trained_alone(split, callback):
    task = TASK.but(split=split, callback=callback)
    seeds = [3, 0, 5, 2]
    together = task(SETTINGS, seeds)
    assert together["curve/test"].shape == (2, 4, 2)
    for place, seed in enumerate(seeds):
        alone = task.but(split=split(seed))(SETTINGS, [seed])
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name][:, place], values[:, 0])


def test_a_measure_sees_the_runs_of_one_seed_with_its_split():
    seen = []

    def measure(trainer, split):
        seen.append((trainer.seeds, trainer.schedules, split.train.x[0, 0]))
        return {"pairs": np.ones((trainer.replicas, 3)) * trainer.seeds[0]}

    found = TASK.but(measure=measure, every=None)(SETTINGS, [7, 8])
    schedules = [setting["schedule"] for setting in SETTINGS]
    assert seen == [([s, s], schedules, data.diabetes(s).train.x[0, 0]) for s in (7, 8)]
    assert found["pairs"].tolist() == [[[7.0] * 3, [8.0] * 3]] * 2


def test_with_a_callback_the_runs_of_one_seed_are_trained_by_themselves():
    seen = set()
    task = TASK.but(callback=lambda trainer: seen.add(tuple(trainer.seeds)))
    task(SETTINGS, [7, 8])
    assert seen == {(7, 7), (8, 8)}
    together = set()
    TASK.but(
        measure=lambda trainer, split: together.add(trainer.run) or {"n": np.zeros(2)}, every=None
    )(SETTINGS, [7, 8])
    assert len(together) == 2  # each look is at a part of its own


def test_some_of_replicas_keep_the_types():
    some = fit(make(), X[0], Y[0], own=False).only([1])
    assert some.diverged.dtype == bool and some.rate_scale.dtype == float
    fit(some, X[0], Y[0], own=False, steps=1)
    assert some.diverged.dtype == bool
