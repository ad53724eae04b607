"""Links to the outside are there when the project has an address, and not before."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from sphinx.errors import ExtensionError

from pages import Page

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
import elsewhere  # noqa: E402
import lab  # noqa: E402

ADDRESS = "https://github.com/some-owner/Some-Book"
CHAPTER = "chapters/05_outlook/distributed"


def lead(page, repository=ADDRESS):
    """What the extension makes of a page: its links, and the whole of it."""
    config = SimpleNamespace(
        html_theme_options={"repository_url": repository, "repository_branch": "trunk"},
        html_baseurl="",
    )
    suffix = ".ipynb" if page.startswith("chapters/") else ".md"
    app = SimpleNamespace(config=config, env=SimpleNamespace(doc2path=lambda name: name + suffix))
    elsewhere.base(app, config)
    context = {"title": "Shapes &amp; <em>sizes</em>", "body": "<h1>Shapes</h1><p>Words.</p>"}
    elsewhere.lead(app, page, "page.html", context, doctree=True)
    return Page(context["body"]).links, context["body"], config.html_baseurl


def test_a_chapter_leads_to_colab_binder_its_source_and_a_report():
    (colab, binder, edit, report), body, base = lead(CHAPTER)
    assert (
        colab
        == f"https://colab.research.google.com/github/some-owner/Some-Book/blob/colab/{CHAPTER}.ipynb"
    )
    assert (
        binder
        == f"https://mybinder.org/v2/gh/some-owner/Some-Book/trunk?urlpath=lab/tree/copies/{CHAPTER}.ipynb"
    )
    assert edit == f"{ADDRESS}/edit/trunk/{CHAPTER}.ipynb"
    assert parse_qs(urlsplit(report).query)["title"] == [f"Shapes & sizes ({CHAPTER})"]
    assert body.index("<h1>") < body.index(colab) < body.index("Words.") < body.index(edit)
    assert base == "https://some-owner.github.io/Some-Book/"


def test_a_page_without_code_leads_to_its_source_and_a_report():
    (edit, report), _, _ = lead("book/notation")
    assert edit == f"{ADDRESS}/edit/trunk/book/notation.md" and "%28book%2Fnotation%29" in report


def test_without_an_address_a_page_leads_nowhere(site, page):
    assert lead(CHAPTER, "") == ([], "<h1>Shapes</h1><p>Words.</p>", "")
    if not yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]:
        html = page.read_text("utf-8")
        assert 'class="elsewhere"' not in html and 'rel="canonical"' not in html


@pytest.mark.parametrize(
    "address", ["github.com/a/b", "https://example.org/a/b", f"{ADDRESS}/tree"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ExtensionError, match="must be https://github.com/OWNER/NAME"):
        lead(CHAPTER, address)


def test_the_copy_for_colab_installs_what_its_chapter_needs():
    book = lab.Book(ROOT)
    for page in lab.chapters(ROOT):
        first, *others = elsewhere.for_colab(page, book, ADDRESS, "v1")["cells"]
        assert others == lab.copied(page, book)["cells"]
        code = "".join(first["source"])
        assert f"--branch v1 {ADDRESS} /content/book" in code and re.search(r"myst-nb==\S", code)
        assert code.endswith(f"/content/book/{Path(page).parent}")
        for name in ("optuna", "dp-accounting", "mpi4py"):
            wanted = re.search(rf"(import|from) {name.replace('-', '_')}\b", json.dumps(others))
            assert (f"{name}==" in code) == bool(wanted)


def test_binder_makes_the_copies_that_its_button_opens():
    assert (ROOT / "binder" / "requirements.txt").read_text("utf-8") == "-r ../requirements.txt\n"
    assert "book/_ext/lab.py copies" in (ROOT / "binder" / "postBuild").read_text("utf-8")
