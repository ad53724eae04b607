"""What the site needs beyond its theme: a picture from a notebook, and repairs for screen readers."""

import base64
import json
from pathlib import Path

FRONT_PAGE = "chapters/02_concepts/learning_rate_decay.ipynb"


def take_front_picture(app):
    """Write the figure of the cell tagged "front-page" to a file that index.md can show.

    MyST-NB can glue numbers into another page, but a figure only as an output that the tests
    would compare byte by byte.
    """
    source = Path(app.srcdir)
    for cell in json.loads((source / FRONT_PAGE).read_text("utf-8"))["cells"]:
        if "front-page" in cell["metadata"].get("tags", []):
            pictures = [output["data"]["image/png"] for output in cell["outputs"] if "image/png" in output.get("data", {})]
            target = source / "_build" / "front-page.png"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(base64.b64decode("".join(pictures[0])))


def mend_roles(app, pagename, templatename, context, doctree):
    """Give the entries of a bibliography the role that their list asks for."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    app.connect("builder-inited", take_front_picture)
    app.connect("html-page-context", mend_roles)
    return {"parallel_read_safe": True}
