"""Arrays packed into one buffer: the same dict, the same numbers, and what happens when somebody breaks it open."""

import copy
import pickle

import numpy as np
import pytest

from trainlab import buffers
from trainlab.buffers import Packed, add, empty_like, gather, grouped, pack, together, whole_of
from trainlab.losses import softmax_cross_entropy
from trainlab.models import MLP, Linear
from trainlab.optimizers import SGD, Adam, AdamW, Group, clip_by_global_norm
from trainlab.schedules import Constant
from trainlab.trainer import Trainer
from trainlab.transformer import Decoder

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(30, 5)), RNG.integers(0, 3, 30)
OPTIMIZERS = [
    SGD(),
    SGD(0.9),
    SGD(0.9, nesterov=True, weight_decay=0.1),
    Adam(),
    AdamW(weight_decay=0.1),
    AdamW(groups=[Group("b", rate=0.5, weight_decay=0.0)]),
]


def arrays(dtype=np.float32, replicas=0):
    lead = (replicas,) if replicas else ()
    return {
        name: RNG.normal(size=lead + shape).astype(dtype)
        for name, shape in {"W": (3, 4), "b": (4,), "scale": (), "none": (0, 2)}.items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("replicas", [0, 3])
def test_packed_arrays_are_equal_and_share_one_row_a_replica(replicas):
    given = arrays(replicas=replicas)
    packed = pack(given, bool(replicas))
    assert isinstance(packed, dict) and same(packed, given) and list(packed) == list(given)
    buffer = packed.whole()[""]
    assert buffer.shape == ((replicas, 17) if replicas else (17,)) and buffer.dtype == np.float32
    assert all(np.shares_memory(array, buffer) for array in packed.values() if array.size)
    assert not any(np.shares_memory(packed[name], given[name]) for name in given)
    rows = np.concatenate([array.reshape(max(1, replicas), -1) for array in given.values()], axis=1)
    assert np.array_equal(buffer.reshape(rows.shape), rows)


def test_what_has_no_one_type_stays_a_plain_dict():
    for given in (
        {},
        {"W": np.ones(2), "b": np.ones(2, np.float32)},
        {"W": [1.0]},
        {"W": np.ma.masked_array([1.0])},
    ):
        assert pack(given) is given and whole_of(given) is None


def test_a_dict_with_another_array_in_it_is_a_plain_one():
    def without(packed):
        del packed["b"]

    for change in (
        lambda p: p.update(b=p["b"].copy()),
        without,
        lambda p: p.update(more=np.ones(2)),
    ):
        packed = pack(arrays())
        change(packed)
        assert packed.whole() is None and whole_of(packed) is None and together(packed) == (packed,)
        assert type(empty_like(packed)) is dict
    packed = pack(arrays())
    packed["W"] *= 2  # which assigns the same array
    assert packed.whole() is not None


def test_copies_and_pickles_are_plain_dicts_of_their_own():
    packed = pack(arrays())
    for copied in (
        copy.deepcopy(packed),
        pickle.loads(pickle.dumps(packed)),
        packed.copy(),
        dict(packed),
    ):
        assert type(copied) is dict and same(copied, packed)
    assert not np.shares_memory(copy.deepcopy(packed)["W"], packed["W"])


def test_only_what_is_packed_alike_goes_together():
    packed, other = pack(arrays()), pack(arrays())
    assert together(packed, other) == (packed, other)
    wholes = together(packed, packed.like(), {})
    assert wholes[0][""] is packed.whole()[""] and wholes[2] == {}
    assert together(packed, dict(packed))[0] is packed


def test_groups_have_a_buffer_for_each_prefix():
    packed, count = pack(arrays()), np.zeros((), np.int64)
    state = grouped({"a/": packed, "b/": packed.like(np.zeros_like)}, {"count": count})
    assert set(state) == {"count"} | {prefix + name for prefix in ("a/", "b/") for name in packed}
    assert state.whole()["a/"] is packed.whole()[""] and state.whole()["count"] is count
    plain = grouped({"a/": dict(packed), "b/": packed}, {"count": count})
    assert type(plain) is dict and same(
        plain, {**state, **{f"b/{name}": value for name, value in packed.items()}}
    )


def test_sums_are_made_in_place_where_both_are_packed():
    total = pack(arrays())
    part, expected = total.like(np.ones_like), {name: array + 1 for name, array in total.items()}
    assert add(total, part) is total and same(total, expected)
    first, second = dict(total), dict(part)
    found = add(first, second)
    assert found is not first and same(found, {name: array + 1 for name, array in total.items()})


def test_only_arrays_that_fit_are_gathered():
    room, given = pack(arrays()), arrays()
    assert gather(room, given) is room and same(room, given) and gather(room, room) is room
    for wrong in (
        given | {"W": given["W"].astype(float)},
        given | {"W": given["W"].T},
        given | {"more": given["b"]},
        {"W": given["W"]},
        given | {"W": given["W"].tolist()},
        given | {"scale": np.float32(1)},
    ):
        assert gather(room, wrong) is wrong and same(room, given)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("replicas", [0, 3])
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_update_of_packed_arrays_is_that_of_each_array_bit_for_bit(
    optimizer, elsewhere, replicas, dtype
):
    plain = arrays(dtype, replicas)
    packed = pack(plain, bool(replicas))
    rate = np.array([0.1, 0.2, 0.0]) if replicas else 0.1
    ends = []
    for params in (packed, {name: array.copy() for name, array in plain.items()}):
        state = optimizer.init(params)
        assert isinstance(state, Packed) == (params is packed and bool(state))
        out = (empty_like(params), empty_like(state)) if elsewhere else None
        kept = copy.deepcopy((params, state))
        rng = np.random.default_rng(1)
        for _ in range(3):
            gradients = {
                name: rng.normal(size=array.shape).astype(dtype) for name, array in plain.items()
            }
            given = gather(packed.like(), gradients) if params is packed else gradients
            optimizer.update(params, given, state, rate, out=out)
            assert same(given, gradients)
            if elsewhere:
                assert all(map(same, kept, (params, state)))
                (params, state), out = out, (params, state)
                kept = copy.deepcopy((params, state))
        ends.append((params, state))
    assert all(map(same, *ends))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_square_that_overflows_is_refused_by_its_name(dtype):
    params = pack({"W": np.ones(2, dtype), "b": np.ones(2, dtype), "c": np.ones(2, dtype)})
    gradients = params.like(np.zeros_like)
    if dtype is np.float32:
        gradients["b"][1], gradients["c"][0] = -1e20, 1e30
    else:
        gradients = {name: array.astype(np.float32) for name, array in gradients.items()}
        gradients["b"][1] = -1e20
    state = Adam().init(params)
    with pytest.raises(
        FloatingPointError,
        match="^the square of the gradient of 'b' overflows float32, received entries up to 1e[+]20",
    ):
        Adam().update(params, gradients, state, 0.1)
    assert all((array == 1).all() for array in params.values()) and not any(
        array.any() for array in state.values()
    )


@pytest.mark.parametrize("replicas", [0, 3])
@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("place", ["new", "itself", "another"])
def test_packed_gradients_are_clipped_as_plain_ones(size, replicas, place):
    plain = {name: np.asarray(array * size) for name, array in arrays(np.float64, replicas).items()}
    packed = pack(plain, bool(replicas))
    expected, norm = clip_by_global_norm(plain, size, replicas=bool(replicas))
    out = {"new": None, "itself": packed, "another": packed.like()}[place]
    clipped, found = clip_by_global_norm(packed, size, replicas=bool(replicas), out=out)
    np.testing.assert_allclose(found, norm, rtol=1e-15)
    assert isinstance(clipped, Packed) and (out is None or clipped is out)
    for name in plain:
        np.testing.assert_allclose(clipped[name], expected[name], rtol=1e-15)
        assert np.array_equal(packed[name], clipped[name] if place == "itself" else plain[name])


def test_plain_gradients_are_clipped_into_plain_arrays():
    given = {"W": np.array([3.0, 0.0], np.float32), "b": np.array([4], np.float16)}
    out = {name: np.empty_like(array) for name, array in given.items()}
    clipped, norm = clip_by_global_norm(given, 1.0, out=out)
    assert (
        clipped is out
        and norm == 5
        and out["W"].tolist() == [np.float32(0.6), 0]
        and out["b"].tolist() == [np.float16(0.8)]
    )


MODELS = {
    "linear": Linear(5, 3),
    "mlp": MLP((5, 4, 4, 3)),
    "tanh": MLP((5, 4, 3), "tanh", np.float64),
}
TEXTS = RNG.integers(0, 6, (4, 5))
DECODERS = {
    "decoder": Decoder(6, 8, 4, 2, 2),
    "padding": Decoder(6, 8, 4, 2, 2, padding=0),
    "post": Decoder(6, 8, 4, 2, 2, norm="post"),
}


@pytest.mark.parametrize("replicas", [0, 3])
@pytest.mark.parametrize("name", [*MODELS, *DECODERS])
def test_a_model_writes_its_gradients_where_it_is_told(name, replicas):
    model, x = (MODELS | DECODERS)[name], X if name in MODELS else TEXTS
    params = model.init(RNG)
    if replicas:
        params = {name: np.stack([value] * replicas) for name, value in params.items()}
    outputs, cache = model.forward(params, x.astype(model.input_dtype))
    gradient = RNG.normal(size=outputs.shape).astype(model.dtype)
    expected, room = model.backward(params, cache, gradient), pack(params, bool(replicas)).like()
    for array in room.values():
        array[...] = np.nan
    assert model.backward(params, cache, gradient, out=room) is room
    assert room.whole() is not None and same(room, expected)


class Plain:
    """A model of a user's own, whose gradients are a plain dict."""

    dtype = input_dtype = np.float32

    def __init__(self, change=lambda gradients: gradients):
        self.inner, self.change = MLP((5, 4, 3)), change
        self.init, self.forward = self.inner.init, self.inner.forward

    def backward(self, params, cache, gradient):
        return self.change(self.inner.backward(params, cache, gradient))


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate": 3}, {"max_norm": 0.1}, {"accumulate": 2, "max_norm": 0.1, "replicas": 2}],
)
def test_a_model_of_ones_own_is_trained_as_the_librarys(options):
    ends = []
    for model in (MLP((5, 4, 3)), Plain()):
        trainer = Trainer(
            model, softmax_cross_entropy, SGD(0.9), Constant(0.1), batch_size=4, **options
        )
        ends.append(trainer.fit(X, LABELS, weights=np.arange(1.0, 31.0), steps=5, progress=False))
    assert same(ends[0].params, ends[1].params) and same(ends[0].history, ends[1].history)


def test_gradients_in_another_type_are_not_rounded_on_the_way():
    def train(model):
        return Trainer(model, softmax_cross_entropy, SGD(), Constant(0.1), batch_size=30).fit(
            X, LABELS, steps=1, progress=False
        )

    found = train(
        Plain(lambda gradients: {name: value / np.float64(3) for name, value in gradients.items()})
    )
    start = MLP((5, 4, 3)).init(np.random.default_rng([0, 0]))
    gradients = {
        name: (start[name] - value) / np.float32(0.1)
        for name, value in train(MLP((5, 4, 3))).params.items()
    }
    for name, value in found.params.items():
        np.testing.assert_allclose(start[name] - value, 0.1 * gradients[name] / 3, atol=3e-7)


def test_the_trainers_dicts_are_packed_and_stay_so():
    trainer = Trainer(
        MLP((5, 4, 3)), softmax_cross_entropy, AdamW(), Constant(0.1), batch_size=4, seed=[1, 2]
    )
    named = trainer.params["W1"]
    assert trainer.fit(X, LABELS, steps=3, progress=False).params["W1"] is named
    for _ in range(3):
        trainer.fit(X, LABELS, steps=3, progress=False)
        assert whole_of(trainer.params)[""].shape == (2, 5 * 4 + 4 + 4 * 3 + 3)
        assert whole_of(trainer.state) is not None
        trainer.params = {name: value.copy() for name, value in trainer.params.items()}
        trainer.state = dict(trainer.state)


def test_an_array_put_into_the_trainers_dict_is_trained_on():
    ends = []
    for put in (
        lambda t, new: t.params.update(W1=new),
        lambda t, new: setattr(t, "params", t.params | {"W1": new}),
    ):
        trainer = Trainer(
            MLP((5, 4, 3)), softmax_cross_entropy, SGD(0.9), Constant(0.1), batch_size=4
        )
        trainer.fit(X, LABELS, steps=2, progress=False)
        put(trainer, np.full((5, 4), 0.25, np.float32))
        for _ in range(3):
            trainer.fit(X, LABELS, steps=1, progress=False)
        ends.append(trainer)
    assert same(ends[0].params, ends[1].params) and same(ends[0].state, ends[1].state)


def test_a_copy_is_kept_as_its_own_arrays_are_and_shares_nothing():
    own = {"W": np.zeros(2, np.float32), "count": np.zeros((), np.int64)}
    given = {"W": np.array([0.5, 2.0]), "count": np.array(3.0)}
    found = buffers.copied("state", given, own)
    assert same(found, given) and [found[name].dtype for name in own] == [np.float32, np.int64]
    found["W"] += 1
    assert own["W"].tolist() == [0, 0] and given["W"].tolist() == [0.5, 2]


@pytest.mark.parametrize(
    "given, received",
    [({"W": np.ones(3)}, "{'W': (3,)}"), ({"b": np.ones(2)}, "{'b': (2,)}"), ({}, "{}")],
)
def test_a_copy_of_other_names_or_shapes_is_refused(given, received):
    with pytest.raises(ValueError) as caught:
        buffers.copied("params", given, {"W": np.zeros(2)})
    assert str(caught.value) == f"params must have the shapes {{'W': (2,)}}, received {received}"


def test_memory_that_is_in_use_by_half_is_not_written_to():
    params, state = pack(arrays()), pack(arrays())
    twice, new = buffers.Twice(), pack(arrays())
    away = twice.other(params, state)
    assert away[0] is not params and away[1] is not state
    for used, free in (((params, state), away), (away, (params, state))):
        for asked in (used, (used[0], new), (new, used[1])):
            found = twice.other(*asked)
            assert found[0] is free[0] and found[1] is free[1]


def test_two_memories_take_turns_and_the_first_one_is_home():
    params, state = pack(arrays()), {}
    twice = buffers.Twice()
    assert twice.home(params, state) == (params, state)
    away = twice.other(params, state)
    assert twice.other(*away)[0] is params
    for name, array in away[0].items():
        array[...] = 7
    home = twice.home(*away)
    assert home[0] is params and all((array == 7).all() for array in params.values())
