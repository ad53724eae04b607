"""The book as one file: a PDF, printed by Chromium, or an EPUB.

    python book/_ext/take_along.py _build/trainlab-book.pdf
    python book/_ext/take_along.py _build/trainlab-book.epub

Both are made from the pages of the built site, in the order of the table of contents, as they are read there: long code is left
out, and a figure to play with is its first picture with its words. What else is folded is folded in the EPUB too; paper shows it,
but leaves out the solutions.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import uuid
import zipfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pikepdf
import tinyhtml5
import yaml
from matplotlib.figure import Figure
from matplotlib.image import imread
from pygments.formatters import HtmlFormatter

from trainlab import __version__

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--generate-pdf-document-outline", "--no-pdf-header-footer"]
FACES = {  # of Matplotlib, so that every machine prints the same
    "STIXGeneral": "Book",
    "STIXGeneralItalic": "Book; font-style: italic",
    "STIXGeneralBol": "Book; font-weight: bold",
    "STIXGeneralBolIta": "Book; font-style: italic; font-weight: bold",
    "DejaVuSansMono": "Code",
    "DejaVuSansMono-Oblique": "Code; font-style: italic",
    "DejaVuSansMono-Bold": "Code; font-weight: bold",
}
ABOUT = "A textbook whose every claim is followed by an experiment that checks it."
RIGHTS = "Text and figures: CC BY 4.0. Code: BSD-3-Clause."
ELSEWHERE = "Long code is left out here, and so are knobs and buttons: the website has them."
UNSOLVED = "It has the solutions of the exercises, too."
SPACES = {"math": "http://www.w3.org/1998/Math/MathML", "svg": "http://www.w3.org/2000/svg"}
FOLDED_CODE = re.compile(r'<details class="[^"]*\bhide\b.*?</details>|<script.*?</script>', re.DOTALL)  # fmt: skip
LEFT_OUT = {"run-here", "elsewhere", "headerlink", "play-controls", "sd-summary-state-marker"}
NOT_KEPT = re.compile("data-|tabindex|loading|decoding|version")


class Book:
    """The chapters as trees, ready for XML, or only some of them; those for `paper` are parts of one page."""

    def __init__(self, paper, only=None):
        self.paper = paper
        config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
        self.title, self.author = config["title"], config["author"]
        toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
        self.parts = [
            (part["caption"], [chapter["file"] for chapter in part["chapters"]])
            for part in toc["parts"]
        ]
        self.parts[0][1].insert(0, toc["root"])
        if only:
            kept = [(part, [name for name in names if name in only]) for part, names in self.parts]
            self.parts = [part for part in kept if part[1]]
        names = [name for _, part in self.parts for name in part]
        self.chapters = {name: article(name) for name in names}
        if toc["root"] in names:
            self.chapters[toc["root"]].find(".//h1").text = "At a glance"
        for tree in self.chapters.values():
            self.prune(tree)
        self.titles = {name: text(tree.find(".//h1")) for name, tree in self.chapters.items()}
        self.ids = {n: {each.get("id") for each in t.iter()} for n, t in self.chapters.items()}
        for name, tree in self.chapters.items():
            for node in tree.iter():
                self.mend(node, name)

    def prune(self, node):
        """Leave out what a screen needs and a book does not, and unfold for paper what it may show."""
        for child in reversed(node):
            classes = set((child.get("class") or "").split())
            solution = "solution" in classes
            drop = not isinstance(child.tag, str) or child.tag == "annotation" or classes & LEFT_OUT
            drop = drop or "data-zh" in child.attrib or child.get("id") == "contents"
            if drop or (solution and self.paper):
                remove(node, child)
                continue
            self.prune(child)
            empty = child.tag == "p" or "cell" in classes
            if empty and not text(child).strip() and child.find(".//img") is None:
                remove(node, child)
            elif solution:
                child.tag, child[0].tag = "details", "summary"
            elif child.tag == "details" and self.paper:
                child.tag, child[0].tag = "div", "p"
                child.set("class", "unfolded")
                child[0].set("class", "unfolded-title")
                if re.match(
                    r"\d", text(child[0])
                ):  # "5 more" of a table, which stand in the chapter
                    child[1:] = []

    def mend(self, node, name):
        """Lead the links to their places in the book, and the headings to theirs."""
        for key in filter(NOT_KEPT.match, list(node.attrib)):
            del node.attrib[key]
        if heading := re.fullmatch("h([1-5])", node.tag):
            node.set("class", node.tag)
            node.tag = f"h{int(heading[1]) + self.paper}"  # on paper, the parts are the first level
        if node.get("id") and self.paper:
            node.set("id", place(name, node.get("id")))
        if link := node.attrib.pop("href", None):
            if address := self.address(name, link):
                node.set("href", address)
            elif node.tag == "a":
                node.tag = "span"
        if node.tag == "img":
            node.set("src", f"images/{Path(node.get('src')).name}")

    def address(self, name, link):
        """Where a link of a chapter leads, or nothing where the book has no such place."""
        if urlsplit(link).scheme:
            return link.replace("<", "%3C").replace(">", "%3E")
        parts = urlsplit(urljoin(f"/{name}.html", link))
        target, fragment = unquote(parts.path)[1:].removesuffix(".html"), unquote(parts.fragment)
        if target not in self.chapters:
            return None
        fragment = fragment if fragment in self.ids[target] else ""
        if self.paper:
            return f"#{place(target, fragment)}"
        return f"{place(target)}.xhtml{'#' if fragment else ''}{fragment}"

    def files(self):
        """Pictures and the style of the formulas: where they are, by the names that they get."""
        found = [*(SITE / "_images").glob("*.png"), SITE / "_static" / "front-page.png"]
        pictures = {f"images/{path.name}": path for path in found}
        used = {image.get("src") for tree in self.chapters.values() for image in tree.iter("img")}
        files = {name: pictures[name] for name in sorted(used)}
        return {"formulas.css": SITE / "_static" / "formulas.css"} | files

    def contents(self, numbers=None):
        """The table of contents as a list of parts, each with a list of its chapters."""
        parts = []
        for part, names in self.parts:
            entries = []
            for name in names:
                link = f"#{place(name)}" if self.paper else f"{place(name)}.xhtml"
                number = f' data-page="{numbers.get(name, 0)}"' if self.paper else ""
                entries.append(f'<li><a href="{link}"{number}>{escape(self.titles[name])}</a></li>')
            parts.append(f"<li><span>{escape(part)}</span><ol>{''.join(entries)}</ol></li>")
        return f"<ol>{''.join(parts)}</ol>"

    def style(self):
        """The style of the book; for paper with fonts, and with the heads of each chapter's pages."""
        rules = [Path(__file__).with_suffix(".css").read_text("utf-8")]
        rules.append(HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight"))
        if self.paper:
            for file, face in FACES.items():
                rules.append(f"@font-face {{ src: url({file}.ttf); font-family: {face} }}")
            for part, names in self.parts:
                for name in names:
                    left, right = json.dumps(part), json.dumps(self.titles[name])
                    heads = f"@top-left {{ content: {left} }} @top-right {{ content: {right} }}"
                    rules.append(f"@page {place(name)} {{ {heads} }}")
                    rules.append(f".{place(name)} {{ page: {place(name)} }}")
        return "\n".join(rules)


def article(name):
    """The text of a page of the site, as a tree of elements without name spaces."""
    html = (SITE / f"{name}.html").read_text("utf-8")
    html = FOLDED_CODE.sub("", re.search(r"<article.*?</article>", html, re.DOTALL)[0])
    tree = tinyhtml5.parse(html, namespace_html_elements=False).find(".//article")
    for node in list(tree.iter()):
        if isinstance(node.tag, str):
            node.tag = node.tag.split("}")[-1]
            node.attrib.pop("{http://www.w3.org/2000/xmlns/}xmlns", None)
            if node.tag in SPACES:
                node.set("xmlns", SPACES[node.tag])
            older_style(node)
    tree.tag = "div"
    return tree


def older_style(node):
    """Say the style of a part of a formula as MathML 3 does, which EPUB demands: by an element around it."""
    keys = {"mstyle": [], "math": [], "mtable": ["scriptlevel"]}
    keys = keys.get(node.tag, ["displaystyle", "scriptlevel"])
    found = {key: node.attrib.pop(key) for key in keys if key in node.attrib}
    if found:
        inner = ET.Element(node.tag, node.attrib)
        inner.text, inner[:] = node.text, node[:]
        node.tag, node.attrib, node.text, node[:] = "mstyle", found, None, [inner]


def remove(parent, child):
    """Remove a child, and keep the text behind it."""
    at = list(parent).index(child)
    if at:
        parent[at - 1].tail = (parent[at - 1].tail or "") + (child.tail or "")
    else:
        parent.text = (parent.text or "") + (child.tail or "")
    del parent[at]


def text(node):
    return "".join(node.itertext())


def place(name, fragment=""):
    """The name of a chapter, or of a thing in it, as one of the whole book."""
    return name.replace("/", "-") + (f"--{fragment}" if fragment else "")


def written(tree):
    return ET.tostring(tree, "unicode")


def page(title, body):
    return (
        '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">'
        f'<head><meta charset="utf-8"/><title>{escape(title)}</title><link rel="stylesheet" href="formulas.css"/>'
        f'<link rel="stylesheet" href="style.css"/></head><body>{body}</body></html>\n'
    )


def make_pdf(book, target, folder):
    write_paper(book, folder)
    printed(folder / "book.xhtml", folder / "book.pdf")
    with pikepdf.open(folder / "book.pdf") as pdf:
        numbers = mend_outline(pdf, book)
        # Where the chapters begin is known only now: print the contents again, and take them from there.
        (folder / "front.xhtml").write_text(page(book.title, front(book, numbers)), "utf-8")
        printed(folder / "front.xhtml", folder / "front.pdf")
        with pikepdf.open(folder / "front.pdf") as again:
            for old, new in zip(pdf.pages, again.pages):
                for part in ("/Contents", "/Resources"):
                    old.obj[part] = pdf.copy_foreign(again.make_indirect(new.obj[part]))
            pdf.docinfo["/Author"] = book.author
            pdf.Root.PageMode = pikepdf.Name.UseOutlines
            pdf.save(target, object_stream_mode=pikepdf.ObjectStreamMode.generate)
        return len(pdf.pages)


def write_paper(book, folder):
    """Write the whole book as one page for the browser, with all that it needs."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    fonts = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    files = book.files() | {f"{name}.ttf": fonts / f"{name}.ttf" for name in FACES}
    for name, path in files.items():
        shutil.copyfile(path, folder / name)
    (folder / "style.css").write_text(book.style(), "utf-8")
    body = [front(book, {})]
    for part, names in book.parts:
        for name in names:
            head = f"<h1>{escape(part)}</h1>" if name == names[0] else ""
            chapter = f'<section class="chapter {place(name)}" id="{place(name)}">'
            body.append(f"{chapter}{head}{written(book.chapters[name])}</section>")
    (folder / "book.xhtml").write_text(page(book.title, "".join(body)), "utf-8")


def front(book, numbers):
    return (
        f'<div class="title-page"><p class="book-title">{escape(book.title)}</p><img src="images/front-page.png" alt=""/>'
        f'<p>{escape(book.author)}</p><p>Version {__version__}</p><p class="colophon">{RIGHTS}<br/>{ELSEWHERE} {UNSOLVED}</p></div>'
        f'<nav class="contents"><p class="h1">Contents</p>{book.contents(numbers)}</nav>'
    )


def printed(source, target):
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        sys.exit("No Chromium found, which prints the PDF: install it, or name it in the variable CHROMIUM.")  # fmt: skip
    command = [browser, *FLAGS, f"--print-to-pdf={target}", source.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode or not target.exists():
        sys.exit(f"Chromium printed no PDF:\n{run.stderr}")


def mend_outline(pdf, book):
    """Give the outline the texts of the headings, which Chromium doubles, and say where each chapter begins."""
    titles, numbers = [], {}
    for part, names in book.parts:
        titles.append((part, None))
        for name in names:
            found = [each for each in book.chapters[name].iter() if re.match("h[2-6]", each.tag)]
            titles += [(text(each), name) for each in found]
    pages = {each.objgen: number for number, each in enumerate(pdf.pages, 1)}
    rest = iter(titles)

    def mend(items, depth):
        for item in items:
            item.title, name = next(rest)
            item.is_closed = depth > 0
            if depth == 1:
                numbers[name] = pages[item.obj.Dest[0].objgen]
            mend(item.children, depth + 1)

    with pdf.open_outline() as outline:
        mend(outline.root, 0)
    if list(rest) or list(numbers) != list(book.chapters):
        sys.exit("The outline of the PDF has not the headings of the book.")
    return numbers


def make_epub(book, target):
    title, author = escape(book.title), escape(book.author)
    pages = {"cover": page(title, f'<img src="cover.png" alt="{title}"/>')}
    contents = f'<nav epub:type="toc"><h1>Contents</h1>{book.contents()}</nav><p>{ELSEWHERE}</p><p>{RIGHTS}</p>'
    pages["contents"] = page("Contents", contents)
    for name, tree in book.chapters.items():
        pages[place(name)] = page(book.titles[name], written(tree))
    items, spine = [], []
    for name, html in pages.items():
        found = {"nav": name == "contents", "mathml": "<math" in html, "svg": "<svg" in html}
        properties = " ".join(what for what, there in found.items() if there)
        properties = f' properties="{properties}"' if properties else ""
        items.append(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"{properties}/>')  # fmt: skip
        spine.append(f'<itemref idref="{name}"/>')
    files = {name: path.read_bytes() for name, path in book.files().items()}
    files |= {"style.css": book.style(), "cover.png": cover(book)}
    for at, name in enumerate(files):
        kind = "text/css" if name.endswith(".css") else "image/png"
        properties = ' properties="cover-image"' if name == "cover.png" else ""
        items.append(f'<item id="file-{at}" href="{name}" media-type="{kind}"{properties}/>')
    moment = datetime.fromtimestamp(float(os.environ.get("SOURCE_DATE_EPOCH", time.time())), UTC)
    features = [f"accessibilityFeature {what}" for what in ("alternativeText", "MathML", "tableOfContents")]  # fmt: skip
    access = ["accessMode textual", "accessMode visual", "accessModeSufficient textual", "accessibilityHazard none", *features]  # fmt: skip
    metas = [
        f'<meta property="schema:{name}">{value}</meta>' for name, value in map(str.split, access)
    ]
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:identifier id="id">urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, title)}</dc:identifier><dc:title>{title}</dc:title><dc:creator>{author}</dc:creator>'
        f'<dc:language>en</dc:language><dc:rights>{RIGHTS}</dc:rights><dc:description>{ABOUT}</dc:description><meta property="dcterms:modified">{moment:%Y-%m-%dT%H:%M:%SZ}</meta>'
        f"{''.join(metas)}</metadata>"
        f"<manifest>{''.join(items)}</manifest><spine>{''.join(spine)}</spine></package>"
    )
    container = (
        '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    files |= {"package.opf": package} | {f"{name}.xhtml": html for name, html in pages.items()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", container)
        for name, content in files.items():
            archive.writestr(f"book/{name}", content)
    return len(pages)


def cover(book):
    """The cover as a PNG: the title, and the picture of the front page."""
    figure = Figure(figsize=(6, 9), dpi=200, facecolor="#0b3a66")
    words = {"color": "white", "ha": "center", "va": "center", "fontfamily": "STIXGeneral"}
    title = "\n".join(textwrap.wrap(book.title, 22))
    figure.text(0.5, 0.74, title, fontsize=34, linespacing=1.3, **words)
    axes = figure.add_axes((0.06, 0.22, 0.88, 0.3))
    axes.imshow(imread(SITE / "_static" / "front-page.png"))
    axes.set_axis_off()
    figure.text(0.5, 0.1, book.author, fontsize=16, **words)
    figure.savefig(picture := io.BytesIO(), format="png")
    return picture.getvalue()


if __name__ == "__main__":
    made = Path(sys.argv[1]).resolve()
    if made.suffix == ".pdf":
        pages = make_pdf(Book(paper=True), made, ROOT / "_build" / "paper")
    else:
        pages = make_epub(Book(paper=False), made)
    print(f"{made} has {pages} pages and {made.stat().st_size / 1e6:.1f} MB.")
