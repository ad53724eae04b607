"""Text as windows, the made-up language and its entropy, and counting as the baseline."""

import math
import warnings

import numpy as np
import pytest

from trainlab import language
from trainlab.language import ALPHABET, MarkovLanguage
from trainlab.transformer import Decoder


def test_the_text_is_that_of_the_pinned_package():
    language.documentation.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = language.documentation()
    assert [len(part) > 250_000 for part in parts] == [True] * 3
    assert "learning_rate" in parts[0]


def test_another_text_is_said(monkeypatch):
    language.documentation.cache_clear()
    monkeypatch.setattr(language, "_HASH", "0")
    with pytest.warns(UserWarning, match="losses will differ"):
        language.documentation()
    language.documentation.cache_clear()


def test_a_text_that_lies_beside_the_module_is_taken(monkeypatch, tmp_path):
    (tmp_path / "documentation.json").write_text('["to train", "to choose", "to judge"]', "utf-8")
    monkeypatch.setattr(language, "__file__", str(tmp_path / "language.py"))
    assert language.documentation.__wrapped__() == ("to train", "to choose", "to judge")


def test_every_character_has_a_token_and_comes_back():
    assert language.encode(ALPHABET).tolist() == list(range(96))
    assert language.decode(language.encode(ALPHABET)) == ALPHABET
    assert language.decode(language.encode("é\t€")) == "???"


def test_windows_follow_each_other_and_no_token_is_read_twice():
    x, y = language.windows(np.arange(101), context=10)
    assert x.ravel().tolist() == list(range(100))
    assert (y == x + 1).all()
    x, y = language.windows(np.arange(101), context=10, count=4, seed=3)
    assert len(np.unique(x)) == 40 and (y == x + 1).all()
    assert (language.windows(np.arange(101), context=10, count=4, seed=4).x != x).any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"context": 0}, "context must be at least 1, received 0"),
        ({"context": 200}, "has 0 windows of 200, asked for 0"),
        ({"context": 10, "count": 11}, "has 10 windows of 10, asked for 11"),
    ],
)
def test_windows_that_are_not_there_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        language.windows(np.arange(101), **options)


def test_split_has_no_window_in_two_parts():
    split = language.documentation_windows(32, train=500, held_out=50)
    rows = [part.x.tobytes() for part in split]
    assert [len(part.x) for part in split] == [500, 50, 50] and len(set(rows)) == 3


class TestMarkovLanguage:
    def test_probabilities_are_those_of_the_formula(self):
        own = MarkovLanguage(symbols=3, near=0.7, far=0.4, seed=5)
        near, far = np.random.default_rng([7, 5]).normal(size=(2, 3, 3))
        for a in range(3):
            for b in range(3):
                odds = [math.exp(0.7 * near[b, c] + 0.4 * far[a, c]) / (c + 1) for c in range(3)]
                assert own.probabilities[a, b] == pytest.approx(np.array(odds) / sum(odds))

    def test_entropy_is_that_of_a_coin_without_structure(self):
        even = MarkovLanguage(symbols=2, near=0, far=0)
        assert even.entropy == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
        assert list(even.floors.values()) == pytest.approx([even.entropy] * 3)

    def test_pairs_are_stationary_and_floors_fall(self):
        own = MarkovLanguage(symbols=16, seed=1)
        after = np.einsum("ab,abc->bc", own.pairs, own.probabilities)
        assert after == pytest.approx(own.pairs, abs=1e-14)
        assert list(own.floors.values()) == sorted(own.floors.values(), reverse=True)

    def test_a_long_sample_costs_its_entropy(self):
        own = MarkovLanguage(symbols=16, seed=2)
        text = own.sample(texts=4000, length=52, seed=0)
        nats = -np.log(own.probabilities[text[:, :-2], text[:, 1:-1], text[:, 2:]]).mean(axis=1)
        assert abs(nats.mean() - own.entropy) < 4 * nats.std() / len(nats) ** 0.5
        pairs = np.bincount(text[:, 0] * 16 + text[:, 1], minlength=256) / len(text)
        assert np.abs(pairs - own.pairs.ravel()).max() < 0.01

    def test_samples_depend_on_their_seed_and_parts_differ(self):
        own = MarkovLanguage(symbols=8)
        assert (own.sample(3, 5, seed=1) == own.sample(3, 5, seed=1)).all()
        assert (own.sample(3, 5, seed=1) != own.sample(3, 5, seed=2)).any()
        split = own.windows(12, train=30, held_out=10)
        assert [part.x.shape for part in split] == [(30, 12), (10, 12), (10, 12)]
        assert (split.train.x[:, 1:] == split.train.y[:, :-1]).all()
        assert (split.validation.x != split.test.x).any()

    @pytest.mark.parametrize("options", [{"symbols": 1}, {"near": -1}, {"far": math.nan}])
    def test_what_is_no_language_is_refused(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            MarkovLanguage(**options)


def counted(train, past, token, order, size, strength):
    """The same by hand: one token behind its past."""
    p = 1 / size
    for k in range(1, order + 1):
        if k - 1 > len(past):
            break
        context = past[len(past) - k + 1 :]
        places = [i for i in range(len(train) - k + 1) if train[i : i + k - 1] == context]
        hits = sum(train[i + k - 1] == token for i in places)
        p = (hits + strength * p) / (len(places) + strength)
    return -math.log(p)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_counting_is_that_of_the_formula(order):
    rng = np.random.default_rng(0)
    train, text = rng.integers(0, 4, 60), rng.integers(0, 4, (3, 7))
    loss = language.ngram_loss(train, text[:, :-1], text[:, 1:], order=order, strength=1.5)
    for row, line in zip(loss, text.tolist()):
        for place, value in enumerate(row):
            past, token = line[: place + 1], line[place + 1]
            assert value == pytest.approx(counted(train.tolist(), past, token, order, 4, 1.5))


def test_counting_finds_the_floors_of_the_made_up_language():
    own = MarkovLanguage(symbols=8, seed=3)
    split = own.windows(40, train=20_000, held_out=2_000)
    for order, floor in enumerate(own.floors.values(), 1):
        loss = language.ngram_loss(split.train.x.ravel(), *split.test, order=order)
        assert loss[:, 2:].mean() == pytest.approx(floor, abs=0.02)


def test_counting_refuses_what_has_no_number():
    x = np.zeros((2, 3), int)
    with pytest.raises(ValueError, match="take a lower order"):
        language.ngram_loss(np.arange(96), x, x, order=10)
    with pytest.raises(ValueError, match=r"received \(2, 3\), \(2, 2\)"):
        language.ngram_loss(np.arange(9), x, x[:, 1:], order=2)


def test_a_cold_model_writes_what_is_likeliest():
    model = Decoder(5, context=4, width=8, heads=2, layers=1)
    params = model.init(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    written = language.generate(model, params, [1, 2], 6, rng, temperature=1e-6)
    for place in range(2, 8):
        logits = model.forward(params, written[None, max(place - 4, 0) : place])[0][0, -1]
        assert written[place] == logits.argmax()
    with pytest.raises(ValueError, match="at least one to begin with"):
        language.generate(model, params, [], 1, rng)
    with pytest.raises(ValueError, match="temperature"):
        language.generate(model, params, [1], 1, rng, temperature=0)
