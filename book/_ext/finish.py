"""What is done to the built pages at the end, so that they are light, hold still while they load, and say their languages.

A page keeps no script that only the search needs, and loads the others after its text. Styles are one file, and it
and the icons are cut down to what is in use. A picture has its size. Chinese words are marked as such, and no two things of a page have one name.
"""

import hashlib
import logging
import re
import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import tinycss2
from fontTools import subset

HAN = "\u3400-\u9fff"
CHINESE = re.compile(f"[{HAN}](?:[{HAN}\u3001-\u303f\uff00-\uffef]*[{HAN}])?")
TAG = re.compile(r"(<!--.*?-->|<[^>]+>)", re.DOTALL)
NO_SPANS = {"script", "style", "title", "textarea", "option", "math", "svg"}
SCRIPT = re.compile(r"[ \t]*<script\b(?![^>]*data-cfasync)[^>]*>.*?</script>\n?", re.DOTALL)
NOT_NEEDED = re.compile(r"/(searchtools|language_data|fontawesome)\.js|searchindex\.js")
PRELOAD = re.compile(r'<link rel="preload" as="script"[^>]*>\n?')
STYLE = re.compile(
    r'[ \t]*<link (?=[^>]*rel="stylesheet")[^>]*href="[^"]*_static/(?!formulas)([^"?]+)[^>]*>\n?'
)
LISTS = re.compile("^(book/(api/|glossary|play|bibliography|plug_in)|genindex|py-modindex)")
BUNDLE = "styles/site.css"
BROAD = 600  # pixels; what is broader and shrinks to a phone's width has letters that are too small to read
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")


logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells what it leaves out


def in_the_end(html):
    """The page with the scripts of its head behind its text, where they keep nobody waiting."""
    head, end, body = html.partition("</head>")
    scripts = [script for script in SCRIPT.findall(head) if not NOT_NEEDED.search(script)]
    body, mark, after = body.rpartition("</body>")
    first = re.search(r"[ \t]*<!-- Scripts loaded after <body>", body)
    place = first.start() if first else len(body)
    body = body[:place] + "".join(scripts) + body[place:]
    return PRELOAD.sub("", SCRIPT.sub("", head)) + end + body + mark + after


def marked_as_chinese(html):
    """The page with each run of Chinese characters in its text in an element that says so."""
    pieces, inside, marked = [], [], 0
    for place, piece in enumerate(TAG.split(html)):
        if place % 2 == 0:
            if not inside and not marked:
                piece = CHINESE.sub(r'<span lang="zh">\g<0></span>', piece)
            marked = 0
        elif name := re.match(r"</?(\w+)", piece):
            if name[1] in NO_SPANS and not piece.endswith("/>"):
                inside.pop() if piece.startswith("</") and inside else inside.append(name[1])
            marked = 'lang="zh"' in piece
        pieces.append(piece)
    return "".join(pieces)


def for_the_search(html, name):
    """The page with what the search needs: each end of a run of Chinese, which has no spaces, and a lower rank for lists of everything."""
    if "data-zh=" in html or "<article" not in html:
        return html
    runs = {
        run[at:]
        for run in re.findall(r'<span lang="zh">([^<]+)<', html)
        for at in range(len(run) - 1)
    }
    words = f'<span hidden data-zh="{" ".join(sorted(runs))}" data-pagefind-index-attrs="data-zh"></span>'
    weight = ' data-pagefind-weight="0.3"' if LISTS.search(name) else ""
    return html.replace("<article", f"<article{weight}", 1).replace(
        "</article>", f"{words}</article>", 1
    )


def with_own_names(html):
    """The page with a number behind the one name that an extension gives to all of its boxes."""
    count = iter(range(1, 1000))
    return re.sub(
        'id="(exercise|solution)-content"', lambda box: f'id="{box[1]}-content-{next(count)}"', html
    )


@cache
def size(path):
    """Width and height of a PNG."""
    return struct.unpack(">II", path.read_bytes()[16:24])


def with_sizes(html, folder):
    """The page with the size of each picture, which then needs no second layout; those below the first wait until they are due.

    A broad one stands in a box, in which it scrolls sideways on a phone.
    """
    count = iter(range(1000))

    def sized(tag):
        source = re.search(r'src="([^":]+\.png)"', tag[0])
        if not source or " width=" in tag[0] or " style=" in tag[0]:
            return tag[0]
        width, height = size((folder / source[1]).resolve())
        lazy = ' loading="lazy"' if next(count) else ""
        picture = f'<img width="{width}" height="{height}"{lazy} decoding="async" {tag[0][5:]}'
        return f'<span class="picture">{picture}</span>' if width >= BROAD else picture

    return re.sub(r"<img [^>]*>", sized, html)


def bundle(static, styles, used):
    """All styles in one file, less the rules for classes that no page and no script has."""

    def text(name):
        path = static / name
        said = path.read_text("utf-8")
        # From the folder of the file to that of the bundle.
        up = "" if path.parent.name == "styles" else "../"
        said = re.sub(
            r'url\((?!["\']?(?:data:|\.\./))["\']?([^"\')]+)["\']?\)', rf"url({up}\1)", said
        )
        said = re.sub(r',url\([^)]*\.ttf\) format\("truetype"\)', "", said)
        return re.sub(
            r'@import (?:url\()?"?(?:\.\./)?(\w+\.css)"?\)?;', lambda other: text(other[1]), said
        )

    rules = tinycss2.parse_stylesheet(
        "\n".join(map(text, styles)), skip_comments=True, skip_whitespace=True
    )
    return "\n".join(filter(None, (kept(rule, used) for rule in rules)))


def kept(rule, used):
    """The text of a rule without the selectors that cannot match, or nothing."""
    if rule.type == "at-rule" and rule.content and rule.lower_at_keyword in ("media", "supports"):
        inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
        inside = "".join(kept(each, used) for each in inner)
        head = tinycss2.serialize(rule.prelude)
        return f"@{rule.at_keyword}{head}{{{inside}}}" if inside else ""
    if rule.type != "qualified-rule":
        return rule.serialize()
    selectors, alone = [], ""
    for part in tinycss2.serialize(rule.prelude).split(","):
        alone = f"{alone},{part}" if alone else part
        if alone.count("(") == alone.count(")"):
            selectors.append(alone.strip())
            alone = ""
    matching = [each for each in selectors if set(CLASS.findall(bare(each))) <= used]
    return f"{','.join(matching)}{{{tinycss2.serialize(rule.content).strip()}}}" if matching else ""


def bare(selector):
    """A selector without what stands in parentheses, strings or brackets."""
    while (shorter := re.sub(r"\([^()]*\)|\[[^]]*\]", "", selector)) != selector:
        selector = shorter
    return selector


def cut_icons(static, styles):
    """Leave in the fonts of icons those that the styles name."""
    theme = Path(find_spec("pydata_sphinx_theme").origin).parent / "theme" / "pydata_sphinx_theme"
    icons = {ord(letter) for letter in styles if "\ue000" <= letter <= "\uf8ff"}
    for path in (static / "vendor" / "fontawesome" / "webfonts").iterdir():
        if path.suffix == ".ttf":
            path.unlink()
            continue
        options = subset.Options(flavor="woff2", notdef_outline=True)
        font = subset.load_font(str(theme / "static" / path.relative_to(static)), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=icons)
        subsetter.subset(font)
        subset.save_font(font, str(path), options)


def finish(app, error):
    if error or app.builder.name != "html":
        return
    static, pages, styles = Path(app.outdir, "_static"), {}, []
    lite = Path(app.outdir, "lite")  # JupyterLite, which only those load who ask for it
    used = {"fa-solid", "fa-regular", "fa-brands"}
    for path in sorted(Path(app.outdir).rglob("*.html")):
        if static in path.parents or lite in path.parents:
            continue
        html = path.read_text("utf-8")
        if path.name != "search.html":
            html = in_the_end(html)
        html = for_the_search(marked_as_chinese(html), path.relative_to(app.outdir).as_posix())
        pages[path] = with_sizes(with_own_names(html), path.parent)
        for names in re.findall(r'class="([^"]*)"', html):
            used.update(names.split())
        found = [name for name in STYLE.findall(html) if not name.endswith(BUNDLE)]
        styles += [name for name in found if name not in styles]
    for path in static.rglob("*.js"):
        used.update(re.findall(r"[\w-]+", path.read_text("utf-8")))
    if not styles:  # no page is new, but a style may be
        styles = (static / BUNDLE).read_text("utf-8").split("*/")[0].split()[1:]
    whole = f"/* {' '.join(styles)} */\n{bundle(static, styles, used)}"
    (static / BUNDLE).write_text(whole, "utf-8")
    cut_icons(static, whole)
    version = hashlib.sha256((static / BUNDLE).read_bytes()).hexdigest()[:8]
    for path, html in pages.items():
        up = "../" * (len(path.relative_to(app.outdir).parts) - 1)
        link = f'<link rel="stylesheet" href="{up}_static/{BUNDLE}?v={version}" />\n'
        if not (first := STYLE.search(html)):
            continue
        html = html[: first.start()] + link + STYLE.sub("", html[first.start() :])
        path.write_text(html, "utf-8")
    (static / "scripts" / "fontawesome.js").write_text("")


def setup(app):
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True}
