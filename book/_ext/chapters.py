"""What book/chapters.yml says of each chapter, in the pages: a line under its title, a table, and a map of which needs which."""

import html
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import claims

FILE = "book/chapters.yml"
PARTS = {"objectives", "minutes", "needs"}
WIDTH, HEIGHT, ACROSS, DOWN = 196, 30, 236, 44  # of a box, and from one box to the next


def read(app):
    """Read the file and refuse what does not fit the table of contents: app.chapters, in reading order."""
    known = yaml.safe_load(Path(app.srcdir, FILE).read_text("utf-8"))
    pages = {path.rsplit("/", 1)[-1]: path for path in reading_order(app.srcdir)}
    if differing := sorted(set(known) ^ set(pages)):
        raise ExtensionError(f"{FILE} and the table of contents differ in {', '.join(differing)}")
    for name, about in known.items():
        if set(about) - {"course", "assignment"} != PARTS or not about["objectives"]:
            raise ExtensionError(f"{FILE}: {name} must have {sorted(PARTS)}, has {sorted(about)}")
        if unknown := [need for need in about["needs"] if need not in pages]:
            raise ExtensionError(f"{FILE}: {name} needs {unknown}, which are no chapters")
    app.chapters = {name: known[name] | {"page": page} for name, page in pages.items()}
    levels(app.chapters)


def reading_order(folder):
    """The chapters of the table of contents, one after the other."""
    contents = yaml.safe_load(Path(folder, "_toc.yml").read_text("utf-8"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    return [file for file in files if file.startswith("chapters/")]


def levels(chapters):
    """How many chapters lie before each, at least: 0 for those that need none."""
    found: dict = {}

    def level(name, behind=()):
        if name in behind:
            raise ExtensionError(f"{FILE}: {name} needs itself, by {' and '.join(behind)}")
        if name not in found:
            needs = chapters[name]["needs"]
            found[name] = max((1 + level(need, (*behind, name)) for need in needs), default=0)
        return found[name]

    return {name: level(name) for name in chapters}


class ChapterTable(SphinxDirective):
    """A table of all chapters: minutes, what one can do afterwards, and what has to be read before."""

    def run(self):
        self.env.note_dependency(FILE)
        table = nodes.table()
        group = nodes.tgroup(cols=4)
        table += group
        for width in (26, 10, 40, 24):
            group += nodes.colspec(colwidth=width)
        heads = ("chapter", "minutes", "afterwards you can", "read before")
        group += nodes.thead("", claims.row([claims.words(head)] for head in heads))
        body = nodes.tbody()
        group += body
        for name, about in self.env.app.chapters.items():
            goals = nodes.bullet_list()
            for goal in about["objectives"]:
                goals += nodes.list_item("", claims.words(goal))
            before = nodes.paragraph()
            for place, need in enumerate(about["needs"]):
                before += [nodes.Text(", ")] * (place > 0) + [self.link(need)]
            title = nodes.paragraph("", "", self.link(name))
            if about.get("course"):
                title += nodes.Text(" (course)")
            body += claims.row([[title], [claims.words(str(about["minutes"]))], [goals], [before]])
        return [table]

    def link(self, name):
        return claims.page_link(self.env, self.env.app.chapters[name]["page"])


class Syllabus(SphinxDirective):
    """A table of the weeks of a course: the chapters that are marked in the file, and what is handed out with them."""

    def run(self):
        self.env.note_dependency(FILE)
        table = nodes.table()
        group = nodes.tgroup(cols=5)
        table += group
        for width in (6, 30, 10, 40, 24):
            group += nodes.colspec(colwidth=width)
        heads = ("week", "chapter", "minutes", "afterwards students can", "assignment, handed out")
        group += nodes.thead("", claims.row([claims.words(head)] for head in heads))
        body = nodes.tbody()
        group += body
        weeks = [name for name, about in self.env.app.chapters.items() if about.get("course")]
        for week, name in enumerate(weeks, 1):
            about = self.env.app.chapters[name]
            title = nodes.paragraph("", "", claims.page_link(self.env, about["page"]))
            work = about.get("assignment", "none").replace("_", " ")
            cells = (str(about["minutes"]), about["objectives"][0], work)
            words = [[claims.words(text)] for text in cells]
            body += claims.row([[claims.words(str(week))], [title], *words])
        return [table]


class ChapterMap(SphinxDirective):
    """A picture of which chapter needs which: boxes that are links, in columns from left to right."""

    def run(self):
        self.env.note_dependency(FILE)
        return [nodes.raw("", drawn(self.env.app.chapters), format="html")]


def drawn(chapters):
    columns: dict = {}
    for name, level in levels(chapters).items():
        columns.setdefault(level, []).append(name)
    places = {
        name: (column * ACROSS, row * DOWN)
        for column, names in columns.items()
        for row, name in enumerate(names)
    }
    lines, boxes, course = [], [], ' class="course"'
    for name, (x, y) in places.items():
        for need in chapters[name]["needs"]:
            left, top = places[need]
            start, end, middle = left + WIDTH, x, (left + WIDTH + x) / 2
            lines.append(
                f'<path d="M{start} {top + HEIGHT / 2} C{middle} {top + HEIGHT / 2} {middle} {y + HEIGHT / 2} {end} {y + HEIGHT / 2}"/>'
            )
        title = html.escape(name.replace("_", " "))
        where = f"../{chapters[name]['page']}.html"
        boxes.append(
            f'<a href="{where}"><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"'
            f"{course if chapters[name].get('course') else ''}/>"
            f'<text x="{x + WIDTH / 2}" y="{y + HEIGHT / 2 + 4}">{title}</text></a>'
        )
    width = max(x for x, _ in places.values()) + WIDTH
    height = max(y for _, y in places.values()) + HEIGHT
    return (
        f'<div class="chapter-map" tabindex="0" role="group" aria-label="Map of the chapters">'
        f'<svg viewBox="-2 -2 {width + 4} {height + 4}" width="{width}" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(lines)}{''.join(boxes)}</svg></div>"
    )


def setup(app):
    app.connect("builder-inited", read)
    app.add_directive("chapter-table", ChapterTable)
    app.add_directive("chapter-map", ChapterMap)
    app.add_directive("syllabus", Syllabus)
    return {"parallel_read_safe": True}
