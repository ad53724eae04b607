"""A learner lowers the number of seeds at the top of a chapter: it must still run to its end."""

import re
from pathlib import Path

import pytest
import store
from test_stored import CHOSEN, ROOT

SEEDS = re.compile(r"^SEEDS = .*$", re.MULTILINE)


@pytest.mark.parametrize("name", CHOSEN)
def test_chapter_runs_with_five_seeds(name):
    notebook = store.read((ROOT / name).read_text("utf-8"))
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    setup.source, times = SEEDS.subn("SEEDS = range(5)", setup.source)
    assert times == 1, "the first code cell sets SEEDS once"
    store.execute(notebook, Path(ROOT / name).parent)
    words = [output.get("name") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "stderr" not in words, "five seeds bring a warning"
