"""Every assignment: the reference passes every check, an empty copy none, a wrong answer loses what it should and reads why."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "assignments" / "course"))
import execute
import sandbox
import variants

FOLDERS = sorted(path.parent for path in ROOT.glob("assignments/*/wrong_answers.py"))
NAMES = [folder.name for folder in FOLDERS]
NUMBERS = ["as written", "drawn once", "drawn twice"]


@pytest.fixture(scope="module")
def process():
    """Return a function from an assignment to a student's process that knows nothing yet."""
    started = {}

    def of(name, missing):
        if name not in started:
            helpers = ROOT / "assignments" / "course"
            started[name] = sandbox.Process(sys.executable, helpers, missing, sandbox=False)
            started[name].start()
        started[name].request(60, do="forget")
        return started[name]

    yield of
    for one in started.values():
        one.close()


def source(name, words=()):
    path = ROOT / "assignments" / name / f"{name}.ipynb"
    return variants.draw(nbformat.read(path, as_version=4), *words)


def stubs(notebook):
    """Return what students get, near enough for the checks."""
    notebook = nbformat.from_dict(json.loads(json.dumps(notebook)))
    for cell in notebook.cells:
        if execute.about(cell).get("solution") and cell.cell_type == "code":
            cell.source = re.sub(
                r"(?ms)^( *)### BEGIN SOLUTION.*?### END SOLUTION",
                r"\1raise NotImplementedError",
                cell.source,
            )
    return notebook


def sentences(process, name, notebook, submission):
    """Return what each check says of a submission; "" where it is passed."""
    run = execute.Run(
        process(name, notebook.metadata["trainlab"]["missing"]), ["a secret"], in_all=3600
    )
    return execute.execute(submission, notebook, stubs(notebook), run)[1]


def wrong_answers():
    for folder in FOLDERS:
        text = (folder / "wrong_answers.py").read_text("utf-8")
        for number, part in enumerate(re.split(r"(?m)^# %% ", text)[1:]):
            head, _, code = part.partition("\n")
            cell, loses, says = (word.strip() for word in head.split(" | "))
            about = loses.removeprefix("loses").split(), says.removeprefix("says:").strip()
            yield pytest.param(folder.name, cell, code, *about, id=f"{folder.name}-{cell}-{number}")


WRONG = list(wrong_answers())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_the_reference_passes_every_check(process, name, numbers):
    notebook = source(name, [] if numbers == NUMBERS[0] else [numbers, name])
    said = sentences(process, name, notebook, notebook)
    assert len(said) >= 4
    assert set(said.values()) == {""}, said


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_copy_passes_no_check(process, name):
    notebook = source(name)
    said = sentences(process, name, notebook, stubs(notebook))
    assert all(said.values()), said


@pytest.mark.parametrize("name, cell, code, loses, says", WRONG)
def test_a_wrong_answer_loses_its_points_and_reads_why(process, name, cell, code, loses, says):
    notebook = source(name)
    submission = nbformat.from_dict(json.loads(json.dumps(notebook)))
    (theirs,) = [c for c in submission.cells if execute.about(c).get("grade_id") == cell]
    theirs.source = code
    said = sentences(process, name, notebook, submission)
    assert {check for check, sentence in said.items() if sentence} == set(loses), said
    assert says in said[loses[0]]


@pytest.mark.parametrize("name", NAMES)
def test_every_task_has_three_wrong_answers(name):
    notebook, tried = source(name), [param.values[1] for param in WRONG if param.values[0] == name]
    tasks = [
        execute.about(cell)["grade_id"]
        for cell in notebook.cells
        if execute.about(cell).get("solution") and not execute.about(cell).get("grade")
    ]
    assert set(tried) == set(tasks)
    assert all(tried.count(task) >= 3 for task in tasks)


@pytest.mark.parametrize("name", NAMES)
def test_the_form_of_an_assignment(name):
    """100 points; rubrics that add up; hints, folded, for every task; visible checks and hidden ones."""
    notebook = source(name)
    graded = [cell for cell in notebook.cells if execute.about(cell).get("grade")]
    assert sum(execute.about(cell)["points"] for cell in graded) == 100
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    tasks = re.split(r"(?m)^## Task ", text)[1:]
    assert len(tasks) >= 4
    for task in tasks:
        stated = int(re.search(r"\((\d+) points\)", task)[1])
        assert task.count("<details><summary>Hint") >= 2
        rows = re.findall(r"(?m)^\| (\d+) \|", task)
        assert not rows or sum(map(int, rows)) <= stated
    assert sum(int(re.search(r"\((\d+) points\)", task)[1]) for task in tasks) == 100
    for cell in graded:
        if execute.is_check(cell):
            hidden = "BEGIN HIDDEN TESTS" in cell.source
            assert hidden == execute.about(cell)["grade_id"].endswith("-hidden")
            # What stands first must be no text, which nbgrader would take for a mark.
            assert not cell.source.lstrip().startswith(('"', "'"))
        else:
            assert "BEGIN SOLUTION" in cell.source


def test_the_same_secret_draws_the_same_numbers_and_another_one_others():
    drawn = [json.dumps(source(NAMES[0], [secret, 1])) for secret in ("a", "a", "b", "c")]
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3
