"""Every built page, checked without a browser; and proof that each check can fail."""

import gzip
import html
import json
import math
import re
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from pages import complaints, parse

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
from claims import records, typeset  # noqa: E402


def test_page_is_in_order(page):
    assert complaints(page) == []


@cache
def weight(path):
    data = path.read_bytes()
    return len(data if path.suffix in (".png", ".woff2") else gzip.compress(data, 6))


def test_page_is_light(site, page):
    loads = {(page.parent / unquote(load.split("?")[0])).resolve() for load in parse(page).loads}
    icons = (site / "_static" / "vendor" / "fontawesome" / "webfonts").glob("*.woff2")
    assert weight(page) + sum(map(weight, [*loads, *icons])) < 450_000
    # What comes before the text: the page and its styles.
    styles = [load for load in loads if load.suffix == ".css"]
    assert len(styles) <= 2 and weight(page) + sum(map(weight, styles)) < 200_000
    # Nothing moves when a picture comes.
    html = page.read_text("utf-8")
    assert [img for img in re.findall(r"<img [^>]*>", html) if " width=" not in img] == []


def test_formulas_are_there_without_a_script(page):
    html = page.read_text("utf-8")
    places, formulas = html.count('class="math"'), re.findall(r"<math.*?</math>", html, re.DOTALL)
    assert len(formulas) == places
    assert [
        formula for formula in formulas if not re.match(r"<math[^>]*><semantics><m", formula)
    ] == []
    assert "MathJax" not in html and "katex" not in html


def toc_files():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    return [toc["root"]] + [
        chapter["file"] for part in toc["parts"] for chapter in part["chapters"]
    ]


@pytest.mark.parametrize("name", toc_files())
def test_every_entry_of_the_contents_is_built(site, name):
    assert (site / f"{name}.html").exists()


@pytest.mark.parametrize("name", [name for name in toc_files() if name.startswith("chapters/")])
def test_every_chapter_can_be_downloaded(site, name):
    page = (site / f"{name}.html").read_text("utf-8")
    assert re.search(rf'href="[^"]*{Path(name).name}\.ipynb"', page)


def test_every_part_of_the_contents_has_a_caption():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    assert all(part["caption"] for part in toc["parts"])


def test_the_ledger_has_every_claim_of_every_chapter(site):
    claims = json.loads((site / "book" / "claims.json").read_text("utf-8"))
    stored = [
        record
        for path in sorted(ROOT.glob("chapters/*/*.ipynb"))
        for record in records(path.read_text("utf-8"))
    ]
    assert sorted(claim["name"] for claim in claims) == sorted(record["name"] for record in stored)
    numbered = [claim["name"] for claim in claims if re.fullmatch(r"C\d\d", claim["name"])]
    assert sorted(numbered) == [f"C{number:02}" for number in range(1, 25)]
    page = (site / "book" / "claims.html").read_text("utf-8")
    rows = [
        words(re.sub(r"<[^>]+>|\s+", " ", row)) for row in re.findall(r"<tr.*?</tr>", page, re.S)
    ]
    for claim in claims:
        (row,) = [row for row in rows if words(claim["sentence"]) in row]
        said = [claim["verdict"], *(typeset(effect["text"]) for effect in claim["effects"])]
        said += [confirm["sentence"] for confirm in claim["confirms"]]
        assert [text for text in said if words(text) not in row] == []


def words(text):
    """The text of HTML, with the quotation marks and dashes that an author types."""
    text = re.sub("[\u2018\u2019]", "'", html.unescape(text))
    return re.sub("[\u201c\u201d]", '"', text).replace("\u2026", "...")


# The headings of the source article that have a number, the future (section 5) and the references
# (section 7) included.
SECTIONS = """1 2 2.1 2.1.1 2.1.2 2.1.3 2.2 2.2.1 2.2.2 2.2.3 3 3.1 3.1.1 3.1.1.1 3.1.1.2 3.1.1.3 3.1.2 3.2 3.2.1 3.2.2 3.2.3
    4 4.1 4.1.1 4.1.1.1 4.1.1.2 4.1.1.3 4.1.2 4.2 4.2.1 4.2.2 4.2.3
    5 5.1 5.1.1 5.1.2 5.1.3 5.1.4 5.2 5.2.1 5.2.2 5.2.3 5.2.4 6 6.1 6.2 6.3 6.4 7""".split()


def test_the_means_of_the_repetitions_stand_beside_the_intervals(site):
    claims = json.loads((site / "book" / "claims.json").read_text("utf-8"))
    ledger, trust = (
        words(re.sub(r"<[^>]+>|\s+", " ", (site / "book" / f"{name}.html").read_text("utf-8")))
        for name in ("claims", "trust")
    )
    counts: dict = {}
    for claim in claims:
        page = counts.setdefault(claim["page"], [0, 0])
        kept = ROOT / "chapters/records/replications" / f"{Path(claim['page']).stem}.json"
        runs = json.loads(kept.read_text("utf-8"))["repetitions"].values() if kept.exists() else ()
        for effect in claim["effects"]:
            found = [run["effects"][claim["name"]].get(effect["what"]) for run in runs]
            means = [ends[0] for ends in found if ends]
            if "mean" not in effect or all(mean == effect["mean"] for mean in means):
                continue
            page[1] += len(means)
            low, high = effect.get("low", -math.inf), effect.get("high", math.inf)
            page[0] += sum(low <= mean <= high for mean in means)
            ends = f"{min(means):.3g}" + (len(means) > 1) * f" to {max(means):.3g}"
            numbers = typeset(f"{effect['text']}, again {ends}")
            assert words(f"{effect['what']}: {numbers}") in ledger
    inside, total = (sum(column) for column in zip(*counts.values()))
    assert 0 < inside < total and f" {inside:,} of {total:,} " in trust
    assert inside / total < 0.83 and f" {100 * inside / total:.0f} %" in trust
    # As the page on trust says.
    fell, means = counts["chapters/03_algorithms/calibration"]
    assert fell > means / 2


def test_every_section_of_the_article_is_found_by_its_number(site):
    page = (site / "book" / "sections.html").read_text("utf-8")
    rows = [
        re.findall(r"<td>(.*?)</td>", row, re.S)
        for row in re.findall(r"<tr.*?</tr>", page, re.S)[1:]
    ]
    assert [re.sub(r"<[^>]+>", "", row[0]).strip() for row in rows] == SECTIONS
    led = {
        number: re.findall(r'href="([^"]+)".*?<span[^>]*>(.*?)</span>', row[2])
        for number, row in zip(SECTIONS, rows)
    }
    # Headings without text of their own point to the rows below them.
    assert [number for number, links in led.items() if not links] == [
        "2",
        "2.1",
        "3",
        "3.1",
        "4",
        "4.1",
        "5",
        "5.1",
        "5.2",
        "6",
    ]
    for number, links in led.items():
        for link, title in links:
            chapter = link.startswith("../chapters/") and "#" not in link
            # One section may have several pages, with a letter each.
            assert not chapter or re.match(rf"{re.escape(number)}([a-z]? |\.)", title), (
                f"{number} leads to {title}"
            )


def test_a_claim_of_the_article_has_an_interval_over_many_seeds(site):
    claims = json.loads((site / "book" / "claims.json").read_text("utf-8"))
    for claim in claims:
        if re.fullmatch(r"C\d\d", claim["name"]):
            said = [effect["text"] for effect in claim["effects"]]
            assert any(re.search(r"\[-?\d[\d.,e-]*, -?\d[\d.,e-]*\]", text) for text in said), said
            # A run of a language model takes seconds, and a comparison hundreds of them.
            fewest = 8 if claim["page"].startswith("chapters/07_language_model/") else 20
            assert claim["seeds"] >= fewest and claim["verdict"] != "not settled", claim["name"]


GOOD = r"""<!DOCTYPE html><html lang="en"><head><title>A page</title></head>
<body><h1 id="top">A page</h1><p>Words.</p>
<span class="math"><math><mi>t</mi></math></span><img src="a.png" alt="A falling curve"><a href="#top">up</a></body></html>"""

SABOTAGE = {
    "no language": (' lang="en"', ""),
    "no title": ("A page</title>", "</title>"),
    "no main heading": ("h1", "h2"),
    "from outside": ('src="a.png"', 'src="https://example.org/a.png"'),
    "no alt text": ("A falling curve", " "),
    "file name as alt text": ("A falling curve", "_images/1a2b.png"),
    "left raw": ("Words.", "Words {glue:text}`x`."),
    "no file": ("#top", "missing.html"),
    "no place": ("#top", "#bottom"),
    "two things are called top": ("<p>", '<p id="top">'),
    "Chinese is not marked": ("Words.", "Words 学习率."),
    "left as TeX": ("Words.", r"\(t\)"),
}


@pytest.fixture
def small_site(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    return tmp_path / "page.html"


def test_a_good_page_has_no_complaints(small_site):
    small_site.write_text(GOOD)
    assert complaints(small_site) == []


@pytest.mark.parametrize("complaint", SABOTAGE)
def test_a_bad_page_is_caught(small_site, complaint):
    before, after = SABOTAGE[complaint]
    assert before in GOOD
    small_site.write_text(GOOD.replace(before, after))
    assert any(complaint in found for found in complaints(small_site))
