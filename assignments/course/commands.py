"""The instructor's commands: release, collect, grade, feedback, export. `make help` shows how they are called.

A course is a folder, `course` beside the book unless you name another. It is nbgrader's: `source`, `release`, `submitted`,
`autograded`, `feedback` and the marks in `gradebook.db`, so all of nbgrader's own commands work in it.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    GetGrades,
    OverwriteCells,
    SaveAutoGrades,
)
from tqdm import tqdm
from traitlets.config import Config

warnings.filterwarnings("ignore", module="nbgrader")  # of its gradebook's library

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import sandbox
import variants

# Absolute, for nbgrader works in the course's folder while the next copy is begun.
BOOK = os.path.abspath(os.environ.get("BOOK_PYTHON") or sys.executable)
NO_SANDBOX = 3  # as in execute.py
LARGEST = 200 * 2**20  # bytes of all submissions in one archive
STUB = "# Your answer\nraise NotImplementedError"


class Course:
    """A course's folder, its secret, and its class list."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "secret.txt").exists():
            (self.folder / "secret.txt").write_text(secrets.token_hex(16) + "\n")
            (self.folder / "secret.txt").chmod(0o600)
        self.secret = (self.folder / "secret.txt").read_text().strip()
        if not (self.folder / "students.csv").exists():
            shutil.copy(HERE / "students.csv", self.folder)
        self.gradebook = self.folder / "gradebook.db"
        (self.folder / "nbgrader_config.py").write_text(
            'c = get_config()\nc.CourseDirectory.course_id = "trainlab"\n'
        )

    def students(self):
        with open(self.folder / "students.csv", encoding="utf-8-sig", newline="") as file:
            return {row["id"]: row for row in csv.DictReader(file)}

    def api(self, submitted="submitted", **more):
        """Return nbgrader, set up for this course."""
        config = Config()
        config.CourseDirectory.root = str(self.folder)
        config.CourseDirectory.course_id = "trainlab"
        config.CourseDirectory.db_url = f"sqlite:///{self.gradebook}"
        config.CourseDirectory.submitted_directory = submitted
        config.ClearSolutions.code_stub = {"python": STUB}
        config.ClearSolutions.text_stub = "*Your answer*"
        # What was executed in the sandbox is only read here.
        config.Autograde.sanitize_preprocessors = [OverwriteCells, CheckCellMetadata]
        config.Autograde.autograde_preprocessors = [SaveAutoGrades, CheckCellMetadata]
        config.GenerateFeedback.preprocessors = [GetGrades, ClearHiddenTests]
        config.HTMLExporter.mathjax_url = ""
        config.merge(Config(more))
        # nbgrader calls alembic by its name.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return NbGraderAPI(config=config)

    def assignments(self):
        return sorted(path.name for path in (self.folder / "release").glob("*") if path.is_dir())

    def numbers(self, assignment, student):
        """Return the words that draw a student's own numbers: none where all have the same."""
        settings = self.folder / "source" / assignment / ".variants"
        return [self.secret, assignment, student] if settings.exists() else []


def check(result, what):
    if not result["success"]:
        raise SystemExit(f"{what} failed:\n{result.get('error') or result.get('log')}")


def release(course, assignment, each=False):
    """Draw the numbers, and make the students' copy."""
    written = HERE.parent / assignment / f"{assignment}.ipynb"
    if not written.exists():
        known = sorted(path.parent.name for path in HERE.parent.glob("*/wrong_answers.py"))
        raise SystemExit(f"There is no assignment {assignment}. There are: {', '.join(known)}")
    if course.gradebook.exists():
        with Gradebook(f"sqlite:///{course.gradebook}") as book:
            known = [a.name for a in book.assignments]
            if assignment in known and book.assignment_submissions(assignment):
                raise SystemExit(
                    f"{assignment} has been graded, so a new release could lose marks. Start another course: COURSE=..."
                )
    drawn = variants.draw(nbformat.read(written, as_version=4), course.secret, assignment)
    source, made = course.folder / "source" / assignment, course.folder / "release" / assignment
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    nbformat.write(drawn, source / f"{assignment}.ipynb")
    for path in [HERE / "checks.py", *sorted(written.parent.iterdir())]:
        if path.suffix in (".py", ".csv", ".json", ".txt") and path.name != "wrong_answers.py":
            shutil.copy(path, source)
    if each:
        (source / ".variants").touch()
    check(course.api().generate_assignment(assignment, force=True, create=True), "The release")
    (made / ".variants").unlink(missing_ok=True)
    print(f"The students' copy: {made}")
    if each:
        common = nbformat.read(made / f"{assignment}.ipynb", as_version=4)
        for student in course.students():
            own = course.folder / "release_each" / student / assignment
            shutil.rmtree(own, ignore_errors=True)
            shutil.copytree(made, own)
            theirs = variants.draw(common, *course.numbers(assignment, student))
            nbformat.write(theirs, own / f"{assignment}.ipynb")
        print(f"One for each student, with numbers of their own: {course.folder / 'release_each'}")


# How Canvas and Moodle name what students hand in, and a plain folder for each student.
PATTERNS = [
    r"(?P<name>[^/]+)_(?P<moodle>\d+)_assignsubmission_file_?/",
    r"(?:^|/)(?P<canvas_name>[a-z\-]+)_(?:late_|LATE_)?(?P<canvas>\d+)_\d+_[^/]*$",
    r"(?:^|/)(?P<id>[^/]+)/[^/]+$",
]


def whose(path, students):
    """Return the student that a file in an archive belongs to, or None."""
    for pattern in PATTERNS:
        found = re.search(pattern, path)
        if not found:
            continue
        words = found.groupdict()
        for student, row in students.items():
            names = f"{row.get('first_name', '')} {row.get('last_name', '')}".strip()
            if words.get("id") == student or (
                words.get("canvas") and words["canvas"] == row.get("canvas_id")
            ):
                return student
            if words.get("name") == names:
                return student
    return None


def collect(course, assignment, archive):
    """Put what an archive or a folder holds where it is graded."""
    archive, students, taken, unknown = Path(archive), course.students(), {}, []
    if archive.is_dir():
        entries = [
            (
                path.relative_to(archive).as_posix(),
                path.stat().st_mtime,
                path.stat().st_size,
                path.read_bytes,
            )
            for path in sorted(archive.rglob("*.ipynb"))
        ]
    else:
        opened = zipfile.ZipFile(archive)
        entries = [
            (
                info.filename,
                datetime(*info.date_time).timestamp(),
                info.file_size,
                lambda i=info: opened.read(i),
            )
            for info in opened.infolist()
            if info.filename.endswith(".ipynb")
        ]
    if sum(size for _, _, size, _ in entries) > LARGEST:
        raise SystemExit(f"All notebooks together are larger than {LARGEST // 2**20} MB.")
    for path, when, _, read in sorted(entries, key=lambda entry: entry[1]):
        student = whose(path, students)
        if student is None:
            unknown.append(path)
        else:
            taken[student] = path, when, read
    for student, (path, when, read) in taken.items():
        folder = course.folder / "submitted" / student / assignment
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{assignment}.ipynb").write_bytes(read())
        stamp = datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M:%S")
        (folder / "timestamp.txt").write_text(f"{stamp} UTC")
    print(f"{len(taken)} of {len(students)} students handed in {assignment}.")
    for path in unknown:
        print(f"Nobody in students.csv owns {path}")


def grade(course, assignment, jobs=2, sandboxed=True, seconds=30.0, in_all=600.0):
    """Execute every submission that has no result yet, and enter the marks."""
    why = sandbox.usable() if sandboxed else None
    if why:
        raise SystemExit(
            f"No sandbox, so nothing is graded: {why}.\nWithout one, a submission can do all that you can do: read the marks, "
            "delete your files. If you trust every one of them, say so in so many words:\n"
            "    make grade SANDBOX=none-i-trust-every-submission"
        )
    work = course.folder / "executed"
    source = course.folder / "source" / assignment
    made = course.folder / "release" / assignment / f"{assignment}.ipynb"
    if not made.exists():
        raise SystemExit(f"Release it first: make release ASSIGNMENT={assignment}")
    key = hashlib.sha256((source / f"{assignment}.ipynb").read_bytes())
    for path in sorted(HERE.glob("*.py")):
        if path.name != "commands.py":
            key.update(path.read_bytes())
    fonts = _fonts(course)
    waiting = []
    for path in sorted((course.folder / "submitted").glob(f"*/{assignment}/{assignment}.ipynb")):
        mine = key.copy()
        mine.update(path.read_bytes())
        folder = work / path.parts[-3] / assignment
        if not (folder / "key").exists() or (folder / "key").read_text() != mine.hexdigest():
            waiting.append((path.parts[-3], path, folder, mine.hexdigest()))

    def one(student, path, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key").unlink(missing_ok=True)
        options = {
            "words": course.numbers(assignment, student),
            "secret": [course.secret, assignment, student],
            "sandbox": sandboxed,
            "fonts": str(fonts),
            "seconds": seconds,
            "in_all": in_all,
        }
        result = folder / f"{assignment}.ipynb"
        line = [BOOK, "-B", HERE / "execute.py", path, source / f"{assignment}.ipynb", made, result]
        environment = dict(os.environ, PYTHONPATH=str(HERE.parents[1] / "lib"))
        try:
            done = subprocess.run(
                [*map(str, line), json.dumps(options)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=in_all + 60,
            )
            failure = done.stderr[-2000:] if done.returncode else ""
            if done.returncode == NO_SANDBOX:
                return student, failure, None, None
        except subprocess.TimeoutExpired:
            failure = "The whole notebook took too long."
        if failure:
            nbformat.write(_lost(made, failure), result)
        stamp = path.parent / "timestamp.txt"
        if stamp.exists():
            shutil.copy(stamp, folder)
        return student, failure, folder, name

    if course.gradebook.exists():
        _backup(course)
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(one, *entry) for entry in waiting]
        bar = tqdm(as_completed(running), total=len(running), desc=assignment, disable=None)
        try:
            for future in bar:
                student, failure, folder, name = future.result()
                if folder is None:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise SystemExit(failure)
                if failure:
                    print(f"{student}: could not be executed: {failure.strip().splitlines()[-1]}")
                # One after another, in one process: the gradebook is a file.
                api = course.api(submitted="executed")
                result = api.autograde(assignment, student, force=True, create=True)
                if result["success"]:
                    half = folder / "key.half"  # whole or not at all, whenever grading is killed
                    half.write_text(name)
                    half.replace(folder / "key")
                else:
                    print(f"{student}: nbgrader did not take it: {str(result.get('error'))[-500:]}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise SystemExit(
                "Interrupted. What was graded is kept; the same command goes on."
            ) from None
    _roster(course)
    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        entered = book.assignment_submissions(assignment)
        hands = [s.student.id for s in entered if s.needs_manual_grade]
    print(
        f"{len(waiting)} graded now. Written answers wait for you in {len(hands)} copies: make formgrader"
    )


def _lost(made, failure):
    notebook = nbformat.read(made, as_version=4)
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and about.get("grade"):
            text = "The grading of this copy stopped. Ask your instructor."
            cell.outputs = [
                nbformat.v4.new_output("error", ename="Lost", evalue=text, traceback=[text])
            ]
    return notebook


def _fonts(course):
    """Return a folder with Matplotlib's list of fonts, which every sandbox would have to make anew."""
    folder = course.folder / "fonts"
    if not folder.is_dir():
        code = "import matplotlib.font_manager"
        environment = dict(os.environ, MPLCONFIGDIR=str(folder))
        subprocess.run([BOOK, "-c", code], env=environment, capture_output=True)
        folder.mkdir(exist_ok=True)
    return folder


def _backup(course):
    """Keep the last ten gradebooks."""
    folder = course.folder / "backups"
    folder.mkdir(exist_ok=True)
    name = folder / f"gradebook-{datetime.now():%Y%m%d-%H%M%S-%f}.db"
    with sqlite3.connect(course.gradebook) as book, sqlite3.connect(name) as copy:
        book.backup(copy)
    for old in sorted(folder.glob("gradebook-*.db"))[:-10]:
        old.unlink()


def _roster(course):
    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        for student, row in course.students().items():
            fields = {
                name: row[name] for name in ("first_name", "last_name", "email") if row.get(name)
            }
            book.update_or_create_student(student, **fields)


def feedback(course, assignment):
    """Make a page for each student, which shows no hidden check."""
    check(course.api().generate_feedback(assignment, force=True), "The feedback")
    print(f"The pages: {course.folder / 'feedback'}/<student>/{assignment}/{assignment}.html")


def marks(course):
    """Return {student: {assignment: (score, of, complete)}}."""
    table = {student: {} for student in course.students()}
    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        for assignment in book.assignments:
            for submission in book.assignment_submissions(assignment.name):
                entry = submission.score, submission.max_score, not submission.needs_manual_grade
                table.setdefault(submission.student.id, {})[assignment.name] = entry
    return table


def export(course):
    """Write the marks as CSV, and as Canvas and Moodle import them; and an Otter source of every assignment."""
    folder, table, students = course.folder / "export", marks(course), course.students()
    folder.mkdir(exist_ok=True)
    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        most = {a.name: a.max_score for a in book.assignments}

    def score(student, assignment):
        entry = table.get(student, {}).get(assignment)
        return f"{entry[0]:g}" if entry else ""

    def write(name, rows):
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    complete = [
        [
            s,
            a,
            score(s, a),
            f"{most[a]:g}",
            "" if a not in table[s] else str(table[s][a][2]).lower(),
        ]
        for s in table
        for a in most
    ]
    write("marks.csv", [["student", "assignment", "score", "of", "complete"], *complete])
    heads = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    rows = [
        [*heads, *most],
        ["    Points Possible", "", "", "", "", *(f"{m:g}" for m in most.values())],
    ]
    for student, row in students.items():
        name = f"{row.get('last_name', '')}, {row.get('first_name', '')}"
        about = [
            name,
            row.get("canvas_id", ""),
            student,
            row.get("email", ""),
            row.get("section", ""),
        ]
        rows.append([*about, *(score(student, a) for a in most)])
    write("canvas.csv", rows)
    rows = [["ID number", "Email address", *(f"Assignment: {a}" for a in most)]]
    rows += [[s, row.get("email", ""), *(score(s, a) for a in most)] for s, row in students.items()]
    write("moodle.csv", rows)
    board = []
    for path in course.folder.glob("executed/*/*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                # Only what a check printed: a student may print the same.
                found = re.fullmatch(r"leaderboard: ([\d.]+) (\w+)\n", output.get("text", ""))
                if found and cell.metadata.get("nbgrader", {}).get("grade"):
                    board.append([path.stem, float(found[1]), found[2], path.parts[-3]])
    if board:
        write("leaderboard.csv", [["assignment", "result", "unit", "student"], *sorted(board)])
    for assignment in most:
        otter(course, assignment, folder / "otter" / assignment)
    print(f"Written: {folder}/marks.csv, canvas.csv, moodle.csv and otter/<assignment>")


def otter(course, assignment, folder):
    """Write an assignment in the form that `otter assign` makes a Gradescope package of."""
    source = nbformat.read(
        course.folder / "source" / assignment / f"{assignment}.ipynb", as_version=4
    )
    raw, cells, files = nbformat.v4.new_raw_cell, [], ["checks.py"]
    cells.append(
        raw("# ASSIGNMENT CONFIG\nsolutions_pdf: false\nexport_cell: true\nfiles:\n    - checks.py")
    )
    index = 0
    source.cells.append(nbformat.v4.new_markdown_cell(""))
    while index < len(source.cells):
        cell = source.cells[index]
        about = cell.metadata.get("nbgrader", {})
        index += 1
        if about.get("solution"):
            manual = bool(about.get("grade"))
            head = f"# BEGIN QUESTION\nname: {about['grade_id'].replace('-', '_')}\nmanual: {str(manual).lower()}"
            points = []
            tests = []
            while index < len(source.cells) and not manual:
                after = source.cells[index]
                more = after.metadata.get("nbgrader", {})
                if not (more.get("grade") and more.get("locked")):
                    break
                points.append(more["points"])
                tests.append(after)
                index += 1
            if manual:
                head += f"\npoints: {about['points']}"
            cells += [raw(head), raw("# BEGIN SOLUTION")]
            body = re.sub(r"(?m)^( *)### (BEGIN|END) SOLUTION", r"\1# \2 SOLUTION", cell.source)
            if manual:
                body = re.sub(r"(?m)^# (BEGIN|END) SOLUTION\n?", "", body)
            make = nbformat.v4.new_markdown_cell if manual else nbformat.v4.new_code_cell
            cells += [make(body), raw("# END SOLUTION")]
            if tests:
                cells.append(raw("# BEGIN TESTS"))
                for test, worth in zip(tests, points):
                    hidden = "BEGIN HIDDEN TESTS" in test.source
                    code = re.sub(r"(?m)^### (BEGIN|END) HIDDEN TESTS\n?", "", test.source)
                    first = (
                        '""" # BEGIN TEST CONFIG\n'
                        + f"points: {worth}\nhidden: {str(hidden).lower()}\n"
                    )
                    draw = "import numpy as np\nrng = np.random.default_rng()\n" if hidden else ""
                    cells.append(
                        nbformat.v4.new_code_cell(first + '""" # END TEST CONFIG\n' + draw + code)
                    )
                cells.append(raw("# END TESTS"))
            cells.append(raw("# END QUESTION"))
        elif cell.source:
            make = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")
            cells.append(make(cell.source))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in files:
        shutil.copy(course.folder / "source" / assignment / name, folder)
    metadata = {"kernelspec": source.metadata["kernelspec"]}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / f"{assignment}.ipynb"
    )


def sample(course, assignment):
    """Hand in for a made-up class: some right, some wrong, some late, some broken."""
    made = course.folder / "release" / assignment
    right = nbformat.read(
        course.folder / "source" / assignment / f"{assignment}.ipynb", as_version=4
    )
    wrong = (HERE.parent / assignment / "wrong_answers.py").read_text("utf-8")
    parts = re.split(r"(?m)^# %% ", wrong)[1:]
    inbox = course.folder / "inbox" / assignment
    for number, student in enumerate(course.students()):
        folder = inbox / student
        folder.mkdir(parents=True, exist_ok=True)
        copy = nbformat.from_dict(json.loads(json.dumps(right)))
        if number % 5 == 4:
            shutil.copy(made / f"{assignment}.ipynb", folder)
            continue
        for part in parts[number :: len(course.students())][: number % 5]:
            head, _, code = part.partition("\n")
            for cell in copy.cells:
                if cell.metadata.get("nbgrader", {}).get("grade_id") == head.split(" | ")[0]:
                    cell.source = code
        nbformat.write(copy, folder / f"{assignment}.ipynb")
    print(f"A made-up class handed in: make collect ASSIGNMENT={assignment} FROM='{inbox}'")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "what",
        choices=["release", "sample", "collect", "grade", "formgrader", "feedback", "export"],
    )
    parser.add_argument("assignment", nargs="?")
    parser.add_argument("--course", default="course")
    parser.add_argument("--from", dest="archive")
    parser.add_argument("--each", action="store_true", help="numbers of their own for each student")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2)))
    parser.add_argument("--sandbox", default="bubblewrap")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of the processor, for a cell or a call"
    )
    parser.add_argument("--in-all", type=float, default=600.0, help="seconds for a submission")
    words = parser.parse_args()
    course = Course(words.course)
    if words.what == "export":
        return export(course)
    if words.what == "formgrader":
        os.chdir(course.folder)
        line = [sys.executable, "-m", "jupyterlab", "--LabApp.default_url=/formgrader"]
        os.execv(sys.executable, line)
    if not words.assignment:
        raise SystemExit("Which one? ASSIGNMENT=...")
    if words.what == "release":
        return release(course, words.assignment, words.each)
    if words.what == "sample":
        return sample(course, words.assignment)
    if words.what == "collect":
        if not words.archive:
            raise SystemExit(
                "From where? FROM=the archive that Canvas or Moodle gave you, or a folder"
            )
        return collect(course, words.assignment, words.archive)
    if words.what == "grade":
        trusted = words.sandbox == "none-i-trust-every-submission"
        if not trusted and words.sandbox != "bubblewrap":
            raise SystemExit(f"There is no sandbox {words.sandbox}.")
        return grade(course, words.assignment, words.jobs, not trusted, words.seconds, words.in_all)
    return feedback(course, words.assignment)


if __name__ == "__main__":
    main()
