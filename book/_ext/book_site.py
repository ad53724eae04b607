"""What the site needs beyond its theme: a picture from a notebook, and repairs for screen readers."""

import base64
import json
from pathlib import Path

FRONT_PAGE = "chapters/02_concepts/learning_rate_decay.ipynb"


def take_front_picture(app):
    """Write the figure of the cell tagged "front-page" to the file that index.md and README.md show.

    MyST-NB can glue numbers into another page, but a figure only as an output that the tests
    would compare byte by byte.
    """
    source = Path(app.srcdir)
    for cell in json.loads((source / FRONT_PAGE).read_text("utf-8"))["cells"]:
        if "front-page" in cell["metadata"].get("tags", []):
            pictures = [output["data"]["image/png"] for output in cell["outputs"] if "image/png" in output.get("data", {})]
            picture = base64.b64decode("".join(pictures[0]))
            target = source / "book" / "_static" / "front-page.png"
            if not target.exists() or target.read_bytes() != picture:
                target.write_bytes(picture)


def mend_roles(app, pagename, templatename, context, doctree):
    """Give the entries of a bibliography the role that their list asks for."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    app.connect("builder-inited", take_front_picture)
    app.connect("html-page-context", mend_roles)
    return {"parallel_read_safe": True}
