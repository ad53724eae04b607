"""Make the records of runs that chapters read: evidence that takes longer than a chapter may.

    python tests/notebooks/records.py [--jobs N] NOTEBOOK...

A chapter that reads a record is run with its records open: what they lack is trained and kept,
what the chapter does not ask for any more is dropped. Interrupted, it goes on where it was. Call it
through `make records`.
"""

import argparse
import hashlib
import math
import os
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import store
from trainlab.evidence import Record, making

ROOT = Path(__file__).parents[2]
# Rounding errors grow. With the kernels of other processors (OPENBLAS_CORETYPE) the loss of a calm run
# differs by 4e-5 of itself at its first look, but that of a run whose rate is far too large by up to
# 6e-2, and every run at its end by about as much as two seeds do. So of the runs that are drawn the
# middle one is compared by its share, and each of them in spreads between seeds.
EARLY = 0.01
SPREADS = 4


def reads_a_record(path):
    """Whether a chapter reads a record."""
    return "Record(" in Path(path).read_text("utf-8")


def run(path):
    """Run a chapter's cells in this process, where it lies. Return its names, and what it printed and showed, as a notebook keeps it."""
    matplotlib.use("Agg")
    shell, home = InteractiveShell.instance(), Path.cwd()  # what is shown goes to the one instance
    shell.colors = "nocolor"
    os.chdir(Path(path).parent)
    try:
        with capture_output(stderr=False) as captured, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
            for cell in store.read(Path(Path(path).name).read_text("utf-8")).cells:
                if cell.cell_type == "code":
                    result = shell.run_cell(cell.source)
                    if not result.success and "raises-exception" not in cell.metadata.get(
                        "tags", []
                    ):
                        result.raise_error()
    finally:
        os.chdir(home)
        plt.close("all")
        InteractiveShell.clear_instance()
    outputs = [{"text": captured.stdout}, *({"data": each.data} for each in captured.outputs)]
    return shell.user_ns, outputs


def records_of(names):
    """The records that a chapter opened."""
    found = {id(value): value for value in names.values() if isinstance(value, Record)}
    return list(found.values())


def drawn(path, count):
    """`count` runs of a record: their keys, by the state of chapters and library. Another state draws others."""
    files = sorted([*ROOT.glob("lib/trainlab/**/*.py"), *ROOT.glob("chapters/*/*.ipynb")])
    content = b"".join(file.read_bytes() for file in files) + Path(path).name.encode()
    return np.random.default_rng(int(hashlib.sha256(content).hexdigest()[:15], 16)).permutation(
        count
    )


def curves(values):
    """The names of a run's measures on its way."""
    return [name for name in values if name.startswith("curve/")]


def first_look(values):
    """Whether a run was still finite at its first look."""
    return all(math.isfinite(values[name][0]) for name in curves(values))


def spread(record):
    """How far the runs of one setting lie apart at their end, by measure: the median over the settings of their standard deviation."""
    by_setting: dict = {}
    for (text, _), values in record.runs.items():
        by_setting.setdefault(text, []).append(values)
    several = [runs for runs in by_setting.values() if len(runs) > 1]
    return {
        name: float(np.median([np.std([run[name] for run in runs], ddof=1) for runs in several]))
        for name in next(iter(record.runs.values()))
        if not name.startswith("curve/")
    }


def early_difference(record, key):
    """Make the first updates of a run again, up to its first look; return how far it is off, as a share of the loss and in spreads between seeds: those of its setting or, if larger, of the median setting."""
    setting, seed = record.asked[key]
    again = record.again(setting, seed, setting.get("every", record.every))
    share = spreads = 0.0
    assert curves(again), f"a run begun again has no look: {setting}"
    for name in curves(again):
        kept = record.runs[key][name][0]
        off = abs(again[name][0] / kept - 1)
        others: dict = {}
        for other, run in record.runs.items():
            if other != key:
                others.setdefault(other[0], []).append(run[name][0] / kept)
        deviations = {text: np.std(x, ddof=1) for text, x in others.items() if len(x) > 1}
        share = max(share, off)
        usual = np.nanmedian([*deviations.values()])
        spreads = max(spreads, off / np.fmax(deviations.get(key[0], usual), usual))
    return share, spreads


def late_difference(record, key):
    """Make a run again, to its end; return how far it is off, in spreads between seeds: those of its setting or, if larger, of the median setting."""
    setting, seed = record.asked[key]
    again, usual = record.again(setting, seed), spread(record)
    others = [run for other, run in record.runs.items() if other[0] == key[0] and other != key]
    off = 0.0
    for name in usual:
        kept, own = record.runs[key][name], [again[name], *(run[name] for run in others)]
        if again[name] != kept:  # both may be infinite
            deviation = np.std(own, ddof=1) if others else usual[name]
            off = max(off, abs(again[name] - kept) / np.fmax(deviation, usual[name]))
    return off


def make(path, jobs):
    """Train what a chapter's records lack, and drop what it does not ask for. Return them, and the chapter's outputs."""
    # With a Dask client, joblib.parallel_config(backend="dask") around this is a cluster.
    with making(jobs):
        names, outputs = run(path)
    opened = records_of(names)
    for record in opened:
        record.keep({key: record.runs[key] for key in record.asked})
    return opened, outputs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="processes; -1 for one a core")
    options = parser.parse_args()
    for path in filter(reads_a_record, options.notebooks):
        print(path, flush=True)
        for record in make(path, options.jobs)[0]:
            size = record.path.stat().st_size
            print(
                f"  {record.path.name}: {len(record.runs)} runs, {size / 1000:.0f} kB", flush=True
            )


if __name__ == "__main__":
    sys.exit(main())
