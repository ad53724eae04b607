"""Fingerprints: equal for what behaves the same, in every process; different where code or data differ."""

import ast
import dataclasses
import enum
import functools
import gc
import importlib
import io
import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from trainlab import losses, models, optimizers, schedules
from trainlab.identity import fingerprint
from trainlab.trainer import Trainer
from trainlab.transformer import Decoder

ENV = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
NUMBERS = np.random.default_rng(0).normal(size=10_000)


def changed(array, place=5_000):
    array = array.copy()
    array[place] += 1
    return array


def written(source, name="f", **names):
    """Return what a source defines, as an edited cell of a notebook or file would."""
    space = {"__name__": "written", **names}
    exec(textwrap.dedent(source), space)
    return space[name]


class Foo:
    def __init__(self, value):
        self.value = value


class Slots:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x


class Listed(list):
    pass


class Named(dict):
    pass


class Measured(np.ndarray):
    pass


class Both:
    """Made with the first, and given the second as its state."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __reduce__(self):
        return Both, (self.first,), (self.second,)


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Size(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Options:
    rate: float
    names: list = dataclasses.field(default_factory=list)


def closing_over(value):
    def inner(x):
        return x + value

    return inner


def closing_over_two(a, b):
    def inner(x, y=None):
        return a * x + b

    inner.__defaults__ = (a * b,)
    return inner


def module(**members):
    made = types.ModuleType("mine")
    vars(made).update(members)
    return made


def sequence(seed, draws=0):
    rng = np.random.default_rng(seed)
    rng.normal(size=draws)
    return rng


def countdown(n):
    return n if n == 0 else countdown(n - 1)


def wrapped(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)

    return inner


# --- Pairs ---------------------------------------------------------------------------------------

EQUAL = {
    "numbers": (1.5, 1.5),
    "huge numbers": (10**5000, 10**5000),
    "nan": (float("nan"), float("nan")),
    "lists": ([1, [2, "x"]], [1, [2, "x"]]),
    "shared or copied": ([[1]] * 2, [[1], [1]]),
    "order of keys": ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    "order of keys that are not text": ({1: "x", (2, 3): "y"}, {(2, 3): "y", 1: "x"}),
    "order of a set": ({"a", "b", 3}, {3, "b", "a"}),
    "order of a set in memory": ({0, 8}, {8, 0}),
    "arrays": (NUMBERS, NUMBERS.copy()),
    "an array that is a view": (NUMBERS[::2], NUMBERS[::2].copy()),
    "an array by columns": (np.asfortranarray(np.eye(3, 4)), np.eye(3, 4)),
    "a byte-swapped array": (NUMBERS.astype(">f8"), NUMBERS),
    "a structured array": (np.zeros(2, [("a", "i4"), ("b", "f8")]), np.zeros(2, [("a", "i4"), ("b", "f8")])),
    "an object array": (np.array([1, "a", None], object), np.array([1, "a", None], object)),
    "long doubles": (np.array([1, np.nan], np.longdouble), np.array([1, np.nan], np.longdouble)),
    "long text": (np.array(["a", "b"], np.dtypes.StringDType()), np.array(["a", "b"], np.dtypes.StringDType())),
    "dates": (np.array(["2020-01-01"], "M8[D]"), np.array(["2020-01-01"], "M8[D]")),
    "generators of numbers": (sequence(3, draws=4), sequence(3, draws=4)),
    "seed sequences": (np.random.SeedSequence(1), np.random.SeedSequence(1)),
    "objects": (Foo([1]), Foo([1])),
    "objects with slots": (Slots(1), Slots(1)),
    "dataclasses": (Options(0.1, ["a"]), Options(0.1, ["a"])),
    "partials": (functools.partial(print, NUMBERS, b=1, a=2), functools.partial(print, NUMBERS.copy(), a=2, b=1)),
    "methods": (Foo(1).__init__, Foo(1).__init__),
    "lambdas": (lambda x: x + 1, lambda x: x + 1),
    "closures": (closing_over(3), closing_over(3)),
    "names of variables": (written("def f(x):\n y = x + 1\n return y"), written("def f(x):\n z = x + 1\n return z")),
    "lines and docstrings": (
        written("def f(x):\n return x is None or g(x)\ndef g(x):\n return x, None, 'text'"),
        written("# New.\n\n\ndef f(x):\n '''Text.'''\n\n return x is None or g(x)\ndef g(x):\n 'More.'\n return x, None, 'text'"),
    ),
    "docstrings of classes": (
        written("class f:\n 'A.'\n def g(self): 'B.'; return 1"),
        written("\nclass f:\n 'C.'\n\n def g(self):\n  return 1"),
    ),
    "a class inside a function": (
        written("def f():\n class A:\n  'Old.'\n  x = 1\n return A"),
        written("\ndef f():\n\n class A:\n  'New.'\n  x = 1\n return A"),
    ),
    "a global that is not used": (written("def f(): return 1", other=1), written("def f(): return 1", other=2)),
    "models": (models.MLP((3, 4, 2)), models.MLP([np.int64(3), 4, 2])),
    "ufuncs": (np.exp, np.exp),
    "a module": ([np], [np]),
    "lists of a class of their own": (Listed([1, [2]]), Listed([1, [2]])),
    "an array of a class of its own": (NUMBERS.view(Measured), NUMBERS.copy().view(Measured)),
}  # fmt: skip

DIFFERENT = {
    "numbers by type": (1, 1.0, True, "1", b"1", 1 + 0j, np.float64(1), np.float32(1), np.int64(1), np.array(1), np.array(1.0), None, "None", ..., Size.ONE),
    "containers by type": ([1, 2], (1, 2), {1, 2}, frozenset({1, 2}), {1: 2}, [[1, 2]], [1, [2]], [2, 1], range(1, 2), slice(1, 2), Listed([1, 2])),
    "what an array is": (np.zeros(4), np.zeros((2, 2)), np.zeros((4, 1)), np.zeros(4, "f4"), np.zeros(4, "i8"), np.zeros(4, object), np.zeros(4, "M8[D]"), np.ma.zeros(4)),
    "an array's middle": (NUMBERS, changed(NUMBERS)),
    "an object array's middle": (NUMBERS.astype(object), changed(NUMBERS).astype(object)),
    "a structured array's content": tuple(np.array([(1, x)], [("a", "i4"), ("b", "f8")]) for x in (1.0, 2.0)),
    "long doubles": (np.longdouble(1), np.nextafter(np.longdouble(1), np.longdouble(2))),
    "long text": (np.array(["a" * 50], np.dtypes.StringDType()), np.array(["a" * 49 + "b"], np.dtypes.StringDType())),
    "masks": (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
    "types of numbers": (np.float32, np.float64, np.dtype("f4"), np.dtype(">f4"), float),
    "generators of numbers": (sequence(3), sequence(3, draws=1), sequence(4), np.random.RandomState(3)),
    "objects": (Foo(1), Foo(2), Foo(Foo(1)), Slots(1), Slots(2), Scale(1)),
    "classes": (Foo, Slots, Scale, Options, Color),
    "metaclasses": tuple(written(f"class M(type):\n def g(cls): return {a}\nclass f(metaclass=M): pass") for a in (1, 2)),
    "lists and dicts of a class of their own": (Listed([1]), Listed([2]), Listed([1, 2]), Named(a=1), Named(a=2), Named(b=1)),
    "arguments and state": (Both(1, 2), Both(2, 1)),
    "orders of an array": tuple(np.array(values, dtype) for dtype in (object, "g", "G", "f8") for values in ([1, 2], [2, 1])),
    "complex long doubles": tuple(np.array([value], "G") for value in (1, 1j, 1 + 1j, 1 + 2j)),
    "codes": tuple(compile(text, "", "eval") for text in ("x + 1", "x + 2")),
    "arrays of a class of their own": (NUMBERS.view(Measured), changed(NUMBERS).view(Measured)),
    "ranges and slices": (range(1, 3), range(3, 1), range(1, 3, 2), slice(1, 3), slice(3, 1), slice(1, None, 3)),
    "getters and setters": tuple(written(f"def a(s, *v): return 1\ndef b(s, *v): return 2\nclass f: g = property({pair})") for pair in ("a, b", "b, a")),
    "enums": (Color.RED, Color.GREEN),
    "dataclasses": (Options(0.1), Options(0.2), Options(0.1, [1])),
    "partials": tuple(functools.partial(print, x) for x in (NUMBERS, changed(NUMBERS))) + (functools.partial(repr, NUMBERS), functools.partial(print, x=NUMBERS)),
    "methods": (Foo(1).__init__, Foo(2).__init__, Scale(1).__call__, Scale(1)),
    "methods of C": (sequence(1).normal, sequence(2).normal, sequence(1).uniform, [1].append, [2].append),
    "functions of C": (np.exp, np.log, np.mean, np.linalg.norm, len, max, str.upper, str.lower),
    "lambdas on one line": (lambda x: x + 1, lambda x: x + 2, lambda x: x - 1, lambda x, y=1: x + 1, lambda *x: x + 1, lambda z: z + 1),
    "bodies": (written("def f(x): return x * 0.5"), written("def f(x): return x * 50")),
    "types of constants": (written("def f(x): return x * 2"), written("def f(x): return x * 2.0")),
    "globals": tuple(written("def f(x): return x * RATE", RATE=rate) for rate in (1, 2)) + (written("def f(x): return x * RATE"),),
    "helpers": tuple(written(f"def g(x): return x + {a}\ndef f(x): return g(x)") for a in (1, 2)),
    "helpers of helpers in a comprehension": tuple(written(f"def h(): return {a}\ndef g(x): return h()\ndef f(x): return [[g(y) for y in x] for x in x]") for a in (1, 2)),
    "a shadowed name of Python": (written("def f(x): return len(x)"), written("def len(x): return 1\ndef f(x): return len(x)")),
    "closures": (closing_over(3), closing_over(4), closing_over(3.0)),
    "closures over two": (closing_over_two(2, 3), closing_over_two(3, 2), closing_over_two(1, 6), closing_over_two(3, 3), closing_over_two(2, 2)),
    "closures of installed functions": tuple(written(f"def made(a, b):\n def f(x): return a * x + b\n return f\nf = made({a}, {b})", __name__="numpy") for a, b in ((1, 2), (2, 1))),
    "two globals": tuple(written("def f(x, y=1): return x * A + B", A=a, B=b) for a, b in ((1, 2), (2, 1), (2, 2))),
    "defaults beside a global": tuple(written(f"def f(x, y={a}): return x * A", A=1) for a in (1, 2)),
    "defaults beside an import": tuple(written(f"def f(x, y={a}):\n import helpers_that_are_missing as A\n return x * A") for a in (1, 2)),
    "which member of a module is there": tuple(written("def f(): return m.a or m.b", m=module(**{name: 1})) for name in "ab"),
    "modules by name": tuple(written(f"import {name} as m\ndef f(): return m") for name in ("math", "cmath")),
    "defaults": tuple(written(f"def f(x, y={a}): return x") for a in (1, 2)) + tuple(written(f"def f(x, *, y={a}): return x") for a in (1, 2)),
    "arguments": (written("def f(x, rate): return x"), written("def f(x, momentum): return x"), written("def f(x, *, rate): return x")),
    "attributes of a function": tuple(written(f"def f(): return f.scale\nf.scale = {a}") for a in (1, 2)),
    "handlers": (
        written("def f():\n try: g()\n except ValueError: return 1\n return 2"),
        written("def f():\n g()\n try: pass\n except ValueError: return 1\n return 2"),
    ),
    "names of keyword arguments": (written("def f(x): return x(a=1)"), written("def f(x): return x(b=1)")),
    "names of attributes": (written("def f(x): return x.a"), written("def f(x): return x.b")),
    "formats": (written("def f(x): return f'{x:1}'"), written("def f(x): return f'{x:2}'")),
    "patterns": tuple(written(f"def f(x):\n match x:\n  case {{'a': {a}}}: return 1") for a in (1, 2)),
    "kinds of functions": tuple(written(source) for source in ("def f(): yield 1", "def f(): return 1", "async def f(): return 1")),
    "methods of a class": tuple(written(f"class f:\n def g(self): return {a}") for a in (1, 2)),
    "an object of an edited class": tuple(written(f"class A:\n def g(self): return {a}\nf = A()") for a in (1, 2)),
    "a base of a class": tuple(written(f"class A:\n def g(self): return {a}\nclass f(A): pass") for a in (1, 2)),
    "properties": tuple(written(f"class f:\n @property\n def g(self): return {a}") for a in (1, 2)),
    "methods without self": tuple(written(f"class f:\n @{kind}\n def g(*a): return {a}") for kind in ("classmethod", "staticmethod") for a in (1, 2)),
    "kept properties": tuple(written(f"import functools\nclass f:\n @functools.cached_property\n def g(self): return {a}") for a in (1, 2)),
    "kept functions": tuple(written(f"import functools\n@functools.lru_cache\ndef f(x): return {a}") for a in (1, 2)),
    "wrapped functions": tuple(wrapped(f) for f in (lambda: 1, lambda: 2)),
    "default factories": tuple(written(f"import dataclasses\n@dataclasses.dataclass\nclass f:\n x: int = dataclasses.field(default_factory=lambda: {a})") for a in (1, 2)),
    "schedules": (schedules.Constant(0.1), schedules.Constant(0.2), schedules.LinearDecay(0.1, 5), schedules.LinearDecay(0.1, 6)),
    "losses": (losses.squared_error, losses.absolute_error, functools.partial(losses.huber, delta=1.0), functools.partial(losses.huber, delta=2.0)),
    "models": (models.Linear(2, 3), models.Linear(3, 2), models.MLP((3, 4, 2)), models.MLP((3, 4, 2), activation="tanh"), Decoder(8, 4, 4, 1, 1), Decoder(8, 4, 4, 1, 1, norm="post")),
    "optimizers": (optimizers.SGD(), optimizers.SGD(momentum=0.9), optimizers.AdamW(), optimizers.AdamW(weight_decay=0.5)),
}  # fmt: skip


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="all of their bytes count here")
@pytest.mark.parametrize("dtype", ["g", "G"])
def test_bytes_of_long_doubles_that_are_left_to_chance_do_not_count(dtype):
    first, second = np.ones(2, dtype), np.ones(2, dtype)
    second.view(np.uint8)[15] ^= 7
    assert first.tobytes() != second.tobytes() and fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize("first, second", EQUAL.values(), ids=EQUAL)
def test_what_behaves_the_same_has_one_fingerprint(first, second):
    assert fingerprint(first) == fingerprint(second)
    assert len(fingerprint(first)) == 32 and int(fingerprint(first), 16) >= 0


@pytest.mark.parametrize("things", DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_has_different_fingerprints(things):
    assert len({fingerprint(thing) for thing in things}) == len(things)
    # Inside others too.
    assert len({fingerprint({"option": [thing]}) for thing in things}) == len(things)


def test_a_function_that_is_changed_in_place_has_another_fingerprint():
    space = {"__name__": "written"}
    exec("RATE = [1]\ndef g(x): return x\ndef f(x): return g(x) * RATE[0]", space)
    seen = {fingerprint(space["f"])}
    space["RATE"].append(2)
    seen.add(fingerprint(space["f"]))
    exec("def g(x): return -x", space)
    seen.add(fingerprint(space["f"]))
    assert len(seen) == 3 == len(seen | {fingerprint(space["f"])})


def mutants(tree):
    """Change one place of a syntax tree after another."""
    for node in ast.walk(tree):
        for field, value in list(ast.iter_fields(node)):
            if (
                isinstance(value, str)
                and not isinstance(node, (ast.FunctionDef, ast.alias))
                and field != "kind"
            ):
                other = value + "x"
            elif type(value) in (int, float) and field == "value":
                other = value + 1
            elif isinstance(value, ast.operator):
                other = ast.Mod() if isinstance(value, ast.Add) else ast.Add()
            elif field == "args" and isinstance(node, ast.Call) and value:
                other = value[:-1]
            else:
                continue
            setattr(node, field, other)
            yield ast.unparse(node)
            setattr(node, field, value)


def test_every_change_of_a_source_is_seen():
    # Each function by itself, with neither docstring nor names of its own that do not matter.
    tree = ast.parse(Path(losses.classification.__file__).read_text())
    count = 0
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        function.body, function.returns = function.body[1:] or function.body, None
        for argument in function.args.args + function.args.kwonlyargs:
            argument.annotation = None
        module = ast.Module([function], [])
        seen = {fingerprint(compile(module, "", "exec"))}
        for text in mutants(function):
            digest = fingerprint(compile(module, "", "exec"))
            assert digest not in seen or text.isidentifier(), text  # a variable may have any name
            count += 1
    assert count > 500


# --- Modules -------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the files of modules of the user's, and forget those that were read before."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**sources):
        for name, source in sources.items():
            file = tmp_path / (name.replace("_in_", "/") + ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(source)
        forget()
        importlib.invalidate_caches()

    def forget():
        for each in ("helpers", "package", "package.inner"):
            sys.modules.pop(each, None)

    yield write
    forget()


INSIDE = {
    "a global module": "import helpers\ndef f(x): return helpers.g(x)",
    "a global name": "from helpers import g\ndef f(x): return g(x)",
    "a module in a closure": "def made():\n import helpers\n def f(x): return helpers.g(x)\n return f\nf = made()",
    "imported inside": "def f(x):\n import helpers\n return helpers.g(x)",
    "imported inside by name": "def f(x):\n from helpers import g as h\n return [h(y) for y in x]",
}


@pytest.mark.parametrize("source", INSIDE.values(), ids=INSIDE)
def test_what_is_used_of_a_module_of_the_users_counts(source, write):
    def made(helpers):
        write(helpers=helpers)
        return fingerprint(written(source))

    first = made("RATE = 1\nOTHER = 1\ndef g(x): return RATE * x")
    assert first == made(
        "'''Text.'''\nRATE = 1\nOTHER = 2\ndef g(x): return RATE * x\ndef unused(): pass"
    )
    assert first != made("RATE = 2\nOTHER = 1\ndef g(x): return RATE * x")
    assert first != made("RATE = 1\nOTHER = 1\ndef g(x): return RATE + x")


@pytest.mark.parametrize(
    "line", ["import package.inner", "from package import inner", "import package.inner as inner"]
)
@pytest.mark.parametrize("inside", [False, True])
def test_modules_within_packages_are_followed(line, inside, write):
    use = ("package." if line == "import package.inner" else "") + "inner.g()"
    source = f"def f():\n {line}\n return {use}" if inside else f"{line}\ndef f(): return {use}"
    seen = []
    for value in (1, 1, 2):
        write(
            package_in___init__="import package",
            package_in_inner=f"import package\ndef g(): return {value}",
        )
        function = written(source)
        seen.append(fingerprint(function))
        # Though more is imported now.
        assert function() == value and fingerprint(function) == seen[-1]
    assert seen[0] == seen[1] != seen[2]


def test_a_relative_import_inside_a_function_is_followed(write):
    seen = []
    for default, value in ((1, 1), (1, 1), (2, 1), (1, 2)):
        write(
            package_in___init__=f"def f(x={default}):\n from . import inner\n return inner.g()",
            package_in_inner=f"def g(): return {value}",
        )
        seen.append(fingerprint(importlib.import_module("package").f))
    assert seen[0] == seen[1] and len(set(seen)) == 3


def test_a_name_like_one_of_pythons_modules_does_not_hide_a_users_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "this", raising=False)
    import trainlab.identity

    trainlab.identity.package_of.cache_clear()
    seen = set()
    for value in (1, 2):
        (tmp_path / "this.py").write_text(f"def g(): return {value}")
        monkeypatch.delitem(sys.modules, "this", raising=False)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        seen.add(fingerprint(importlib.import_module("this").g))
    monkeypatch.delitem(sys.modules, "this")
    trainlab.identity.package_of.cache_clear()
    assert len(seen) == 2


@pytest.mark.parametrize("name", ["mean", "exp", "array", "float32", "linalg"])
def test_an_installed_package_counts_by_its_version(name, monkeypatch):
    thing = getattr(np, name)
    before = fingerprint([thing])
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0")
    import trainlab.identity

    trainlab.identity.package_of.cache_clear()
    try:
        assert before != fingerprint([thing])
    finally:
        trainlab.identity.package_of.cache_clear()


def test_what_a_function_of_an_installed_package_uses_is_not_read(tmp_path, monkeypatch):
    import trainlab.identity

    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    seen = []
    for version, rate in ((1, 1), (1, 2), (2, 1)):
        (folder / "installed_rates.py").write_text(
            f"__version__ = '{version}'\nRATE = {rate}\ndef f(x): return RATE * x"
        )
        monkeypatch.delitem(sys.modules, "installed_rates", raising=False)
        importlib.invalidate_caches()
        function = importlib.import_module("installed_rates").f
        trainlab.identity.package_of.cache_clear()
        seen.append(fingerprint(function))
    monkeypatch.delitem(sys.modules, "installed_rates")
    trainlab.identity.package_of.cache_clear()
    assert seen[0] == seen[1] != seen[2]


def test_closures_and_defaults_of_installed_functions_count():
    # As Optax's transformations are: functions of the package around what they were given.
    from joblib import delayed

    assert fingerprint(delayed(lambda: 1)) != fingerprint(delayed(lambda: 2))
    assert fingerprint(delayed(sum)) == fingerprint(delayed(sum))


def test_what_is_missing_inside_is_no_error():
    assert fingerprint(written("def f():\n import not_there_at_all\n return missing"))


def test_an_installed_package_that_a_function_imports_is_not_imported_to_compare_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    assert fingerprint(written("def f():\n import this\n return this"))
    assert "this" not in sys.modules


def test_what_pickle_finds_by_its_name_counts_by_its_class(write):
    seen = set()
    for value in (1, 1, 2):
        write(
            helpers=f"class A:\n def __reduce__(self): return 'a'\n def g(self): return {value}\na = A()"
        )
        seen.add(fingerprint(importlib.import_module("helpers").a))
    assert len(seen) == 2


def test_a_variable_that_is_not_yet_assigned_is_no_error():
    def made(default):
        def inner(x=default):
            return early + late + x

        early, before = 1, fingerprint(inner)
        late = 2
        return before, fingerprint(inner)

    assert made(1) == made(1) and len({*made(1), *made(2)}) == 4


# --- Cycles --------------------------------------------------------------------------------------


def holding_itself(value):
    thing = Foo(value)
    thing.self = [thing, {"self": thing}, {thing}]
    return thing


def test_what_holds_itself_comes_to_an_end():
    first, second = [1], [1]
    first.append(first)
    second.append([1, second])  # as a walk through them sees it, the same
    assert fingerprint(first) == fingerprint(second) != fingerprint([1, [1]])
    assert (
        fingerprint(holding_itself(1))
        == fingerprint(holding_itself(1))
        != fingerprint(holding_itself(2))
    )
    assert fingerprint(countdown) == fingerprint(countdown)


def test_functions_that_call_each_other():
    def pair(a, b):
        return written(f"def f(n): return n and g(n - {a})\ndef g(n): return n and f(n - {b})")

    assert fingerprint(pair(1, 2)) == fingerprint(pair(1, 2))
    assert len({fingerprint(pair(a, b)) for a in (1, 2) for b in (1, 2)}) == 4
    source = "\n".join(
        f"def f{i}(): return {', '.join(f'f{j}()' for j in range(40))}" for i in range(40)
    )
    # Every way through forty such functions would never end.
    assert fingerprint(written(source, "f3"))


def test_deep_things_need_no_deep_recursion():
    deep = []
    for _ in range(600):
        deep = [deep]
    deeper = [deep]
    assert fingerprint(deep) != fingerprint(deeper)


# --- Other processes -----------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import enum, functools, sys
    import numpy as np
    from trainlab import losses, models, optimizers, schedules
    from trainlab.trainer import Trainer
    from trainlab.identity import fingerprint

    NAMES = {"train", "test", "other"}

    class Kind(enum.Enum):
        A = "a"
        B = {"x", "y"}

    class Foo:
        kinds = frozenset({"p", "q", "r"})
        def __init__(self, value):
            self.value = value
        def __call__(self, x):
            return x in {"a", "b", "c"} or x in NAMES or Kind.A

    def helper(x, options={"a": {1, 2}}):
        return x in {"left", "right", "up"}

    things = [
        helper, Foo, Foo({"a", "b"}), Foo(1).__call__, Kind.B, {"a", "b", ("c", None)}, lambda x: helper(x) and Foo, len, np.exp,
        losses.softmax_cross_entropy, models.MLP((3, 4, 2)), optimizers.AdamW(), schedules.OneCycle(1.0, 100), Trainer,
        np.random.default_rng(5), functools.partial(helper, np.arange(5)), np.dtype("f4"), np.random.SeedSequence(3).spawn,
    ]
    if len(sys.argv) > 1:
        import cloudpickle
        things = [cloudpickle.loads(cloudpickle.dumps(thing)) for thing in things]
    print([fingerprint(thing) for thing in things])
    """
)


def test_fingerprints_are_the_same_in_every_process(tmp_path):
    file = tmp_path / "program.py"
    file.write_text("# Elsewhere, and some lines further down.\n\n" + PROGRAM)
    printed = set()
    for seed, command in itertools.product("12", (["-c", PROGRAM], [str(file)])):
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            env=dict(**ENV, PYTHONHASHSEED=seed),
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1 and len(eval(printed.pop())) == 18


def test_what_travelled_to_another_process_keeps_its_fingerprint():
    here = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=ENV, check=True
    ).stdout
    there = subprocess.run(
        [sys.executable, "-c", PROGRAM, "pickled"],
        capture_output=True,
        text=True,
        env=ENV,
        check=True,
    ).stdout
    assert eval(here) == eval(there)


@pytest.mark.parametrize(
    "thing",
    [lambda x: countdown(x) + NUMBERS[0], closing_over(3), Foo, Scale(3), Options([1]), Color.RED],
    ids=["lambda", "closure", "class", "object", "dataclass", "enum"],
)
def test_a_pickled_copy_keeps_its_fingerprint(thing):
    assert fingerprint(cloudpickle.loads(cloudpickle.dumps(thing))) == fingerprint(thing)


# --- Refusals ------------------------------------------------------------------------------------

LOCK = threading.Lock()


def locked(x):
    with LOCK:
        return x


REFUSED = {
    "generator": ((x for x in [1]), "a generator cannot be compared: cannot pickle 'generator' object (found in <genexpr>)"),
    "lock": ({"a": [1, LOCK]}, "(found in dict > a)"),
    "lock of a function": (locked, "a lock cannot be compared: cannot pickle '_thread.lock' object (found in locked > LOCK)"),
    "lock of an object": (Foo({"inner": LOCK}), "(found in Foo > value > inner)"),
    "file": (sys.__stdout__, "a TextIOWrapper cannot be compared: cannot pickle '"),
    "memory": (memoryview(b"x"), "a memoryview cannot be compared"),
    "frame": (sys._getframe(), "a frame cannot be compared"),
    "ufunc of a function": (np.frompyfunc(lambda x: x, 1, 1), "a ufunc cannot be compared: it is not '"),
    "module": ([types.ModuleType("mine")], "the module mine cannot be compared whole (found in list)"),
}  # fmt: skip


@pytest.mark.parametrize("thing, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused_and_named(thing, message):
    with pytest.raises(TypeError) as caught:
        fingerprint(thing)
    assert message in str(caught.value)


def test_a_file_in_memory_has_a_state_that_is_read_but_not_used_up():
    file, iterator = io.BytesIO(b"abc"), iter([1, 2])
    assert fingerprint(file) == fingerprint(io.BytesIO(b"abc")) != fingerprint(io.BytesIO(b"abd"))
    fingerprint(iterator)
    assert file.read() == b"abc" and list(iterator) == [1, 2]


# --- Cost ----------------------------------------------------------------------------------------


def test_asking_again_is_cheap_and_keeps_nothing_alive():
    def seconds():
        start = time.perf_counter()
        fingerprint(losses.softmax_cross_entropy)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(50)) < 5e-3  # 0.6 ms on an idle machine
    thing = Foo(NUMBERS)
    before = sys.getrefcount(thing)
    fingerprint(thing)
    gc.collect()
    assert sys.getrefcount(thing) == before


def test_the_trainer_itself_has_a_fingerprint():
    assert fingerprint(Trainer) == fingerprint(Trainer)


def test_what_a_newer_python_leaves_in_a_class_does_not_count():
    class Own:
        pass

    before = fingerprint(Own)
    Own.__classdictcell__ = types.CellType({})
    assert fingerprint(Own) == before
