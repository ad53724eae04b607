"""Evidence that takes longer than a chapter may: runs that are kept, each known by what it was made with.

A :class:`Record` is a task whose runs are read from a file. Give it to
:func:`~trainlab.evidence.contest` in the task's place, and the choice, the statistics and the
figures are made in the open, from every single run. What a run was made with is the key to it: one
of another rate, seed, model or text is not in the file, and asking for it is an error.
"""

import ast
import functools
import hashlib
import inspect
import json
import os
import platform
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

import trainlab
from trainlab import checks
from trainlab.evidence.contests import Task
from trainlab.identity import package_of
from trainlab.sweep import sweep

DIGITS = 6  # of a kept number: what single precision holds
_making: list[int] = []  # the number of processes, inside of `making`


class Record:
    """A task whose runs are kept in a file.

    Parameters
    ----------
    path : path
        A file of text: one line that says what all runs share, and one line a run. The setting
        stands in the first of its runs.
    task : :class:`~trainlab.evidence.Task`
        Trains what is missing, when asked to. A function or class of yours counts by its code and
        by what that uses: other functions and classes, numbers, arrays. An array counts by its
        content, everything else by its options. The library's own code does not count, nor do its
        options at their defaults: what they do is what the tests compare.
    make : bool
        Train what the file lacks, and keep it.

    Attributes
    ----------
    asked : dict
        What was asked for so far: from the key of a run to its setting and its seed.
    made_with : list of str
        The versions of Python and the libraries that its runs were trained with. They are no key:
        another version may give the same runs, and the tests find out.

    Raises
    ------
    FileNotFoundError
        If there is no such file, and nothing is to be made.
    ValueError
        If the file was made with another task, or is damaged; the message says how.
    LookupError
        When it is asked for a run that is not in the file.
    TypeError
        If a part of the task or a setting has no text to be known by.

    Examples
    --------
    >>> import tempfile
    >>> from trainlab import data, losses, models
    >>> from trainlab.schedules import Constant
    >>> path = Path(tempfile.mkdtemp(), "rates.jsonl")
    >>> task = Task(models.Linear(10, 1), losses.squared_error, data.diabetes(), updates=20, batch_size=8)
    >>> setting = {"schedule": Constant(0.1)}
    >>> Record(path, task, make=True)([setting], seeds=[0, 1])["test"].shape
    (1, 2)
    >>> Record(path, task)([setting], seeds=[1])["test"].shape
    (1, 1)
    >>> Record(path, task)([setting], seeds=[2])
    Traceback (most recent call last):
        ...
    LookupError: rates.jsonl lacks 1 of 1 runs, the first with seed 2: {'schedule': Constant(peak=0.1)}. \
They take 20 updates of 8 examples each: Record("mine.jsonl", task, make=True) trains them
    """

    def __init__(self, path: str | os.PathLike, task: Task, make: bool = False):
        if not isinstance(task, Task):
            raise TypeError(f"task must be a Task, received {task!r}")
        self.path, self.task, self.make = Path(os.path.abspath(path)), task, make
        self.about = {f.name: spelled(getattr(task, f.name)) for f in fields(task)}
        self.asked: dict[tuple[str, int], tuple[dict, int]] = {}
        if not self.path.exists() and not (make or _making):
            raise FileNotFoundError(
                f"{path} is not here: the book keeps its records in chapters/records"
            )
        kept, self.runs = read(self.path) if self.path.exists() else ({"task": self.about}, {})
        self.made_with: list[str] = kept.get("made with", [])
        before = kept["task"]
        if differences := [name for name in self.about if before.get(name) != self.about[name]]:
            if not (make or _making):
                told = "; ".join(
                    f"{name} was {before.get(name)} and is {self.about[name]}"
                    for name in differences
                )
                raise ValueError(
                    f"{self.path.name} was made with another task: {told}. Make it again: make records"
                )
            self.runs, self.made_with = {}, []

    @property
    def every(self) -> int | None:
        """As of the task."""
        return self.task.every

    @property
    def updates(self) -> int:
        """As of the task."""
        return self.task.updates

    @property
    def budget(self) -> str:
        """As of the task."""
        return self.task.budget

    def __call__(self, settings: Sequence[dict], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Return what was measured, a dict of arrays of shape (settings, seeds, ...), as the task does."""
        texts = [spelled(setting) for setting in settings]
        asked = {
            (text, int(seed)): (setting, int(seed))
            for text, setting in zip(texts, settings)
            for seed in seeds
        }
        self.asked |= asked
        missing = {key: run for key, run in asked.items() if key not in self.runs}
        if missing and not (self.make or _making):
            (text, seed), (setting, _) = next(iter(missing.items()))
            raise LookupError(
                f"{self.path.name} lacks {len(missing)} of {len(asked)} runs, the first with seed {seed}: {text}. "
                f"They take {self.task.but(**_options(setting)).budget} each: "
                'Record("mine.jsonl", task, make=True) trains them'
            )
        if missing:
            self._train(missing)
        rows = [[self.runs[text, int(seed)] for seed in seeds] for text in texts]
        return {
            name: np.array([[run[name] for run in row] for row in rows], float)
            for name in rows[0][0]
        }

    def again(self, setting: dict, seed: int, updates: int | None = None) -> dict[str, Any]:
        """Make one run anew, all of it or its first so many updates, and return what was measured."""
        task, setting = self.task, dict(setting)
        if updates is not None:
            task, setting["updates"] = task.but(updates=updates), updates
        return {name: values[0, 0] for name, values in task([setting], [seed]).items()}

    def _train(self, missing):
        """Train what is missing, each run by itself, and keep it; a run that is finished is never lost."""
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        by_text: dict = {}
        for (text, seed), (setting, _) in missing.items():
            by_text.setdefault(text, (setting, []))[1].append(seed)
        # Settings that lack the same seeds are one sweep.
        by_seeds: dict = {}
        for text, (setting, seeds) in by_text.items():
            by_seeds.setdefault(tuple(sorted(seeds)), {})[text] = setting
        for seeds, settings in by_seeds.items():
            found = sweep(
                functools.partial(_one_setting, self.task),
                {text: {"setting": setting} for text, setting in settings.items()},
                seeds=list(seeds),
                chunk=1,
                folder=unfinished / _name(settings, seeds),
                n_jobs=_making[-1] if _making else 1,
            )
            for a, text in enumerate(settings):
                for s, seed in enumerate(seeds):
                    self.runs[text, seed] = {
                        name: _rounded(rows[a, s]) for name, rows in found.values.items()
                    }
        self.made_with = sorted({*self.made_with, _surroundings()})
        self.keep(self.runs)
        shutil.rmtree(unfinished, ignore_errors=True)

    def keep(self, runs: dict) -> None:
        """Write the file: these runs, in the order of their keys, and nothing else."""
        lines, last = [], None
        for (text, seed), values in sorted(runs.items()):
            # A setting is as long as all that was measured: it stands in front of its first seed alone.
            named = {} if text == last else {"setting": text}
            lines.append(json.dumps({**named, "seed": seed, **values}))
            last = text
        about = {"task": self.about, "made with": self.made_with, "sum": _sum(lines)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_name(self.path.name + ".half")
        half.write_text("\n".join([json.dumps(about), *lines, ""]), "utf-8")
        half.replace(self.path)
        self.runs = runs


@contextmanager
def making(n_jobs: int = -1) -> Iterator[None]:
    """Let every :class:`Record` train what it lacks, in so many processes.

    >>> with making(n_jobs=1):
    ...     pass
    """
    _making.append(checks.integer("n_jobs", n_jobs))
    try:
        yield
    finally:
        _making.pop()


def read(path: str | os.PathLike) -> tuple[dict, dict]:
    """Return what all runs of a file share, its first line, and the runs: a dict from (setting, seed) to what was measured.

    Raises
    ------
    ValueError
        If the file is no record, or not as it was written: its first line has a sum of the others.
    """
    try:
        first, *lines = Path(path).read_text("utf-8").splitlines()
        about = json.loads(first)
        if about["sum"] != _sum(lines):
            raise ValueError("its lines are not those that were written")
        values = list(map(json.loads, lines))
        dict(about["task"])
        runs, text = {}, None
        for line in values:
            text = line.pop("setting", text)
            runs[text, line.pop("seed")] = line
        return about, runs
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no record of runs, or a damaged one: {type(error).__name__}: {error}"
        ) from None


def _surroundings():
    version = ".".join(platform.python_version_tuple()[:2])
    return f"Python {version}, NumPy {np.__version__}, trainlab {trainlab.__version__}"


def _sum(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def spelled(thing: object) -> str:
    """Return a text that says what a thing is, the same on every machine and with every Python.

    Raises
    ------
    TypeError
        If there is none: a lambda, say, or an object of a class that is no dataclass.

    Examples
    --------
    >>> from trainlab.schedules import Constant
    >>> spelled({"schedule": Constant(0.1), "data": np.zeros(2)})
    "{'schedule': Constant(peak=0.1), 'data': float64 (2,) 374708fff7719dd5}"
    """
    if isinstance(thing, np.generic):
        return repr(thing.item())
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return repr(thing)
    if isinstance(thing, np.ndarray):
        # NumPy's usual whole numbers have half the bits where Python runs in a browser.
        kind = np.dtype(np.int64) if thing.dtype == np.intp else thing.dtype
        array = np.ascontiguousarray(thing, kind.newbyteorder("<"))
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        return f"{kind.name} {thing.shape} {digest}"
    if isinstance(thing, dict):
        return "{" + ", ".join(f"{key!r}: {spelled(value)}" for key, value in thing.items()) + "}"
    if isinstance(thing, (list, tuple, range)):
        return "[" + ", ".join(map(spelled, thing)) + "]"
    if isinstance(thing, functools.partial):
        options = [*map(spelled, thing.args)]
        options += [f"{name}={spelled(value)}" for name, value in thing.keywords.items()]
        return f"{spelled(thing.func)}({', '.join(options)})"
    if isinstance(thing, type):
        return (
            thing.__qualname__ if _of_a_library(thing) else f"{thing.__qualname__} {_code(thing)}"
        )
    if is_dataclass(thing):
        options = [
            f"{f.name}={spelled(getattr(thing, f.name))}" for f in fields(thing) if _said(thing, f)
        ]
        return f"{spelled(type(thing))}({', '.join(options)})"
    if not callable(thing) or not hasattr(thing, "__qualname__"):
        raise TypeError(f"a {type(thing).__qualname__} has no text to be known by: {thing!r}")
    if _of_a_library(thing):
        return thing.__qualname__
    return f"{thing.__qualname__} {_code(thing)}"


def _of_a_library(thing):
    module = thing.__module__ or "builtins"  # functions of C may have none
    return module.partition(".")[0] == "trainlab" or package_of(module) is not None


def _said(thing, field):
    """Whether an option of the library's says more than its default, so that a new option makes no record stale."""
    libraries = [kind for kind in type(thing).__mro__ if _of_a_library(kind) and is_dataclass(kind)]
    options = [f for kind in libraries for f in fields(kind) if f.name == field.name]
    value = getattr(thing, field.name)
    return not any(
        f.default is field.default is not MISSING
        and type(value) is type(f.default)
        and spelled(value) == spelled(f.default)
        for f in options
    )


def _code(thing):
    """Return a hash of a function's code, or of all that a class was given, and of what they use of their surroundings.

    Comments, layout and docstrings do not count.
    """
    parts: dict[Any, str] = {}
    _collect(thing, parts)
    return hashlib.sha256("\n".join(parts.values()).encode()).hexdigest()[:16]


def _collect(thing, parts):
    """Put the text of a function or class into `parts`, and of those functions, classes and numbers that it needs."""
    if thing in parts:
        return
    parts[thing] = ""  # found again from inside of itself, it is known
    if isinstance(thing, type):
        text, used = _attributes(thing, parts), dict(enumerate(thing.__bases__))
    else:
        text, names = _text(thing)
        used = {name: thing.__globals__[name] for name in names if name in thing.__globals__}
        free = zip(thing.__code__.co_freevars, thing.__closure__ or ())
        used |= {name: cell.cell_contents for name, cell in free}
    for name, value in used.items():
        if inspect.isfunction(value) or isinstance(value, type):
            if _of_a_library(value):
                text += f"\n{name} = {value.__qualname__}"
            else:
                _collect(value, parts)
        elif isinstance(value, (bool, int, float, str, np.ndarray)):
            text += f"\n{name} = {spelled(value)}"
    parts[thing] = text


def _made(function):
    """Whether a method was made by the module dataclasses, from the options."""
    home = function.__globals__.get("__name__")
    return function.__code__.co_filename == "<string>" or home in ("dataclasses", "reprlib")


def _attributes(kind, parts):
    """Collect the methods of a class, and return what else it was given, as a text."""
    options = {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    text = kind.__name__
    for name, value in sorted(vars(kind).items()):
        value = getattr(value, "fget", getattr(value, "__func__", value))
        if inspect.isfunction(value):
            if not _made(value) and not name.startswith("__annotate"):  # Python 3.14 makes it
                text += f"\n{name} is"
                _collect(value, parts)
        elif name not in options and not name.startswith(("__", "_abc")):
            text += f"\n{name} = {spelled(value)}"
    return text


def _text(function):
    """Return a function's code as a text, and the names that it uses and does not set."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
            raise ValueError("it has no name")
    except (OSError, TypeError, ValueError, SyntaxError) as error:
        raise TypeError(
            f"{function.__qualname__} has no code to be known by, write it with def: {error}"
        ) from None
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return ast.unparse(tree), sorted({node.id for node in names} - own)


def _one_setting(task, seeds, setting):
    return {name: values[0] for name, values in task([setting], seeds).items()}


def _name(settings, seeds):
    return hashlib.sha256(repr((list(settings), seeds)).encode()).hexdigest()[:16]


def _options(setting):
    return {name: value for name, value in setting.items() if name != "schedule"}


def _rounded(values):
    if np.ndim(values):
        return [_rounded(value) for value in values]
    return float(f"{float(values):.{DIGITS}g}")
