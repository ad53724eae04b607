"""Optimizers and clipping over every type of array: the right values, or a refusal in our own words."""

import traceback
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainlab.optimizers import (
    NEWTON_SCHULZ,
    SGD,
    Adam,
    AdamW,
    Group,
    Muon,
    ScheduleFreeAdamW,
    clip_by_global_norm,
)

FLOATS = [np.float16, np.float32, np.float64]
WHOLE = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
OPTIMIZERS = [
    SGD(),
    SGD(0.9),
    SGD(0.9, nesterov=True, weight_decay=0.1),
    SGD(weight_decay=0.1, groups=[Group("w", rate=0.5, weight_decay=0.01)]),
    Adam(),
    AdamW(0.5, 0.75, weight_decay=0.1),
    AdamW(groups=[Group("*", rate=2.0)]),
]

# Its state does not begin with zeros.
FREE = ScheduleFreeAdamW(0.5, 0.75, weight_decay=0.1)

# --- Disguises: the same numbers in other clothes -------------------------------------------------


class Subclass(np.ndarray):
    pass


TAKEN = {
    "as it is": lambda a: a,
    "every second entry": lambda a: np.stack([a, a], axis=-1)[..., 1],
    "column by column": lambda a: np.asarray(a, order="F"),
    "backwards": lambda a: a[..., ::-1] if a.ndim else a,
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "a subclass": lambda a: a.view(Subclass),
}


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


GRADIENTS_TAKEN = TAKEN | {"read-only": read_only}
REFUSED = {
    "a list": lambda a: a.tolist(),
    "masked": lambda a: np.ma.masked_array(a, a > 0),
    "complex": lambda a: a.astype(complex),
    "objects": lambda a: a.astype(object),
    "texts": lambda a: a.astype(str),
    "a NumPy number": lambda a: np.float64(1.5),
    "nothing": lambda a: None,
}
SHAPES = st.sampled_from([(), (0,), (1,), (5,), (2, 3), (3, 0), (2, 1, 3)])


def refusal(call):
    """Call it; return the error that our own code raised, or None. Any other error, and any warning, is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except (ValueError, TypeError) as error:
            innermost = traceback.extract_tb(error.__traceback__)[-1]
            assert "trainlab" in innermost.filename and innermost.line.startswith("raise"), (
                innermost
            )
            return error
    return None


def numbers(draw, shape, dtype):
    """Draw an array of a type, small and large numbers in the same one, as gradients are."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        # A square of 2**64 would be too much for float32.
        ends = np.array([np.iinfo(dtype).min, min(np.iinfo(dtype).max, 2**63), 0, 1, 17], dtype)
        return np.asarray(ends[rng.integers(0, 5, shape)])
    top = {2: 4, 4: 15, 8: 100}[dtype.itemsize]
    return np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-top, top, shape)).astype(dtype)


@np.errstate(all="ignore")
def long_hand(optimizer, params, gradients, rate, steps):
    """The same updates in 80 bits, straight from the formulas, rounded to the parameter's type after each."""
    wide, dtype = np.longdouble, params.dtype
    group = optimizer.groups[0] if optimizer.groups else Group("*")
    rate = rate * group.rate
    decay = optimizer.weight_decay if group.weight_decay is None else group.weight_decay
    first, second = np.zeros(params.shape, wide), np.zeros(params.shape, wide)
    ahead = params.astype(wide)
    for t in range(1, steps + 1):
        theta, g = params.astype(wide), gradients.astype(wide)
        if isinstance(optimizer, SGD):
            g = g + decay * theta
            first = optimizer.momentum * first + g
            theta = theta - rate * (g + optimizer.momentum * first if optimizer.nesterov else first)
        elif isinstance(optimizer, ScheduleFreeAdamW):
            beta1, share = wide(optimizer.beta1), 1 / wide(t) if rate else wide(0)
            average = theta + (1 / beta1 - 1) * (theta - ahead)
            second = optimizer.beta2 * second + (1 - optimizer.beta2) * g**2
            size = np.sqrt(second / (1 - wide(optimizer.beta2) ** t)) + optimizer.epsilon
            ahead = ahead - rate * (g / size + decay * theta)
            theta = (1 - beta1) * ahead + beta1 * (average + share * (ahead - average))
        else:
            first = optimizer.beta1 * first + (1 - optimizer.beta1) * g
            second = optimizer.beta2 * second + (1 - optimizer.beta2) * g**2
            size = np.sqrt(second / (1 - wide(optimizer.beta2) ** t)) + optimizer.epsilon
            theta = (
                theta * (1 - rate * decay) - rate * first / (1 - wide(optimizer.beta1) ** t) / size
            )
        params = np.asarray(theta, dtype)
    return params


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    data=st.data(),
    optimizer=st.sampled_from([*OPTIMIZERS, FREE]),
    dtype=st.sampled_from(FLOATS),
    gradient_dtype=st.sampled_from([*FLOATS, *WHOLE, bool]),
    shape=SHAPES,
    dressed=st.sampled_from(list(TAKEN)),
    gradient_dressed=st.sampled_from(list(GRADIENTS_TAKEN)),
    elsewhere=st.booleans(),
)
def test_an_update_is_right_in_every_type(
    data, optimizer, dtype, gradient_dtype, shape, dressed, gradient_dressed, elsewhere
):
    start = np.asarray(np.clip(numbers(data.draw, shape, dtype), -1e3, 1e3), dtype)
    gradient = numbers(data.draw, shape, gradient_dtype)
    if gradient.dtype == np.float64 and dtype is not np.float64:
        gradient = np.clip(gradient, -1e15, 1e15)
    rate = data.draw(st.sampled_from([0, 0.01, 1.0, np.float32(0.1), np.array(0.5)]))
    params, gradients = (
        {"w": TAKEN[dressed](start.copy())},
        {"w": GRADIENTS_TAKEN[gradient_dressed](np.asarray(gradient).copy())},
    )
    start, gradient = np.asarray(params["w"]).copy(), np.asarray(gradients["w"])
    right = long_hand(optimizer, start, gradient, float(rate), steps=2)
    finite = np.isfinite(right)
    state = optimizer.init(params)
    with warnings.catch_warnings():
        # Where a result is too large for the type, NumPy may say so.
        warnings.simplefilter("error" if finite.all() else "ignore")
        for _ in range(2):
            out = (
                ({"w": params["w"].copy()}, {name: value.copy() for name, value in state.items()})
                if elsewhere
                else None
            )
            optimizer.update(params, gradients, state, rate, out=out)
            params, state = out or (params, state)
    found = np.asarray(params["w"])
    assert found.dtype == start.dtype and found.shape == start.shape
    assert np.isfinite(found[finite]).all()
    # A sum is as exact as its largest part; float16 may end at the neighbour, once for each update.
    wide = np.promote_types(dtype, np.float32)
    step = 10 * np.abs(gradient.astype(np.longdouble)) if isinstance(optimizer, SGD) else 10
    bound = 16 * np.finfo(wide).eps * (np.abs(start.astype(np.longdouble)) + 2 * float(rate) * step)
    last = (
        np.spacing(np.where(finite, right, 0).astype(dtype))
        if wide != dtype
        else np.finfo(dtype).smallest_subnormal
    )
    bound = bound + 2 * np.abs(last)
    off = np.abs(found.astype(np.longdouble) - np.where(finite, right, 0))
    assert (off <= bound)[finite].all()


REFUSED_PARAMETERS = REFUSED | {
    "read-only": read_only,
    **{np.dtype(kind).name: lambda a, kind=kind: a.astype(kind) for kind in [*WHOLE, bool]},
}


@pytest.mark.parametrize("dress", REFUSED_PARAMETERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_parameter_that_cannot_be_updated_is_refused_by_name_and_nothing_is_written(
    optimizer, dress
):
    good = {"a": np.ones(3), "w": np.ones(3)}
    state = optimizer.init(good)
    params = good | {"w": REFUSED_PARAMETERS[dress](good["w"])}
    error = refusal(
        lambda: optimizer.update(params, {"a": np.ones(3), "w": np.ones(3)}, state, 0.1)
    )
    assert error is not None and "parameter 'w'" in str(error)
    assert (good["a"] == 1).all() and not any(value.any() for value in state.values())
    if dress != "read-only":
        assert "parameter 'w'" in str(refusal(lambda: optimizer.init(params)))


@pytest.mark.parametrize("dress", REFUSED)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_gradient_that_is_no_array_of_real_numbers_is_refused_by_name(optimizer, dress):
    params = {"w": np.ones(3)}
    gradients = {"w": REFUSED[dress](np.ones(3))}
    state = optimizer.init(params)
    error = refusal(lambda: optimizer.update(params, gradients, state, 0.1))
    assert error is not None and "gradient of 'w'" in str(error)
    assert (params["w"] == 1).all() and not any(value.any() for value in state.values())
    if dress != "a NumPy number":
        assert "gradient of 'w'" in str(refusal(lambda: clip_by_global_norm(gradients, 1.0)))


# --- Matrices ------------------------------------------------------------------------------------

MUONS = [
    Muon(matrices="w"),
    Muon(0.5, nesterov=False, weight_decay=0.1, matrices="*"),
    Muon(matrices="w", groups=[Group("w", rate=0.5, weight_decay=0.2)]),
]
MATRICES = st.sampled_from([(1, 1), (3, 3), (2, 5), (5, 2), (2, 3, 4), (1, 2, 1), (0, 3), (3, 0)])


@np.errstate(all="ignore")
def muon_long_hand(optimizer, params, gradients, rate, steps):
    """The same updates in 80 bits, straight from the formulas, rounded to the parameter's type after each."""
    wide, dtype, (a, b, c) = np.longdouble, params.dtype, map(np.longdouble, NEWTON_SCHULZ)
    group = optimizer.groups[0] if optimizer.groups else Group("*")
    rate = rate * group.rate
    decay = optimizer.weight_decay if group.weight_decay is None else group.weight_decay
    velocity, g = np.zeros(params.shape, wide), gradients.astype(wide)
    for _ in range(steps):
        velocity = optimizer.momentum * velocity + g
        step = g + optimizer.momentum * velocity if optimizer.nesterov else velocity
        norm = np.sqrt((step**2).sum(axis=(-2, -1), keepdims=True))
        step = step / np.where(norm == 0, 1, norm)
        for _ in range(optimizer.steps):
            gram = step @ step.mT
            step = a * step + (b * gram + c * gram @ gram) @ step
        step = 0.2 * np.sqrt(wide(max(params.shape[-2:]))) * step
        params = np.asarray(params.astype(wide) * (1 - rate * decay) - rate * step, dtype)
    return params


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    data=st.data(),
    optimizer=st.sampled_from(MUONS),
    dtype=st.sampled_from(FLOATS),
    gradient_dtype=st.sampled_from([*FLOATS, *WHOLE, bool]),
    shape=MATRICES,
    dressed=st.sampled_from(list(TAKEN)),
    gradient_dressed=st.sampled_from(list(GRADIENTS_TAKEN)),
    elsewhere=st.booleans(),
)
def test_an_update_of_matrices_is_right_in_every_type(
    data, optimizer, dtype, gradient_dtype, shape, dressed, gradient_dressed, elsewhere
):
    start = np.asarray(np.clip(numbers(data.draw, shape, dtype), -1e3, 1e3), dtype)
    gradient = numbers(data.draw, shape, gradient_dtype)
    if gradient.dtype == np.float64 and dtype is not np.float64:
        # What the velocity, which is float32, can hold.
        gradient = np.where(np.abs(gradient) < 1e-15, 0, np.clip(gradient, -1e15, 1e15))
    rate = data.draw(st.sampled_from([0, 0.01, 1.0, np.float32(0.1), np.array(0.5)]))
    params = {"w": TAKEN[dressed](start.copy())}
    gradients = {"w": GRADIENTS_TAKEN[gradient_dressed](gradient.copy())}
    start, gradient = np.asarray(params["w"]).copy(), np.asarray(gradients["w"])
    right = muon_long_hand(optimizer, start, gradient, float(rate), steps=2)
    state = optimizer.init(params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            out = (
                ({"w": params["w"].copy()}, {name: value.copy() for name, value in state.items()})
                if elsewhere
                else None
            )
            optimizer.update(params, gradients, state, rate, out=out)
            params, state = out or (params, state)
    found = np.asarray(params["w"])
    assert found.dtype == start.dtype and found.shape == start.shape
    # Rounding in a small singular value grows as that does, 485-fold.
    wide = np.promote_types(dtype, np.float32)
    step = 485 * 0.2 * np.sqrt(max(shape)) * float(rate)
    bound = 16 * np.finfo(wide).eps * (np.abs(start.astype(np.longdouble)) + 2 * step)
    if wide != dtype:
        bound = bound + 2 * np.abs(np.spacing(right))
    assert (np.abs(found.astype(np.longdouble) - right) <= bound).all()


@pytest.mark.parametrize("dress", REFUSED_PARAMETERS)
def test_a_matrix_that_cannot_be_updated_is_refused_by_name_and_nothing_is_written(dress):
    good, optimizer = {"a": np.ones(3), "w": np.ones((2, 3))}, MUONS[0]
    state = optimizer.init(good)
    params = good | {"w": REFUSED_PARAMETERS[dress](good["w"])}
    gradients = {name: np.ones_like(value) for name, value in good.items()}
    error = refusal(lambda: optimizer.update(params, gradients, state, 0.1))
    assert error is not None and "parameter 'w'" in str(error)
    assert (good["a"] == 1).all() and not any(value.any() for value in state.values())
    if dress != "read-only":
        assert "parameter 'w'" in str(refusal(lambda: optimizer.init(params)))


@pytest.mark.parametrize("dress", REFUSED)
def test_a_matrix_of_gradients_that_is_none_is_refused_by_name(dress):
    params = {"a": np.ones(3), "w": np.ones((2, 3))}
    gradients, state = (
        {"a": np.ones(3), "w": REFUSED[dress](np.ones((2, 3)))},
        MUONS[0].init(params),
    )
    error = refusal(lambda: MUONS[0].update(params, gradients, state, 0.1))
    assert error is not None and "gradient of 'w'" in str(error)
    assert (params["a"] == 1).all() and not any(value.any() for value in state.values())


# --- Clipping ------------------------------------------------------------------------------------


def scaled_up(draw, shape, dtype):
    """Numbers of one size, from the smallest of the type to its largest."""
    array = numbers(draw, shape, dtype)
    if array.dtype.kind != "f":
        return array
    info = np.finfo(array.dtype)
    exponent = draw(
        st.integers(int(np.log10(info.smallest_normal)) + 3, int(np.log10(info.max)) - 2)
    )
    return (np.sign(array) * 10.0**exponent).astype(dtype)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    data=st.data(),
    dtype=st.sampled_from([*FLOATS, *WHOLE, bool]),
    shape=SHAPES,
    dressed=st.sampled_from(list(GRADIENTS_TAKEN)),
    replicas=st.booleans(),
    max_norm=st.sampled_from([1e-3, 1, 1.0, 1e5]),
)
def test_a_clipped_gradient_is_right_in_every_type(data, dtype, shape, dressed, replicas, max_norm):
    W, b = scaled_up(data.draw, shape, dtype), scaled_up(data.draw, shape[:1], dtype)
    gradients = {name: GRADIENTS_TAKEN[dressed](value) for name, value in (("W", W), ("b", b))}
    if replicas and not shape:
        assert refusal(lambda: clip_by_global_norm(gradients, max_norm, replicas=True)) is not None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clipped, norm = clip_by_global_norm(gradients, max_norm, replicas=replicas)
    wide = {name: value.astype(np.longdouble) for name, value in gradients.items()}
    axes = {name: tuple(range(replicas, value.ndim)) for name, value in wide.items()}
    right = np.sqrt(sum((value**2).sum(axis=axes[name]) for name, value in wide.items()))
    np.testing.assert_allclose(np.asarray(norm, np.longdouble), right, rtol=1e-13)
    factor = np.minimum(1, max_norm / np.where(right == 0, 1, right))
    for name, value in wide.items():
        expected = value * np.reshape(
            factor, np.shape(factor) + (1,) * (value.ndim - np.ndim(factor))
        )
        kept = gradients[name].dtype if np.dtype(dtype).kind == "f" else np.float64
        assert clipped[name].dtype == kept
        info = np.finfo(kept)
        np.testing.assert_allclose(
            clipped[name].astype(np.longdouble),
            expected,
            rtol=4 * float(info.eps),
            atol=2 * float(info.smallest_subnormal),
        )
