"""The book as one page, and that page as a PDF: `python book/_ext/paper.py PAGE.html BOOK.pdf` prints it with headless Chromium.

Nodes of MyST-NB and of others know how to be written as HTML, but not under the names of the other builders that write it.
"""

import os
import shutil
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FOOT = '<div style="font-size: 8px; width: 100%; text-align: center"><span class="pageNumber"></span></div>'


def share_handlers(app, config):
    handlers = app.registry.translation_handlers
    for name in ("singlehtml", "epub"):
        handlers[name] = {**handlers.get("html", {}), **handlers.get(name, {})}


def print_page(source, target):
    from playwright.sync_api import sync_playwright

    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("no Chromium found: install it, or name it in the variable CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page()
        tab.set_default_timeout(600_000)
        tab.goto(Path(source).resolve().as_uri())
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        tab.pdf(
            path=target,
            format="A4",
            margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOT,
            print_background=True,
            tagged=True,
            outline=True,
        )
        chromium.close()


def setup(app):
    app.connect("config-inited", share_handlers, priority=900)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    print_page(*sys.argv[1:])
