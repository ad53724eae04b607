"""What the checks of an assignment are written with. A check that fails says in a sentence what is wrong."""

import numpy as np


class Wrong(AssertionError):
    """An answer that is not right. Its text is for the student."""


def require(condition, sentence):
    """Raise `sentence` unless `condition` is true. Only a plain truth value counts as one."""
    if type(condition) not in (bool, np.bool_):
        raise TypeError(f"a check needs True or False, received {kind(condition)}")
    if not condition:
        raise Wrong(sentence)


def kind(value):
    """Say in words what a value is."""
    if value is None:
        return "None (is there a return?)"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def number(value, name):
    """Return a number as a float. An array with one entry is none, and neither is True."""
    if not (type(value) in (int, float) or isinstance(value, (np.integer, np.floating))):
        raise Wrong(f"`{name}` has to be a number, and is {kind(value)}.")
    if not np.isfinite(value):
        raise Wrong(f"`{name}` has to be finite, and is {float(value)}.")
    return float(value)


def whole(value, name):
    """Return a whole number as an int."""
    if not (type(value) is int or isinstance(value, np.integer)):
        raise Wrong(f"`{name}` has to be a whole number (int), and is {kind(value)}.")
    return int(value)


def array(value, name, shape=None, finite=True):
    """Return an array as a fresh one of float64."""
    if type(value) is not np.ndarray:
        raise Wrong(f"`{name}` has to be a NumPy array, and is {kind(value)}.")
    if value.dtype.kind not in "biuf":
        raise Wrong(f"`{name}` has to hold numbers, and holds {value.dtype}.")
    if shape is not None and value.shape != tuple(shape):
        raise Wrong(f"`{name}` has to have the shape {tuple(shape)}, and has {value.shape}.")
    if finite and not np.isfinite(value).all():
        raise Wrong(f"`{name}` has to be finite, and holds {value[~np.isfinite(value)][0]}.")
    return np.array(value, np.float64)


def choice(value, name, options):
    """Return a text that is one of `options`."""
    if type(value) is not str or value not in options:
        raise Wrong(f"`{name}` has to be one of {', '.join(map(repr, options))}.")
    return value


def near(a, b, rel=1e-6, tiny=1e-12):
    """Whether `a`, a number or an array, agrees with `b`, a number or one of its shape, to within `rel`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a.shape == b.shape or b.ndim == 0) and bool(np.allclose(a, b, rtol=rel, atol=tiny))


def pure(function, *values):
    """Call a function, and require that it leaves the arrays that it is given as they are."""
    given = [np.array(value) if isinstance(value, np.ndarray) else value for value in values]
    result = function(*given)
    for before, after in zip(values, given):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=True):
            raise Wrong(
                f"`{function.__name__}` changes an array that it is given. Compute with a copy: "
                "`w = w - rate * g` makes a new array, `w -= rate * g` overwrites the old one."
            )
    return result


def refuses(function, *values, sentence):
    """Require that a call raises ValueError."""
    try:
        function(*values)
    except ValueError:
        return
    raise Wrong(sentence)


def own(function, *names):
    """Require that a function does not call these: they are what the task asks for.

    Only for your own use: when the work is graded, the library's answer is not there.
    """
    code = getattr(function, "__code__", None)
    used = set(code.co_names) & set(names) if code else set()
    if used:
        raise Wrong(
            f"`{function.__name__}` calls `{used.pop()}`. The task is to write it yourself."
        )
