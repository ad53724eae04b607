"""The tool that stores outputs: same bytes twice, errors stop it, nothing of the machine gets in."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import store
from test_shape import cell, good, output, png


def notebook_file(folder, *sources, tags=()):
    """A notebook that never ran, without cell ids, as an author may write it."""
    cells = [
        {
            "cell_type": "code",
            "source": source,
            "metadata": {"tags": list(tags), "trusted": True},
            "outputs": [],
            "execution_count": None,
        }
        for source in sources
    ]
    path = folder / "chapter.ipynb"
    path.write_text(
        store.write(
            nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
        ),
        "utf-8",
    )
    return path


def run(path, *options):
    tool = Path(store.__file__)
    return subprocess.run(
        [sys.executable, tool, *options, path], capture_output=True, text=True, timeout=100
    )


def test_two_runs_give_the_same_bytes_and_check_agrees(tmp_path):
    path = notebook_file(
        tmp_path,
        "import sys, warnings\nprint(object())\nprint('aside', file=sys.stderr)\nwarnings.warn('careful')\nprint(2.5)",
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nplt.show()",
        "from myst_nb import glue\nglue('name', 7, display=False)",
    )
    assert run(path).returncode == 0
    first = path.read_bytes()
    assert run(path).returncode == 0
    assert path.read_bytes() == first
    assert run(path, "--check").returncode == 0

    notebook = nbformat.reads(first.decode(), as_version=4)
    nbformat.validate(notebook)
    printed, figure, glued = notebook.cells
    assert [c.execution_count for c in notebook.cells] == [1, 2, 3]
    assert [c.id for c in notebook.cells] == ["cell-000", "cell-001", "cell-002"]
    assert [o.text for o in printed.outputs] == [
        "<object object at 0x…>\n2.5\n",
        "aside\n<cell>:4: UserWarning: careful\n  warnings.warn('careful')\n",
    ]
    assert "image/png" in figure.outputs[0].data
    assert glued.outputs[0].metadata.scrapbook.name == "name"
    assert glued.outputs[0].data == {"application/papermill.record/text/plain": "7"}

    spoiled = first.decode().replace("2.5\\n", "2.6\\n")
    path.write_text(spoiled, "utf-8")
    changed = run(path, "--check")
    assert path.read_text("utf-8") == spoiled
    assert changed.returncode == 1 and '+      "2.5\\n"' in changed.stdout


@pytest.mark.parametrize(
    "source, words", [("1 / 0", "ZeroDivisionError"), ("import os; os._exit(1)", "Kernel died")]
)
def test_a_cell_that_stops_is_named_and_the_file_stays(tmp_path, source, words):
    path = notebook_file(tmp_path, "x = 1", source, "y = 2")
    before = path.read_bytes()
    result = run(path)
    assert result.returncode == 1
    assert f"{path}: Cell 1 stopped:" in result.stderr and words in result.stderr
    assert path.read_bytes() == before


def test_an_expected_error_is_stored_without_paths_and_colours(tmp_path):
    path = notebook_file(
        tmp_path, "import numpy as np\nnp.linalg.inv(np.zeros((2, 2)))", tags=["raises-exception"]
    )
    assert run(path).returncode == 0
    error = store.read(path.read_text("utf-8")).cells[0].outputs[0]
    trace = "\n".join(error.traceback)
    assert error.ename == "LinAlgError"
    assert "----> 2 np.linalg.inv" in trace and "File numpy/linalg/_linalg.py, in inv(a)\n" in trace
    assert "\x1b" not in trace and sys.prefix not in trace


@pytest.mark.parametrize(
    "said, cleaned",
    [
        ("File /home/a b/trä in/lib/trainlab/checks.py:3, in f", "File trainlab/checks.py:3, in f"),
        ("see '/o p/.venv/lib/python3.11/site-packages/numpy/core.py'", "see 'numpy/core.py'"),
        ("/usr/lib/python3.11/json/a.py and /usr/lib/python3.11/ast.py", "json/a.py and ast.py"),
        (
            "/my tmp/ipykernel_12/34.py:4: UserWarning: half of .venv/lib/trainlab/x",
            "<cell>:4: UserWarning: half of trainlab/x",
        ),
        ("1 / 2 of lib/trainlab/x.py", "1 / 2 of lib/trainlab/x.py"),
    ],
)
def test_no_path_of_this_machine_is_stored(said, cleaned):
    assert store.clean(said) == cleaned


def test_normal_form_is_its_own_normal_form():
    once = store.write(store.normal(good()))
    assert store.write(store.normal(store.read(once))) == once


def test_normal_form_keeps_no_timing_and_joins_streams():
    pieces = [
        output("stream", name=name, text=text)
        for name, text in [("stdout", "a"), ("stderr", "w"), ("stdout", "b")]
    ]
    messy = nbformat.v4.new_notebook(
        cells=[cell(0, "f()", *pieces, execution={"shell": "now"}, tags=["hide-input"])]
    )
    messy.metadata.widgets = {"state": {}}
    result = store.normal(messy)
    assert result.cells[0].metadata == {"tags": ["hide-input"]}
    assert [(o.name, o.text) for o in result.cells[0].outputs] == [
        ("stdout", "ab"),
        ("stderr", "w"),
    ]
    assert result.metadata == store.KERNEL


@pytest.mark.parametrize("colour, kept", [("white", True), ("black", False)])
def test_a_picture_keeps_its_bytes_only_while_its_pixels_are_equal(colour, kept):
    def notebook(picture):
        return nbformat.v4.new_notebook(
            cells=[cell(0, "plt.show()", output("display_data", data={"image/png": picture}))]
        )

    stored, now = png("white", compress_level=0), png(colour, compress_level=9)
    assert stored != now
    new = notebook(now)
    store.keep_equal_pictures(new, notebook(stored))
    assert new.cells[0].outputs[0].data["image/png"] == (stored if kept else now)


def test_a_picture_is_stored_in_a_palette_once():
    shades = Image.linear_gradient("L").resize((600, 300))
    picture = Image.merge(
        "RGBA", [shades, shades.rotate(180), shades, Image.new("L", shades.size, 255)]
    )
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    stored = store.small(base64.b64encode(buffer.getvalue()).decode())
    mode, size, _ = store.pixels(stored)
    assert (mode, size) == ("P", (600, 300)) and len(base64.b64decode(stored)) < len(
        buffer.getvalue()
    )
    assert store.small(stored) == stored
    now = np.asarray(Image.open(io.BytesIO(base64.b64decode(stored))).convert("RGB"), int)
    assert np.abs(now - np.asarray(picture.convert("RGB"), int)).max() <= 8


def test_what_is_transparent_becomes_paper():
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 3), (0, 0, 0, 0)).save(buffer, "png")
    stored = store.small(base64.b64encode(buffer.getvalue()).decode())
    assert Image.open(io.BytesIO(base64.b64decode(stored))).convert("RGB").getpixel((0, 0)) == (
        255,
        255,
        255,
    )
