"""The claims of the chapters, in the pages: a role for a number, a box for a verdict, the ledger, and a JSON file.

A chapter stores each claim as a record (trainlab.evidence.Claim) among its outputs. It is read from
there, so that nothing of it is written twice.
"""

import html
import json
import math
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from trainlab.evidence import MIME

LOGGER = logging.getLogger(__name__)
REPLICATIONS = "chapters/records/replications"
CONFIRMED = re.compile(r"^Confirmed: (.+)$", re.MULTILINE)
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
            held = repeated(Path(app.srcdir), path.stem, record)
            app.claims[record["name"]] = record | {"page": page, "held": held}


def repetitions(file):
    """What each repetition of a chapter found."""
    return list(json.loads(file.read_text("utf-8"))["repetitions"].values())


def repeated(folder, chapter, record):
    """How a claim came out with everything drawn anew; None if it was not repeated.

    How often its verdict and each of its sentences held, and the means of each of its effects.
    """
    file = folder / REPLICATIONS / f"{chapter}.json"
    if not file.exists():
        return None
    runs = repetitions(file)
    same = sum(run["verdicts"].get(record["name"]) == record["verdict"] for run in runs)
    sentences = {
        confirm["sentence"]: sum(run["sentences"].get(confirm["sentence"], False) for run in runs)
        for confirm in record["confirms"]
    }
    return {
        "runs": len(runs),
        "verdict": same,
        "sentences": sentences,
        "means": means(record, runs),
    }


def means(record, runs):
    """For each effect of a claim that has an interval: its mean in each repetition that found one.

    An effect whose mean is always the same rests on what is kept, on measured times say: nothing was drawn anew.
    """
    all_of_them: dict = {}
    for effect in record["effects"]:
        what = effect["what"]
        found = [run["effects"].get(record["name"], {}).get(what) for run in runs]
        drawn = [ends[0] for ends in found if ends]
        if "mean" in effect and set(drawn) - {effect["mean"]}:
            all_of_them[what] = drawn
    return all_of_them


def again(record, what):
    """The least and the largest mean of an effect in the repetitions, or the only one, as a text; nothing if there is none."""
    found = (record["held"] or {}).get("means", {}).get(what)
    if not found:
        return ""
    ends = [min(found), max(found)] if len(found) > 1 else found
    return typeset(f", again {' to '.join(f'{mean:.3g}' for mean in ends)}")


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
    page = app.claims[name]["page"]
    directive.env.note_dependency(f"{page}.ipynb")
    if app.claims[name]["held"]:
        directive.env.note_dependency(f"{REPLICATIONS}/{Path(page).stem}.json")
    return app.claims[name]


def parts(record):
    """What can be quoted of a claim: from its names to texts."""
    values = {number: str(record[number]) for number in NUMBERS}
    return values | {effect["what"]: typeset(effect["text"]) for effect in record["effects"]}


def typeset(number):
    """A number with the minus of the text around it."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", number)


class ClaimRole(SphinxRole):
    """{claim}`C02: no noise` is that effect of the claim C02; or its verdict, note, seeds, budget, limits."""

    def run(self):
        name, _, part = (words.strip() for words in self.text.partition(":"))
        if (record := find(self, name)) is None:
            return [], []
        values = parts(record)
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
    """The verdicts of one or more claims and a paragraph in plain words; folded below it the rest, budget and limits."""

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
            held = record["held"]
            again = f" (again in {of_all(held['verdict'], held['runs'])})" if held else ""
            words += nodes.Text(f"{note(record)}{again}.")
            box += words
        said = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, said)
        box += said.children[:1]
        summary = "The numbers, the budget and the limits"
        box += nodes.raw("", f"<details><summary>{summary}</summary>", format="html")
        box += said.children[1:]
        for said in dict.fromkeys(
            (record["seeds"], record["budget"], record["limits"]) for record in claims
        ):
            words = nodes.paragraph("", "", nodes.emphasis("", "Budget and limits: "))
            words += nodes.Text(
                f"{said[0]} seed{'s' * (said[0] > 1)}; {said[1]}. {said[2][0].upper()}{said[2][1:]}."
            )
            box += words
        for record in claims:
            if record["held"]:
                box += how_often(record, len(claims) > 1)
                box += how_large(record)
        box += nodes.raw("", "</details>", format="html")
        return [box]


class Ledger(SphinxDirective):
    """A table of the claims, those of the article or the book's own, that its reader can sort and filter."""

    required_arguments = 1

    def run(self):
        own = self.arguments[0] == "own"
        names = [name for name in self.env.app.claims if is_numbered(name) is not own]
        claims = [find(self, name) for name in (names if own else sorted(names))]
        table = nodes.table(classes=["ledger"])
        heads = ("claim", "verdict", "effect", "seeds", "confirmed", "same verdict")
        group = nodes.tgroup(cols=len(heads))
        table += group
        for width in (32, 14, 32, 6, 14, 8):
            group += nodes.colspec(colwidth=width)
        group += nodes.thead("", row([words(head)] for head in heads))
        body = nodes.tbody()
        group += body
        for record in claims:
            effects = [
                f"{effect['what']}: {typeset(effect['text'])}{again(record, effect['what'])}"
                for effect in record["effects"]
            ]
            sentences = [confirm["sentence"] for confirm in record["confirms"]]
            held = record["held"]
            if held:
                sentences = [f"{each} ({times(held, each)})" for each in sentences]
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
                    [words(f"{held['verdict']} of {held['runs']}" if held else "")],
                ]
            )
        return [table]

    def claim(self, record):
        link = page_link(self.env, record["page"], record["name"])
        sections = "sections" if "," in record["section"] else "section"
        return nodes.paragraph(
            "", "", link, nodes.Text(f", {sections} {record['section']}: {record['sentence']}")
        )


class Verdicts(SphinxDirective):
    """A picture of all verdicts: a box for each claim, which leads to its chapter, in rows of one verdict each."""

    def run(self):
        picture = nodes.container(classes=["verdicts"])
        for verdict in ("supported", "depends", "refuted", "not settled"):
            claims = [each for each in self.env.app.claims.values() if each["verdict"] == verdict]
            if not claims:
                continue
            line = nodes.paragraph("", "", nodes.strong("", f"{verdict}: {len(claims)}"))
            for record in sorted(
                claims, key=lambda each: (not is_numbered(each["name"]), each["name"])
            ):
                find(self, record["name"])
                link = page_link(self.env, record["page"], record["name"])
                box = nodes.inline("", "", link, classes=[verdict.replace(" ", "-")])
                line += [nodes.Text(" "), box]
            picture += line
        return [picture]


def page_link(env, page, text=""):
    """A link to a page, under its title unless there is a text."""
    return pending_xref(
        "",
        nodes.inline("", text),
        refdomain="std",
        reftype="doc",
        refexplicit=bool(text),
        refwarn=True,
        reftarget=f"/{page}",
        refdoc=env.docname,
    )


def of_all(count, runs):
    """
    >>> of_all(9, 10), of_all(1, 1)
    ('9 of 10 repetitions', '1 of 1 repetition')
    """
    return f"{count} of {runs} repetition{'s' * (runs > 1)}"


def times(held, sentence):
    return f"{held['sentences'][sentence]} of {held['runs']}"


def how_often(record, named):
    """A paragraph on the repetitions of a claim: its verdict, and the sentences that did not always hold."""
    held = record["held"]
    lead = f"{record['name']}, repeated" if named else "Repeated"
    words = nodes.paragraph("", "", nodes.emphasis("", f"{lead} with everything drawn anew: "))
    words += nodes.Text(f"the same verdict in {of_all(held['verdict'], held['runs'])}")
    shaky = [each for each in held["sentences"] if held["sentences"][each] < held["runs"]]
    if shaky:
        said = "; ".join(f"{each} ({times(held, each)})" for each in shaky)
        words += nodes.Text(f". Not every time: {said}")
    words += nodes.Text(".")
    return words


def how_large(record):
    """The effects of a claim that were found again: in the chapter's run, and from the least to the largest of the repetitions."""
    found = nodes.bullet_list()
    for effect in record["effects"]:
        if range_of_means := again(record, effect["what"]):
            text = f"{effect['what']}: {typeset(effect['text'])}{range_of_means}"
            found += nodes.list_item("", words(text))
    return [found] if found.children else []


def captured(record, runs):
    """How many means of the repetitions lie in the interval that a claim has from the chapter's run, and how many there are."""
    intervals = {effect["what"]: effect for effect in record["effects"]}
    inside = [
        intervals[what].get("low", -math.inf) <= mean <= intervals[what].get("high", math.inf)
        for what, found in means(record, runs).items()
        for mean in found
    ]
    return sum(inside), len(inside)


class Captured(SphinxRole):
    """How many means of all repetitions there are, how many lie in their interval, and the share in per cent."""

    def run(self):
        folder = Path(self.env.srcdir)
        pairs = []
        for record in self.env.app.claims.values():
            file = folder / REPLICATIONS / f"{Path(record['page']).stem}.json"
            if find(self, record["name"])["held"]:
                pairs.append(captured(record, repetitions(file)))
        inside, total = map(sum, zip(*pairs, strict=True))
        values = {
            "means": f"{total:,}",
            "inside": f"{inside:,}",
            "share": f"{100 * inside / total:.0f} %",
        }
        if self.text not in values:
            raise ExtensionError(f"captured: {self.text!r} is none of {', '.join(values)}")
        return [nodes.Text(values[self.text])], []


class Replications(SphinxDirective):
    """A table of the chapters with everything drawn anew: which sentences held, and how many means fell into their interval."""

    def run(self):
        folder = Path(self.env.srcdir)
        heads = (
            "chapter",
            "times",
            "held every time",
            "means in their interval",
            "held less often",
        )
        table = nodes.table(classes=["replications"])
        group = nodes.tgroup(cols=len(heads))
        table += group
        for width in (24, 6, 10, 12, 48):
            group += nodes.colspec(colwidth=width)
        group += nodes.thead("", row([words(head)] for head in heads))
        body = nodes.tbody()
        group += body
        chapters = [page for page in self.env.found_docs if page.startswith("chapters/")]
        pages = {Path(page).stem: page for page in chapters}
        totals = [0, 0, 0, 0]
        files = (folder / REPLICATIONS).glob("*.json")
        for file in sorted(files, key=lambda file: pages[file.stem]):
            self.env.note_dependency(file.relative_to(folder).as_posix())
            runs = repetitions(file)
            sentences = dict.fromkeys(s for run in runs for s in run["sentences"])
            held = {s: sum(run["sentences"].get(s, False) for run in runs) for s in sentences}
            often = nodes.bullet_list()
            for sentence in sorted(held, key=held.get):
                if held[sentence] < len(runs):
                    often += nodes.list_item(
                        "", words(f"{held[sentence]} of {len(runs)}: {sentence}")
                    )
            always = sum(count == len(runs) for count in held.values())
            claims = self.env.app.claims.values()
            pairs = [captured(each, runs) for each in claims if each["page"] == pages[file.stem]]
            inside, drawn = map(sum, zip(*pairs, strict=True))
            counts = (always, len(held), inside, drawn)
            totals = list(map(sum, zip(totals, counts, strict=True)))
            link = page_link(self.env, pages[file.stem])
            cells = [[nodes.paragraph("", "", link)], [words(str(len(runs)))]]
            cells += [[words(f"{always} of {len(held)}")]]
            cells += [[words(f"{inside} of {drawn}" if drawn else "")]]
            body += row([*cells, [often] if often.children else [words("")]])
        last = (
            "all together",
            "",
            f"{totals[0]} of {totals[1]}",
            f"{totals[2]:,} of {totals[3]:,}",
            "",
        )
        body += row([words(text)] for text in last)
        return [table]


def say_how_often(app, doctree):
    """Behind a printed sentence that did not always hold again, in a chapter's outputs: how often it did."""
    page = app.env.docname
    file = Path(app.srcdir, REPLICATIONS, f"{Path(page).stem}.json")
    if not page.startswith("chapters/") or not file.exists():
        return
    app.env.note_dependency(file.relative_to(app.srcdir).as_posix())
    runs = repetitions(file)

    def counted(line):
        found = [run["sentences"][line[1]] for run in runs if line[1] in run["sentences"]]
        if all(found):
            return line[0]
        return f"{line[0]} (again in {of_all(sum(found), len(runs))})"

    for block in doctree.findall(nodes.literal_block):
        text = CONFIRMED.sub(counted, block.astext())
        if text != block.astext():
            block.rawsource, block[:] = text, [nodes.Text(text)]


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
    app.connect("doctree-read", say_how_often)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", publish)
    app.add_role("claim", ClaimRole())
    app.add_role("captured", Captured())
    app.add_directive("verdict", VerdictBox)
    app.add_directive("ledger", Ledger)
    app.add_directive("replications", Replications)
    app.add_directive("verdicts", Verdicts)
    return {"parallel_read_safe": True}
