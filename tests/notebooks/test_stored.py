"""The chapters as they are stored, before any of them is run."""

import os
from pathlib import Path

import pytest
import yaml

import shape

ROOT = Path(__file__).parents[2]
ALL = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob("chapters/**/*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
CHOSEN = os.environ.get("NOTEBOOKS", "").split() or ALL


@pytest.mark.parametrize("name", CHOSEN)
def test_chapter_is_stored_as_it_should_be(name):
    assert shape.complaints((ROOT / name).read_text("utf-8")) == [], name


def test_table_of_contents_lists_every_chapter_once():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    assert sorted(file + ".ipynb" for file in files if file.startswith("chapters/")) == ALL
