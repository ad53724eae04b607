"""Make slides of the lectures in assignments/slides, with the figures that the chapters store.

A lecture is Markdown; `---` begins a new slide, and `{figure chapters/x.ipynb 2}` is the second figure of a chapter. The page needs no network.
"""

import html
import re
import sys
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
STYLE = """
html { scroll-snap-type: y mandatory; font: 2.6vmin/1.5 system-ui, sans-serif; color: #111; background: #fff; }
body { margin: 0; } section { box-sizing: border-box; min-height: 100vh; padding: 6vmin 9vmin;
scroll-snap-align: start; display: flex; flex-direction: column; justify-content: center; page-break-after: always; }
h1 { font-size: 2em; } h2 { font-size: 1.5em; margin: 0 0 .6em; } img { max-width: 100%; max-height: 62vh; margin: auto; }
code { font-size: .95em; } table { border-collapse: collapse; } td, th { padding: .2em 1em; border-bottom: 1px solid #999; text-align: left; }
"""


def figures(path):
    """Return the stored pictures of a chapter, with their descriptions, in order."""
    found = []
    for cell in nbformat.read(ROOT / path, as_version=4).cells:
        image = cell.metadata.get("mystnb", {}).get("image", {})
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                found.append((output["data"]["image/png"].replace("\n", ""), image.get("alt", "")))
    return found


def page(text):
    """Return the slides of a lecture as one HTML page."""

    def picture(match):
        data, alt = figures(match[1])[int(match[2]) - 1]
        return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'

    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    slides = [markdown.render(part) for part in re.split(r"(?m)^---$", text)]
    body = "".join(f"<section>{slide}</section>\n" for slide in slides)
    body = re.sub(r"\{figure ([\w/.]+) (\d+)\}", picture, body)
    title = re.search(r"(?m)^# (.+)$", text)[1]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><main>{body}</main></html>'
    )


def main():
    folder = ROOT / "_build" / "slides"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "assignments" / "slides").glob("*.md")):
        made = folder / f"{path.stem}.html"
        made.write_text(page(path.read_text("utf-8")), "utf-8")
        print(f"Slides: {made}")


if __name__ == "__main__":
    sys.exit(main())
