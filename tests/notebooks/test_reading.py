"""What a first-time reader meets: terms that are linked to their meaning at first use, and no more than an hour.

A term of the glossary is linked in the chapter itself, or in one that it needs.
"""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

import store

ROOT = Path(__file__).parents[2]
# Also words of every day, which the book uses as such.
EVERYDAY = set(
    """batch bias budget claim clip collapse confidence convergence divergence efficiency evaluation
    floor horizon label look margin median negative parameter prediction ramp seed task target""".split()
)
# Code, formulas, targets of links, names of directives and options are no prose.
NO_PROSE = re.compile(
    r"(?P<term>\{term\}`[^`]*`)|^```\{code.*?^```|^(?:`{3,}|:{3,})\{.*$|^:[\w-]+:.*$|\$\$.*?\$\$|\$[^$\n]+\$"
    r"|\{[\w:]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)",
    re.MULTILINE | re.DOTALL,
)


def glossary(text):
    """The terms of the glossary, as a pattern each."""
    terms = re.findall(r"^(\w[^\n]*)\n  ", text, re.MULTILINE)
    return {term: re.compile(rf"(?i)(?<![\w-]){re.escape(term)}s?\b") for term in terms}


def linked(prose, term):
    """Where a chapter links the term first, or defines it in bold letters; None if nowhere."""
    word = re.escape(term)
    found = re.search(
        rf"(?i)\{{term\}}`(?:{word}`|[^`<]*<{word}>`)|\*\*(?:an? |the )?{word}s?\*\*", prose
    )
    return found and found.start()


def unexplained(prose, known, terms):
    """The terms that the prose uses before it links them, and that no chapter behind it has linked."""
    prose = NO_PROSE.sub(lambda match: match["term"] or " " * len(match[0]), prose)
    for term, word in terms.items():
        used = word.search(prose)
        if term not in known | EVERYDAY and used:
            place = linked(prose, term)
            # A link behind a word of the same paragraph is near enough.
            if place is None or "\n\n" in prose[used.start() : place]:
                yield term


def prose(cells):
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def minutes(cells):
    """How long a chapter takes to read, without its exercises: 200 words, a formula or a figure a minute, two for open code."""
    text, total = prose(cells), 0
    exercises = re.search(r"\n## Exercises\n.*?(?=\n## |\Z)", text, re.DOTALL)
    text = text.replace(exercises[0], "") if exercises else text
    before = True
    for cell in cells:
        before = before and "## Exercises\n" not in cell.source
        if before and cell.cell_type == "code":
            folded = "hide-input" in cell.metadata.get("tags", [])
            pictures = any("image/png" in output.get("data", {}) for output in cell.outputs)
            total += pictures if folded else 2
    return len(text.split()) / 200 + text.count("$$") / 2 + total


TERMS = glossary((ROOT / "book" / "glossary.md").read_text("utf-8"))
PATHS = {path.stem: path for path in (ROOT / "chapters").rglob("*.ipynb")}
CELLS = {name: store.read(path.read_text("utf-8")).cells for name, path in PATHS.items()}
PROSE = {name: prose(cells) for name, cells in CELLS.items()}
ABOUT = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text("utf-8"))


def needed(name):
    """The chapters behind this one, and those behind them."""
    behind = {"what_you_need"} - {name}
    for other in ABOUT[name]["needs"]:
        behind |= {other} | needed(other)
    return behind


@pytest.mark.parametrize("name", ABOUT)
def test_a_term_is_explained_where_it_is_met_first(name):
    known = {
        term for other in needed(name) for term in TERMS if linked(PROSE[other], term) is not None
    }
    assert list(unexplained(PROSE[name], known, TERMS)) == []


@pytest.mark.parametrize("name", ABOUT)
def test_a_chapter_is_read_within_an_hour_and_in_the_time_that_it_says(name):
    assert minutes(CELLS[name]) <= min(60, ABOUT[name]["minutes"] + 5)


def test_minutes_are_those_of_words_formulas_figures_and_code():
    new, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    picture = nbformat.v4.new_output("display_data", data={"image/png": ""})
    folded = {"tags": ["hide-input"]}
    cells = [
        new("# Title\n\n" + 396 * "word " + "$$ a $$"),
        code("plot()", outputs=[picture], metadata=folded),
        code("check()", metadata=folded),
        code("train()"),
        new("## Exercises\n\n" + 500 * "word "),
        code("solution()"),
        new("## Remember\n\nIt works. That is all."),
    ]
    assert minutes(cells) == pytest.approx(2 + 1 + 1 + 2, abs=0.1)


@pytest.mark.parametrize(
    "prose, found",
    [
        ("The entropy is high.", ["entropy"]),
        ("The entropy is high.\n\nAn {term}`entropy` is.", ["entropy"]),
        ("The entropy, or {term}`entropy`, is high.", []),
        ("Two {term}`entropies <entropy>`, and an entropy.", []),
        ("An **entropy** is an average.", []),
        ("Call `entropy` and see {doc}`entropy <entropy>`, $entropy$.", []),
        ("The logits are high.", []),
        ("See {term}`logits` and {term}`entropy`. The entropy is high.", []),
    ],
)
def test_what_counts_as_explained(prose, found):
    terms = glossary("entropy\n  (熵) A number.\n\nlogits\n  (x) Numbers.\n")
    assert list(unexplained(prose, {"logits"}, terms)) == found
