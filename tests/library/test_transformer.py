"""The decoder: each part against central differences, the whole against loops over places and heads."""

import functools
import math

import numpy as np
import pytest

from trainlab.losses import softmax_cross_entropy
from trainlab.optimizers import AdamW
from trainlab.schedules import Constant
from trainlab.trainer import Trainer
from trainlab.transformer import (
    EPSILON,
    Decoder,
    attention,
    attention_backward,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_backward,
)

RNG = np.random.default_rng(0)
V, C, D, H, L = 7, 6, 8, 2, 2
MODEL = Decoder(V, C, D, H, L, dtype=np.float64)
TOKENS = RNG.integers(0, V, (3, 5))
LABELS = RNG.integers(0, V, (3, 5))


def params_of(model, seed=0, scale=1.0):
    """Parameters far from the small initial ones, so that no part of the model is nearly linear."""
    rng = np.random.default_rng(seed)
    return {
        name: (value + scale * rng.normal(0, 0.3, value.shape)).astype(value.dtype)
        for name, value in model.init(rng).items()
    }


PARAMS = params_of(MODEL)


def slopes(function, x, weight, h=1e-6):
    """Central differences of ``(function(x) * weight).sum()``."""
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        found[index] = ((function(up) - function(down)) * weight).sum() / (2 * h)
    return found


# --- The parts -----------------------------------------------------------------------------------


def test_layer_norm_by_hand():
    out, _ = layer_norm(
        np.array([[1.0, 3.0, 5.0]]), np.array([1.0, 2.0, 1.0]), np.array([0.0, 0.0, 10.0])
    )
    unit = 2 / math.sqrt(8 / 3 + EPSILON)
    np.testing.assert_allclose(out, [[-unit, 0.0, unit + 10]], rtol=1e-15)


def test_a_constant_row_has_a_finite_norm():
    out, cache = layer_norm(np.full((2, 4), 7.0), np.ones(4), np.zeros(4))
    assert not out.any()
    assert np.isfinite(layer_norm_backward(cache, np.ones((2, 4)))[0]).all()


def test_layer_norm_backward_agrees_with_central_differences():
    x, gain, bias, weight = (
        RNG.normal(size=(4, 5)),
        RNG.normal(size=5),
        RNG.normal(size=5),
        RNG.normal(size=(4, 5)),
    )
    found = layer_norm_backward(layer_norm(x, gain, bias)[1], weight)
    for place, gradient in enumerate(found):
        arguments = [x, gain, bias]

        def function(value):
            return layer_norm(*arguments[:place], value, *arguments[place + 1 :])[0]

        np.testing.assert_allclose(gradient, slopes(function, arguments[place], weight), atol=1e-8)


def test_linear_backward_agrees_with_central_differences():
    x, W, b, weight = (
        RNG.normal(size=(4, 3)),
        RNG.normal(size=(3, 2)),
        RNG.normal(size=2),
        RNG.normal(size=(4, 2)),
    )
    found = linear_backward(linear(x, W, b)[1], weight)
    for place, gradient in enumerate(found):
        arguments = [x, W, b]

        def function(value):
            return linear(*arguments[:place], value, *arguments[place + 1 :])[0]

        np.testing.assert_allclose(gradient, slopes(function, arguments[place], weight), atol=1e-8)


@pytest.mark.parametrize("texts, length, heads", [(2, 3, 2), (1, 1, 1), (3, 2, 4)])
def test_attention_backward_agrees_with_central_differences(texts, length, heads):
    qkv, weight = RNG.normal(size=(texts * length, 24)), RNG.normal(size=(texts * length, 8))
    gradient = attention_backward(attention(qkv, texts, heads)[1], weight)
    np.testing.assert_allclose(
        gradient, slopes(lambda x: attention(x, texts, heads)[0], qkv, weight), atol=1e-8
    )


def test_attention_with_huge_scores_picks_one_place():
    # Two tokens, one head of width 1: the second attends to the first, whose key fits a thousand
    # times better.
    qkv = np.array([[1000.0, 1000.0, 5.0], [1000.0, -1000.0, 7.0]])
    out, cache = attention(qkv, 1, 1)
    assert out.tolist() == [[5.0], [5.0]]
    assert np.isfinite(attention_backward(cache, np.ones((2, 1)))).all()


# --- The whole -----------------------------------------------------------------------------------


def slowly(model, params, tokens, output="E"):
    """The logits of one text, place by place and head by head, from the formulas."""

    def norm(x, gain, bias):
        mean = sum(x) / len(x)
        variance = sum((value - mean) ** 2 for value in x) / len(x)
        return np.array(
            [
                g * (value - mean) / math.sqrt(variance + EPSILON) + b
                for value, g, b in zip(x, gain, bias)
            ]
        )

    def norm_of(part, x, where):
        return norm(x, params[f"gain{part}"], params[f"bias{part}"]) if model.norm == where else x

    size = model.width // model.heads
    stream = [params["E"][token] + params["P"][place] for place, token in enumerate(tokens)]
    for i in range(1, model.layers + 1):
        q, k, v = [], [], []
        for x in stream:
            h = norm_of(f"_attention{i}", x, "pre")
            row = params[f"W_qkv{i}"].T @ h + params[f"b_qkv{i}"]
            for part, values in zip((q, k, v), np.split(row, 3)):
                part.append(np.split(values, model.heads))
        after = []
        for place, x in enumerate(stream):
            mixed = []
            for head in range(model.heads):
                scores = [
                    math.exp(q[place][head] @ k[other][head] / math.sqrt(size))
                    for other in range(place + 1)
                ]
                mixed.append(
                    sum(s * v[other][head] for other, s in enumerate(scores)) / sum(scores)
                )
            x = x + params[f"W_mix{i}"].T @ np.concatenate(mixed) + params[f"b_mix{i}"]
            x = norm_of(f"_attention{i}", x, "post")
            h = norm_of(f"_mlp{i}", x, "pre")
            h = np.array([max(value, 0) for value in params[f"W_up{i}"].T @ h + params[f"b_up{i}"]])
            x = x + params[f"W_down{i}"].T @ h + params[f"b_down{i}"]
            after.append(norm_of(f"_mlp{i}", x, "post"))
        stream = after
    return np.array([[e @ norm_of("", x, "pre") for e in params[output]] for x in stream])


@pytest.mark.parametrize("sizes", [(V, C, D, H, L), (3, 5, 6, 3, 1), (4, 9, 5, 1, 3)], ids=str)
def test_the_logits_are_those_of_the_formulas(sizes):
    model = Decoder(*sizes, dtype=np.float64)
    params, tokens = params_of(model), RNG.integers(0, sizes[0], (3, 5))
    logits, _ = model.forward(params, tokens)
    for text, row in zip(tokens, logits):
        np.testing.assert_allclose(row, slowly(model, params, text), rtol=1e-10, atol=1e-12)


def loss_of(params, tokens=TOKENS, labels=LABELS, model=MODEL):
    return softmax_cross_entropy(model.forward(params, tokens)[0], labels)


def gradients_of(params, tokens=TOKENS, labels=LABELS, model=MODEL, reduction="mean"):
    logits, cache = model.forward(params, tokens)
    return model.backward(
        params, cache, softmax_cross_entropy(logits, labels, reduction=reduction).gradient
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_slope_in_a_random_direction_of_all_parameters(seed):
    rng, h = np.random.default_rng(seed), 1e-6
    direction = {name: rng.normal(size=value.shape) for name, value in PARAMS.items()}
    up, down = ({name: PARAMS[name] + s * h * direction[name] for name in PARAMS} for s in (1, -1))
    expected = (loss_of(up).value - loss_of(down).value) / (2 * h)
    gradients = gradients_of(PARAMS)
    assert gradients.keys() == PARAMS.keys()
    found = sum((gradients[name] * direction[name]).sum() for name in PARAMS)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", PARAMS)
def test_single_entries_of_every_parameter(name):
    gradient, rng = gradients_of(PARAMS)[name], np.random.default_rng(1)
    assert gradient.shape == PARAMS[name].shape
    for index in [tuple(rng.integers(0, n) for n in gradient.shape) for _ in range(6)]:
        values = []
        for h in (1e-5, -1e-5):
            moved = {key: value.copy() for key, value in PARAMS.items()}
            moved[name][index] += h
            values.append(loss_of(moved).value)
        assert gradient[index] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_a_token_changes_no_logits_before_its_place():
    changed = TOKENS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % V
    before, after = MODEL.forward(PARAMS, TOKENS)[0], MODEL.forward(PARAMS, changed)[0]
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(axis=-1).all()


def test_texts_do_not_see_each_other():
    together = MODEL.forward(PARAMS, TOKENS)[0]
    for text, row in zip(TOKENS, together):
        np.testing.assert_allclose(MODEL.forward(PARAMS, text[None])[0][0], row, rtol=1e-12)


def test_one_matrix_serves_both_ends():
    assert [name for name, value in PARAMS.items() if value.shape == (V, D)] == ["E"]


def test_a_short_text_uses_the_first_places_only():
    gradient = gradients_of(PARAMS, TOKENS[:, :2], LABELS[:, :2])["P"]
    assert gradient[:2].all() and not gradient[2:].any()
    assert MODEL.forward(PARAMS, TOKENS[:, :1])[0].shape == (3, 1, V)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "sizes, texts", [((V, C, D, H, L), 3), ((32, 16, 32, 4, 1), 8), ((5, 6, 4, 1, 1), 1)], ids=str
)
def test_a_replica_is_the_run_alone_bit_for_bit(sizes, texts, dtype):
    model = Decoder(*sizes, dtype=dtype)
    runs = [params_of(model, seed) for seed in range(3)]
    stacked = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    rng = np.random.default_rng(5)
    own, labels = rng.integers(0, sizes[0], (2, 3, texts, 6))
    for tokens in (own, own[0]):
        logits, cache = model.forward(stacked, tokens)
        gradient = softmax_cross_entropy(logits, labels, reduction="none").gradient
        gradients = model.backward(stacked, cache, gradient)
        assert logits.dtype == dtype and {value.dtype for value in gradients.values()} == {
            np.dtype(dtype)
        }
        for r, run in enumerate(runs):
            alone, cache = model.forward(run, tokens[r] if tokens.ndim == 3 else tokens)
            np.testing.assert_array_equal(logits[r], alone)
            expected = model.backward(
                run, cache, softmax_cross_entropy(alone, labels[r], reduction="none").gradient
            )
            for name, value in expected.items():
                np.testing.assert_array_equal(gradients[name][r], value, err_msg=name)


# --- Padding -------------------------------------------------------------------------------------

PAD = 2
PADDED = Decoder(V, C, D, H, L, dtype=np.float64, padding=PAD)
TEXT = np.array([[3, 0, 6]])
PADDINGS = {
    "none": [3, 0, 6],
    "right": [3, 0, 6, PAD, PAD, PAD],
    "left": [PAD, PAD, PAD, 3, 0, 6],
    "both": [PAD, 3, 0, 6, PAD],
}
MIXED = np.array(
    [PADDINGS["right"], PADDINGS["left"], [PAD, 4, PAD, 1, 5, 0], [PAD] * C, [1, 0, 3, 4, 5, 6]]
)


@pytest.mark.parametrize("side", PADDINGS)
def test_a_padded_text_has_the_logits_and_the_gradients_that_it_has_alone(side):
    tokens = np.array([PADDINGS[side]])
    real = tokens != PAD
    alone, logits = MODEL.forward(PARAMS, TEXT)[0], PADDED.forward(PARAMS, tokens)[0]
    np.testing.assert_allclose(logits[real], alone[0], rtol=1e-12)
    labels = np.full(tokens.shape, PAD)
    labels[real] = [0, 6, 1]
    cache = PADDED.forward(PARAMS, tokens)[1]
    gradient = softmax_cross_entropy(logits, labels, ignore_index=PAD).gradient
    padded, expected = (
        PADDED.backward(PARAMS, cache, gradient),
        gradients_of(PARAMS, TEXT, np.array([[0, 6, 1]])),
    )
    assert padded.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(padded[name], value, rtol=1e-10, atol=1e-14, err_msg=name)


def test_padded_texts_in_one_batch_do_not_see_each_other_and_stay_finite():
    together = PADDED.forward(PARAMS, MIXED)[0]
    assert np.isfinite(together).all()
    for text, row in zip(MIXED, together):
        np.testing.assert_allclose(PADDED.forward(PARAMS, text[None])[0][0], row, rtol=1e-12)


def test_nobody_attends_to_padding_but_padding_itself():
    tokens = np.array([[PAD, 4, PAD, 1, 5, 0]])
    changed = {name: value.copy() for name, value in PARAMS.items()}
    # The padding token's own embedding, as it goes in: the logits of the others must not feel it.
    changed["E"][PAD] += 1
    before, after = PADDED.forward(PARAMS, tokens)[0], PADDED.forward(changed, tokens)[0]
    others = np.arange(V) != PAD
    np.testing.assert_array_equal(
        before[0, [1, 3, 4, 5]][:, others], after[0, [1, 3, 4, 5]][:, others]
    )
    assert (before[0, [0, 2]][:, others] != after[0, [0, 2]][:, others]).any(axis=-1).all()


@pytest.mark.parametrize("name", PARAMS)
def test_the_gradients_of_padded_texts_agree_with_central_differences(name):
    weight = np.random.default_rng(7).normal(size=(*MIXED.shape, V))
    _, cache = PADDED.forward(PARAMS, MIXED)
    found = PADDED.backward(PARAMS, cache, weight)[name]
    expected = slopes(
        lambda value: PADDED.forward(PARAMS | {name: value}, MIXED)[0], PARAMS[name], weight, h=1e-5
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_positions_count_from_the_first_real_token():
    # Two real tokens at the end of six: their gradient belongs to places 0 and 1.
    tokens, weight = np.array([[PAD, PAD, PAD, PAD, 3, 1]]), np.zeros((1, 6, V))
    weight[0, 4:, 0] = 1
    gradient = PADDED.backward(PARAMS, PADDED.forward(PARAMS, tokens)[1], weight)["P"]
    assert gradient[:2].all() and not gradient[2:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_replica_with_padding_is_the_run_alone_bit_for_bit(dtype):
    model = Decoder(V, C, D, H, L, dtype, padding=PAD)
    runs = [params_of(model, seed) for seed in range(3)]
    stacked = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    own = np.stack([MIXED, MIXED[::-1], np.roll(MIXED, 1, axis=0)])
    weight = np.random.default_rng(5).normal(size=(*own.shape, V)).astype(dtype)
    for tokens in (own, MIXED):
        logits, cache = model.forward(stacked, tokens)
        gradients = model.backward(stacked, cache, weight)
        assert logits.dtype == dtype and {value.dtype for value in gradients.values()} == {
            np.dtype(dtype)
        }
        for r, run in enumerate(runs):
            alone, cache = model.forward(run, tokens[r] if tokens.ndim == 3 else tokens)
            np.testing.assert_array_equal(logits[r], alone)
            for name, value in model.backward(run, cache, weight[r]).items():
                np.testing.assert_array_equal(gradients[name][r], value, err_msg=name)


@pytest.mark.parametrize("side", ["left", "right"])
def test_training_on_padded_texts_is_training_on_the_texts_alone(side):
    alone = np.random.default_rng(1).choice([0, 1, 3, 4, 5, 6], (4, 4))
    fill = np.full((4, 2), PAD)
    padded = np.hstack([alone, fill] if side == "right" else [fill, alone])

    def train(model, tokens):
        # The first real token has nothing real before it, so it is no target on either side.
        x, y = tokens[:, :-1], np.where(tokens[:, :-1] == PAD, PAD, tokens[:, 1:])
        loss = functools.partial(softmax_cross_entropy, ignore_index=PAD)
        return Trainer(model, loss, AdamW(), Constant(0.01), batch_size=4).fit(
            x, y, steps=10, progress=False
        )

    expected, found = train(MODEL, alone), train(PADDED, padded)
    np.testing.assert_allclose(found.history["loss"], expected.history["loss"], rtol=1e-9)
    assert found.history["loss"][-1] < 0.9 * found.history["loss"][0]


def test_a_model_without_padding_is_described_as_before():
    assert repr(Decoder(V, C, D, H, L)) == (
        "Decoder(vocabulary=7, context=6, width=8, heads=2, layers=2, dtype=<class 'numpy.float32'>)"
    )
    assert repr(PADDED).endswith("dtype=<class 'numpy.float64'>, padding=2)")
    assert Decoder(V, C, D, H, L, padding=np.int64(0)).padding == 0 and PADDED != MODEL
    assert type(Decoder(V, C, D, H, L, padding=np.int64(0)).padding) is int


# --- A matrix of its own for the logits ----------------------------------------------------------

UNTIED = Decoder(V, C, D, H, L, dtype=np.float64, tied=False)
UNTIED_PARAMS = PARAMS | {"U": np.random.default_rng(8).normal(0, 0.3, (V, D))}


def test_with_the_same_matrix_at_both_ends_an_untied_decoder_is_the_tied_one():
    params = PARAMS | {"U": PARAMS["E"]}
    for model, tied in (
        (UNTIED, MODEL),
        (Decoder(V, C, D, H, L, np.float64, padding=PAD, tied=False), PADDED),
    ):
        tokens = TOKENS if tied is MODEL else MIXED
        logits, cache = model.forward(params, tokens)
        expected, tied_cache = tied.forward(PARAMS, tokens)
        np.testing.assert_array_equal(logits, expected)
        weight = RNG.normal(size=logits.shape)
        found, both = (
            model.backward(params, cache, weight),
            tied.backward(PARAMS, tied_cache, weight),
        )
        assert list(found) != list(both) and found.keys() == params.keys()
        np.testing.assert_allclose(found["E"] + found["U"], both["E"], rtol=1e-12, atol=1e-12)
        for name in both.keys() - {"E"}:
            np.testing.assert_array_equal(found[name], both[name], err_msg=name)


def test_the_logits_of_an_untied_decoder_are_those_of_the_formulas():
    logits, _ = UNTIED.forward(UNTIED_PARAMS, TOKENS)
    for text, row in zip(TOKENS, logits):
        # The last product alone has another matrix.
        expected = slowly(UNTIED, UNTIED_PARAMS, text, output="U")
        np.testing.assert_allclose(row, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", UNTIED_PARAMS)
def test_the_gradients_of_an_untied_decoder_agree_with_central_differences(name):
    weight = np.random.default_rng(7).normal(size=(*TOKENS.shape, V))
    room = {key: np.full_like(value, 7) for key, value in UNTIED_PARAMS.items()}
    _, cache = UNTIED.forward(UNTIED_PARAMS, TOKENS)
    found = UNTIED.backward(UNTIED_PARAMS, cache, weight)[name]
    expected = slopes(
        lambda value: UNTIED.forward(UNTIED_PARAMS | {name: value}, TOKENS)[0],
        UNTIED_PARAMS[name],
        weight,
        h=1e-5,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    place = room[name]
    UNTIED.backward(UNTIED_PARAMS, cache, weight, out=room)
    assert room[name] is place
    np.testing.assert_array_equal(place, found)


def test_an_untied_decoder_draws_what_the_tied_one_draws_and_one_matrix_more():
    tied, untied = (
        Decoder(200, 100, 64, 4, 3, tied=tied).init(np.random.default_rng(0))
        for tied in (True, False)
    )
    assert list(untied) == [*tied, "U"]
    for name, value in tied.items():
        np.testing.assert_array_equal(untied[name], value)
    assert untied["U"].shape == (200, 64) and untied["U"].dtype == np.float32
    assert untied["U"].std() == pytest.approx(0.02, rel=0.05)
    assert not np.array_equal(untied["U"], untied["E"])


def test_a_replica_of_an_untied_decoder_is_the_run_alone_bit_for_bit():
    model = Decoder(V, C, D, H, L, tied=False)

    def trained(**seeds):
        trainer = Trainer(
            model, softmax_cross_entropy, AdamW(), Constant(0.01), batch_size=2, **seeds
        )
        return trainer.fit(TOKENS, LABELS, steps=5, progress=False).params

    together = trained(seed=[3, 4])
    for r, seed in enumerate((3, 4)):
        for name, value in trained(seed=seed).items():
            np.testing.assert_array_equal(together[name][r], value, err_msg=name)


def test_a_decoder_says_that_it_is_untied_and_no_more_than_before_if_it_is_not():
    assert repr(UNTIED).endswith("dtype=<class 'numpy.float64'>, tied=False)")
    assert repr(Decoder(V, C, D, H, L, padding=0, tied=False)).endswith("padding=0, tied=False)")
    assert repr(Decoder(V, C, D, H, L, tied=np.True_)) == repr(Decoder(V, C, D, H, L))
    assert UNTIED != MODEL and type(Decoder(V, C, D, H, L, tied=np.False_).tied) is bool


# --- The norms behind ----------------------------------------------------------------------------

POST = Decoder(V, C, D, H, L, dtype=np.float64, norm="post")
POST_PARAMS = {name: value for name, value in PARAMS.items() if name not in ("gain", "bias")}


@pytest.mark.parametrize("sizes", [(V, C, D, H, L), (3, 5, 6, 3, 1), (4, 9, 5, 1, 3)], ids=str)
@pytest.mark.parametrize("tied", [True, False])
def test_the_logits_with_the_norms_behind_are_those_of_the_formulas(sizes, tied):
    model = Decoder(*sizes, dtype=np.float64, norm="post", tied=tied)
    params, tokens = params_of(model), RNG.integers(0, sizes[0], (3, 5))
    logits, _ = model.forward(params, tokens)
    for text, row in zip(tokens, logits):
        expected = slowly(model, params, text, output="E" if tied else "U")
        np.testing.assert_allclose(row, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", POST_PARAMS)
@pytest.mark.parametrize("padding", [None, PAD])
def test_the_gradients_with_the_norms_behind_agree_with_central_differences(name, padding):
    model = Decoder(V, C, D, H, L, np.float64, padding, norm="post")
    tokens = TOKENS if padding is None else MIXED
    weight = np.random.default_rng(7).normal(size=(*tokens.shape, V))
    room = {key: np.full_like(value, 7) for key, value in POST_PARAMS.items()}
    _, cache = model.forward(POST_PARAMS, tokens)
    gradients = model.backward(POST_PARAMS, cache, weight)
    assert gradients.keys() == POST_PARAMS.keys()
    expected = slopes(
        lambda value: model.forward(POST_PARAMS | {name: value}, tokens)[0],
        POST_PARAMS[name],
        weight,
        h=1e-5,
    )
    np.testing.assert_allclose(gradients[name], expected, rtol=1e-5, atol=1e-6)
    place = room[name]
    model.backward(POST_PARAMS, cache, weight, out=room)
    assert room[name] is place
    np.testing.assert_array_equal(place, gradients[name])


def test_with_the_norms_behind_every_row_that_leaves_a_layer_has_mean_0_and_variance_1():
    # A last matrix of ones and zeros shows the rows themselves.
    model = Decoder(D, C, D, H, L, np.float64, tied=False, norm="post")
    params = params_of(model)
    params |= {"U": np.eye(D), f"gain_mlp{L}": np.ones(D), f"bias_mlp{L}": np.zeros(D)}
    rows, _ = model.forward(params, TOKENS)
    np.testing.assert_allclose(rows.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(rows.var(axis=-1), 1, rtol=1e-4)


def test_the_place_of_the_norms_changes_no_draw():
    pre, post = (
        Decoder(V, C, D, H, L, tied=False, norm=norm).init(np.random.default_rng(0))
        for norm in ("pre", "post")
    )
    assert list(post) == [name for name in pre if name not in ("gain", "bias")]
    for name, value in post.items():
        np.testing.assert_array_equal(value, pre[name], err_msg=name)


def test_a_replica_with_the_norms_behind_is_the_run_alone_bit_for_bit_and_learns():
    model = Decoder(V, C, D, H, L, norm="post")

    def trained(**seeds):
        trainer = Trainer(
            model, softmax_cross_entropy, AdamW(), Constant(0.01), batch_size=3, **seeds
        )
        return trainer.fit(TOKENS, LABELS, steps=60, progress=False)

    together = trained(seed=[3, 4])
    assert np.all(together.history["loss"][-1] < 0.8 * together.history["loss"][0])
    for r, seed in enumerate((3, 4)):
        for name, value in trained(seed=seed).params.items():
            np.testing.assert_array_equal(together.params[name][r], value, err_msg=name)


def test_a_decoder_says_that_its_norms_stand_behind_and_no_more_than_before_if_they_do_not():
    assert repr(POST).endswith("dtype=<class 'numpy.float64'>, norm='post')")
    assert repr(Decoder(V, C, D, H, L, norm="pre")) == repr(Decoder(V, C, D, H, L))
    assert POST != MODEL


# --- Parameters ----------------------------------------------------------------------------------


def test_the_initial_parameters_have_the_stated_sizes():
    model = Decoder(200, 100, 64, 4, 3)
    params = model.init(np.random.default_rng(0))
    again = model.init(np.random.default_rng(0))
    assert all(np.array_equal(params[name], again[name]) for name in params)
    for name, value in params.items():
        assert value.dtype == np.float32
        if name in ("E", "P") or name.startswith("W_"):
            small = name.startswith(("W_mix", "W_down"))
            assert value.std() == pytest.approx(0.02 / (math.sqrt(6) if small else 1), rel=0.05)
        else:
            assert np.all(value == (1 if name.startswith("gain") else 0))
    shapes = {name: value.shape for name, value in params.items() if name[-1] in "EP1"}
    assert shapes["E"] == (200, 64) and shapes["P"] == (100, 64)
    assert (
        shapes["W_qkv1"] == (64, 192)
        and shapes["W_up1"] == (64, 256)
        and shapes["W_down1"] == (256, 64)
    )


def test_the_first_loss_is_that_of_guessing():
    params = MODEL.init(np.random.default_rng(0))
    assert loss_of(params).value == pytest.approx(math.log(V), rel=0.01)


# --- Training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_decoder_learns_to_continue_a_pattern(replicas):
    pattern = np.tile([3, 1, 4, 1, 5, 0], 4)
    texts = np.stack([pattern[start : start + C + 1] for start in range(6)])
    model = Decoder(V, C, 16, 2, 1)
    trainer = Trainer(
        model, softmax_cross_entropy, AdamW(), Constant(0.01), batch_size=6, replicas=replicas
    )
    trainer.fit(texts[:, :-1], texts[:, 1:], steps=150, progress=False)
    # After a 1 comes 4 or 5: a text that begins with it cannot know, so log 2 is left at 2 of 36
    # places.
    assert np.all(trainer.history["loss"][-1] < 0.1)
    assert np.all(trainer.evaluate(texts[:, :-1], texts[:, 1:]) > math.log(2) * 2 / 36 * 0.9)
    answers = trainer.predict(texts[:, :-1]).argmax(axis=-1)
    assert np.all(answers[..., 1:] == texts[:, 2:])


# --- Refusals ------------------------------------------------------------------------------------

REFUSALS = [
    (
        lambda: Decoder(V, C, 9, 2, 1),
        ValueError,
        "width must be a multiple of heads, received width=9 and heads=2",
    ),
    (lambda: Decoder(0, C, 8, 2, 1), ValueError, "vocabulary must be at least 1, received 0"),
    (lambda: Decoder(V, C, 8, 2, 0), ValueError, "layers must be at least 1, received 0"),
    (lambda: Decoder(V, 2.5, 8, 2, 1), TypeError, "context must be a whole number, received 2.5"),
    (
        lambda: Decoder(V, C, 8, 2, 1, padding=7),
        ValueError,
        "padding must be a token, 0 to 6, received 7",
    ),
    (
        lambda: Decoder(V, C, 8, 2, 1, padding=-1),
        ValueError,
        "padding must be a token, 0 to 6, received -1",
    ),
    (
        lambda: Decoder(V, C, 8, 2, 1, padding=1.0),
        TypeError,
        "padding must be a whole number, received 1.0",
    ),
    (
        lambda: Decoder(V, C, 8, 2, 1, tied=None),
        TypeError,
        "tied must be True or False, received None",
    ),
    (
        lambda: Decoder(V, C, 8, 2, 1, norm="both"),
        ValueError,
        "norm must be one of 'pre', 'post', received 'both'",
    ),
    (
        lambda: Decoder(V, C, 8, 2, 1, np.float16),
        ValueError,
        "dtype must be float32 or float64 (or wider), received float16",
    ),
    (
        lambda: Decoder(V, C, 8, 2, 1, np.int32),
        TypeError,
        "dtype must be float32 or float64 (or wider), received int32",
    ),
    (
        lambda: MODEL.forward(PARAMS, np.zeros((2, 7), int)),
        ValueError,
        "tokens must have shape (..., n, T) with T at most 6, received (2, 7)",
    ),
    (
        lambda: MODEL.forward(PARAMS, np.zeros(3, int)),
        ValueError,
        "tokens must have shape (..., n, T) with T at most 6, received (3,)",
    ),
    (
        lambda: MODEL.forward(PARAMS, np.zeros((0, 3), int)),
        ValueError,
        "tokens must not be empty, received shape (0, 3)",
    ),
    (
        lambda: MODEL.forward(PARAMS, np.zeros((2, 3, 4), int)),
        ValueError,
        "tokens of shape (2, 3, 4) have an axis of replicas, the parameters have none",
    ),
    (
        lambda: MODEL.forward(PARAMS, [[0, 7]]),
        ValueError,
        "tokens must be 0 to 6, received 7 at index (0, 1)",
    ),
    (
        lambda: MODEL.forward(PARAMS, [[-1, 3]]),
        ValueError,
        "tokens must be 0 to 6, received -1 at index (0, 0)",
    ),
    (
        lambda: MODEL.forward(PARAMS, [[0.0]]),
        TypeError,
        "tokens must be whole numbers, received dtype float64",
    ),
]


@pytest.mark.parametrize("call, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
def test_wrong_input_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_the_initial_weights_have_mean_zero_and_one_token_is_enough():
    params = Decoder(200, 100, 64, 4, 3).init(np.random.default_rng(0))
    for name, value in params.items():
        if name in ("E", "P") or name.startswith("W_"):
            assert abs(value.mean()) < 0.001
    assert MODEL.forward(PARAMS, np.zeros((4, 1), int))[0].shape == (4, 1, V)


@pytest.mark.parametrize("shape", [(9, 2), (1, 6), (9, 1)])
def test_only_the_last_axis_is_a_texts_length(shape):
    assert MODEL.forward(PARAMS, np.zeros(shape, int))[0].shape == shape + (V,)


def test_float32_stays_float32_inside_attention():
    out, cache = attention(np.ones((4, 12), np.float32), 2, 2)
    assert {out.dtype} | {part.dtype for part in cache} == {np.dtype(np.float32)}
