"""In a copy of the project, break something on purpose: the real test command must turn red and name the cell."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTER = "chapters/04_code/learning_rate_listings.ipynb"
VENV = Path(sys.prefix)


@pytest.fixture
def copy(tmp_path):
    """A copy of the project's files, with this environment instead of one of its own."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def test_notebooks(folder):
    """Run the project's own command on one chapter of the copy."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MAKE", "MFLAGS", "NOTEBOOKS"))}
    ready = f"{VENV}/.ready"  # -o: the copy's newer files must not reinstall this environment
    command = ["make", "-o", ready, "test-notebooks", f"NOTEBOOKS={CHAPTER}", f"VENV={VENV}"]
    return subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=300)


test_notebooks.__test__ = False


def change_notebook(folder, change):
    path = folder / CHAPTER
    notebook = json.loads(path.read_text("utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def change_file(folder, name, before, after):
    text = (folder / name).read_text("utf-8")
    assert text.count(before) == 1, f"{before!r} is not in {name} exactly once"
    (folder / name).write_text(text.replace(before, after), "utf-8")


def one_digit(notebook):
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for position, line in enumerate(output.get("text", [])):
                if "W = 1.564" in line:
                    output["text"][position] = line.replace("1.564", "1.565")
                    return
    raise AssertionError("the chapter no longer prints W = 1.564")


def strip(notebook):
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)


def test_an_untouched_copy_passes(copy):
    run = test_notebooks(copy)
    assert run.returncode == 0, run.stdout + run.stderr


def test_one_changed_digit_fails_and_names_the_cell(copy):
    change_notebook(copy, one_digit)
    run = test_notebooks(copy)
    assert run.returncode != 0
    assert re.search(r"learning_rate_listings\.ipynb::Cell \d+", run.stdout), run.stdout
    assert "W = 1.565" in run.stdout


def test_one_wrong_sign_in_the_library_fails_and_names_the_cell(copy):
    change_file(copy, "lib/trainlab/losses.py", "_reduce(error**2, 2 * error,", "_reduce(error**2, -2 * error,")
    run = test_notebooks(copy)
    assert run.returncode != 0
    assert re.search(r"learning_rate_listings\.ipynb::Cell \d+", run.stdout), run.stdout


def test_stripped_outputs_fail_and_name_the_cell(copy):
    change_notebook(copy, strip)
    run = test_notebooks(copy)
    assert run.returncode != 0
    assert "outputs stripped" in run.stdout and "cell 0" in run.stdout
