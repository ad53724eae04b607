"""A learner changes the numbers at the top of a chapter: it must still run to its end, without a warning.

One run changes all of it: the seeds to four, every other number at the top to its half, and below it
the batch sizes to a half, and the data to another split. A fault that
needs four seeds and the stored numbers together would pass it; a run of its own for that took a
quarter of all the time in the notebooks.
"""

import ast
import re
from pathlib import Path

import pytest

import records
import store
from replicate import SPLITS, code_of
from test_stored import CHOSEN, ROOT
from trainlab.evidence import Arm, making

SEEDS = re.compile(r"^SEEDS = .*$", re.MULTILINE)
OTHERS = re.compile(r"^(\w+_SEEDS = range\([^)]*\))", re.MULTILINE)


class Halve(ast.NodeTransformer):
    """Halve every number; 1 and 0 stay."""

    def visit_Constant(self, node):
        if type(node.value) not in (int, float) or node.value in (0, 1):
            return node
        return ast.Constant(node.value // 2 if type(node.value) is int else node.value / 2)


def halve_numbers(source):
    """Halve the numbers in the settings of a first cell, one assignment in capitals after the other; no seeds."""
    lines = source.split("\n")
    for statement in reversed(ast.parse(source).body):
        if isinstance(statement, ast.Assign) and "SEEDS" not in ast.unparse(statement.targets[0]):
            lines[statement.lineno - 1 : statement.end_lineno] = [
                ast.unparse(Halve().visit(statement))
            ]
    return "\n".join(lines)


class ChangeBelow(ast.NodeTransformer):
    """Halve the batch sizes, and split the data in another way."""

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        for keyword in node.keywords:
            if keyword.arg == "batch_size":
                keyword.value = Halve().visit(keyword.value)
        if name in SPLITS and not node.args and not node.keywords:
            node.args = [ast.Constant(3)]
        return node


@pytest.mark.parametrize("name", CHOSEN)
def test_chapter_runs_with_few_seeds_and_small_numbers(name, tmp_path, monkeypatch):
    if records.reads_a_record(ROOT / name):
        monkeypatch.setattr(Arm, "__init__", two_of_each(Arm.__init__))
        with_a_record_of_ones_own(name, tmp_path)
    else:
        with_every_number_halved(name)


def two_of_each(init):
    def init_with_two(self, recipe=dict, /, **choices):
        init(self, recipe, **{name: list(values)[:2] for name, values in choices.items()})

    return init_with_two


def with_every_number_halved(name):
    notebook = store.read((ROOT / name).read_text("utf-8"))
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    few, times = SEEDS.subn("SEEDS = range(4)", setup.source)
    assert times == 1, "the first code cell sets SEEDS once"
    few = OTHERS.sub(r"\1[:4]", few)
    setup.source = halve_numbers(few)
    assert setup.source != few, "the first code cell has numbers for a learner to change"
    for cell in code_of(notebook):
        cell.source = ast.unparse(ChangeBelow().visit(ast.parse(cell.source)))
    store.execute(notebook, Path(ROOT / name).parent)
    words = [
        output.get("name")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert "stderr" not in words, "the change brings a warning"


def with_a_record_of_ones_own(name, tmp_path):
    notebook = store.read((ROOT / name).read_text("utf-8"))
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    setup.source, times = SEEDS.subn("SEEDS = range(2)", setup.source)
    assert times == 1, "the first code cell sets SEEDS once"
    setup.source = OTHERS.sub(r"\1[:2]", setup.source)
    for what, number in {"UPDATES": 12, "HELD_OUT": 4}.items():
        setup.source, times = re.subn(
            rf"^({what}) = \d+", rf"\1 = {number}", setup.source, flags=re.M
        )
        assert times == 1, f"the first code cell sets {what} once"
    setup.source = re.sub(r"^BATCH = \d+", "BATCH = 4", setup.source, flags=re.M)
    chapter = tmp_path / "chapter" / "chapter.ipynb"
    chapter.parent.mkdir()
    chapter.write_text(store.write(notebook), "utf-8")
    with making(1):
        opened = records.records_of(records.run(chapter)[0])
    assert opened and all(record.runs for record in opened)


def test_numbers_are_halved_and_seeds_are_not():
    source = "import numpy as np\n\nRATES = [1.0, 0.5]  # rates\nSIZES = (\n    4,\n    1,\n)\nSEEDS = range(8)\nshow(8)"
    assert (
        halve_numbers(source)
        == "import numpy as np\n\nRATES = [1.0, 0.25]\nSIZES = (2, 1)\nSEEDS = range(8)\nshow(8)"
    )


def test_batch_sizes_and_splits_are_changed_below():
    source = "task = Task(model, data.digits(), batch_size=8)\nother = data.digits(1)"
    assert ast.unparse(ChangeBelow().visit(ast.parse(source))) == (
        "task = Task(model, data.digits(3), batch_size=4)\nother = data.digits(1)"
    )
