"""Execute notebooks and store them in a normal form: the same bytes on every run.

    python tests/notebooks/store.py NOTEBOOK...            store new outputs
    python tests/notebooks/store.py --check NOTEBOOK...    only show what would change

Call it through `make notebooks`, which fixes threads, hashing, width and time zone.
"""

import argparse
import base64
import difflib
import io
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbclient
import nbformat
from nbval.plugin import get_sanitize_patterns
from PIL import Image
from traitlets.config import Config

from kernels import own_files

CELL_METADATA = {"tags", "mystnb"}
OUTPUT_METADATA = {"scrapbook"}  # the names that glue gives
NOTEBOOK_METADATA = {"mystnb", "myst"}
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
# Of a frame outside the notebook its name is kept. Its lines would change with every edit of that
# file.
FRAME = re.compile(r"^File (.+?):\d+, (in .+)\n[\s\S]*", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
RULES = get_sanitize_patterns(Path(__file__).with_name("sanitize.cfg").read_text("utf-8"))


def read(text):
    """The notebook in `text`. nbformat's own reader would invent random ids for cells without one."""
    return nbformat.v4.reads(text)


def write(notebook):
    return nbformat.v4.writes(notebook) + "\n"


def clean(text):
    text = COLOUR.sub("", text)
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return text


def small(png):
    """The picture in a palette of 128 colours, a third of its bytes. One that has a palette stays as it is."""
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    if image.mode == "P":
        return png
    paper = Image.new("RGBA", image.size, "white")
    drawn = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    buffer = io.BytesIO()
    drawn.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "png", optimize=True
    )
    return base64.b64encode(buffer.getvalue()).decode()


def keep(metadata, names):
    return {name: value for name, value in metadata.items() if name in names and value}


def normal_outputs(outputs, count):
    """The outputs of a cell: one stdout and one stderr between two displays, no machine's paths."""
    result, streams = [], {}
    for output in outputs:
        if output.output_type == "stream":
            streams[output.name] = streams.get(output.name, "") + output.text
            continue
        result += [
            nbformat.v4.new_output("stream", name=name, text=clean(streams[name]))
            for name in sorted(streams, reverse=True)
        ]
        streams = {}
        if output.output_type == "error":
            trace = [FRAME.sub(r"File \1, \2\n", clean(frame)) for frame in output.traceback]
            output = nbformat.v4.new_output(
                "error", ename=output.ename, evalue=clean(output.evalue), traceback=trace
            )
        else:
            data = {
                mime: clean(value) if "text/" in mime else value
                for mime, value in output.data.items()
            }
            data |= {mime: small(value) for mime, value in data.items() if mime == "image/png"}
            output = nbformat.v4.new_output(
                output.output_type, data=data, metadata=keep(output.metadata, OUTPUT_METADATA)
            )
            if output.output_type == "execute_result":
                output.execution_count = count
        result.append(output)
    return result + [
        nbformat.v4.new_output("stream", name=name, text=clean(streams[name]))
        for name in sorted(streams, reverse=True)
    ]


def normal(notebook):
    """Return `notebook` in normal form. Counts are left alone: a cell that never ran must stay visible."""
    cells, ids = [], set()
    for position, cell in enumerate(notebook.cells):
        cell = nbformat.from_dict({**cell, "metadata": keep(cell.metadata, CELL_METADATA)})
        if not cell.get("id") or cell.id in ids:
            cell.id = f"cell-{position:03d}"
        ids.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = normal_outputs(cell.outputs, cell.execution_count)
        cells.append(cell)
    metadata = {**keep(notebook.metadata, NOTEBOOK_METADATA), **KERNEL}
    return nbformat.from_dict(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


def pixels(png):
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    return image.mode, image.size, image.tobytes()


def keep_equal_pictures(new, old):
    """Two PNG encoders may write the same picture in different bytes; then the stored bytes stay."""
    for now, before in zip(new.cells, old.cells):
        for output, stored in zip(now.get("outputs", []), before.get("outputs", [])):
            png, stored_png = (o.get("data", {}).get("image/png") for o in (output, stored))
            if png and stored_png and png != stored_png and pixels(png) == pixels(stored_png):
                output.data["image/png"] = stored_png


def execute(notebook, folder):
    """Run `notebook` in place, or raise RuntimeError naming the cell that stopped it."""
    started = []
    client = nbclient.NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=120,
        record_timing=False,
        config=Config(KernelManager=own_files()),
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
    )
    try:
        client.execute()
    except (nbclient.exceptions.CellControlSignal, nbclient.exceptions.DeadKernelError) as error:
        before = [cell.cell_type for cell in notebook.cells[: started[-1]]]
        raise RuntimeError(f"Cell {before.count('code')} stopped: {clean(str(error))}") from error


def refresh(path, check=False):
    """Execute the notebook at `path` and store it. Return whether all is well."""
    begin = time.perf_counter()
    text = path.read_text("utf-8")
    notebook = read(text)
    try:
        execute(notebook, path.parent)
    except RuntimeError as error:
        print(f"{path}: {error}\n{path}: left as it was", file=sys.stderr, flush=True)
        return False
    notebook = normal(notebook)
    keep_equal_pictures(notebook, read(text))
    new, verdict = write(notebook), "unchanged"
    if new != text:
        verdict = "would change" if check else "stored"
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    text.splitlines(True), new.splitlines(True), f"{path} (stored)", f"{path} (now)"
                )
            )
        else:
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(new, "utf-8")
            unfinished.replace(path)
    print(f"{path}: {verdict}, {time.perf_counter() - begin:.1f} s", flush=True)
    return verdict != "would change"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="store nothing; exit 1 if a notebook would change"
    )
    options = parser.parse_args()
    for path in options.notebooks:
        if not path.is_file():
            parser.error(f"no notebook at {path}")
    with ThreadPoolExecutor(2) as pool:
        return (
            0
            if all(list(pool.map(lambda path: refresh(path, options.check), options.notebooks)))
            else 1
        )


if __name__ == "__main__":
    sys.exit(main())
