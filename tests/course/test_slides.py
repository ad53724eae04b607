"""The slides show the chapters' own figures, and ask for nothing outside."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "assignments" / "course"))
import slides

LECTURES = sorted((ROOT / "assignments" / "slides").glob("*.md"))


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_slides(path):
    page = slides.page(path.read_text("utf-8"))
    assert page.count("<section>") >= 7
    assert "{figure" not in page and page.count("data:image/png") >= 2
    assert all(len(alt) >= 40 for alt in re.findall(r'alt="([^"]*)"', page))
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_there_are_two_lectures():
    assert len(LECTURES) == 2
