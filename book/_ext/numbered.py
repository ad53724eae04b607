"""The pictures of a chapter have numbers, and links of their own that stay when a picture is added."""

import json
from pathlib import Path

from docutils import nodes


def number(app, doctree):
    page = app.env.docname
    if not page.startswith("chapters/"):
        return
    cells = json.loads(Path(app.env.doc2path(page)).read_text("utf-8"))["cells"]
    count = 0
    for cell in doctree.findall(nodes.container):
        if "cell_output" not in cell["classes"] or not any(cell.findall(nodes.image)):
            continue
        count += 1
        name = f"figure-{cells[cell.parent['cell_index']]['id']}"
        cell["ids"].append(name)
        link = nodes.reference("", f"Figure {count}", refid=name)
        # Below the last picture, and above what was printed after it.
        last = max(at for at, child in enumerate(cell.children) if any(child.findall(nodes.image)))
        cell.insert(last + 1, nodes.paragraph("", "", link, classes=["figure-number"]))


def setup(app):
    app.connect("doctree-read", number)
    return {"parallel_read_safe": True}
