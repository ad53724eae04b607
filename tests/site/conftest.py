import os
import shutil
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
IGNORED = {"genindex.html", "search.html", "py-modindex.html"}


def built_pages():
    return sorted(
        path
        for path in SITE.rglob("*.html")
        if path.name not in IGNORED and not {"_static", "lite"} & set(path.parts)
    )


@pytest.fixture(scope="session")
def site():
    assert (SITE / "index.html").exists(), "the site is not built: run make book first"
    return SITE


@pytest.fixture(scope="session")
def browser():
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "no Chromium found: install it, or name it in the variable CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Scroll bars as on a desk: one that a page has without need is seen.
        browser = playwright.chromium.launch(
            executable_path=path, args=FLAGS, ignore_default_args=["--hide-scrollbars"]
        )
        yield browser
        browser.close()


def pytest_generate_tests(metafunc):
    if "page" in metafunc.fixturenames:
        pages = built_pages()
        assert pages, "the site is not built: run make book first"
        metafunc.parametrize("page", pages, ids=[str(path.relative_to(SITE)) for path in pages])
