from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"
IGNORED = {"genindex.html", "search.html", "py-modindex.html"}


def built_pages():
    return sorted(
        path
        for path in SITE.rglob("*.html")
        if path.name not in IGNORED and "_static" not in path.parts
    )


@pytest.fixture(scope="session")
def site():
    assert (SITE / "index.html").exists(), "the site is not built: run make book first"
    return SITE


def pytest_generate_tests(metafunc):
    if "page" in metafunc.fixturenames:
        pages = built_pages()
        assert pages, "the site is not built: run make book first"
        metafunc.parametrize("page", pages, ids=[str(path.relative_to(SITE)) for path in pages])
