"""What the site needs beyond its theme: a picture from a notebook, and repairs for screen readers."""

import base64
import json
from pathlib import Path

from sphinx.errors import ExtensionError

FRONT_PAGE = "chapters/02_concepts/learning_rate_decay.ipynb"


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


def drop_icon_script(app, error):
    """Empty the theme's icon script, 1.5 MB on every page: the icons come from its font."""
    if error is None and app.builder.format == "html":
        Path(app.outdir, "_static", "scripts", "fontawesome.js").write_text("")


def setup(app):
    app.connect("builder-inited", take_front_picture)
    app.connect("html-page-context", mend_body)
    app.connect("build-finished", drop_icon_script)
    return {"parallel_read_safe": True}
