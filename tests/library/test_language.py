"""Text as windows, the made-up language and its entropy, and counting as the baseline."""

import math
import sys
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


class TestKeptText:
    """The book's own text is kept where Python keeps compiled modules."""

    @pytest.fixture
    def kept(self, monkeypatch, tmp_path):
        """Where it is kept; `read` holds an entry for each time that the package was read."""
        text, self.read = language.documentation(), []
        monkeypatch.setattr(language, "_installed", lambda: self.read.append(1) or text)
        monkeypatch.setattr(language, "__file__", str(tmp_path / "language.py"))
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        return tmp_path / "__pycache__" / "documentation.json"

    def again(self):
        """Ask for it, and return how often the package was read."""
        before = len(self.read)
        parts = language.documentation.__wrapped__()
        assert parts == language.documentation()
        return len(self.read) - before

    def test_the_package_is_read_once(self, kept):
        assert [self.again(), self.again()] == [1, 0]
        assert [path.name for path in kept.parent.iterdir()] == [kept.name]

    @pytest.mark.parametrize("text", ["", "{", "5", '["a", "b", "c"]', "[1, 2, 3]", '{"a": "b"}'])
    def test_another_text_is_not_taken(self, kept, text):
        kept.parent.mkdir()
        kept.write_text(text, "utf-8")
        assert [self.again(), self.again()] == [1, 0]

    def test_bytes_that_are_no_text_are_not_taken(self, kept):
        kept.parent.mkdir()
        kept.write_bytes(b"\xff\xfe\xff")
        assert [self.again(), self.again()] == [1, 0]

    def test_another_package_does_without(self, kept, monkeypatch):
        self.again()
        monkeypatch.setattr(language.importlib.metadata, "version", lambda name: "0.1")
        assert self.again() == 1

    def test_another_text_is_not_kept(self, kept, monkeypatch):
        monkeypatch.setattr(language, "_HASH", "0")
        with pytest.warns(UserWarning, match="losses will differ"):
            self.again()
        assert not kept.exists()

    def test_a_folder_that_cannot_be_written_is_no_error(self, kept):
        kept.parent.write_text("a file in its place", "utf-8")
        assert [self.again(), self.again()] == [1, 1]

    def test_nothing_is_kept_where_python_keeps_nothing(self, kept, monkeypatch):
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        assert self.again() == 1 and not kept.parent.exists()


def test_every_character_has_a_token_and_comes_back():
    assert language.encode(ALPHABET).tolist() == list(range(96))
    assert language.decode(language.encode(ALPHABET)) == ALPHABET
    assert language.decode(language.encode("é\t€")) == "???"
    with pytest.raises(TypeError, match="^tokens must be whole numbers, received dtype float64"):
        language.decode([0.5])


def test_bits_are_halvings_counted_in_float64():
    assert language.bits([math.log(2), -math.log(0.25)]) == pytest.approx([1, 2], rel=1e-15)
    nats = np.array([0.1], np.float32)
    bits = language.bits(nats).item()
    assert 2**bits == pytest.approx(math.exp(nats.item()), rel=1e-12)


def test_windows_follow_each_other_and_no_token_is_read_twice():
    x, y = language.windows(np.arange(101), context=10)
    assert x.ravel().tolist() == list(range(100))
    assert (y == x + 1).all()
    x, y = language.windows(np.arange(101), context=10, count=4, seed=3)
    assert len(np.unique(x)) == 40 and (y == x + 1).all()
    assert (language.windows(np.arange(101), context=10, count=4, seed=4).x != x).any()
    assert language.windows(np.arange(101), context=10, count=1).x.shape == (1, 10)
    # The last token of a text is never an input.
    assert language.windows(np.arange(100), context=10).x[:, -1].tolist() == list(range(9, 90, 10))


@pytest.mark.parametrize("options, seed", [({}, 0), ({"seed": 3}, 3)])
def test_windows_are_drawn_with_their_seed(options, seed):
    starts = 10 * np.random.default_rng(seed).permutation(10)[:4]
    x = language.windows(np.arange(101), context=10, count=4, **options).x
    assert x[:, 0].tolist() == starts.tolist()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"context": 0}, "context must be at least 1, received 0"),
        ({"context": 200}, "a text of 101 tokens has 0 windows of 200, asked for 0"),
        ({"context": 10, "count": 11}, "a text of 101 tokens has 10 windows of 10, asked for 11"),
        ({"context": 10, "count": 0}, "count must be at least 1, received 0"),
    ],
)
def test_windows_that_are_not_there_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        language.windows(np.arange(101), **options)


def test_windows_are_cut_from_a_row_of_whole_numbers_only():
    with pytest.raises(TypeError, match="^tokens must be whole numbers, received dtype float64$"):
        language.windows([0.5, 1.5], context=1)
    with pytest.raises(ValueError, match=r"^tokens must have shape \(N,\), received \(2, 3\)$"):
        language.windows(np.ones((2, 3), int), context=1)


def test_another_seed_draws_other_windows_of_the_same_texts():
    own, other = (language.documentation_windows(8, train=40, held_out=20, seed=s) for s in (0, 7))
    again = language.documentation_windows(8, train=40, held_out=20, seed=7)
    texts = map(language.encode, language.documentation())
    for one, two, three, text in zip(own, other, again, texts):
        assert (one.x != two.x).any() and (two.x == three.x).all()
        assert (two.x == language.windows(text, 8, len(two.x), seed=7).x).all()


def test_split_has_no_window_in_two_parts():
    split = language.documentation_windows(32, train=500, held_out=50)
    rows = [part.x.tobytes() for part in split]
    assert [len(part.x) for part in split] == [500, 50, 50] and len(set(rows)) == 3
    sizes = [len(part.x) for part in language.documentation_windows(1)]
    assert sizes == [60_000, 256, 256]


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

    def test_a_sample_is_drawn_symbol_by_symbol_from_its_generator(self):
        # The figures of the book come from it: another generator would be another text.
        own = MarkovLanguage(symbols=3, seed=5)
        rng = np.random.default_rng([8, 5, 3])
        texts = [[first // 3, first % 3] for first in rng.choice(9, 4, p=own.pairs.ravel())]
        for _ in range(4):
            for text, part in zip(texts, rng.random(4)):
                odds = own.probabilities[text[-2], text[-1]]
                text.append(next(c for c in range(3) if part < odds[: c + 1].sum()))
        assert own.sample(4, 6, seed=3).tolist() == texts
        assert own.sample(4, 1, seed=3).tolist() == [text[:1] for text in texts]

    def test_what_is_missing_at_a_sum_of_1_goes_to_the_last_symbol(self):
        class Short(MarkovLanguage):
            pairs = np.full((2, 2), 0.25)
            probabilities = np.full((2, 2, 2), [0.25, 0.25])

        text = Short(symbols=2).sample(texts=2000, length=3, seed=0)[:, 2]
        assert set(text) == {0, 1} and abs(text.mean() - 0.75) < 0.05

    def test_there_are_60000_texts_to_train_on_and_256_of_either_other_part(self):
        sizes = [len(part.x) for part in MarkovLanguage(symbols=2).windows(1)]
        assert sizes == [60_000, 256, 256]

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"symbols": 1}, "symbols must be at least 2"),
            ({"near": -1}, "near must be at least 0"),
            ({"far": math.nan}, "far must be finite"),
            ({"far": -0.5}, "far must be at least 0"),
            ({"seed": -1}, "seed must be at least 0"),
        ],
    )
    def test_what_is_no_language_is_refused(self, options, message):
        value = next(iter(options.values()))
        with pytest.raises(ValueError, match=f"^{message}, received {value}$"):
            MarkovLanguage(**options)

    def test_a_seed_below_0_is_refused(self):
        with pytest.raises(ValueError, match="^seed must be at least 0, received -1$"):
            MarkovLanguage(symbols=2).sample(1, 3, seed=-1)


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


def check_counting(train, text, order, size, strength=None):
    """Compare each loss with that by hand."""
    options = {} if strength is None else {"strength": strength}
    train, text = np.asarray(train), np.asarray(text)
    loss = language.ngram_loss(train, text[:, :-1], text[:, 1:], order=order, **options)
    for row, line in zip(loss, text.tolist()):
        for place, value in enumerate(row):
            past, token = line[: place + 1], line[place + 1]
            own = counted(train.tolist(), past, token, order, size, strength or 8)
            assert value == pytest.approx(own, rel=1e-12)


@pytest.mark.parametrize("strength", [1.5, 0.5])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_counting_is_that_of_the_formula(order, strength):
    rng = np.random.default_rng(0)
    train, text = rng.integers(0, 4, 60), rng.integers(0, 4, (3, 7))
    check_counting(train, text, order, 4, strength)


def test_counting_leans_on_the_shorter_context_with_a_strength_of_8():
    check_counting([0, 1, 0, 1, 2], [[0, 1, 2]], 2, 3)


@pytest.mark.parametrize(
    "train, text",
    [([0, 9, 1], [[0, 1, 2]]), ([0, 2, 1], [[9, 1, 2]]), ([0, 2, 1], [[0, 1, 9]])],
    ids=["train", "x", "y"],
)
def test_the_largest_token_may_be_anywhere(train, text):
    check_counting(train, text, 2, 10, strength=2)


def test_contexts_of_sixty_bits_are_told_apart():
    last = 2**20 - 1
    train = [1, 5, last, 0, 5, 0, last, 5, 1, last, 5, 3]
    text = [[0, 5, last], [1, 5, last], [last, 5, 1], [last, 5, 2]]
    check_counting(train, text, 3, 2**20, strength=2)


def test_counting_finds_the_floors_of_the_made_up_language():
    own = MarkovLanguage(symbols=8, seed=3)
    split = own.windows(40, train=20_000, held_out=2_000)
    for order, floor in enumerate(own.floors.values(), 1):
        loss = language.ngram_loss(split.train.x.ravel(), *split.test, order=order)
        assert loss[:, 2:].mean() == pytest.approx(floor, abs=0.02)


def test_counting_refuses_what_has_no_number():
    x = np.zeros((2, 3), int)
    for size, order in ((96, 10), (135, 9), (8, 21)):
        with pytest.raises(ValueError, match=f"^{order} of {size} tokens .* take a lower order$"):
            language.ngram_loss(np.arange(size), x, x, order=order)
    with pytest.raises(ValueError, match=r"received \(2, 3\), \(2, 2\)"):
        language.ngram_loss(np.arange(9), x, x[:, 1:], order=2)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"train": [0.5]}, TypeError, "train must be whole numbers, received dtype float64"),
        ({"x": [[0.5, 1]]}, TypeError, "x must be whole numbers, received dtype float64"),
        ({"y": [[0.5, 1]]}, TypeError, "y must be whole numbers, received dtype float64"),
        ({"order": 0}, ValueError, "order must be at least 1, received 0"),
        ({"strength": 0}, ValueError, "strength must be above 0, received 0"),
    ],
)
def test_counting_names_what_is_wrong(wrong, error, message):
    given = {"train": [0, 1, 1], "x": [[0, 1]], "y": [[1, 1]], "order": 2, "strength": 1} | wrong
    with pytest.raises(error, match=f"^{message}$"):
        language.ngram_loss(**given)


def test_a_cold_model_writes_what_is_likeliest():
    model = Decoder(5, context=4, width=8, heads=2, layers=1)
    rng = np.random.default_rng(1)
    # Larger numbers than a fresh model's, so that what it writes changes from place to place.
    params = {name: value + rng.normal(size=value.shape) for name, value in model.init(rng).items()}
    written = language.generate(model, params, [1, 2], 6, rng, temperature=1e-6)
    for place in range(2, 8):
        logits = model.forward(params, written[None, max(place - 4, 0) : place])[0][0, -1]
        assert written[place] == logits.argmax()
    assert len(set(written[2:])) > 1
    assert language.generate(model, params, [1, 2], 0, rng).tolist() == [1, 2]


class Fixed:
    """A model that says the same of every text."""

    context = 4

    def forward(self, params, tokens):
        return np.broadcast_to(np.log([1, 4]), (*tokens.shape, 2)), None


@pytest.mark.parametrize("options, odds", [({}, 4), ({"temperature": 2}, 2)])
def test_a_temperature_divides_the_logits_and_is_1_by_default(options, odds):
    rng = np.random.default_rng(0)
    written = language.generate(Fixed(), {}, [0], 4000, rng, **options)[1:]
    assert written.mean() == pytest.approx(odds / (1 + odds), abs=0.03)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"tokens": []}, ValueError, "tokens must hold at least one to begin with, received none"),
        ({"tokens": [0.5]}, TypeError, "tokens must be whole numbers, received dtype float64"),
        ({"count": -1}, ValueError, "count must be at least 0, received -1"),
        ({"temperature": 0}, ValueError, "temperature must be above 0, received 0"),
    ],
)
def test_nothing_is_written_without_a_beginning_a_count_or_a_temperature(wrong, error, message):
    given = {"tokens": [1], "count": 1, "rng": np.random.default_rng(0)} | wrong
    with pytest.raises(error, match=f"^{message}$"):
        language.generate(Fixed(), {}, **given)
