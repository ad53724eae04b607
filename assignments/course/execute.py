"""Execute one submission: the student's cells in their process, the checks in this one.

    execute.py SUBMISSION SOURCE RELEASE RESULT [options as JSON]

RESULT becomes a notebook with outputs, in the release's form: nbgrader reads the marks off it.
"""

import ast
import builtins
import contextlib
import copy
import io
import json
import os
import sys
import time
from pathlib import Path

import nbformat
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import checks
import inside
import sandbox
import variants

SECONDS = 30.0  # of the processor, for a cell, or for one call of a student's function
IN_ALL = 600.0  # for a submission
RESTARTS = 3
NO_SANDBOX = 3  # exit status
LARGEST = 20 * 2**20  # bytes of a submission


class Answer(Exception):
    """What a student's function did instead of returning. The text is a sentence."""


class Remote:
    """A student's function, as the checks see it: plain data in, plain data out."""

    def __init__(self, run, index, name):
        self._run, self._index, self.__name__ = run, index, name

    def __call__(self, *values):
        sent = [
            {"call": value._index, "name": value.__name__}
            if isinstance(value, Remote)
            else inside.encode(value, [])
            for value in values
        ]
        reply = self._run.request(do="call", call=self._index, values=sent)
        if "error" in reply:
            name, text = (str(word) for word in reply["error"])
            kind = getattr(builtins, name, None)
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                kind = RuntimeError
            error = kind.__new__(kind)
            error.args = (text,)
            error.told = f"`{self.__name__}` raised {name}: {text}"
            raise error
        result = self._run.decode(reply["value"])
        for value, after in zip(values, reply.get("given", [])):
            if isinstance(value, np.ndarray) and after is not None:
                after = self._run.decode(after)
                if getattr(after, "shape", None) == value.shape:
                    value[...] = after
        return result


class Run:
    """One submission on its way through the cells.

    Parameters
    ----------
    process : sandbox.Process, or anything with its methods
    secret : sequence of str
        What the hidden checks' inputs are drawn from.
    """

    def __init__(self, process, secret, seconds=SECONDS, in_all=IN_ALL):
        self.process, self.secret, self.seconds = process, secret, seconds
        self.end = time.monotonic() + in_all
        self.space = {"__name__": "checks"}
        self.done, self.deadly, self.restarts = [], set(), 0

    def request(self, **request):
        left = self.end - time.monotonic()
        if left <= 0:
            self.process.stop("")
            raise sandbox.Died("The whole notebook took too long.")
        return self.process.request(min(self.seconds, left), **request)

    def decode(self, value):
        return inside.decode(value, lambda index, name: Remote(self, index, name))

    def student(self, code):
        """Run a cell of the student's and return its outputs. One that ends the process is skipped from then on."""
        try:
            outputs = self._alive(code)
            self.done.append(code)
            return outputs
        except sandbox.Died as died:
            self.deadly.add(code)
            return [failed("Ended", f"{died} The cells after this one were run without it.")]

    def _alive(self, code):
        if self.process.child is None:
            if self.restarts > RESTARTS:
                raise sandbox.Died("The notebook ended its process too often.")
            self.restarts += 1
            self.process.start()
            for earlier in list(self.done):
                self._outputs(earlier)
        return self._outputs(code)

    def _outputs(self, code):
        reply = self.request(do="run", code=code)
        outputs = reply["value"] if "value" in reply else [failed(*reply["error"])]
        try:
            return [nbformat.from_dict(output) for output in outputs][:50]
        except (TypeError, AttributeError):
            return [failed("Unreadable", "What the cell printed could not be read.")]

    def check(self, code, name):
        """Run a check and return its outputs: an error that is a sentence, or what it prints, mostly nothing."""
        try:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                self._check(code, name)
            text = printed.getvalue()
            return [nbformat.v4.new_output("stream", text=text)] if text else []
        except checks.Wrong as wrong:
            text = str(wrong)
        except Exception as error:
            text = getattr(error, "told", None)
            if isinstance(error, sandbox.Died):
                text = f"The check called your code. {error}"
            elif text is None:
                text = f"The check cannot read this answer ({type(error).__name__}: {error})."
        return [failed("Wrong", text)]

    def _check(self, code, name):
        tree = ast.parse(code)
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        bound = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        bound |= {a.asname or a.name for n in ast.walk(tree) if hasattr(n, "names") for a in n.names
                  if isinstance(a, ast.alias)}  # fmt: skip
        bound |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        space = dict(self.space, rng=variants.fresh(*self.secret, name))
        names = sorted(used - bound - set(space) - set(dir(builtins)))
        if names:
            if self.process.child is None:
                self._alive("")
            reply = self.request(do="get", names=names)
            for key in names:
                if "value" not in reply or key not in reply["value"]:
                    raise checks.Wrong(
                        f"There is no `{key}`: the cell that defines it did not run."
                    )
                space[key] = self.decode(reply["value"][key])
        exec(compile(code, "<check>", "exec"), space)


def failed(name, text):
    return nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[text])


def about(cell):
    return cell.get("metadata", {}).get("nbgrader", {})


def is_check(cell):
    """Whether a cell of the source is run as a check."""
    return cell.cell_type == "code" and about(cell).get("grade") and not about(cell).get("solution")


def is_given(cell):
    """Whether a cell of the source defines something that tasks and checks both use."""
    locked = about(cell).get("locked") and not about(cell).get("grade")
    return cell.cell_type == "code" and bool(locked or variants.tag(cell).get("variant"))


def merged(submission, source, release):
    """Return the cells to run as pairs (cell, code): in the student's order, with what is not theirs from the source."""
    given = {about(cell)["grade_id"]: cell for cell in release.cells if about(cell)}
    whole = {about(cell)["grade_id"]: cell for cell in source.cells if about(cell)}
    numbers = [cell for cell in source.cells if variants.tag(cell).get("variant")]
    seen, pairs = set(), [(clean(cell), cell.source) for cell in numbers]
    for cell in submission.cells:
        name = about(cell).get("grade_id")
        if variants.tag(cell).get("variant") or name in seen:
            continue
        if name not in given:
            pairs.append((clean(cell), cell.source if cell.cell_type == "code" else None))
            continue
        seen.add(name)
        theirs = copy.deepcopy(given[name])
        if about(theirs).get("locked"):
            pairs.append((theirs, whole[name].source))
        else:
            theirs.source = cell.source
            pairs.append((theirs, cell.source))
    for name, cell in given.items():
        if name not in seen:
            theirs = copy.deepcopy(cell)
            pairs.append((theirs, whole[name].source if about(cell).get("locked") else cell.source))
    return [(cell, code if cell.cell_type == "code" else None) for cell, code in pairs]


def clean(cell):
    kind, tags = cell.cell_type, dict(variants.tag(cell))
    new = getattr(
        nbformat.v4, f"new_{kind}_cell" if kind in ("code", "raw") else "new_markdown_cell"
    )
    return new(cell.source, metadata={"trainlab": tags} if "variant" in tags else {})


def execute(submission, source, release, run):
    """Return the submission with outputs, and the errors of its checks by name."""
    pairs, sentences = merged(submission, source, release), {}
    givens = {about(cell).get("grade_id") for cell in source.cells if is_given(cell)}
    tests = {about(cell)["grade_id"] for cell in source.cells if is_check(cell)}
    for cell in source.cells:
        if is_given(cell):
            exec(compile(cell.source, "<given>", "exec"), run.space)
    # What a check needs may stand below it in the notebook, or above: last come the checks that were deleted.
    for index, (cell, code) in enumerate(pairs, 1):
        if code is None:
            continue
        name = about(cell).get("grade_id")
        cell.execution_count = index
        if name in tests:
            cell.outputs = run.check(code, name)
            sentences[name] = "".join(output.get("evalue", "") for output in cell.outputs)
        else:
            cell.outputs = run.student(code)
        if name and name in givens:
            cell.outputs = []
    cells = []
    for number, (cell, _) in enumerate(pairs):
        cell.id = f"cell-{number}"
        cells.append(cell)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=release.metadata)
    return notebook, sentences


def read(path):
    """Read what a student handed in, whatever it is."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"the file is larger than {LARGEST // 2**20} MB")
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            about(cell).get("grade_id")
            if not isinstance(cell.source, str) or not isinstance(cell.metadata, dict):
                raise ValueError("its cells have no text")
        return notebook
    except Exception as error:
        text = f"**The file could not be read as a notebook** ({type(error).__name__}: {str(error)[:300]})."
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])


def main():
    paths, options = [Path(word) for word in sys.argv[1:5]], json.loads(sys.argv[5])
    submission = read(paths[0])
    source = variants.draw(nbformat.read(paths[1], as_version=4), *options["words"])
    release = nbformat.read(paths[2], as_version=4)
    process = sandbox.Process(
        sys.executable,
        paths[2].parent,
        source.metadata.get("trainlab", {}).get("missing", []),
        options["sandbox"],
        options["fonts"],
    )
    run = Run(process, options["secret"], options["seconds"], options["in_all"])
    try:
        try:
            process.start()
        except sandbox.Died as died:  # before anything of the student's ran
            print(f"The sandbox does not start: {died}", file=sys.stderr)
            raise SystemExit(NO_SANDBOX) from None
        notebook, _ = execute(submission, source, release, run)
    finally:
        process.close()
    unfinished = paths[3].with_suffix(".part")
    nbformat.write(notebook, unfinished)
    os.replace(unfinished, paths[3])


if __name__ == "__main__":
    main()
