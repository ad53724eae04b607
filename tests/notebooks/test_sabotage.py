"""`make test-notebooks` on a damaged copy of this tree is red and names the cell; on a true copy it is green."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import store

ROOT = Path(__file__).parents[2]
CHAPTER = "chapters/04_code/learning_rate_listings.ipynb"  # the quickest one
LIBRARY = "lib/trainlab/losses/regression.py"
GRADIENT = r"(error\*\*2, )(2 \* error)"  # value and gradient of squared_error


@pytest.fixture
def tree(tmp_path):
    """A copy of the project with this environment and nothing built, in a folder whose name shells and files could trip over."""
    built = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")
    copy = Path(shutil.copytree(ROOT, tmp_path / "a cöpy", ignore=built))
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


def make(tree):
    """Run the real target in `tree` with this environment, which it must not rebuild (-o)."""
    surroundings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "PYTEST_"))
    }
    command = ["make", "-o", ".venv/.ready", "test-notebooks", "VENV=.venv", f"NOTEBOOKS={CHAPTER}"]
    result = subprocess.run(
        command, cwd=tree, env=surroundings, capture_output=True, text=True, timeout=300
    )
    return result.returncode, result.stdout + result.stderr


def edit(path, pattern, replacement):
    text = path.read_text("utf-8")
    changed, times = re.subn(pattern, replacement, text, count=1)
    assert times == 1 and changed != text, f"nothing to damage in {path}"
    path.write_text(changed, "utf-8")


def test_a_true_copy_is_green(tree):
    code, said = make(tree)
    assert code == 0, said
    cells = sum(
        cell.cell_type == "code" for cell in store.read((tree / CHAPTER).read_text("utf-8")).cells
    )
    assert f"{cells} passed" in said


def test_one_changed_digit_is_red(tree):
    path = tree / CHAPTER
    notebook = store.read(path.read_text("utf-8"))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    number, output = next(
        (n, o)
        for n, cell in enumerate(code)
        for o in cell.outputs
        if re.search(r"\d\.\d", o.get("text", ""))
    )
    output.text = re.sub(
        r"(\d\.)(\d)", lambda match: match[1] + str((int(match[2]) + 1) % 10), output.text, count=1
    )
    path.write_text(store.write(notebook), "utf-8")
    status, said = make(tree)
    assert status != 0
    assert f"{CHAPTER}::Cell {number}" in said and "Cell outputs differ" in said
    assert "make notebooks NOTEBOOKS=" in said


def test_one_wrong_sign_in_the_library_is_red(tree):
    edit(tree / LIBRARY, GRADIENT, r"\1-\2")
    status, said = make(tree)
    assert status != 0
    assert re.search(rf"FAILED {re.escape(CHAPTER)}::Cell \d+", said), said


def test_stripped_outputs_are_red(tree):
    path = tree / CHAPTER
    notebook = store.read(path.read_text("utf-8"))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    path.write_text(store.write(notebook), "utf-8")
    status, said = make(tree)
    assert status != 0
    assert CHAPTER in said and "Cell 0 has count None" in said


def test_what_is_no_difference_is_not_taken_for_one(tree):
    (tree / "tests" / "notebooks" / "sanitize.cfg").unlink()
    status, said = make(tree)
    assert status != 0
    assert "sanitize.cfg" in said and "In the differences above" not in said
