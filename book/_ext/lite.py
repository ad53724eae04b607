"""The chapters in a reader's own browser: a JupyterLite beside the built book, and a button on every chapter that can run there.

`python book/_ext/lite.py TOOLS` writes it to _build/html/lite. TOOLS is the environment that the Makefile made: jupyter-lite,
Pyodide's core and the wheel of comm. The core, JupyterLite and the library are part of the site. Pyodide's packages come from its
CDN, under the hashes of its own list, when a reader opens a chapter there; or from the folder LITE_PACKAGES, and then nothing comes from outside.
"""

import ast
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import lab

ROOT = Path(__file__).parents[2]
VERSION = "314.0.4"  # of Pyodide: the one that the pinned kernel expects
CDN = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
CORE_SHA256 = "85d930cbff5bcf8bf8f5fb62d5b73d9a1e73f706a8a64c3e527ec980f1d32bd4"  # of npm's archive
KERNEL = ("micropip", "ipython", "jedi", "matplotlib-inline")
STARTED = ("micropip", "piplite", "ipykernel", "comm", "pyodide-kernel", "jedi", "ipython")
# What a reader fetches before the first cell has run, in megabytes; measured.
FROM_CDN, FROM_SITE = 36, 23
# A chapter whose kept runs are known by an array that a browser computes otherwise in its last digits.
LAST_DIGITS = {
    "language_schedules": "its kept runs are known by numbers, and a browser computes other last digits"
}
LINES = ".txt"  # a record's ending: of a name with "json", JupyterLite makes JSON, which lines of JSON are not
# Imports of a chapter that a browser cannot satisfy, and why.
CANNOT = {
    "subprocess": "it starts processes of its own, which a browser does not allow",
    "threadpoolctl": "it measures what a processor does in which time, and Python in a browser does it otherwise",
    "optuna": "it needs Optuna, which has not been built for browsers",
    "dp_accounting": "it needs dp-accounting, which has not been built for browsers",
}
CHAPTER_ONLY = {"mpmath", "scipy"}  # beyond what the library brings
STUB = '''"""Stands in for MyST-NB, which makes the website: a glued value is shown and goes nowhere."""

from IPython import get_ipython
from IPython.display import display as show


def glue(name, variable, display=True):
    if display:
        show(variable)


def may_fail(line, cell):
    """Run a cell whose error is wanted. JupyterLite would take none of the cells behind it."""
    shell = get_ipython()
    shell.run_cell(cell)
    if error := shell._last_traceback:
        print(*error["traceback"], sep="\\n")
        shell._last_traceback = None


if shell := get_ipython():
    shell.register_magic_function(may_fail, "cell")
'''
NOTE = (
    "> **This copy runs in your browser.** Nothing is installed, and what you change stays here. Click a cell, then Shift and Enter. The first one waits for Python and its "
    "packages; the kernel's name at the top right has a red mark if they could not be fetched. Expect everything to take several times as long as the book says.\n"
)
CANNOT_NOTE = "> **This chapter cannot run in a browser:** {}. You can read it here; `make lab` in the project's folder runs it.\n"


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


def imports(notebook):
    """The packages that the cells of a notebook import, other than the book's own and those of Python that any browser has."""
    code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    tree = ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", code, flags=re.M)))
    names = set()
    for node in tree:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return names


def why_not(page, notebook):
    """Why a chapter cannot run in a browser: a reason, or nothing if it can."""
    found = imports(notebook)
    reasons = [reason for name, reason in CANNOT.items() if name in found]
    return next(iter(reasons), LAST_DIGITS.get(page.rsplit("/", 1)[-1], ""))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def needed(official, names):
    """The entries of Pyodide's list for these packages and all that they need."""
    by_name, waiting, found = {normal(name): name for name in official}, list(names), {}
    while waiting:
        name = by_name[normal(waiting.pop())]
        if name not in found:
            found[name] = official[name]
            waiting += official[name]["depends"]
    return found


def placed(entries, folder, target):
    """The entries with the place of each file: Pyodide's CDN, or a copy of the folder's file, which must be the very one."""
    found, missing = {}, []
    for name, entry in sorted(entries.items()):
        file = entry["file_name"]
        if folder is None:
            file = CDN + file
        elif not (path := Path(folder, file)).exists():
            missing.append(CDN + file)
        elif digest(path.read_bytes()) != entry["sha256"]:
            raise SystemExit(f"{path} is not Pyodide's own: its SHA-256 is another one.")
        else:
            shutil.copy(path, target)
        found[name] = {**entry, "file_name": file}
    if missing:
        raise SystemExit("\n".join([f"{folder} lacks these files:", *missing]))
    return found


def own(path, imported, depends):
    """The entry of a wheel that is part of the site."""
    name, version = path.name.split("-")[:2]
    return normal(name), {
        "name": normal(name),
        "version": version,
        "file_name": path.name,
        "install_dir": "site",
        "sha256": digest(path.read_bytes()),
        "package_type": "package",
        "imports": imported,
        "depends": depends,
        "unvendored_tests": False,
    }


def library(target):
    """Build the library's wheel: its path, and the packages that all of its parts need."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("lib", "pyproject.toml", "README.md", "LICENSE"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        wheel = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
        ]
        subprocess.run([*wheel, "--wheel-dir", str(target), folder], check=True)
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # A bar of progress would start a thread, which browsers do not have.
    extras = {**about["optional-dependencies"], "progress": []}
    parts = [*about["dependencies"], *sum(extras.values(), [])]
    names = {re.match(r"[\w-]+", part)[0] for part in parts} - {about["name"]}
    (path,) = target.glob("trainlab-*.whl")
    return path, sorted(names)


def companion(target):
    """Pack what the chapters find in the book's own environment alone: `glue`, and the text that the language models read."""
    from trainlab import language

    (licence,) = [f for f in distribution("scikit-learn").files if f.name == "COPYING"]
    path = target / "trainlab_browser-1-py3-none-any.whl"
    about = "trainlab_browser-1.dist-info"
    files = {
        "myst_nb.py": STUB,
        "trainlab/documentation.json": json.dumps(language.documentation()),
        f"{about}/licenses/scikit-learn": licence.read_text("utf-8"),
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: trainlab-browser\nVersion: 1\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: book\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        record = f"{about}/RECORD"
        for name, text in {**files, record: "".join(f"{n},,\n" for n in [*files, record])}.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return path


def distribute(tools, target, folder=None):
    """Write Pyodide's core, our wheels and the list of all packages to a folder."""
    target.mkdir(parents=True)
    core = tools / f"pyodide-{VERSION}.tgz"
    if digest(core.read_bytes()) != CORE_SHA256:
        raise SystemExit(f"{core} is not Pyodide's own: its SHA-256 is another one.")
    with tarfile.open(core) as archive:
        for name in CORE:
            (target / name).write_bytes(archive.extractfile(f"package/{name}").read())
        official = json.load(archive.extractfile("package/pyodide-lock.json"))
    wheel, parts = library(target)
    entries = needed(official["packages"], [*KERNEL, *parts, *CHAPTER_ONLY])
    packages = placed(entries, folder, target)
    packages |= [
        own(wheel, ["trainlab"], [*parts, "trainlab-browser"]),
        own(companion(target), ["myst_nb"], []),
    ]
    (kernel,) = tools.glob("share/jupyter/labextensions/@jupyterlite/*/static/pypi")
    depends = {
        "ipykernel": ["pyodide-kernel"],
        "pyodide-kernel": ["comm", "ipython"],
        "piplite": ["micropip"],
    }
    for path in [*tools.glob("comm-*.whl"), *kernel.glob("*.whl")]:
        name = path.name.split("-")[0]
        if not name.startswith("widgets"):
            shutil.copy(path, target)
            packages |= [own(target / path.name, [name], depends.get(normal(name), []))]
    lock = {"info": official["info"], "packages": packages}
    (target / "pyodide-lock.json").write_text(json.dumps(lock, indent=1), "utf-8")


def copies(book, pages):
    """Each chapter as JupyterLite opens it: without outputs, for the kernel of a browser, with a word on where it runs."""
    for page in pages:
        notebook = lab.copied(page, book)
        reason = why_not(page, notebook)
        note = CANNOT_NOTE.format(reason) if reason else NOTE
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                fails = "raises-exception" in cell["metadata"].get("tags", [])
                code = ["%%may_fail\n"] * fails + cell["source"]
                code = [line.replace(".jsonl", LINES) for line in code]
                cell |= {"source": code, "outputs": [], "execution_count": None}
        first = {"cell_type": "markdown", "id": "where-it-runs", "metadata": {}, "source": [note]}
        kernel = {"display_name": "Python (Pyodide)", "language": "python", "name": "python"}
        about = {"kernelspec": kernel, "language_info": {"name": "python"}}
        yield page, notebook | {"cells": [first, *notebook["cells"]], "metadata": about}


def button(page, notebook, outside=True):
    """What stands below the title of a chapter."""
    if reason := why_not(page, notebook):
        return f'<p class="run-here">This chapter cannot run in a browser: {html.escape(reason)}. <code>make lab</code> runs it on your machine.</p>'
    up = "../" * page.count("/")
    whence = f", {FROM_CDN} MB of them from cdn.jsdelivr.net, Pyodide's network" if outside else ""
    return (
        f'<p class="run-here"><a href="{up}lite/notebooks/index.html?path={page}.ipynb">Run this chapter in your browser</a> '
        f"<span>Only then are Python and its packages fetched: about {round(FROM_CDN + FROM_SITE, -1)} MB the first time{whence}.</span></p>"
    )


def main(tools, folder=None):
    site, book = ROOT / "_build" / "html", lab.Book(ROOT)
    pages, work, out = lab.chapters(ROOT), ROOT / "_build" / "lite", site / "lite"
    shutil.rmtree(work, ignore_errors=True)
    distribute(tools, work / "static" / "pyodide", folder)
    for page, notebook in copies(book, pages):
        target = work / "files" / f"{page}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(lab.written(notebook), "utf-8")
    (records := work / "files" / "chapters" / "records").mkdir()
    for path in (ROOT / "chapters" / "records").glob("*.*"):
        shutil.copy(path, records / path.name.replace(".jsonl", LINES))
    options = {"disablePyPIFallback": True, "loadPyodideOptions": {"packages": STARTED}}
    options = {"litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": options}}
    about = {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {"appName": "trainlab", **options},
    }
    (work / "jupyter-lite.json").write_text(json.dumps(about), "utf-8")
    lite = [str(tools / "bin" / "jupyter-lite"), "build", "--contents", "files", "--no-sourcemaps"]
    lite += ["--apps", "notebooks", "--apps", "tree", "--output-dir", "whole"]
    done = subprocess.run(lite, cwd=work, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(work / "whole", out)
    for page in pages:
        path = site / f"{page}.html"
        text = re.sub(r'\n<p class="run-here">.*?</p>', "", path.read_text("utf-8"))
        notebook = json.loads((ROOT / f"{page}.ipynb").read_text("utf-8"))
        text = text.replace(
            "#</a></h1>", f"#</a></h1>\n{button(page, notebook, folder is None)}", 1
        )
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), os.environ.get("LITE_PACKAGES") or None)
