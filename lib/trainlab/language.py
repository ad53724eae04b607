"""Text for language models: real text that is already installed, and a made-up language of known entropy.

Tokens are characters of the real text, or the symbols of the made-up language. A text is cut into
windows: `x` holds T tokens, `y` the T tokens that follow each of them, so a
:class:`~trainlab.transformer.Decoder` learns to say the next one. Losses are in nats a token;
:func:`bits` turns them into bits.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.data import Examples, Split
from trainlab.models import Params
from trainlab.numerics import log_softmax
from trainlab.transformer import Decoder

#: The characters of :func:`documentation`; the place of each is its token. What is none of them
#: becomes a question mark.
#:
#: :meta hide-value:
ALPHABET = "\n" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
_TOKEN = np.full(256, ALPHABET.index("?"), np.uint8)
_TOKEN[np.frombuffer(ALPHABET.encode("ascii"), np.uint8)] = np.arange(len(ALPHABET))
# The text of the version that the book is made with, as it is cut by this module.
_VERSION, _HASH = "1.9.1", "c213ca62fddc4880"


def encode(text: str) -> np.ndarray:
    """Return the tokens of `text`, one for each character, shape (characters,).

    >>> encode("a b").tolist()
    [66, 1, 67]
    """
    return _TOKEN[np.frombuffer(text.encode("ascii", "replace"), np.uint8)].astype(np.int64)


def decode(tokens: ArrayLike) -> str:
    """Return the text of tokens, shape (characters,).

    >>> decode(encode("naïve"))
    'na?ve'
    """
    return "".join(ALPHABET[token] for token in checks.whole("tokens", tokens).ravel())


def bits(nats: ArrayLike) -> np.ndarray:
    """Return a loss in bits: nats divided by the logarithm of 2.

    >>> float(bits(math.log(8)))
    3.0
    """
    return np.asarray(nats, float) / math.log(2)


@functools.cache
def documentation() -> tuple[str, str, str]:
    """Return the docstrings of the installed scikit-learn: texts to train on, to choose by, to judge by.

    About 3.3 million characters of English, formulas and examples in Python, by hundreds of authors
    (BSD-3-Clause; the scikit-learn developers). The files of the package, tests left out, are taken
    in the order of their names; of ten in a row the ninth is for validation, the tenth for the
    test. Another version has another text, and a warning says so. The book's own is kept where Python
    keeps compiled modules, so that the files are read once. Where it cannot be installed, in a
    browser, a file beside this module holds the text, and scikit-learn is not read.

    Examples
    --------
    >>> train, validation, test = documentation()
    >>> len(train) > 2_000_000, "regression" in test
    (True, True)
    """
    kept = Path(__file__).with_name("documentation.json")
    if kept.exists():
        return tuple(json.loads(kept.read_text("utf-8")))  # type: ignore[return-value]
    version = importlib.metadata.version("scikit-learn")
    compiled = Path(__file__).parent / "__pycache__" / "documentation.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        parts = tuple(json.loads(compiled.read_text("utf-8")))
        if version == _VERSION and fingerprint(parts) == _HASH:
            return parts  # type: ignore[return-value]
    parts = _installed()
    if fingerprint(parts) != _HASH:
        warnings.warn(
            f"the text is that of scikit-learn {version}, the book's is that of {_VERSION}: losses will differ",
            stacklevel=2,
        )
    elif not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):  # the folder may be read-only
            compiled.parent.mkdir(exist_ok=True)
            half = compiled.with_suffix(f".{os.getpid()}")  # processes may write it side by side
            half.write_text(json.dumps(parts), "utf-8")
            half.replace(compiled)
    return parts


def _installed():
    root = Path(importlib.util.find_spec("sklearn").origin).parent  # type: ignore[union-attr, arg-type]
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    texts = [
        _docstrings((root / file).read_text("utf-8"))
        for file in files
        if "tests" not in file.split("/")
    ]
    texts = [text for text in texts if text]
    return tuple(
        "\n\n".join(text for number, text in enumerate(texts) if number % 10 in which)
        for which in (range(8), {8}, {9})
    )


def fingerprint(texts: Sequence[str]) -> str:
    """Return a hash of texts, 16 characters.

    >>> fingerprint(["a", "b"]) == fingerprint(["ab"])
    False
    """
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _docstrings(source):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return "\n\n".join(filter(None, map(ast.get_docstring, nodes)))


def windows(tokens: ArrayLike, context: int, count: int | None = None, seed: int = 0) -> Examples:
    """Return a text cut into windows, and for each token the one that follows it.

    Parameters
    ----------
    tokens : array of whole numbers, shape (N,)
    context : int, at least 1
        Tokens of a window, T.
    count : int, optional
        How many windows, drawn without repetition; all of them, in their order, by default. No
        token is in two windows as an input.
    seed : int
        Of that draw.

    Returns
    -------
    Examples
        x and y of shape (windows, T).

    Raises
    ------
    ValueError
        If the text has fewer windows than asked for.

    Examples
    --------
    >>> x, y = windows([5, 6, 7, 8, 9], context=2)
    >>> x.tolist(), y.tolist()
    ([[5, 6], [7, 8]], [[6, 7], [8, 9]])
    """
    tokens = checks.whole("tokens", tokens)
    if tokens.ndim != 1:
        raise ValueError(f"tokens must have shape (N,), received {tokens.shape}")
    context = checks.integer("context", context, low=1)
    there = (len(tokens) - 1) // context
    count = there if count is None else checks.integer("count", count, low=1)
    if not 1 <= count <= there:
        raise ValueError(
            f"a text of {len(tokens)} tokens has {there} windows of {context}, asked for {count}"
        )
    starts = np.arange(there) * context
    if count < there:
        starts = np.random.default_rng(seed).permutation(starts)[:count]
    places = starts[:, None] + np.arange(context)
    return Examples(tokens[places], tokens[places + 1])


def documentation_windows(
    context: int, *, train: int = 60_000, held_out: int = 256, seed: int = 0
) -> Split:
    """Return :func:`documentation` as windows: so many to train on, and so many for each of the other two.

    Which ones is drawn by `seed`, as in :func:`windows`. The three texts are the same with every seed.

    >>> documentation_windows(32, train=100, held_out=10).test.y.shape
    (10, 32)
    """
    texts = map(encode, documentation())
    return Split(
        *(windows(text, context, n, seed) for text, n in zip(texts, (train, held_out, held_out)))
    )


@dataclass(frozen=True)
class MarkovLanguage:
    r"""A made-up language in which the two symbols before decide how likely the next one is.

    .. math:: p(c \mid a, b) \propto \exp\big(U_{bc} + V_{ac}\big) \; r_c^{-1}

    for the symbol :math:`c` after :math:`a` and :math:`b`; :math:`r_c` = 1, 2, ... is its rank, so
    that a few symbols are frequent and most are rare, as words are (Zipf 1949, *Human behavior and
    the principle of least effort*). U and V are drawn once, normal with standard deviations `near`
    and `far`. A model has three things to learn, one after the other: which symbols are frequent,
    what follows the last one, and what the one before it changes. Nothing else can be learned, so
    the lowest possible loss is known (Shannon 1948, *A mathematical theory of communication*): it
    is `entropy`.

    Parameters
    ----------
    symbols : int, at least 2
        V.
    near, far : float, at least 0
        How much the last symbol and the one before it decide.
    seed : int
        Of the language itself.

    Examples
    --------
    >>> language = MarkovLanguage(symbols=8)
    >>> language.sample(texts=2, length=5, seed=1).shape
    (2, 5)
    >>> 0 < language.entropy < math.log(8)
    True
    """

    symbols: int = 64
    near: float = 1.5
    far: float = 1.0
    seed: int = 0

    def __post_init__(self):
        checks.integer("symbols", self.symbols, low=2)
        checks.number("near", self.near, low=0)
        checks.number("far", self.far, low=0)
        checks.integer("seed", self.seed, low=0)

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """How likely each symbol is after each two, shape (V, V, V); the last axis sums to 1."""
        rng = np.random.default_rng([7, self.seed])
        near, far = rng.normal(size=(2, self.symbols, self.symbols))
        logits = self.near * near + self.far * far[:, None] - np.log(np.arange(self.symbols) + 1)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return odds / odds.sum(axis=-1, keepdims=True)

    @functools.cached_property
    def pairs(self) -> np.ndarray:
        """How often each two symbols stand beside each other in a long text, shape (V, V); sums to 1."""
        pairs, before = np.full((self.symbols, self.symbols), self.symbols**-2.0), None
        while before is None or np.abs(pairs - before).max() > 1e-16:
            before, pairs = pairs, np.einsum("ab,abc->bc", pairs, self.probabilities)
        return pairs / pairs.sum()

    @functools.cached_property
    def entropy(self) -> float:
        """The lowest possible loss of a model that sees at least two symbols, nats a symbol."""
        p = self.probabilities
        return float(-np.einsum("ab,abc,abc->", self.pairs, p, np.log(p)))

    @functools.cached_property
    def floors(self) -> dict[str, float]:
        """The lowest loss by what a model knows, nats a symbol: "frequencies", "last symbol", "last two"."""
        pairs = self.pairs
        once = pairs.sum(axis=0)
        one = np.einsum("ab,abc->bc", pairs, self.probabilities) / pairs.sum(axis=0)[:, None]
        return {
            "frequencies": float(-once @ np.log(once)),
            "last symbol": float(-np.einsum("b,bc,bc->", once, one, np.log(one))),
            "last two": self.entropy,
        }

    def sample(self, texts: int, length: int, seed: int) -> np.ndarray:
        """Return so many texts, shape (texts, length), each begun in the middle of a long one."""
        rng = np.random.default_rng([8, self.seed, checks.integer("seed", seed, low=0)])
        up_to = np.cumsum(self.probabilities, axis=-1)
        first = rng.choice(self.symbols**2, size=texts, p=self.pairs.ravel())
        tokens = np.empty((texts, max(length, 2)), np.int64)
        tokens[:, 0], tokens[:, 1] = np.divmod(first, self.symbols)
        for place in range(2, length):
            steps = up_to[tokens[:, place - 2], tokens[:, place - 1]]
            drawn = (rng.random(texts)[:, None] > steps).sum(axis=1)
            tokens[:, place] = np.minimum(drawn, self.symbols - 1)  # a sum of 1 may round down
        return tokens[:, :length]

    def windows(self, context: int, *, train: int = 60_000, held_out: int = 256) -> Split:
        """Return texts of the language as windows of `context` symbols: x, and y with the symbols that follow."""
        numbers = (train, held_out, held_out)
        texts = [self.sample(n, context + 1, seed) for seed, n in enumerate(numbers)]
        return Split(*(Examples(text[:, :-1], text[:, 1:]) for text in texts))


def generate(
    model: Decoder,
    params: Params,
    tokens: ArrayLike,
    count: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
) -> np.ndarray:
    """Return `tokens`, shape (N,), and `count` more behind them, each drawn from what the model says of the last ones.

    Logits are divided by `temperature`: a small one takes the likeliest token nearly always.

    Examples
    --------
    >>> model = Decoder(len(ALPHABET), context=8, width=4, heads=1, layers=1)
    >>> params = model.init(np.random.default_rng(0))
    >>> len(decode(generate(model, params, encode("The loss"), 5, np.random.default_rng(0))))
    13
    """
    temperature = checks.number("temperature", temperature, above=0)
    if np.size(tokens) == 0:
        raise ValueError("tokens must hold at least one to begin with, received none")
    written = list(checks.whole("tokens", tokens))
    for _ in range(checks.integer("count", count, low=0)):
        logits = model.forward(params, np.array([written[-model.context :]]))[0][0, -1]
        p = np.exp(log_softmax(logits.astype(float) / temperature))
        written.append(rng.choice(len(p), p=p / p.sum()))
    return np.array(written)


def ngram_loss(
    train: ArrayLike, x: ArrayLike, y: ArrayLike, *, order: int, strength: float = 8.0
) -> np.ndarray:
    r"""Return the loss of counting: each token of `y` predicted from what followed the same tokens in `train`.

    .. math:: p_k(c \mid h) = \frac{n(h, c) + m\, p_{k-1}(c \mid h')}{n(h) + m}

    with :math:`n` the counts in `train`, :math:`h` the last :math:`k - 1` tokens, :math:`h'` those
    without the first, :math:`m` = `strength` and :math:`p_0` the same for every token: a context
    that was seen seldom leans on the shorter one. MacKay and Peto (1995), *A hierarchical Dirichlet
    language model*.

    Parameters
    ----------
    train : array of whole numbers, shape (N,)
    x, y : arrays of whole numbers, shape (windows, T)
        As :func:`windows` makes them. A token is predicted from its own window alone, as a decoder
        does.
    order : int, at least 1
        How many tokens are counted together, the predicted one included.
    strength : float, above 0

    Returns
    -------
    array, shape (windows, T)
        Nats.

    Examples
    --------
    >>> train = encode("ababababab")
    >>> x, y = windows(train, context=4)
    >>> ngram_loss(train, x, y, order=2).mean(axis=1).round(3).tolist()
    [0.614, 0.614]
    """
    train, x, y = (
        checks.whole(name, value) for name, value in (("train", train), ("x", x), ("y", y))
    )
    order, strength = (
        checks.integer("order", order, low=1),
        checks.number("strength", strength, above=0),
    )
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(f"x and y must have one shape (windows, T), received {x.shape}, {y.shape}")
    size = int(max(train.max(), x.max(), y.max())) + 1
    if order * math.log2(size) >= 63:
        raise ValueError(f"{order} of {size} tokens do not fit into one number: take a lower order")
    text = np.concatenate([x[:, :1], y], axis=1)
    p = (_count(train, y) + strength / size) / (len(train) + strength)
    for k in range(2, order + 1):
        its = _codes(text, k, size)
        first = k - 2  # the first token of a window that has so long a past
        alike = _count(_codes(train, k - 1, size)[:-1], _codes(text, k - 1, size)[:, :-1])
        together = _count(_codes(train, k, size), its)
        p[:, first:] = (together + strength * p[:, first:]) / (alike + strength)
    return -np.log(p)


def _codes(tokens, k, size):
    """Return each `k` neighbours as one number, shape (..., N - k + 1)."""
    count = tokens.shape[-1] - k + 1
    code = np.zeros(tokens.shape[:-1] + (count,), np.int64)
    for place in range(k):
        code = code * size + tokens[..., place : place + count]
    return code


def _count(known, asked):
    """Return how often each number of `asked` is in `known`."""
    known = np.sort(known)
    return np.searchsorted(known, asked, "right") - np.searchsorted(known, asked, "left")
