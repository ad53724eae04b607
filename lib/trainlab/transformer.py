"""A small language model: the decoder of GPT-2, with its backward pass written out.

Every part is a pair of functions, forward and backward, next to each other. A forward function
returns its output and the cache that its backward function takes, together with the gradient
of the output.

Shapes: n texts of T tokens are n T rows of width D, so that each weight matrix is one matrix
product for all of them; only attention looks at texts. The dots in front stand for the axis of
R replicas, if there is one: as in :mod:`trainlab.models`, ``@`` and ``+`` broadcast over it.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.models import Params, check_dtype, sum_rows

EPSILON = 1e-5  # keeps the layer norm of a constant row finite


def row_means(x):
    """Return the mean of each row, (..., n, 1)."""
    return np.einsum("...d->...", x)[..., None] / x.shape[-1]


def linear(x, W, b):
    """Return x W + b for rows x, (..., n, D)."""
    y = x @ W
    y += b[..., None, :]
    return y, (x, W)


def linear_backward(cache, gradient, dW=None, db=None):
    """Return the gradients of x, W and b; the last two in the arrays that are given for them."""
    x, W = cache
    return gradient @ W.mT, np.matmul(x.mT, gradient, out=dW), sum_rows(gradient, out=db)


def layer_norm(x, gain, bias):
    r"""Return each row with mean 0 and variance 1, times `gain` plus `bias`.

    .. math:: y = g \odot \frac{x - \bar x}{\sqrt{\operatorname{var}(x) + \epsilon}} + b

    with :math:`g` = `gain`, :math:`b` = `bias`, :math:`\odot` the product entry by entry and
    :math:`\bar x` the row's mean. Ba, Kiros and Hinton (2016), *Layer normalization*.

    Examples
    --------
    >>> layer_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2))[0].round(4).tolist()
    [[-1.0, 1.0]]
    """
    normal = x - row_means(x)
    scale = 1 / np.sqrt(np.vecdot(normal, normal)[..., None] / x.shape[-1] + EPSILON)
    normal *= scale
    y = normal * gain[..., None, :]
    y += bias[..., None, :]
    return y, (normal, scale, gain)


def layer_norm_backward(cache, gradient, dgain=None, dbias=None):
    """Return the gradients of x, gain and bias; the last two in the arrays that are given for them."""
    normal, scale, gain = cache
    dgain = sum_rows(gradient * normal, out=dgain)
    dx = gradient * gain[..., None, :]
    # A common shift and a common stretch of the row change nothing, so those parts drop out.
    stretch = np.vecdot(dx, normal)[..., None] / normal.shape[-1]
    dx -= row_means(dx)
    dx -= normal * stretch
    dx *= scale
    return dx, dgain, sum_rows(gradient, out=dbias)


def split_heads(rows, texts, heads, parts):
    """Return `parts` views (..., n, heads, T, d) of rows (..., n T, parts heads d): no number is moved."""
    *lead, count, width = rows.shape
    split = rows.reshape(*lead, texts, count // texts, parts, heads, width // parts // heads)
    return np.moveaxis(split, (-3, -2), (0, -3))


def causal_mask(length, dtype, real=None):
    """Return what to add to the weights, (T, T): 0 up to a token's own place, minus infinity after it.

    With `real`, which tokens are no padding, (..., n, T), padding is hidden from all others, (...,
    n, 1, T, T).

    >>> causal_mask(2, float, real=np.array([[False, True]])).tolist()
    [[[[0.0, -inf], [-inf, 0.0]]]]
    """
    mask = np.triu(np.full((length, length), -np.inf, dtype), 1)
    if real is None:
        return mask
    # A token sees itself even if it is padding: a row of minus infinities would have no softmax.
    hidden = ~real[..., None, None, :] & ~np.eye(length, dtype=bool)
    return np.where(hidden, mask.dtype.type(-np.inf), mask)


def attention(qkv, texts, heads, real=None):
    r"""Return causal self-attention, (..., n T, D), of queries, keys and values, (..., n T, 3 D).

    .. math:: \operatorname{softmax}\!\Big(\frac{Q K^\top}{\sqrt d} + M\Big) V

    for each text and each head of width d = D / heads, with Q, K and V the rows of its queries,
    keys and values; M is 0 up to a token's own place and minus infinity after it, and at padding,
    where `real`, (..., n, T), is false. Vaswani et al. (2017), *Attention is all you need*.
    """
    q, k, v = split_heads(qkv, texts, heads, 3)
    length, scale = q.shape[-2], q.shape[-1] ** -0.5
    weights = (q * scale) @ k.mT
    weights += causal_mask(length, qkv.dtype, real)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.einsum("...d->...", weights)[..., None]
    mixed = np.empty_like(qkv, shape=(*qkv.shape[:-1], qkv.shape[-1] // 3))
    np.matmul(weights, v, out=split_heads(mixed, texts, heads, 1)[0])
    return mixed, (qkv, weights)


def attention_backward(cache, gradient):
    """Return the gradient of the queries, keys and values, (..., n T, 3 D)."""
    qkv, weights = cache
    texts, heads = weights.shape[-4:-2]
    q, k, v = split_heads(qkv, texts, heads, 3)
    (dmixed,) = split_heads(gradient, texts, heads, 1)
    dqkv = np.empty_like(qkv)
    dq, dk, dv = split_heads(dqkv, texts, heads, 3)
    np.matmul(weights.mT, dmixed, out=dv)
    slope = (dmixed * q.shape[-1] ** -0.5) @ v.mT
    slope -= np.vecdot(slope, weights)[..., None]
    slope *= weights
    np.matmul(slope, k, out=dq)
    np.matmul(slope.mT, q, out=dk)
    return dqkv


def _store(gradients, names, backward, cache, gradient):
    """Store the gradients of a layer's two parameters, in the arrays that are there, and return that of its input."""
    dx, *found = backward(cache, gradient, *map(gradients.get, names))
    gradients.update(zip(names, found))
    return dx


@dataclass(frozen=True)
class Decoder:
    r"""A decoder-only transformer: from the tokens so far to logits of the next one.

    .. math:: h_0 = E[\text{tokens}] + P, \qquad
              a_l = h_{l-1} + \operatorname{attention}(\operatorname{norm}(h_{l-1})), \qquad
              h_l = a_l + \operatorname{mlp}(\operatorname{norm}(a_l)), \qquad
              z = \operatorname{norm}(h_L)\, E^\top

    with :math:`h_l` what leaves layer :math:`l` of :math:`L`, and :math:`z` the logits; the norms
    stand in front of each part, as in GPT-2 (Radford et al. 2019, *Language models are unsupervised
    multitask learners*), an MLP of four times the width with a ReLU (Vaswani et al. 2017), learned
    positions :math:`P`, and one matrix :math:`E` for tokens in and logits out (Press and Wolf 2017,
    *Using the output embedding to improve language models*) or, with ``tied=False``, two, :math:`z
    = \operatorname{norm}(h_L)\, U^\top`.

    With ``norm="post"`` the norms stand behind the sums, as in the first transformer (Vaswani et al.
    2017), and the last one needs no other behind it:

    .. math:: a_l = \operatorname{norm}(h_{l-1} + \operatorname{attention}(h_{l-1})), \qquad
              h_l = \operatorname{norm}(a_l + \operatorname{mlp}(a_l)), \qquad
              z = h_L\, E^\top

    Xiong et al. (2020), *On layer normalization in the transformer architecture*, compare the two.

    Parameters
    ----------
    vocabulary : int
        Number of different tokens, V.
    context : int
        The longest text it can read, in tokens.
    width : int
        Numbers for each token, D; a multiple of `heads`.
    heads, layers : int
    dtype : float32, float64 or wider
        The type of the parameters.
    padding : int, optional
        The token that fills short texts, before or after their own tokens. No other token attends
        to it, and positions count from a text's first real token, so a padded text has the logits
        that it has alone. Leave it out of the loss too: ``partial(softmax_cross_entropy,
        ignore_index=padding)``.
    tied : bool
        Whether :math:`E` makes the logits too. Otherwise they have a matrix of their own, ``U``,
        (V, D). The other parameters that a seed draws are the same.
    norm : "pre" or "post"
        Whether the norms stand in front of each part or behind each sum. With "post" there is no
        last norm, so no ``gain`` and ``bias``; the other parameters that a seed draws are the same.

    Raises
    ------
    ValueError
        If a size is below 1, `width` is no multiple of `heads`, `dtype` is float16, `padding` is
        no token of the vocabulary, or `norm` neither "pre" nor "post".
    TypeError
        If a size or `padding` is no whole number, `dtype` no floating-point type, or `tied` neither
        true nor false.

    Examples
    --------
    >>> model = Decoder(vocabulary=5, context=8, width=4, heads=2, layers=1)
    >>> params = model.init(np.random.default_rng(0))
    >>> logits, cache = model.forward(params, np.array([[0, 3, 1]]))
    >>> logits.shape
    (1, 3, 5)
    """

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int
    dtype: type = np.float32
    padding: int | None = None
    tied: bool = True
    norm: str = "pre"

    def __post_init__(self):
        check_dtype(self.dtype)
        for name in ("vocabulary", "context", "width", "heads", "layers"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), low=1))
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, received width={self.width} and heads={self.heads}"
            )
        if self.padding is not None:
            object.__setattr__(self, "padding", checks.integer("padding", self.padding))
            if not 0 <= self.padding < self.vocabulary:
                raise ValueError(
                    f"padding must be a token, 0 to {self.vocabulary - 1}, received {self.padding}"
                )
        if not isinstance(self.tied, (bool, np.bool_)):
            raise TypeError(f"tied must be True or False, received {self.tied!r}")
        object.__setattr__(self, "tied", bool(self.tied))
        checks.one_of("norm", self.norm, ("pre", "post"))

    def __repr__(self):
        # What came later is named where it is given: checkpoints from before it compare the rest.
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, usual in (("padding", None), ("tied", True), ("norm", "pre")):
            if given[name] == usual:
                del given[name]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    @property
    def input_dtype(self) -> type:
        """The type of the inputs: tokens are whole numbers."""
        return np.int64

    def init(self, rng: np.random.Generator) -> Params:
        """Return fresh parameters, drawn from a NumPy ``Generator``, as GPT-2 draws them.

        Weights and embeddings are normal with standard deviation 0.02; those that add to the
        residual stream, ``W_mix`` and ``W_down``, are smaller by the square root of their number,
        2 `layers`. Biases are zero, gains one. ``U``, if there is one, is drawn as ``E``, after all
        others.
        """
        width, small = self.width, 0.02 / math.sqrt(2 * self.layers)
        draws: dict = {"E": (0.02, (self.vocabulary, width)), "P": (0.02, (self.context, width))}
        for i in range(1, self.layers + 1):
            draws |= {
                f"gain_attention{i}": None,
                f"W_qkv{i}": (0.02, (width, 3 * width)),
                f"W_mix{i}": (small, (width, width)),
            }
            draws |= {
                f"gain_mlp{i}": None,
                f"W_up{i}": (0.02, (width, 4 * width)),
                f"W_down{i}": (small, (4 * width, width)),
            }
        if self.norm == "pre":
            draws["gain"] = None
        if not self.tied:
            draws["U"] = draws["E"]
        params: Params = {}
        for name, draw in draws.items():
            if draw is None:
                params[name], params[name.replace("gain", "bias")] = (
                    np.ones(width, self.dtype),
                    np.zeros(width, self.dtype),
                )
                continue
            scale, shape = draw
            params[name] = rng.normal(0, scale, shape).astype(self.dtype)
            if name.startswith("W_"):
                params[name.replace("W", "b")] = np.zeros(shape[1], self.dtype)
        return params

    def forward(self, params: Params, tokens: ArrayLike) -> tuple[np.ndarray, Any]:
        """Return logits of the next token at each place, (..., n, T, V), and the cache.

        Parameters
        ----------
        params : dict of arrays
        tokens : array of whole numbers, shape (n, T) or (R, n, T), T at most `context`

        Raises
        ------
        ValueError
            If the shape does not fit or a token is not ``0 .. vocabulary - 1``.
        TypeError
            If the tokens are not whole numbers.
        """
        tokens = self._checked(tokens)
        if tokens.ndim > params["E"].ndim:
            raise ValueError(
                f"tokens of shape {tokens.shape} have an axis of replicas, the parameters have none"
            )
        texts, length = tokens.shape[-2:]
        E, P = params["E"], params["P"]
        # As a product with one-hot rows, because its transpose adds up the gradients of equal
        # tokens.
        one_hot = (tokens.reshape(*tokens.shape[:-2], -1, 1) == np.arange(self.vocabulary)).astype(
            E.dtype
        )
        x = one_hot @ E
        real = places = None
        if self.padding is None:
            x = (x.reshape(*x.shape[:-2], texts, length, -1) + P[..., None, :length, :]).reshape(
                x.shape
            )
        else:
            real = tokens != self.padding
            places = self._places(real, P.dtype)
            x += places @ P
        blocks = []
        for i in range(1, self.layers + 1):
            x, cache = self._block(params, i, x, texts, real)
            blocks.append(cache)
        h, norm = self._norm("pre", params, "", x)
        logits = (h @ params[self._output].mT).reshape(
            *h.shape[:-2], texts, length, self.vocabulary
        )
        return logits, (one_hot, places, blocks, h, norm)

    def backward(
        self, params: Params, cache: Any, gradient: np.ndarray, out: Params | None = None
    ) -> Params:
        """Return the parameters' gradients, given the logits' `gradient`, (..., n, T, V)."""
        one_hot, places, blocks, h, norm = cache
        *lead, texts, length, _ = gradient.shape
        gradient = gradient.reshape(*lead, texts * length, self.vocabulary)
        gradients = {} if out is None else out
        output = self._output
        gradients[output] = np.matmul(gradient.mT, h, out=gradients.get(output))
        dx = self._norm_backward("pre", gradients, "", norm, gradient @ params[output])
        for i in range(self.layers, 0, -1):
            dx = self._block_backward(gradients, i, blocks[i - 1], dx)
        if self.tied:
            # The same matrix at both ends: its two gradients add up.
            gradients["E"] += one_hot.mT @ dx
        else:
            gradients["E"] = np.matmul(one_hot.mT, dx, out=gradients.get("E"))
        if places is not None:
            gradients["P"] = np.matmul(places.mT, dx, out=gradients.get("P"))
            return gradients
        gradients["P"] = gradients.get("P", np.empty_like(params["P"]))
        sums = sum_rows(dx.reshape(*lead, texts, length * self.width))
        gradients["P"][..., :length, :] = sums.reshape(*lead, length, self.width)
        gradients["P"][..., length:, :] = 0
        return gradients

    @property
    def _output(self):
        """The name of the matrix that makes the logits."""
        return "E" if self.tied else "U"

    def _places(self, real, dtype):
        """Return one-hot rows, (..., n T, context), of the places of tokens, counted from each text's first real one."""
        places = np.maximum(np.arange(real.shape[-1]) - real.argmax(axis=-1)[..., None], 0)
        return (places.reshape(*real.shape[:-2], -1, 1) == np.arange(self.context)).astype(dtype)

    def _norm(self, where, params, part, x):
        """Return the norm of a part, if it stands at this place; otherwise x as it is, and no cache."""
        if self.norm != where:
            return x, None
        return layer_norm(x, params[f"gain{part}"], params[f"bias{part}"])

    def _norm_backward(self, where, gradients, part, cache, gradient):
        """Store the gradients of a part's norm, if it stands at this place, and return that of its input."""
        if self.norm != where:
            return gradient
        names = (f"gain{part}", f"bias{part}")
        return _store(gradients, names, layer_norm_backward, cache, gradient)

    def _block(self, params, i, x, texts, real):
        """Return one layer's output: attention and the MLP, each added to what came in."""
        h, before1 = self._norm("pre", params, f"_attention{i}", x)
        qkv, project = linear(h, params[f"W_qkv{i}"], params[f"b_qkv{i}"])
        mixed, attend = attention(qkv, texts, self.heads, real)
        h, mix = linear(mixed, params[f"W_mix{i}"], params[f"b_mix{i}"])
        x, behind1 = self._norm("post", params, f"_attention{i}", x + h)
        h, before2 = self._norm("pre", params, f"_mlp{i}", x)
        h, up = linear(h, params[f"W_up{i}"], params[f"b_up{i}"])
        active = np.maximum(h, 0, out=h)
        h, down = linear(active, params[f"W_down{i}"], params[f"b_down{i}"])
        x, behind2 = self._norm("post", params, f"_mlp{i}", x + h)
        return x, (before1, project, attend, mix, behind1, before2, up, active, down, behind2)

    def _block_backward(self, gradients, i, cache, gradient):
        """Store the layer's gradients and return that of its input."""
        before1, project, attend, mix, behind1, before2, up, active, down, behind2 = cache
        gradient = self._norm_backward("post", gradients, f"_mlp{i}", behind2, gradient)
        dh = _store(gradients, (f"W_down{i}", f"b_down{i}"), linear_backward, down, gradient)
        dh *= active > 0
        dh = _store(gradients, (f"W_up{i}", f"b_up{i}"), linear_backward, up, dh)
        gradient = gradient + self._norm_backward("pre", gradients, f"_mlp{i}", before2, dh)
        gradient = self._norm_backward("post", gradients, f"_attention{i}", behind1, gradient)
        dh = _store(gradients, (f"W_mix{i}", f"b_mix{i}"), linear_backward, mix, gradient)
        dh = attention_backward(attend, dh)
        dh = _store(gradients, (f"W_qkv{i}", f"b_qkv{i}"), linear_backward, project, dh)
        return gradient + self._norm_backward("pre", gradients, f"_attention{i}", before1, dh)

    def _checked(self, tokens):
        tokens = checks.whole("tokens", tokens)
        if tokens.ndim < 2 or tokens.shape[-1] > self.context:
            raise ValueError(
                f"tokens must have shape (..., n, T) with T at most {self.context}, received {tokens.shape}"
            )
        bad = (tokens < 0) | (tokens >= self.vocabulary)
        if bad.any():
            index = checks.first_index(bad)
            raise ValueError(
                f"tokens must be 0 to {self.vocabulary - 1}, received {tokens[index]} at index {index}"
            )
        return tokens
