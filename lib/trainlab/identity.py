"""The identity of code and data: whether a function, an option or a model is still what it was.

A name or a ``repr`` cannot tell: an edited function keeps its name, a long array shows only its
ends.
:func:`fingerprint` reads what is inside. Equal fingerprints mean that no difference was seen:

* Values count by type and content, arrays whole; objects by their class and the state that
  ``pickle`` would keep.
* Functions count by their bytecode, defaults, closure, and the global names they use: an edited
  helper or constant changes whatever calls it. Lines, names of files and docstrings do not count.
* The code of installed packages and of Python is not read: it counts by its name and version.
* What a string decides is not seen: ``eval``, ``getattr(module, name)``, a file that is read.

Another Python (3.11 and 3.12, say) has another bytecode, and so other fingerprints.
"""

import copyreg
import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import operator
import os
import sys
import sysconfig
import types
from typing import NamedTuple

import numpy as np

_PLAIN = {type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)}
# Of a class: what is made anew with it, what only documents it, and what its other attributes say
# too.
_SKIPPED = set(
    "__dict__ __weakref__ __slotnames__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__ _abc_impl "
    "__orig_bases__ __parameters__ __annotations__ __annotate_func__ __annotations_cache__ __classdictcell__ "
    "__dataclass_fields__ __dataclass_params__".split()
)
# Of a code's flags: variable arguments, and what kinds of generator and coroutine there are.
_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200


def fingerprint(thing: object) -> str:
    """Return a short text that is the same in every process for things that behave the same.

    Raises
    ------
    TypeError
        If a part cannot be compared: a generator, an open file, a lock. The message says where it
        is.

    Examples
    --------
    >>> fingerprint([1, 2]) == fingerprint([1, 2]), fingerprint(1) == fingerprint(1.0)
    (True, False)
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 2)
    False
    >>> fingerprint({"rates": (rate for rate in [1, 2])})
    Traceback (most recent call last):
        ...
    TypeError: a generator cannot be compared: cannot pickle 'generator' object (found in dict > rates)
    """
    # Every part is a node of a graph, known by its place in a list; so what holds itself comes to
    # an end.
    things, nodes, places, paths = [thing], [], {id(thing): 0}, [_title(thing)]
    for here, each in enumerate(things):  # grows while it is walked
        try:
            label, parts, ordered = _look(each)
        except TypeError as error:
            raise TypeError(f"{error} (found in {paths[here]})") from None
        children, name = [], ""
        for part in parts:
            if type(part) in _PLAIN:
                children.append(_word(_plain(part)))
            else:
                if id(part) not in places:
                    places[id(part)] = len(things)
                    things.append(part)  # which also keeps it, and with it its id
                    paths.append(f"{paths[here]} > {name}" if name else paths[here])
                children.append(places[id(part)])
            name = part if type(part) is str else ""
        nodes.append((label, children, ordered))

    # Nodes with equal labels are told apart by their parts, those by theirs, until a round tells no
    # more apart.
    digests, count = [_word(label) for label, _, _ in nodes], 0
    while len(set(digests)) > count:
        count, before, digests = len(set(digests)), digests, []
        for own, (_, children, ordered) in zip(before, nodes):
            known = [before[child] if type(child) is int else child for child in children]
            digests.append(_digest("", own, *(known if ordered else sorted(known))))
    return _digest("", digests[0], *sorted(set(digests))).hex()


def _digest(label, *parts):
    # The number of parts, each of the same length, says where the label ends.
    return hashlib.blake2b(
        b"%d %s" % (len(parts), label.encode()) + b"".join(parts), digest_size=16
    ).digest()


_remembered = functools.lru_cache(maxsize=4000)(_digest)


def _word(text):
    return _remembered(text) if len(text) < 200 else _digest(text)


def _plain(thing):
    # In hexadecimal, because the decimal digits of a whole number may be too many for Python.
    return (
        f"{type(thing).__name__} {thing:x}"
        if type(thing) is int
        else f"{type(thing).__name__} {thing!r}"
    )


def _title(thing):
    return getattr(thing, "__qualname__", None) or type(thing).__qualname__


def _look(thing):
    """Return what a thing is by itself, as a text, its parts, and whether their order counts."""
    kind = type(thing)
    if kind in _PLAIN:
        return _plain(thing), (), True
    if kind in (list, tuple):
        return kind.__name__, thing, True
    if kind in (set, frozenset):
        return kind.__name__, thing, False
    if kind in (dict, types.MappingProxyType):
        if all(type(key) is str for key in thing):
            return (
                kind.__name__,
                [part for key in sorted(thing) for part in (key, thing[key])],
                True,
            )
        return kind.__name__, thing.items(), False
    if kind in (range, slice):
        return kind.__name__, (thing.start, thing.stop, thing.step), True
    if kind is np.ndarray:
        return _array(thing)
    if isinstance(thing, np.generic):
        return "scalar", (np.asarray(thing),), True
    if isinstance(thing, type):
        return _class(thing)
    if kind is types.FunctionType:
        return _function(thing)
    if kind is types.CodeType:
        return f"code {_code(thing).digest}", (), True
    if kind in (staticmethod, classmethod, types.MethodType):
        return kind.__name__, (thing.__func__, getattr(thing, "__self__", None)), True
    if kind is property:
        return "property", (thing.fget, thing.fset, thing.fdel), True
    if kind is functools.cached_property:
        return "cached property", (thing.func,), True
    if kind is functools._lru_cache_wrapper:
        return "cached function", (thing.__wrapped__,), True
    if kind in (types.MemberDescriptorType, types.GetSetDescriptorType):
        return f"{kind.__name__} {thing.__name__}", (), True
    if kind is types.ModuleType:
        if (package := package_of(thing.__name__)) is None:
            raise TypeError(f"the module {thing.__name__} cannot be compared whole")
        return f"module {thing.__name__} {package}", (), True
    return _object(thing)


def _array(array):
    if array.dtype.hasobject or array.dtype.fields:
        return f"array {array.dtype!r} {array.shape}", array.ravel().tolist(), True
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    label = f"array {native.dtype!r} {array.shape}"
    if native.dtype.char in "gG":  # long doubles leave some of their bytes to chance
        return label, [np.format_float_scientific(x) for x in native.ravel().view("g")], True
    return f"{label} {hashlib.blake2b(native.ravel().view(np.uint8)).hexdigest()}", (), True


def _class(thing):
    if package := package_of(thing.__module__):
        return f"class {thing.__module__}.{thing.__qualname__} {package}", (), True
    own = {name: value for name, value in vars(thing).items() if name not in _SKIPPED}
    return (
        f"class {thing.__name__}",
        ("metaclass", type(thing), "bases", thing.__bases__, "attributes", own),
        True,
    )


def _object(thing):
    """Look at any other object as ``pickle`` does, which asks it for its class and its state."""
    reduce = copyreg.dispatch_table.get(type(thing))
    try:
        state = reduce(thing) if reduce else thing.__reduce_ex__(4)
    except Exception as error:
        raise TypeError(f"a {type(thing).__qualname__} cannot be compared: {error}") from None
    if not isinstance(state, str):
        made_by, arguments, own, items, pairs, setter = (*state, None, None, None, None)[:6]
        items, pairs = (None if each is None else list(each) for each in (items, pairs))
        return "object", (made_by, arguments, own, items, pairs, setter), True
    # It is the one of its name in its module: a function of C, say.
    module = getattr(thing, "__module__", None) or "numpy"
    try:
        found = operator.attrgetter(state)(sys.modules[module])
    except (KeyError, AttributeError):
        found = None
    if found is not thing:
        raise TypeError(
            f"a {type(thing).__qualname__} cannot be compared: it is not {state!r} of the module {module}"
        )
    package = package_of(module)
    return f"{module}.{state} {package}", () if package else (type(thing),), True


def _function(function):
    code, package = _code(function.__code__), package_of(function.__globals__.get("__name__", ""))
    parts = [
        "defaults",
        function.__defaults__,
        "defaults",
        function.__kwdefaults__,
        "attributes",
        vars(function) or None,
    ]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            parts += _follow(name, cell.cell_contents, code.names, ())
        except ValueError:
            parts += [name, "not yet assigned"]
    if package:
        return (
            f"function {code.digest} {function.__module__}.{function.__qualname__} {package}",
            parts,
            True,
        )
    for name in code.globals:
        # A name that is not there is one of Python's own, or not yet defined.
        parts += (
            _follow(name, function.__globals__[name], code.names, ())
            if name in function.__globals__
            else [name]
        )
    for name, wanted, level in code.imports:
        # Not imported where it need not be: it may be large, or absent here without harm.
        if level or not package_of(name):
            try:
                parts += _follow(
                    name,
                    __import__(name, function.__globals__, None, wanted, level),
                    code.names,
                    (),
                )
            except ImportError:
                parts += [name, "not found"]
    return f"function {code.digest}", parts, True


def _follow(name, value, names, within):
    """Return a name and its value; of a module that is not installed, its members that the code names."""
    if type(value) is not types.ModuleType or package_of(value.__name__):
        return [name, value]
    parts = [name, "module"]
    if value not in within:
        for member in names:
            if member in vars(value):
                parts += _follow(f"{name}.{member}", vars(value)[member], names, (*within, value))
    return parts


class _Code(NamedTuple):
    digest: str
    globals: list  # names that are looked up among the globals
    names: list  # those, and the names of attributes
    imports: list  # what is imported inside: name, names wanted from it, level


@functools.lru_cache(maxsize=2000)
def _code(code):
    """Return what a code object does and names, those inside it included."""
    texts = [
        repr(code.co_names),
        repr(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]),
    ]
    texts += [f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount}"]
    texts += [f"{code.co_flags & _FLAGS} {code.co_exceptiontable.hex()}"]
    names, within, imports = set(), set(code.co_names), []
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for i, step in enumerate(steps):
        value = step.arg
        if step.opcode in dis.hasconst:
            # A class inside stores its docstring and its line; the docstring of a function is never
            # loaded.
            stored = steps[i + 1].argval if i + 1 < len(steps) else None
            value = (
                ""
                if stored in ("__doc__", "__firstlineno__")
                else fingerprint(code.co_consts[step.arg])
            )
        elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            names.add(step.argval)
        elif step.opname == "IMPORT_NAME":
            imports.append((step.argval, steps[i - 1].argval, steps[i - 2].argval))
        texts.append(f"{step.opname} {value}")
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            inner = _code(inner)
            names, within, imports = (
                names | set(inner.globals),
                within | set(inner.names),
                imports + inner.imports,
            )
    return _Code(_digest("\n".join(texts)).hex(), sorted(names), sorted(within), imports)


@functools.cache
def _installed():
    # No constant of this module, or every fingerprint of a trainer would hold the paths of one
    # machine. Where Python runs in a browser, its library is an archive at another place.
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(os.path.join(folder, "") for folder in [*folders, os.path.dirname(os.__file__)])


@functools.cache
def package_of(module):
    """Return name and version of the installed package a module belongs to; ``None`` for code that is to be read.

    >>> package_of("__main__"), package_of("numpy") == f"numpy {np.__version__}"
    (None, True)
    """
    top = module.partition(".")[0] if isinstance(module, str) else ""
    if top in ("__main__", __name__.partition(".")[0]):
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None  # made by hand
    if spec is None:
        return None
    if spec.origin not in ("built-in", "frozen"):
        folders = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
        if not any(
            f.startswith(_installed()) or "site-packages" in f or "dist-packages" in f
            for f in folders
        ):
            return None
    if top in sys.stdlib_module_names:
        return f"Python {sys.version_info.major}.{sys.version_info.minor}"
    try:
        return f"{top} {importlib.metadata.version(top)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{top} {getattr(sys.modules.get(top), '__version__', '')}"
