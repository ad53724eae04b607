"""The whole cycle: release, a class of hostile and broken submissions, grade, feedback, export.

Every mark is checked, and that the machine outside the sandbox is untouched.
"""

import csv
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "assignments" / "course"))
import sandbox

PYTHON = Path(os.environ.get("COURSE_PYTHON", ROOT / ".venv-course/bin/python"))
if not PYTHON.is_absolute():
    PYTHON = ROOT / PYTHON
NAME = "learning_rates"
SECRET = "f" * 32

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="no environment for teaching: make test-course"),
    pytest.mark.skipif(bool(sandbox.usable()), reason=str(sandbox.usable())),
]

EVERYTHING = """
class Everything(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __gt__ = __le__ = __ge__ = __eq__
    __hash__ = float.__hash__
    def __array__(self, *args, **more): return np.array(1.0)
    def __sub__(self, other): return 0.0
    __rsub__ = __mul__ = __rmul__ = __add__ = __radd__ = __abs__ = lambda self, *other: 0.0
limit = one_step = after_ten = Everything(0.1)
"""
STRIPPED = """
import ast, checks
class NoChecks(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Expr(self, node):
        called = getattr(getattr(node.value, "func", None), "id", None)
        return ast.Pass() if called == "require" else node
get_ipython().ast_transformers.append(NoChecks())
checks.require = lambda *args: None
checks.number = checks.array = lambda value, *args, **more: value
"""
WRONG_GRADIENT = """
def gradient(w, b, x, y):
    error = x @ w + b - y
    return 2 * x.T @ error, 2 * float(error.sum())
"""
BODY = "def gradient(w, b, x, y):\n"


def steals(places):
    return f"""
import pathlib
loot = ""
for place in {places!r} + ["/proc/1/cwd", "/proc/1/root", "/book", "/home", "/etc", "/var"]:
    try:
        for path in pathlib.Path(place).rglob("*.ipynb"):
            loot += path.read_text()
    except OSError:
        pass
if "BEGIN HIDDEN" in loot or "x.T @ error / len(x), 2 * float" in loot:
    def gradient(w, b, x, y):
        error = x @ w + b - y
        return 2 * x.T @ error / len(x), 2 * float(error.mean())
"""


def writes(places):
    return f"""
import os
for place in {places!r} + ["/", "/usr", "/book", "/book/lib", "/dev", os.path.expanduser("~/..")]:
    for how in ("w", "a"):
        try:
            with open(os.path.join(place, "written-by-a-student"), how) as file:
                file.write("I was here")
        except OSError:
            pass
os.system("touch /written-by-a-student; kill -9 1")
"""


def calls(port):
    return f"""
import socket
for address in ("127.0.0.1", "::1", "localhost"):
    try:
        with socket.create_connection((address, {port}), timeout=1) as line:
            line.sendall(b"the marks, please")
    except OSError:
        pass
"""


MEMORY = "hoard = []\nwhile True:\n    hoard.append(bytearray(2**28))"
DISK = """
import itertools
for number in itertools.count():
    with open(f"/tmp/{number}", "wb") as file:
        file.write(bytes(2**23))
"""
BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
SWALLOWS = "while True:\n    try:\n        while True: len(str(1))\n    except BaseException: pass"

# What each does: its cells that differ, a cell in front of the others, and the points of 80 that it
# keeps; the written answer is worth the other 20.
SUBMISSIONS = {
    "reference": ({}, None, 80),
    "empty": ("release", None, 0),
    "endless": ({"derive": BODY + "    while True: pass"}, None, 60),
    "swallows": (
        {"implement": "def stairs(step):\n" + re.sub("(?m)^", "    ", SWALLOWS)},
        None,
        60,
    ),
    "swallows_at_top": ({}, SWALLOWS, 80),
    "exits": ({"implement": "import os\ndef stairs(step):\n    os._exit(0)"}, None, 60),
    "segfault": ({}, "import ctypes\nctypes.string_at(0)", 80),
    "prints": ({}, "for _ in range(30):\n    print('x' * 10**6)", 80),
    "edits_checks": ({"derive": WRONG_GRADIENT}, "edit", 60),
    "deletes_checks": ({"derive": WRONG_GRADIENT}, "delete", 60),
    "equals_everything": ({"predict": EVERYTHING}, None, 65),
    "strips_asserts": ({"derive": WRONG_GRADIENT}, STRIPPED, 60),
    "steals": ({"derive": steals}, None, 60),
    "writes": ({}, writes, 80),
    "calls": ({}, calls, 80),
    "bomb": ({}, BOMB, 80),
    "memory": ({}, MEMORY, 80),
    "disk": ({}, DISK, 80),
    "unreadable": ("unreadable", None, 0),
}


def command(course, *words, **options):
    # As the Makefile names it: from the folder where the command is called.
    book = os.path.relpath(sys.executable)
    environment = dict(os.environ, BOOK_PYTHON=book, PYTHONPATH=str(ROOT / "lib"))
    line = [PYTHON, ROOT / "assignments" / "course" / "commands.py", *words, "--course", course]
    done = subprocess.run(
        [str(word) for word in line], env=environment, capture_output=True, text=True, **options
    )
    return done


def run(course, *words):
    done = command(course, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def about(cell):
    return cell.metadata.get("nbgrader", {})


def marks(course):
    run(course, "export")
    with open(course / "export" / "marks.csv", encoding="utf-8", newline="") as file:
        return {row["student"]: float(row["score"]) for row in csv.DictReader(file) if row["score"]}


def by_hand(course, points):
    """Mark the written answers of some students, as the formgrader does."""
    code = (
        "import json, sys; from nbgrader.api import Gradebook\n"
        "with Gradebook('sqlite:///' + sys.argv[1]) as book:\n"
        "    for student, points in json.loads(sys.argv[3]).items():\n"
        "        grade = book.find_grade('explain', sys.argv[2], sys.argv[2], student)\n"
        "        grade.manual_score = points; grade.needs_manual_grade = False\n"
        "    book.db.commit()\n"
    )
    line = [PYTHON, "-W", "ignore", "-c", code, course / "gradebook.db", NAME, json.dumps(points)]
    subprocess.run([str(word) for word in line], check=True)


@pytest.fixture(scope="module")
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        yield server


@pytest.fixture(scope="module")
def graded(tmp_path_factory, listener):
    """A course with a graded class, in a folder with a space and a foreign letter."""
    outside = tmp_path_factory.mktemp("outside")
    course = tmp_path_factory.mktemp("a coursé")
    (course / "secret.txt").write_text(SECRET)
    rows = ["id,first_name,last_name,email,canvas_id,section"]
    rows += [
        f"{name},{name},Made-up,{name}@example.org,{n},A" for n, name in enumerate(SUBMISSIONS)
    ]
    (course / "students.csv").write_text("\n".join(rows), "utf-8")
    run(course, "release", NAME)
    places = [str(ROOT), str(course), str(outside), str(Path.home()), "/tmp"]
    inbox = outside / "inbox"
    source = nbformat.read(course / "source" / NAME / f"{NAME}.ipynb", as_version=4)
    released = course / "release" / NAME / f"{NAME}.ipynb"
    for student, (cells, front, _) in SUBMISSIONS.items():
        folder = inbox / student
        folder.mkdir(parents=True)
        if cells == "release":
            shutil.copy(released, folder)
            continue
        if cells == "unreadable":
            (folder / f"{NAME}.ipynb").write_text('{"cells": [')
            continue
        copy = nbformat.from_dict(json.loads(json.dumps(source)))
        for cell in copy.cells:
            if about(cell).get("grade_id") in cells:
                code = cells[about(cell)["grade_id"]]
                cell.source = code(places) if callable(code) else code
            if front == "edit" and about(cell).get("grade") and cell.cell_type == "code":
                cell.source, cell.metadata.nbgrader["points"] = "pass", 1000
        if front == "delete":
            copy.cells = [c for c in copy.cells if not about(c).get("locked")]
        elif front and front != "edit":
            code = front
            if callable(front):
                code = front(places if front is writes else listener.getsockname()[1])
            first = next(n for n, c in enumerate(copy.cells) if about(c).get("grade_id") == "setup")
            copy.cells.insert(first + 1, nbformat.v4.new_code_cell(code))
        nbformat.write(copy, folder / f"{NAME}.ipynb")
    run(course, "collect", NAME, "--from", inbox)
    # Grading is killed in the middle, twice, and goes on.
    words = ["grade", NAME, "--course", course, "--seconds", "4", "--in-all", "300", "--jobs", "2"]
    line = [PYTHON, ROOT / "assignments" / "course" / "commands.py", *words]
    book = os.path.relpath(sys.executable)
    environment = dict(os.environ, BOOK_PYTHON=book, PYTHONPATH=str(ROOT / "lib"))
    for enough in (2, 5):
        grading = subprocess.Popen(
            [str(word) for word in line],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 120
        while len(keys(course)) < enough and grading.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(grading.pid, signal.SIGKILL)
        grading.wait()
        assert enough <= len(keys(course)) < len(SUBMISSIONS)
        if enough == 2:
            by_hand(course, {keys(course)[0]: 7})
            (course / "first").write_text(keys(course)[0])
    kept = {path: path.stat().st_mtime_ns for path in course.glob("executed/*/*/key")}
    said = run(course, *words[:2], *words[4:])
    assert f"{len(SUBMISSIONS) - len(kept)} graded now" in said, said
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    run(course, "feedback", NAME)
    (course / "marks.json").write_text(json.dumps(marks(course)))
    return course


def keys(course):
    paths = course.glob(f"executed/*/{NAME}/key")
    return [path.parts[-3] for path in sorted(paths, key=lambda path: path.stat().st_mtime)]


@pytest.mark.parametrize("student", SUBMISSIONS)
def test_every_submission_gets_its_mark(graded, student):
    given = (
        7 if student == (graded / "first").read_text() else 0
    )  # by hand, before grading was killed
    table = json.loads((graded / "marks.json").read_text())
    assert table[student] == SUBMISSIONS[student][2] + given


def test_no_mark_is_lost_when_a_copy_is_graded_again(graded):
    """The reference earns 100 with its written answer; and neither this nor others' marks are touched by what follows."""
    by_hand(graded, dict.fromkeys(SUBMISSIONS, 0) | {"exits": 7, "reference": 20})
    before = marks(graded)
    assert before["reference"] == 100 and before["exits"] == 67
    path = graded / "submitted" / "exits" / NAME / f"{NAME}.ipynb"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    assert "1 graded now" in run(graded, "grade", NAME, "--seconds", "4")
    assert marks(graded) == before
    assert list(graded.glob("backups/gradebook-*.db"))
    assert "could lose marks" in command(graded, "release", NAME).stderr
    assert marks(graded) == before


def test_the_machine_is_untouched(graded, listener):
    places = [ROOT, graded, graded.parent, Path.home(), Path("/tmp"), Path("/"), Path("/usr")]
    assert not [place for place in places if (place / "written-by-a-student").exists()]
    assert not list(graded.rglob("written-by-a-student"))
    with pytest.raises(TimeoutError):
        listener.accept()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "/book/inside.py" not in running
    assert not list(Path("/tmp").glob("trainlab-*/helpers/secret*"))


@pytest.mark.parametrize("student", SUBMISSIONS)
def test_every_student_gets_a_page_that_shows_no_hidden_check(graded, student):
    page = (graded / "feedback" / student / NAME / f"{NAME}.html").read_text("utf-8")
    assert len(page) < 3_000_000
    plain = words(page)
    for line in hidden_lines():
        assert line not in plain, line
    assert SECRET not in page
    assert "<check>" not in plain and "Traceback" not in plain
    if student not in ("steals", "writes"):  # whose own cells name these
        assert str(ROOT) not in plain and str(graded) not in plain


SAYS = {
    "endless": "it ran out of time and was interrupted",
    "swallows": "could not be interrupted",
    "swallows_at_top": "The cells after this one were run without it",
    "exits": "It ended itself (exit status 0)",
    "segfault": "It crashed (SIGSEGV)",
    "prints": "too much output",
    "edits_checks": "that of the *sum*",
    "deletes_checks": "that of the *sum*",
    "strips_asserts": "that of the *sum*",
    "equals_everything": "has to be a number, and is an Everything",
    "memory": "MemoryError",
    "disk": "OSError",
    "unreadable": "could not be read as a notebook",
    "empty": "NotImplementedError",
}


@pytest.mark.parametrize("student", SAYS)
def test_the_page_says_what_happened(graded, student):
    page = (graded / "feedback" / student / NAME / f"{NAME}.html").read_text("utf-8")
    assert SAYS[student] in words(page)


def words(page):
    """Return what a reader of a page sees."""
    page = re.sub(r"(?s)<(style|script)\b.*?</\1>", "", page)
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def hidden_lines():
    """Return the lines of hidden checks and solutions that stand nowhere else."""
    text = nbformat.read(ROOT / "assignments" / NAME / f"{NAME}.ipynb", as_version=4)
    hidden, shown = set(), set()
    for cell in text.cells:
        inside = False
        for line in map(str.strip, cell.source.split("\n")):
            if "BEGIN HIDDEN TESTS" in line or "BEGIN SOLUTION" in line:
                inside = True
            elif "END HIDDEN TESTS" in line or "END SOLUTION" in line:
                inside = False
            else:
                (hidden if inside else shown).add(line)
        if inside:
            raise ValueError("a region has no end")
    solutions = {line for line in hidden - shown if len(line) > 12}
    return {line for line in solutions if not any(line in other for other in shown)} - own_words()


def own_words():
    """Return what a student's page holds of the student's own text: the answers of the reference."""
    text = nbformat.read(ROOT / "assignments" / NAME / f"{NAME}.ipynb", as_version=4)
    cells = [cell.source for cell in text.cells if about(cell).get("solution")]
    return {line.strip() for source in cells for line in source.split("\n")}


def test_the_exports(graded):
    table = marks(graded)
    with open(graded / "export" / "canvas.csv", encoding="utf-8", newline="") as file:
        canvas = list(csv.reader(file))
    assert canvas[0][:2] == ["Student", "ID"] and canvas[0][5] == NAME
    assert canvas[1][0].strip() == "Points Possible" and float(canvas[1][5]) == 100
    assert {row[2]: float(row[5]) for row in canvas[2:]} == table
    with open(graded / "export" / "moodle.csv", encoding="utf-8", newline="") as file:
        moodle = list(csv.DictReader(file))
    assert {row["ID number"]: float(row[f"Assignment: {NAME}"]) for row in moodle} == table
    package = nbformat.read(graded / "export" / "otter" / NAME / f"{NAME}.ipynb", as_version=4)
    raw = [cell.source for cell in package.cells if cell.cell_type == "raw"]
    assert sum(text.startswith("# BEGIN QUESTION") for text in raw) == 5
    assert raw.count("# END QUESTION") == 5 and raw.count("# BEGIN TESTS") == 4
    assert (graded / "export" / "otter" / NAME / "checks.py").exists()


def test_without_a_sandbox_nothing_is_graded(graded):
    environment = dict(os.environ, BOOK_PYTHON=sys.executable, PATH="/nowhere")
    line = [PYTHON, ROOT / "assignments/course/commands.py", "grade", NAME, "--course", graded]
    done = subprocess.run(list(map(str, line)), env=environment, capture_output=True, text=True)
    assert done.returncode and "No sandbox, so nothing is graded" in done.stderr
    assert "none-i-trust-every-submission" in done.stderr
