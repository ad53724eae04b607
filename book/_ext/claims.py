"""The claims of the chapters, in the pages: a role for a number, a box for a verdict, the ledger, and a JSON file.

A chapter stores each claim as a record (trainlab.evidence.Claim) among its outputs. It is read from
there, so that nothing of it is written twice.
"""

import html
import json
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from trainlab.evidence import MIME

LOGGER = logging.getLogger(__name__)
NUMBERS = ("verdict", "note", "sentence", "seeds", "budget", "limits")


def records(notebook):
    """The claims that a stored notebook shows, in their order."""
    cells = json.loads(notebook)["cells"]
    return [
        output["data"][MIME]
        for cell in cells
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]


def read_records(app):
    """Collect the records of all chapters: from a claim's name to its record, with the page it is on."""
    app.claims = {}
    for path in sorted(Path(app.srcdir, "chapters").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        page = path.relative_to(app.srcdir).with_suffix("").as_posix()
        for record in records(path.read_text("utf-8")):
            if record["name"] in app.claims:
                raise ExtensionError(
                    f"two claims are called {record['name']!r}, in {app.claims[record['name']]['page']} and {page}"
                )
            app.claims[record["name"]] = record | {"page": page}


def find(directive, name):
    """The record of that name; the page is read anew when its chapter changes."""
    app = directive.env.app
    if name not in app.claims:
        LOGGER.warning(
            "no chapter has a claim %r: there are %s",
            name,
            ", ".join(app.claims),
            location=directive.get_location(),
        )
        return None
    directive.env.note_dependency(f"{app.claims[name]['page']}.ipynb")
    return app.claims[name]


class ClaimRole(SphinxRole):
    """{claim}`C02: no noise` is that effect of the claim C02; or its verdict, note, seeds, budget, limits."""

    def run(self):
        name, _, part = (words.strip() for words in self.text.partition(":"))
        if (record := find(self, name)) is None:
            return [], []
        values = {number: str(record[number]) for number in NUMBERS} | {
            effect["what"]: effect["text"] for effect in record["effects"]
        }
        if part not in values:
            LOGGER.warning(
                "claim %s has no %r: it has %s",
                name,
                part,
                ", ".join(values),
                location=self.get_location(),
            )
            return [], []
        return [nodes.inline("", values[part])], []


class VerdictBox(SphinxDirective):
    """The verdicts of one or more claims, the chapter's own words on them, their budget and limits."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self):
        claims = [record for name in self.arguments[0].split() if (record := find(self, name))]
        box = nodes.admonition(classes=["verdict"])
        box += nodes.title("", "Verdict")
        for record in claims:
            words = nodes.paragraph(
                "", "", nodes.strong("", f"{record['name']}: {record['verdict']}")
            )
            words += nodes.Text(note(record) + ".")
            box += words
        self.state.nested_parse(self.content, self.content_offset, box)
        for said in dict.fromkeys(
            (record["seeds"], record["budget"], record["limits"]) for record in claims
        ):
            words = nodes.paragraph("", "", nodes.emphasis("", "Budget and limits: "))
            words += nodes.Text(
                f"{said[0]} seed{'s' * (said[0] > 1)}; {said[1]}. {said[2][0].upper()}{said[2][1:]}."
            )
            box += words
        return [box]


class Ledger(SphinxDirective):
    """A table of the claims, those of the article or the book's own, that its reader can sort and filter."""

    required_arguments = 1

    def run(self):
        own = self.arguments[0] == "own"
        names = [name for name in self.env.app.claims if is_numbered(name) is not own]
        claims = [find(self, name) for name in (names if own else sorted(names))]
        table = nodes.table(classes=["ledger"])
        group = nodes.tgroup(cols=5)
        table += group
        for width in (34, 16, 34, 6, 14):
            group += nodes.colspec(colwidth=width)
        group += nodes.thead(
            "", row([words(head)] for head in ("claim", "verdict", "effect", "seeds", "confirmed"))
        )
        body = nodes.tbody()
        group += body
        for record in claims:
            effects = [f"{effect['what']}: {effect['text']}" for effect in record["effects"]]
            sentences = [confirm["sentence"] for confirm in record["confirms"]]
            body += row(
                [
                    [self.claim(record)],
                    [
                        nodes.paragraph(
                            "", "", nodes.strong("", record["verdict"]), nodes.Text(note(record))
                        )
                    ],
                    [words(effects[0])] + folded(effects[1:], "more") if effects else [words("")],
                    [words(str(record["seeds"]))],
                    folded(sentences, "sentence" if len(sentences) == 1 else "sentences"),
                ]
            )
        return [table]

    def claim(self, record):
        link = pending_xref(
            "",
            nodes.inline("", record["name"]),
            refdomain="std",
            reftype="doc",
            refexplicit=True,
            refwarn=True,
            reftarget=f"/{record['page']}",
            refdoc=self.env.docname,
        )
        sections = "sections" if "," in record["section"] else "section"
        return nodes.paragraph(
            "", "", link, nodes.Text(f", {sections} {record['section']}: {record['sentence']}")
        )


def is_numbered(name):
    """Whether a claim is one of the article's, which have numbers."""
    return name[0] == "C" and name[1:].isdigit()


def note(record):
    return f" – {record['note']}" if record["note"] else ""


def words(text):
    return nodes.paragraph("", text)


def folded(texts, what):
    """A list that is folded in, if there is one."""
    if not texts:
        return []
    entries = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return [
        nodes.raw(
            "",
            f"<details><summary>{len(texts)} {what}</summary><ul>{entries}</ul></details>",
            format="html",
        )
    ]


def row(cells):
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))


def add_script(app, pagename, templatename, context, doctree):
    if doctree is not None and any(
        "ledger" in table["classes"] for table in doctree.findall(nodes.table)
    ):
        app.add_js_file("ledger.js", loading_method="defer")


def publish(app, error):
    """Write all records as one file beside the ledger."""
    if error is None and app.builder.format == "html":
        Path(app.outdir, "book", "claims.json").write_text(
            json.dumps(list(app.claims.values()), indent=1, ensure_ascii=False), "utf-8"
        )


def setup(app):
    app.connect("builder-inited", read_records)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", publish)
    app.add_role("claim", ClaimRole())
    app.add_directive("verdict", VerdictBox)
    app.add_directive("ledger", Ledger)
    return {"parallel_read_safe": True}
