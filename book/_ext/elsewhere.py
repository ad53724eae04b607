"""Where else a page leads, once `repository: url` in _config.yml has an address at GitHub: to Colab, Binder, an editor and a report.

Without an address no page points to any of these. `python book/_ext/elsewhere.py FOLDER [VERSION]` writes the notebooks that Colab opens:
their first cell installs the library from that address.
"""

import re
import shutil
import sys
import tomllib
from html import unescape
from pathlib import Path
from urllib.parse import quote

import yaml
from sphinx.errors import ExtensionError

import lab
import lite

PRESENT = {"numpy", "scipy", "matplotlib"}  # what Colab has loaded before the first cell
COLAB = """# In Colab: the library, and the files that this chapter reads.
!git clone --quiet --depth 1 --branch {version} {repository} /content/book
%pip install --quiet "/content/book[all]" {packages}
%cd -q /content/book/{folder}"""


def place(address):
    """The owner and the name of a repository at GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)/?", address)
    if not found:
        raise ExtensionError(
            f"repository: url must be https://github.com/OWNER/NAME, not {address}"
        )
    return found.groups()


def top(repository, branch, page):
    """What stands below the title of a chapter."""
    where = "/".join(place(repository))
    return (
        '<p class="elsewhere" data-pagefind-ignore>On a server: '
        f'<a href="https://colab.research.google.com/github/{where}/blob/colab/{page}.ipynb">open in Colab</a> '
        f'or <a href="https://mybinder.org/v2/gh/{where}/{branch}?urlpath=lab/tree/copies/{page}.ipynb">open in Binder</a></p>'
    )


def bottom(repository, branch, page, suffix, title):
    """What stands at the end of every page."""
    where = f"https://github.com/{'/'.join(place(repository))}"
    subject = quote(f"{title} ({page})", safe="")
    body = quote("The sentence:\n\nWhat I saw instead:\n", safe="")
    return (
        f'<p class="elsewhere" data-pagefind-ignore><a href="{where}/edit/{branch}/{page}{suffix}">Edit this page</a> '
        f'<a href="{where}/issues/new?title={subject}&amp;body={body}">Report a mistake</a></p>'
    )


def address(config):
    options = config.html_theme_options
    return options.get("repository_url", ""), options.get("repository_branch") or "main"


def base(app, config):
    """The site's own address, from which canonical addresses, previews and the site's map are made: GitHub's, if none is given."""
    if (repository := address(config)[0]) and not config.html_baseurl:
        owner, name = place(repository)
        config.html_baseurl = f"https://{owner.lower()}.github.io/{name}/"


def lead(app, page, template, context, doctree):
    repository, branch = address(app.config)
    if not repository or doctree is None:
        return
    title = unescape(re.sub("<[^>]+>", "", context.get("title", "")))
    suffix = Path(app.env.doc2path(page)).suffix
    body = context["body"]
    if page.startswith("chapters/"):
        body = body.replace("</h1>", f"</h1>\n{top(repository, branch, page)}", 1)
    context["body"] = body + bottom(repository, branch, page, suffix, title)


def for_colab(page, book, repository, version):
    """The copy of a chapter whose first cell makes the library importable in Colab."""
    notebook = lab.copied(page, book)
    pinned = tomllib.loads((book.root / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    pins = {re.match(r"[\w-]+", pin)[0]: pin.partition(";")[0] for pin in pinned["book"]}
    names = {lite.normal(name) for name in lite.imports(notebook)} & pins.keys() - PRESENT
    names |= {"myst-nb", "scikit-learn"} | (
        {"ipyparallel", "mpich"} if "mpi4py" in names else set()
    )
    source = COLAB.format(
        version=version,
        repository=repository,
        packages=" ".join(pins[name] for name in sorted(names)),
        folder=Path(page).parent.as_posix(),
    )
    cell = {
        "cell_type": "code",
        "id": "in-colab",
        "metadata": {},
        "source": source.splitlines(True),
    }
    return notebook | {
        "cells": [{**cell, "outputs": [], "execution_count": None}, *notebook["cells"]]
    }


def main(folder, version=None):
    book = lab.Book()
    about = yaml.safe_load((book.root / "_config.yml").read_text("utf-8"))["repository"]
    if not about["url"]:
        raise SystemExit("Colab needs an address: repository: url in _config.yml")
    shutil.rmtree(folder, ignore_errors=True)
    for page in lab.chapters(book.root):
        target = Path(folder, f"{page}.ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = for_colab(page, book, about["url"], version or about["branch"])
        target.write_text(lab.written(notebook), "utf-8")


def setup(app):
    app.connect("config-inited", base)
    app.connect("html-page-context", lead)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    main(*sys.argv[1:])
