"""Run chapters again with everything drawn anew, and keep which of their sentences held, and their effects.

    python tests/notebooks/replicate.py [--jobs N] [--long N] NOTEBOOK...

In each repetition other numbers take the place of all that a chapter draws: its training and
tuning seeds, the splits of its data, its windows of text, its made-up languages, and every generator
that it makes. What each repetition found is kept in chapters/records/replications/, one file a
chapter. What is there already, and was found with the chapter's code as it is now, is not run again.

A chapter that reads a record of long runs is repeated less often, since each time takes minutes or
an hour: as often as `--long` says. The runs of its repetitions are kept, too, in a folder each. Call
it through `make replicate`.
"""

import argparse
import ast
import hashlib
import itertools
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import joblib

import records
import store
from records import reads_a_record
from trainlab.evidence import MIME
from trainlab.progress import progress_bar

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "chapters" / "records" / "replications"
REPETITIONS = range(1, 11)
NOT_REPEATED = {"capstone"}  # eight runs of 10,000 updates of the largest model, for one claim
# Runs of a repetition that was stopped lie here, and it goes on with them.
UNFINISHED = ROOT / "_build" / "replicate"
STRIDE = 1000  # no chapter has a seed of a thousand or more
SPLITS = ("digits", "diabetes", "breast_cancer")
WITH_A_SEED = ("documentation_windows", "MarkovLanguage")
ENDS = ("mean", "low", "high")
SENTENCE = re.compile(r"^(Confirmed|NOT CONFIRMED in this run): (.*)$", re.MULTILINE)


class DrawnAnew(ast.NodeTransformer):
    """Change what a cell draws: seeds in its constants, splits without a seed, texts, generators with a number.

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
        node.value = self.visit(node.value)
        if not isinstance(node.targets[0], ast.Name):
            node.targets = list(map(self.visit, node.targets))
        elif node.targets[0].id.endswith("SEEDS"):
            ends = node.value.args if isinstance(node.value, ast.Call) else []
            if not ends or node.value.func.id != "range":
                raise ValueError(
                    f"{node.targets[0].id} must be a range, received {ast.unparse(node.value)}"
                )
            ends = [ast.Constant(0), *ends] if len(ends) == 1 else ends
            node.value.args = [self.moved(end) for end in ends[:2]]
        return node

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Store) and node.id.endswith("SEEDS"):
            raise ValueError(f"{node.id} must be set alone, in a line of its own")
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", None)
        if name in SPLITS and not node.args and not node.keywords:
            node.args = [self.shift]
        elif name in WITH_A_SEED:
            given = [keyword for keyword in node.keywords if keyword.arg == "seed"]
            for keyword in given:
                keyword.value = self.moved(keyword.value)
            if not given:
                node.keywords.append(ast.keyword("seed", self.shift))
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


def outputs_of(notebook):
    return [output for cell in code_of(notebook) for output in cell.outputs]


def found(outputs):
    """What an executed chapter says in its outputs.

    A dict from each sentence to whether it holds, one from each claim to its verdict, and one from each
    claim to its effects: the mean and the ends of each interval.
    """
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    ]
    holds: dict = {}
    for said, sentence in SENTENCE.findall("\n".join(texts)):
        holds[sentence] = holds.get(sentence, True) and said == "Confirmed"
    claims = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    effects = {
        claim["name"]: {
            effect["what"]: [effect[end] for end in ENDS]
            for effect in claim["effects"]
            if set(ENDS) <= effect.keys()
        }
        for claim in claims
    }
    verdicts = {claim["name"]: claim["verdict"] for claim in claims}
    return {"sentences": holds, "verdicts": verdicts, "effects": effects}


def drawn_anew(path, repetition):
    """A chapter as a notebook without outputs, with everything drawn anew."""
    notebook = store.read(Path(path).read_text("utf-8"))
    for cell in code_of(notebook):
        cell.source = ast.unparse(DrawnAnew(repetition).visit(ast.parse(cell.source)))
        cell.outputs = []
    return notebook


def laid_out(folder):
    """A folder beside a copy of what the book keeps: a chapter may read times of another machine, or a model."""
    shutil.copytree(KEPT.parent, Path(folder) / "records", ignore=shutil.ignore_patterns(KEPT.name))
    chapter = Path(folder) / "chapter"
    chapter.mkdir()
    return chapter


def repeated(path, repetition):
    """Run a chapter with everything drawn anew; return what it found."""
    notebook = drawn_anew(path, repetition)
    with tempfile.TemporaryDirectory() as folder:
        store.execute(notebook, laid_out(folder))
    return found(outputs_of(notebook))


def runs_of(repetition):
    """Where the runs of a repetition are kept."""
    return KEPT / str(repetition)


def laid_out_with_runs(path, repetition, folder):
    """A chapter in such a folder with the runs of its repetition, as far as there are any: the notebook."""
    if not folder.exists():
        laid_out(folder)
        if runs_of(repetition).exists():
            shutil.copytree(runs_of(repetition), folder / "records", dirs_exist_ok=True)
    notebook = folder / "chapter" / Path(path).name
    notebook.write_text(store.write(drawn_anew(path, repetition)), "utf-8")
    return notebook


def repeated_with_runs(path, repetition, jobs):
    """The same with a chapter that reads a record, in this process: train the runs that are not kept, and keep them."""
    folder = UNFINISHED / Path(path).stem / str(repetition)
    notebook = laid_out_with_runs(path, repetition, folder)
    opened, outputs = records.make(notebook, jobs)
    result = found(outputs)
    runs_of(repetition).mkdir(exist_ok=True)
    for record in opened:
        shutil.copy(record.path, runs_of(repetition))
    shutil.rmtree(folder)
    return result


def read_again(path, repetition, folder):
    """The same from the runs that are kept: what it found, and its records."""
    names, outputs = records.run(laid_out_with_runs(path, repetition, folder))
    return found(outputs), records.records_of(names)


def tried(path, repetition, code, jobs=None):
    """What it found; or the error, of a chapter that stopped or whose code is no longer `code`. The others go on.

    With `jobs`, a chapter that reads a record trains in so many processes.
    """
    try:
        found = repeated_with_runs(path, repetition, jobs) if jobs else repeated(path, repetition)
        if key_of(path) != code:
            raise RuntimeError("its code was changed meanwhile: ask for it again")
        return found
    except Exception as error:
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
    parser.add_argument(
        "--long", type=int, default=1, help="repetitions of chapters that read a record"
    )
    options = parser.parse_args()
    options.notebooks = [path for path in options.notebooks if path.stem not in NOT_REPEATED]
    KEPT.mkdir(parents=True, exist_ok=True)
    codes = {path: key_of(path) for path in options.notebooks}
    results = {path: kept(path) for path in options.notebooks}
    missing = [(p, k) for k in REPETITIONS for p in options.notebooks if k not in results[p]]
    short = [(path, k) for path, k in missing if not reads_a_record(path)]
    long = [(path, k) for path, k in missing if reads_a_record(path) and k <= options.long]
    # With a Dask client, joblib.parallel_config(backend="dask") around these calls is a cluster.
    runs = joblib.Parallel(options.jobs, return_as="generator")(
        joblib.delayed(tried)(path, repetition, codes[path]) for path, repetition in short
    )
    # A chapter with a record has many runs, which share the processes among them.
    longer = (tried(path, repetition, codes[path], options.jobs) for path, repetition in long)
    stopped = 0
    for (path, repetition), result in zip(
        progress_bar([*short, *long], True), itertools.chain(runs, longer)
    ):
        if isinstance(result, Exception):
            print(f"{path}, repetition {repetition}: {result}", file=sys.stderr)
            stopped += 1
            continue
        results[path][repetition] = result
        keep(path, results[path], codes[path])
    for path in options.notebooks:
        runs = results[path].values()
        for sentence in found(outputs_of(store.read(path.read_text("utf-8"))))["sentences"]:
            times = sum(run["sentences"].get(sentence, False) for run in runs)
            if times < len(runs):
                print(f"{path.stem}: held in {times} of {len(runs)}: {sentence}")
    return 1 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
