"""Static checks of one built page: each returns complaints, an empty list if all is well."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
}
HAN = re.compile("[\u4e00-\u9fff]")
UNMARKED = {"title", "script", "style", "option", "math", "svg"}  # where no element can say so
RAW_MARKUP = re.compile(r"\{(glue|ref|doc|cite|eq|term)[:}]|:::|```|No key ")
RAW_FORMULA = re.compile(r"\\[(\[].*|\$\$.*|\\(?:frac|begin|eta|text)\b.*")


class Page(HTMLParser):
    """What the checks need to know about a page."""

    def __init__(self, html):
        super().__init__()
        self.language, self.title, self.headings = None, "", 0
        self.ids, self.links, self.loads, self.pictures, self.text, self.raw_formulas = (
            set(),
            [],
            [],
            [],
            [],
            [],
        )
        self.twice, self.other_language = set(), []
        self._inside, self._chinese = [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._inside.append(tag)
        self.language = attributes.get("lang") if tag == "html" else self.language
        self.headings += tag == "h1"
        self._chinese = attributes.get("lang") == "zh"
        if attributes.get("id"):
            self.twice |= {attributes["id"]} & self.ids
            self.ids.add(attributes["id"])
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if (
            tag in LOADED
            and attributes.get(LOADED[tag])
            and attributes.get("rel") not in ("canonical", "next", "prev", "search")
        ):
            self.loads.append(attributes[LOADED[tag]])
        if tag == "img":
            self.pictures.append((attributes.get("src", ""), attributes.get("alt")))
        if tag in ("img", "link", "meta", "input", "br", "hr", "source"):
            self._inside.pop()

    def handle_endtag(self, tag):
        self._chinese = False
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data):
        if HAN.search(data) and not self._chinese and not UNMARKED & set(self._inside):
            self.other_language.append(data.strip())
        if "title" in self._inside and "svg" not in self._inside:
            self.title += data
        elif not {"script", "style", "pre", "code", "annotation"} & set(self._inside):
            self.text.append(data)
            self.raw_formulas += RAW_FORMULA.findall(data)


@cache
def parse(path):
    return Page(Path(path).read_text("utf-8"))


def outside(address):
    return urlsplit(address).scheme in ("http", "https") or address.startswith("//")


def complaints(path):
    """Return what is wrong with the page at `path`, as a list of sentences."""
    page, found = parse(path), []
    if not page.language:
        found.append("no language")
    if not page.title.strip():
        found.append("no title")
    if not page.headings:
        found.append("no main heading")
    found += [f"loads {address} from outside" for address in page.loads if outside(address)]
    for source, alt in page.pictures:
        if not alt or not alt.strip():
            found.append(f"picture {source} has no alt text")
        elif re.search(r"\.(png|svg|jpe?g|gif)$", alt.strip()):
            found.append(f"picture {source} has a file name as alt text")
    for match in RAW_MARKUP.finditer(" ".join(page.text)):
        found.append(f"markup was left raw: {match.group()}")
    found += [f"two things are called {name}" for name in sorted(page.twice)]
    found += [f"Chinese is not marked: {text}" for text in page.other_language]
    found += [f"a formula was left as TeX: {formula}" for formula in page.raw_formulas]
    for address in page.links + page.loads:
        found += broken(Path(path), address)
    return found


def broken(path, address):
    """Return a complaint if the link `address` on the page `path` leads nowhere inside the site."""
    parts = urlsplit(address)
    if parts.scheme or outside(address):
        return []
    target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return [f"link {address} leads to no file"]
    if (
        parts.fragment
        and target.suffix == ".html"
        and unquote(parts.fragment) not in parse(target).ids
    ):
        return [f"link {address} leads to no place on its page"]
    return []
