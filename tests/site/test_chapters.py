"""What book/chapters.yml says of the chapters is shown, and what does not fit the book is refused; thresholds are counted."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
import chapters  # noqa: E402
import thresholds  # noqa: E402

GOOD = {"objectives": ["say a"], "minutes": 30, "needs": []}


@pytest.fixture
def book(tmp_path):
    """A book of two chapters; the function reads it with what its file says of them."""
    files = [{"file": "chapters/a/one"}, {"file": "book/page"}, {"file": "chapters/b/two"}]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"parts": [{"chapters": files}]}))
    (tmp_path / "book").mkdir()

    def read(**about):
        (tmp_path / chapters.FILE).write_text(yaml.safe_dump(about))
        app = SimpleNamespace(srcdir=tmp_path)
        chapters.read(app)
        return app.chapters

    return read


def test_chapters_come_in_reading_order_with_their_pages(book):
    found = book(two=GOOD | {"needs": ["one"]}, one=GOOD | {"course": True})
    assert [(name, about["page"]) for name, about in found.items()] == [
        ("one", "chapters/a/one"),
        ("two", "chapters/b/two"),
    ]
    assert chapters.levels(found) == {"one": 0, "two": 1}


@pytest.mark.parametrize(
    "about, complaint",
    [
        ({"one": GOOD}, "differ in two"),
        ({"one": GOOD, "two": GOOD, "three": GOOD}, "differ in three"),
        ({"one": GOOD, "two": {"minutes": 3}}, "two must have"),
        ({"one": GOOD, "two": GOOD | {"objectives": []}}, "two must have"),
        ({"one": GOOD, "two": GOOD | {"needs": ["zero"]}}, "two needs \\['zero'\\]"),
        ({"one": GOOD | {"needs": ["two"]}, "two": GOOD | {"needs": ["one"]}}, "needs itself"),
    ],
)
def test_what_does_not_fit_is_refused(book, about, complaint):
    with pytest.raises(ExtensionError, match=complaint):
        book(**about)


def test_the_page_shows_every_chapter_and_what_it_needs(site):
    page = (site / "book" / "map.html").read_text("utf-8")
    about = yaml.safe_load((ROOT / chapters.FILE).read_text("utf-8"))
    assert page.count("<rect") == len(about) and page.count('class="course"') == 12
    assert page.count("<path d=") == sum(len(each["needs"]) for each in about.values())
    for name in chapters.reading_order(ROOT):
        assert len(re.findall(rf'href="\.\./{name}\.html"', page)) >= 2


def test_the_page_on_trust_shows_every_chapter_that_was_repeated(site):
    page = (site / "book" / "trust.html").read_text("utf-8")
    table = page[page.index("<table") : page.index("</table>")]
    for name in chapters.reading_order(ROOT):
        assert (f'href="../{name}.html"' in table) != name.endswith("/capstone")


def test_each_chapter_has_two_exam_questions_with_answers_that_no_page_shows(site):
    bank = yaml.safe_load((ROOT / "assignments" / "questions.yml").read_text("utf-8"))
    assert list(bank) == [name.rsplit("/", 1)[-1] for name in chapters.reading_order(ROOT)]
    for questions in bank.values():
        assert [set(each) for each in questions] == [{"question", "answer"}] * 2
        assert all(text.strip() for each in questions for text in each.values())
    assert not list(site.rglob("*questions.yml"))


@pytest.mark.parametrize(
    "condition, kind",
    [
        ("a > MARGIN", "top"),
        ("a > b + MARGIN", "top"),
        ("a > LATE", "looked"),
        ("a > LATE and a > MARGIN", "looked"),
        ("good", "top"),
        ("not wide", "beside"),
        ("a > 2.5", "beside"),
        ("b < 0.05 * a and good", "beside"),
        ("a > 3 * b", "said"),
        ("a > 3 * b and a < 3.5", "beside"),
        ("a / b > 1 / 3", "said"),
        ("row[7] > b", "none"),
        ("found(7) > b", "none"),
        ("abs(a - 7) < 0.02", "beside"),
        ("late > BELOW", "none"),
        ("a > b", "none"),
        ("interval.low > 0", "none"),
        ("abs(a - b) < 1e-12", "none"),
        ("count == 12", "none"),
    ],
)
def test_the_place_of_a_threshold_is_seen(condition, kind):
    cells = [
        "MARGIN = 1.5\n\n# Chosen after a first look at the runs.\nLATE = 7",
        "good = a > MARGIN\nwide = a - b > 5\nBELOW = 2",
        "%time not_python = 1",
        f"claim = Claim(confirms={{'it is threefold': {condition}, **others}})",
    ]
    notebook = {"cells": [{"cell_type": "code", "source": [source]} for source in cells]}
    assert thresholds.thresholds(json.dumps(notebook)) == {"it is threefold": kind}


@pytest.mark.parametrize("chapter", [path.stem for path in (ROOT / "chapters").glob("*/*.ipynb")])
def test_no_threshold_is_known_to_its_check_alone(chapter):
    """It stands at the top of the chapter, before the first run, or the sentence names it."""
    (source,) = (ROOT / "chapters").glob(f"*/{chapter}.ipynb")
    kinds = thresholds.thresholds(source.read_text("utf-8"))
    assert [sentence for sentence, kind in kinds.items() if kind == "beside"] == []


def test_every_sentence_with_a_check_is_counted(site):
    page = site / "book" / "trust.html"
    text = page.read_text("utf-8")
    section = text[text.index('id="when-were-the-thresholds') :]
    counts = [
        int(number)
        for number in re.findall(r"\b(\d+)\b (?:sentences )?(?:compare|name|have)", section)
    ]
    known = [
        thresholds.thresholds(path.read_text("utf-8"))
        for path in (ROOT / "chapters").glob("*/*.ipynb")
    ]
    assert sum(counts) == sum(map(len, known)) > 600 and len(counts) == 4


@pytest.mark.parametrize("chapter", [path.stem for path in (ROOT / "chapters").glob("*/*.ipynb")])
def test_every_picture_has_a_number_and_a_link_that_stays(site, chapter):
    (source,) = (ROOT / "chapters").glob(f"*/{chapter}.ipynb")
    cells = json.loads(source.read_text("utf-8"))["cells"]
    drawn = [
        cell["id"]
        for cell in cells
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    ]
    page = (site / source.relative_to(ROOT).with_suffix(".html")).read_text("utf-8")
    numbered = re.findall(r'href="#figure-([\w-]+)">Figure (\d+)</a>', page)
    assert numbered == [(name, f"{place}") for place, name in enumerate(drawn, 1)]
    assert all(page.count(f'id="figure-{name}"') == 1 for name in drawn)
    below = re.findall(r'<(img) [^>]*>(?:</span>)?\s*<p class="figure-number">', page)
    assert below == ["img"] * len(drawn)  # and not what was printed after it
