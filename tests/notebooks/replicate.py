"""Run chapters again with everything drawn anew, and keep which of their sentences held, and their effects.

    python tests/notebooks/replicate.py [--jobs N] NOTEBOOK...

In each repetition other numbers take the place of all that a chapter draws: its training and
tuning seeds, the splits of its data, and every generator that it makes. What each repetition found
is kept in chapters/records/replications/, one file a chapter. What is there already, and was found
with the chapter's code as it is now, is not run again. A chapter that reads a record of long runs
is left out: ten times an hour is too long. Call it through `make replicate`.
"""

import argparse
import ast
import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import joblib

import store
from records import reads_a_record
from trainlab.evidence import MIME
from trainlab.progress import progress_bar

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "chapters" / "records" / "replications"
REPETITIONS = range(1, 11)
STRIDE = 1000  # no chapter has a seed of a thousand or more
SPLITS = ("digits", "diabetes", "breast_cancer")
ENDS = ("mean", "low", "high")
SENTENCE = re.compile(r"^(Confirmed|NOT CONFIRMED in this run): (.*)$", re.MULTILINE)


class DrawnAnew(ast.NodeTransformer):
    """Change what a cell draws: seeds in its constants, splits without a seed, generators with a number.

    >>> source = "SEEDS = range(8)\\nsplit = data.digits()\\nrng = np.random.default_rng(3)"
    >>> print(ast.unparse(DrawnAnew(2).visit(ast.parse(source))))
    SEEDS = range(0 + 2000, 8 + 2000)
    split = data.digits(2000)
    rng = np.random.default_rng(3 + 2000)
    """

    def __init__(self, repetition):
        self.shift = ast.Constant(STRIDE * repetition)

    def moved(self, number):
        return ast.BinOp(number, ast.Add(), self.shift)

    def visit_Assign(self, node):
        self.generic_visit(node)
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id.endswith("SEEDS"):
            ends = node.value.args if isinstance(node.value, ast.Call) else []
            if not ends or node.value.func.id != "range":
                raise ValueError(
                    f"{node.targets[0].id} must be a range, received {ast.unparse(node.value)}"
                )
            ends = [ast.Constant(0), *ends] if len(ends) == 1 else ends
            node.value.args = [self.moved(end) for end in ends[:2]]
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", None)
        if name in SPLITS and not node.args and not node.keywords:
            node.args = [self.shift]
        elif (
            name == "default_rng" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
        ):
            node.args = [self.moved(node.args[0])]
        return node


def code_of(notebook):
    """The cells of code that a repetition runs."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def key(notebook):
    """A fingerprint of a chapter's code; comments and layout do not count."""
    trees = [ast.dump(ast.parse(cell.source)) for cell in code_of(notebook)]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:16]


def found(notebook):
    """What an executed chapter says.

    A dict from each sentence to whether it holds, one from each claim to its verdict, and one from each
    claim to its effects: the mean and the ends of each interval.
    """
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    ]
    holds: dict = {}
    for said, sentence in SENTENCE.findall("\n".join(texts)):
        holds[sentence] = holds.get(sentence, True) and said == "Confirmed"
    records = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    effects = {
        record["name"]: {
            effect["what"]: [effect[end] for end in ENDS]
            for effect in record["effects"]
            if set(ENDS) <= effect.keys()
        }
        for record in records
    }
    return holds, {record["name"]: record["verdict"] for record in records}, effects


def repeated(path, repetition):
    """Run a chapter with everything drawn anew; return what it found."""
    notebook = store.read(Path(path).read_text("utf-8"))
    for cell in code_of(notebook):
        cell.source = ast.unparse(DrawnAnew(repetition).visit(ast.parse(cell.source)))
    with tempfile.TemporaryDirectory() as folder:
        # A chapter may read what is kept beside it: times of another machine, a model. It gets a copy.
        shutil.copytree(
            KEPT.parent, Path(folder) / "records", ignore=shutil.ignore_patterns(KEPT.name)
        )
        chapter = Path(folder) / "chapter"
        chapter.mkdir()
        store.execute(notebook, chapter)
    return dict(zip(("sentences", "verdicts", "effects"), found(notebook), strict=True))


def tried(path, repetition, code):
    """What it found; or the error, of a chapter that stopped or whose code is no longer `code`. The others go on."""
    try:
        found = repeated(path, repetition)
        if key_of(path) != code:
            raise RuntimeError("its code was changed meanwhile: ask for it again")
        return found
    except RuntimeError as error:
        return error


def key_of(path):
    return key(store.read(Path(path).read_text("utf-8")))


def kept_in(path):
    return KEPT / f"{Path(path).stem}.json"


def kept(path):
    """What was found so far with the chapter's code as it is: a dict from a repetition to its result."""
    try:
        record = json.loads(kept_in(path).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    current = record["key"] == key_of(path)
    return {int(k): result for k, result in record["repetitions"].items()} if current else {}


def keep(path, results, code):
    """Write a chapter's record, of the code with that key: whole, or not at all."""
    record = {"key": code, "repetitions": {str(k): results[k] for k in sorted(results)}}
    unfinished = kept_in(path).with_suffix(".unfinished")
    unfinished.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    unfinished.replace(kept_in(path))


def differing(kept, again):
    """The sentences, claims and effects of which two runs of one repetition say different things.

    On another processor the last digits of an effect are others: it has to lie in the interval.
    """
    said = [
        name
        for part in ("sentences", "verdicts")
        for name in kept[part].keys() | again[part].keys()
        if kept[part].get(name) != again[part].get(name)
    ]
    before, now = (
        {(name, what): ends for name, its in run["effects"].items() for what, ends in its.items()}
        for run in (kept, again)
    )
    return said + [
        f"{name}: {what}"
        for name, what in before.keys() | now.keys()
        if (name, what) not in before
        or (name, what) not in now
        or not before[name, what][1] <= now[name, what][0] <= before[name, what][2]
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="processes; -1 for one a core")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    options.notebooks = [path for path in options.notebooks if not reads_a_record(path)]
    codes = {path: key_of(path) for path in options.notebooks}
    results = {path: kept(path) for path in options.notebooks}
    missing = [(p, k) for k in REPETITIONS for p in options.notebooks if k not in results[p]]
    # With a Dask client, joblib.parallel_config(backend="dask") around this call is a cluster.
    runs = joblib.Parallel(options.jobs, return_as="generator")(
        joblib.delayed(tried)(path, repetition, codes[path]) for path, repetition in missing
    )
    stopped = 0
    for (path, repetition), result in zip(progress_bar(missing, True), runs):
        if isinstance(result, RuntimeError):
            print(f"{path}, repetition {repetition}: {result}", file=sys.stderr)
            stopped += 1
            continue
        results[path][repetition] = result
        keep(path, results[path], codes[path])
    for path in options.notebooks:
        runs = results[path].values()
        for sentence in found(store.read(path.read_text("utf-8")))[0]:
            times = sum(run["sentences"].get(sentence, False) for run in runs)
            if times < len(runs):
                print(f"{path.stem}: held in {times} of {len(runs)}: {sentence}")
    return 1 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
