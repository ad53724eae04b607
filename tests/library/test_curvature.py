"""The slope and the largest curvature of a loss, against those that are known."""

import functools

import numpy as np
import pytest

from trainlab.curvature import gradient, sharpness
from trainlab.losses import softmax_cross_entropy, squared_error
from trainlab.models import MLP, Linear
from trainlab.optimizers import SGD
from trainlab.schedules import Constant
from trainlab.trainer import Trainer

RNG = np.random.default_rng(0)
N, D = 30, 4
X, Y, LABELS = RNG.normal(size=(N, D)), RNG.normal(size=(N, 3)), RNG.integers(0, 3, N)


def make(model=None, loss=squared_error, seed=(3, 5), **options):
    model = Linear(D, 3, dtype=np.float64) if model is None else model
    seed = list(seed) if isinstance(seed, tuple) else seed
    return Trainer(model, loss, SGD(), Constant(0.1), seed=seed, batch_size=N, **options)


@pytest.mark.parametrize("seed", [3, (3, 5)])
@pytest.mark.parametrize("loss, y", [(squared_error, Y), (softmax_cross_entropy, LABELS)])
def test_the_gradient_is_that_of_an_update_with_all_examples(loss, y, seed):
    trainer = make(MLP((D, 6, 3), "tanh", dtype=np.float64), loss, seed)
    before = {name: values.copy() for name, values in trainer.params.items()}
    found = gradient(trainer, X, y)
    for name, values in trainer.params.items():
        np.testing.assert_array_equal(values, before[name])
    trainer.fit(X, y, steps=1, progress=False)
    for name, values in trainer.params.items():
        np.testing.assert_allclose(before[name] - 0.1 * found[name], values, rtol=1e-12, atol=1e-15)


def test_targets_that_the_loss_ignores_do_not_count():
    loss = functools.partial(softmax_cross_entropy, ignore_index=0)
    kept, trainer = LABELS != 0, make(loss=loss)
    for some, all_of in zip(
        gradient(trainer, X[kept], LABELS[kept]).values(), gradient(trainer, X, LABELS).values()
    ):
        np.testing.assert_allclose(some, all_of, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("directions", [5, 100])
@pytest.mark.parametrize("seed", [3, (3, 5)])
def test_the_sharpness_of_a_line_is_that_of_its_inputs(seed, directions):
    inputs = np.column_stack([X, np.ones(N)])
    # A mean over three outputs as well.
    known = 2 / 3 * np.linalg.eigvalsh(inputs.T @ inputs / N)[-1]
    found = sharpness(make(seed=seed), X, Y, directions)
    assert np.shape(found) == np.shape(seed) and (seed != 3 or type(found) is float)
    np.testing.assert_allclose(found, known, rtol=1e-6)


def test_the_sharpness_of_a_network_is_that_of_its_second_derivatives():
    trainer = make(MLP((D, 3, 3), "tanh", dtype=np.float64), softmax_cross_entropy, 3)
    trainer.fit(X, LABELS, steps=3, progress=False)
    start = {name: values.copy() for name, values in trainer.params.items()}
    columns, step = [], 1e-5
    for name, values in start.items():
        for place in np.ndindex(values.shape):
            slopes = []
            for sign in (1, -1):
                moved = {key: array.copy() for key, array in start.items()}
                moved[name][place] += sign * step
                trainer.params = moved
                found = gradient(trainer, X, LABELS)
                slopes.append(np.concatenate([found[key].ravel() for key in start]))
            columns.append((slopes[0] - slopes[1]) / (2 * step))
    trainer.params = start
    known = np.linalg.eigvalsh((np.array(columns) + np.array(columns).T) / 2)[-1]
    assert sharpness(trainer, X, LABELS, 20) == pytest.approx(known, rel=1e-5)


def test_fewer_directions_give_less():
    trainer = make(MLP((D, 6, 3), "tanh", dtype=np.float64), softmax_cross_entropy)
    found = [sharpness(trainer, X, LABELS, directions) for directions in (1, 4, 12)]
    assert (found[0] < found[1]).all() and (found[1] <= found[2] * (1 + 1e-6)).all()


def test_asked_again_it_finds_the_same():
    trainer = make(MLP((D, 6, 3), "tanh", dtype=np.float64), softmax_cross_entropy, 3)
    assert sharpness(trainer, X, LABELS, 1) == sharpness(trainer, X, LABELS, 1)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1)])
def test_what_overflows_has_no_curvature_and_no_warning(signs):
    trainer = make(Linear(D, 1, dtype=np.float64), seed=3, on_divergence="record")
    trainer.params = {"W": np.full((D, 1), 1e308), "b": np.zeros(1)}
    x = np.full((N, D), 1e3) * [*signs, 0, 0]
    assert np.isnan(sharpness(trainer, x, Y[:, :1]))
    assert np.isnan(gradient(trainer, x, Y[:, :1])["W"]).any()


def test_a_lost_run_has_no_curvature_and_hurts_no_other():
    trainer = make(on_divergence="record")
    alone = sharpness(trainer.only([1]), X, Y)
    params = {name: values.copy() for name, values in trainer.params.items()}
    params["W"][0] = np.nan
    trainer.params = params
    found = sharpness(trainer, X, Y)
    assert np.isnan(found[0]) and found[1] == pytest.approx(alone[0], rel=1e-9)
    slopes = gradient(trainer, X, Y)
    assert np.isnan(slopes["W"][0]).all() and np.isfinite(slopes["W"][1]).all()


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="needs a model in float64, received float32"):
        sharpness(make(Linear(D, 3)), X, Y)
    with pytest.raises(ValueError, match="directions must be at least 1, received 0"):
        sharpness(make(), X, Y, 0)
    with pytest.raises(ValueError, match="x and y must have one row an example"):
        sharpness(make(), X, Y[:5])
