"""What students get of every assignment: stubs, no solution, no hidden check. It needs nbgrader."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("COURSE_PYTHON", ROOT / ".venv-course/bin/python"))
if not PYTHON.is_absolute():
    PYTHON = ROOT / PYTHON
NAMES = sorted(path.parent.name for path in ROOT.glob("assignments/*/wrong_answers.py"))

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="no environment for teaching: make test-course"
)


def secret_lines(name):
    """Return the lines of solutions and hidden checks that stand nowhere else in the source."""
    text = nbformat.read(ROOT / "assignments" / name / f"{name}.ipynb", as_version=4)
    secret, shown = set(), []
    for cell in text.cells:
        inside = False
        for line in cell.source.split("\n"):
            if "BEGIN HIDDEN TESTS" in line or "BEGIN SOLUTION" in line:
                inside = True
            elif "END HIDDEN TESTS" in line or "END SOLUTION" in line:
                inside = False
            elif inside:
                secret.add(line.strip())
            else:
                shown.append(line)
        assert not inside
    everywhere = "\n".join(shown)
    return {line for line in secret if len(line) > 8 and line not in everywhere}


@pytest.mark.parametrize("name", NAMES)
def test_a_release_holds_no_line_of_a_solution_or_a_hidden_check(name, tmp_path):
    line = [
        PYTHON,
        ROOT / "assignments/course/commands.py",
        "release",
        name,
        "--each",
        "--course",
        tmp_path,
    ]
    environment = dict(os.environ, BOOK_PYTHON=sys.executable)
    done = subprocess.run(list(map(str, line)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    secret = secret_lines(name)
    assert len(secret) > 40
    paths = [*tmp_path.glob("release/**/*"), *tmp_path.glob("release_each/**/*")]
    notebooks = [path for path in paths if path.suffix == ".ipynb"]
    assert len(notebooks) == 9  # one for all, and one each for the made-up class
    copies = set()
    for path in paths:
        if not path.is_file():
            continue
        text = path.read_text("utf-8")
        if path in notebooks:
            notebook = nbformat.reads(text, as_version=4)
            text = "\n".join(cell.source for cell in notebook.cells)
            copies.add(text)
            assert text.count("raise NotImplementedError") >= 3
            assert "SOLUTION" not in text and "HIDDEN TESTS" not in text
            assert not [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert not [line for line in secret if line in text]
    assert len(copies) > 4  # numbers of their own
    assert not list(tmp_path.glob("release*/**/wrong_answers.py"))
