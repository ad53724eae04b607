"""What the site needs beyond its theme: a picture from a notebook, and repairs for screen readers."""

import base64
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

FRONT_PAGE = "chapters/02_concepts/learning_rate_decay.ipynb"
OPEN_LINES = 16
CHECKS = re.compile(r"\b(evidence\.confirm|glue)\(")


def take_front_picture(app):
    """Write the figure of the cell tagged "front-page" to the file that index.md and README.md show.

    MyST-NB can glue numbers into another page, but a figure only as an output that the tests
    would compare byte by byte.
    """
    source = Path(app.srcdir)
    cells = json.loads((source / FRONT_PAGE).read_text("utf-8"))["cells"]
    outputs = [
        output
        for cell in cells
        if "front-page" in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
    ]
    pictures = [
        output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})
    ]
    if len(pictures) != 1:
        raise ExtensionError(
            f"{FRONT_PAGE} must have one picture in cells tagged front-page, found {len(pictures)}"
        )
    picture = base64.b64decode("".join(pictures[0]))
    target = source / "book" / "_static" / "front-page.png"
    if not target.exists() or target.read_bytes() != picture:
        target.write_bytes(picture)


def mend_body(app, pagename, templatename, context, doctree):
    """Repair what the page's extensions tell screen readers: roles of a bibliography, labels that hide the words."""
    if "body" in context:
        context["body"] = (
            context["body"]
            .replace('role="doc-biblioentry"', 'role="listitem"')
            .replace('<summary aria-label="Toggle hidden content">', "<summary>")
        )


class FoldLongCode(SphinxPostTransform):
    """Fold in the code that a reader can do without: all but a dozen lines or so, and every check. Its outputs stay."""

    default_priority = 198  # before MyST-NB folds what is marked
    formats = ("html",)

    def run(self, **kwargs):
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") != "cell_code" or not cell.children:
                continue
            source = cell.children[0]
            if source.get("nb_element") != "cell_code_source":
                continue
            code = source.astext()
            lines = sum(bool(line.strip()) for line in code.splitlines())
            if not cell.get("hide_mode") and (lines > OPEN_LINES or CHECKS.search(code)):
                cell["hide_mode"] = "input"
            cell["prompt_show"] = f"Show the code: {lines} line{'s' * (lines > 1)}"
            cell["prompt_hide"] = "Hide the code"


def setup(app):
    app.connect("builder-inited", take_front_picture)
    app.connect("html-page-context", mend_body)
    app.add_post_transform(FoldLongCode)
    return {"parallel_read_safe": True}
