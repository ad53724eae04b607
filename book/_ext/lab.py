"""Copies of the chapters for JupyterLab, where the book's own markup is not known: everything in them can be read as it stands.

`python book/_ext/lab.py FOLDER` writes them, a start page first. A copy that its reader has changed stays as it is.
The site's download button gives the same notebooks.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pybtex.database
import yaml

import claims

ROOT = Path(__file__).parents[2]
MADE = ".made.json"
ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
TARGET = re.compile(r"(?s)(.*?)\s*<([^<>]+)>$")
BOX = re.compile(
    r"^(:{3,})\{([\w-]+)\}[ \t]*([^\n]*)\n(?::\w+:[^\n]*\n)*(.*?)^\1[ \t]*$", re.M | re.S
)
GATE = re.compile(r"^```\{(exercise|solution)-(start|end)\}.*\n(?::\w+:.*\n)*```[ \t]*\n?", re.M)
EQUATION = re.compile(r"^\$\$[ \t]*\(([\w-]+)\)[ \t]*$", re.M)
LABEL = re.compile(r"^\([\w-]+\)=\n", re.M)
SCRIPT = re.compile(
    r"^```\{literalinclude\} (\S+)\n:start-at: (.+)\n:end-before: (.+)\n```[ \t]*$", re.M
)


class Book:
    """What the copies quote: claims, references, titles of pages."""

    def __init__(self, root=ROOT):
        self.root = Path(root)
        app = SimpleNamespace(srcdir=self.root)
        claims.read_records(app)
        self.claims = app.claims
        database = pybtex.database.parse_file(str(self.root / "book" / "references.bib"))
        self.references = {key: cited(entry) for key, entry in database.entries.items()}

    def title(self, page):
        """The heading of a page, given without its ending."""
        for path in (self.root / f"{page}.ipynb", self.root / f"{page}.md"):
            if path.exists():
                text = path.read_text("utf-8")
                if path.suffix == ".ipynb":
                    text = "".join(json.loads(text)["cells"][0]["source"])
                return re.search(r"^# (.+)$", text, re.M)[1]
        raise KeyError(f"no page {page}")


def cited(entry):
    """Author and year of a reference: two strings."""
    names = [
        " ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]
    ]
    names = [re.sub(r"[{}\\]", "", name) for name in names]
    who = names[0] + (
        " et al." if len(names) > 2 else f" and {names[1]}" if len(names) == 2 else ""
    )
    return who, entry.fields["year"]


def glued(cells):
    """What the cells of a notebook glue, as texts."""
    found = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name:
                data = output["data"]
                text = next((data[kind] for kind in data if kind.endswith("text/plain")), "")
                found[name] = "".join(text)
    return found


def plain(text, book, page, values, numbers):
    """Markdown that any notebook shows, from the Markdown of a chapter."""

    def role(match):
        kind, said = match[1], match[2]
        link = TARGET.match(said)
        shown, target = link.groups() if link else (said, said)
        if kind in ("glue", "glue:text"):
            name, _, form = said.partition(":")
            value = values[name].strip("'\"")
            if form and form != "s":
                return format(int(value) if form.endswith("d") else float(value), form)
            return value
        if kind == "claim":
            name, _, part = (words.strip() for words in said.partition(":"))
            return claims.parts(book.claims[name])[part]
        if kind.startswith("cite"):
            several = [book.references[key.strip()] for key in said.split(",")]
            if kind == "cite:t":
                return ", ".join(f"{who} ({year})" for who, year in several)
            return f"({'; '.join(f'{who}, {year}' for who, year in several)})"
        if kind == "doc":
            where = os.path.normpath(os.path.join(os.path.dirname(page), target))
            words = book.title(where) if shown == target else shown
            if (book.root / f"{where}.ipynb").exists():
                return f"[{words}]({os.path.relpath(where, os.path.dirname(page))}.ipynb)"
            return f"*{words}*"
        if kind == "eq":
            return f"({numbers.setdefault(said, len(numbers) + 1)})"
        if kind in ("term", "ref", "numref"):
            return shown
        raise ValueError(f"{page}: no copy can show the role {kind!r}")

    def box(match):
        _, kind, title, inside = match.groups()
        if kind == "verdict":
            names, title = title.split(), "Verdict"
            said = [
                f"**{name}: {book.claims[name]['verdict']}**{claims.note(book.claims[name])}."
                for name in names
            ]
            inside = "\n\n".join([*said, inside])
        if kind == "dropdown":
            return f"<details><summary><b>{title}</b></summary>\n\n{inside.strip()}\n\n</details>\n"
        if kind not in ("verdict", "admonition", "note", "tip", "warning"):
            raise ValueError(f"{page}: no copy can show a box {kind!r}")
        lines = f"**{title or kind.capitalize()}**\n\n{inside.strip()}".splitlines()
        return "\n".join(f"> {line}".rstrip() for line in lines) + "\n"

    def script(match):
        code = (book.root / page).with_name(match[1]).read_text("utf-8")
        code = code[code.index(match[2]) : code.index(match[3])]
        return f"```python\n{code.rstrip()}\n```"

    def equation(match):
        return f"\\tag{{{numbers.setdefault(match[1], len(numbers) + 1)}}}\n$$"

    text = EQUATION.sub(equation, LABEL.sub("", text))
    return SCRIPT.sub(script, BOX.sub(box, ROLE.sub(role, text))).strip("\n")


def copied(page, book):
    """The notebook of a chapter, for JupyterLab: its solutions and folded cells folded in."""
    notebook = json.loads((book.root / f"{page}.ipynb").read_text("utf-8"))
    values, numbers, cells, exercises = glued(notebook["cells"]), {}, [], 0

    def add(cell, text, part="", folded=False):
        if text.strip():
            about = {"jp-MarkdownHeadingCollapsed": True} if folded else {}
            name = f"{cell['id']}{part}"[-64:]
            lines = plain(text, book, page, values, numbers).splitlines(keepends=True)
            cells.append({"cell_type": "markdown", "id": name, "metadata": about, "source": lines})

    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            tags = cell["metadata"].get("tags", [])
            hidden = {"jupyter": {"source_hidden": True}} if "hide-input" in tags else {}
            cells.append(cell | {"metadata": {**cell["metadata"], **hidden}})
            continue
        text, end = "".join(cell["source"]), 0
        waiting = ""
        for count, gate in enumerate(GATE.finditer(text)):
            waiting += text[end : gate.start()]
            end = gate.end()
            if gate[2] == "start":
                add(cell, waiting, f"-{count}")
                waiting = ""
                if gate[1] == "exercise":
                    exercises += 1
                    waiting = f"### Exercise {exercises}\n\n"
                else:
                    add(cell, f"#### Solution of exercise {exercises}", f"-{count}s", folded=True)
        add(cell, waiting + text[end:], "-rest" if end else "")
    return notebook | {"cells": cells}


def written(notebook):
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def start_page(book, pages):
    """A notebook that leads to the others."""
    text = (
        f"# {yaml.safe_load((book.root / '_config.yml').read_text('utf-8'))['title']}\n\n"
        "Every notebook here runs by itself, from top to bottom. Change a number, run the cell with Shift and Enter, and see "
        "whether the sentences still hold. These are copies: what you change stays yours, and nothing in the book changes. Delete a copy, and the next "
        "`make lab` brings it back as it was.\n\nA solution is folded in under its heading: click the arrow left of it.\n"
    )
    part = None
    for page in pages:
        if (folder := page.split("/")[1]) != part:
            part, text = folder, text + "\n"
        text += f"- [{book.title(page)}]({page}.ipynb)\n"
    cell = {
        "cell_type": "markdown",
        "id": "start",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def write(folder, book, pages):
    """Write the copies into the folder, those excepted that were changed there: their names."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    notes = folder / MADE
    made = json.loads(notes.read_text("utf-8")) if notes.exists() else {}
    kept = []
    for page, notebook in [("start", start_page(book, pages))] + [
        (page, copied(page, book)) for page in pages
    ]:
        target, text = folder / f"{page}.ipynb", written(notebook)
        if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() != made.get(page):
            kept.append(page)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        made[page] = hashlib.sha256(text.encode("utf-8")).hexdigest()
    notes.write_text(json.dumps(made, indent=1), "utf-8")
    shutil.copytree(
        book.root / "chapters" / "records", folder / "chapters" / "records", dirs_exist_ok=True
    )
    return kept


def chapters(root):
    contents = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    return [file for file in files if file.startswith("chapters/")]


def offer(app, error):
    """Put the copies where the download buttons of the pages look."""
    if error is None and app.builder.name == "html":
        book = Book(app.srcdir)
        for page in chapters(book.root):
            target = Path(app.outdir, "_sources", f"{page}.ipynb")
            target.write_text(written(copied(page, book)), "utf-8")


def setup(app):
    app.connect("build-finished", offer)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    for page in write(sys.argv[1], Book(), chapters(ROOT)):
        print(f"Your changes to {page} are kept.")
