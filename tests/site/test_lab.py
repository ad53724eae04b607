"""The copies for JupyterLab read as they stand, and a learner's changes survive."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
import lab  # noqa: E402

CHAPTERS = lab.chapters(ROOT)
RAW = re.compile(r"\{[\w:-]+\}`|^:::|^```\{|^\(\S+\)=$|^\$\$ *\(", re.M)


@pytest.fixture(scope="module")
def book():
    return lab.Book(ROOT)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_copy_is_a_notebook_that_any_lab_can_show(book, site, name):

    copy, own = lab.copied(name, book), json.loads((ROOT / f"{name}.ipynb").read_text("utf-8"))
    nbformat.validate(copy)
    code = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
    stored = [cell for cell in own["cells"] if cell["cell_type"] == "code"]
    assert [(c["source"], c["outputs"]) for c in code] == [
        (c["source"], c["outputs"]) for c in stored
    ]
    folded = [cell["metadata"].get("jupyter", {}).get("source_hidden", False) for cell in code]
    assert folded == ["hide-input" in cell["metadata"].get("tags", []) for cell in stored]
    texts = ["".join(cell["source"]) for cell in copy["cells"] if cell["cell_type"] == "markdown"]
    assert [RAW.search(text)[0] for text in texts if RAW.search(text)] == []
    # What follows a folded solution is not folded with it.
    sources = ["".join(cell["source"]) for cell in own["cells"]]
    for text in sources:
        rest = re.split(r"^```\{solution-end\}\n```", text, flags=re.M)[1:]
        assert [part for part in rest if not re.match(r"\s*(#|```\{exercise-start|$)", part)] == []
    solutions = sum("jp-MarkdownHeadingCollapsed" in cell["metadata"] for cell in copy["cells"])
    assert solutions == sum(text.count("{solution-start}") for text in sources)
    assert json.loads((site / "_sources" / f"{name}.ipynb").read_text("utf-8")) == copy


def test_what_a_learner_changed_survives(tmp_path, book):
    page = CHAPTERS[1]
    assert lab.write(tmp_path, book, CHAPTERS[:3]) == []
    assert "- [" in (tmp_path / "start.ipynb").read_text("utf-8")
    changed = tmp_path / f"{page}.ipynb"
    changed.write_text(changed.read_text("utf-8").replace("SEEDS", "SEEDLINGS"), "utf-8")
    mine = changed.read_bytes()
    old = tmp_path / f"{CHAPTERS[0]}.ipynb"
    notes = tmp_path / lab.MADE
    before = old.read_bytes()
    assert lab.write(tmp_path, book, CHAPTERS[:3]) == [page]
    assert changed.read_bytes() == mine and old.read_bytes() == before
    changed.unlink()
    assert lab.write(tmp_path, book, CHAPTERS[:3]) == []
    assert changed.exists() and notes.exists()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("the {term}`rate <learning rate>`", "the rate"),
        (
            "{cite:t}`kingma2014` and {cite:p}`kingma2014`",
            "Kingma and Ba (2015) and (Kingma and Ba, 2015)",
        ),
        ("{glue:text}`x:.2f`", "3.14"),
        ("$$\na\n$$ (one)\n\nSee {eq}`one`.", "$$\na\n\\tag{1}\n$$\n\nSee (1)."),
        (":::{admonition} Predict\n:class: predict\nGuess.\n:::", "> **Predict**\n>\n> Guess."),
        ("(a-place)=\n## Head", "## Head"),
    ],
)
def test_markup_becomes_words(book, text, shown):
    assert lab.plain(text, book, CHAPTERS[0], {"x": "3.14159"}, {}) == shown


@pytest.mark.parametrize("text", ["{numpy}`x`", ":::{tabs}\nx\n:::"])
def test_markup_that_no_copy_can_show_is_refused(book, text):
    with pytest.raises(ValueError, match="no copy can show"):
        lab.plain(text, book, CHAPTERS[0], {}, {})
