"""How pages are found: an index for the search, a description and a preview of each page, a map of the site, a page for wrong addresses.

The search page takes Pagefind's index where there is a server; opened as a file, it takes Sphinx's own.
"""

import html
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes

UNSEARCHED = "annotation, .cell_input, .cell_output, .headerlink, script, .play svg, .play output"
OWN_SEARCH = re.compile(
    r'[ \t]*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>\n?'
)
LOST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>No such page</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 1.1rem/1.5 sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }} a {{ color: inherit }}</style></head>
<body><main><h1>There is no page here</h1><p>Its name may have changed. <a href="{home}">Here is the book's first page</a>, with all chapters and a search.</p></main></body></html>
"""


def describe(app, pagename, templatename, context, doctree):
    """Give the page a description, its first sentences, and what other sites show of it."""
    if doctree is None:
        return
    words = ""
    paragraphs = list(doctree.findall(nodes.paragraph))
    plain = [each for each in paragraphs if isinstance(each.parent, nodes.section)]
    for paragraph in plain or paragraphs:
        words = f"{words} {paragraph.astext()}".strip()
        if len(words) > 60:
            break
    words = re.sub(r"\s+", " ", words) or app.config.html_title
    words = words if len(words) <= 200 else words[:200].rsplit(" ", 1)[0] + " …"
    title = re.sub("<[^>]+>", "", context.get("title", "")) or app.config.html_title
    about = {"og:type": "article", "og:title": html.unescape(title), "og:description": words}
    if app.config.html_baseurl:
        base = app.config.html_baseurl.rstrip("/")
        about |= {"og:url": f"{base}/{pagename}.html", "og:image": f"{base}/_static/front-page.png"}
    tags = [f'<meta name="description" content="{html.escape(words)}" />']
    tags += [
        f'<meta property="{name}" content="{html.escape(said)}" />' for name, said in about.items()
    ]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags) + "\n"


def index(app, error):
    if error or app.builder.name != "html":
        return
    out, base = Path(app.outdir), app.config.html_baseurl
    search = out / "search.html"
    page = search.read_text("utf-8")
    if "search.js" not in page:
        page, after = OWN_SEARCH.sub("", page).rsplit("</body>", 1)
        search.write_text(
            f'{page}<script src="_static/search.js"></script>\n</body>{after}', "utf-8"
        )
    (out / "404.html").write_text(LOST.format(home=base or "index.html"), "utf-8")
    if base:
        pages = sorted(f"{name}.html" for name in app.env.found_docs)
        places = "".join(
            f"<url><loc>{html.escape(base.rstrip('/') + '/' + name)}</loc></url>\n"
            for name in pages
        )
        (out / "sitemap.xml").write_text(
            f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{places}</urlset>\n'
        )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pagefind",
            "--site",
            str(out),
            "--glob",
            "{*.html,book/**/*.html,chapters/**/*.html}",
            "--root-selector",
            "article",
            "--exclude-selectors",
            UNSEARCHED,
            "--quiet",
        ],
        check=True,
    )


def setup(app):
    app.connect("html-page-context", describe)
    app.connect("build-finished", index, priority=950)
    return {"parallel_read_safe": True}
