"""Formulas become MathML when the book is built: no script on the page, and a bad formula is a warning with file and line.

math-core refuses what it does not know. A lost row break or a lost backslash is TeX that says something else: those are found by
the form of the TeX. The letters come from STIX Two Math (SIL Open Font License), cut down to the characters below.
"""

import base64
import io
import logging as standard
import re
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from fontTools import subset
from math_core import LatexError, LatexToMathML
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)
standard.getLogger("fontTools").setLevel(standard.WARNING)  # it tells what it leaves out
CONVERTER = LatexToMathML(annotation=True, fancy_error=False)
STYLE = "formulas.css"


def span(first, last):
    return "".join(map(chr, range(ord(first), ord(last) + 1)))


CHARACTERS = (
    span(" ", "~")
    + span("Α", "Ω")
    + span("α", "ω")
    + span("𝐀", "𝐳")  # bold
    + span("𝐴", "𝑧")  # italic, which a browser takes for a single letter by itself
    + span("𝛢", "𝜛")
    + "ℎ𝒜ℬ𝒞𝒟ℰℱ𝒢ℋℐ𝒥𝒦ℒℳ𝒩𝒪𝒫𝒬ℛ𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵ℂ𝔼ℕℙℚℝℤ𝟙𝟏"
    + "ϑϕϖϱϵℓ∂∇∞√′″‴ℏℑℜ∅…⋯⋮⋱¬°¯ˆˇ˘˙˚˜´`¨\u0302\u0303\u0304\u0305\u0307\u0308\u0332⃗"
    + "±∓×÷·⋅∗∘⊕⊖⊗⊙†•∧∨∩∪∖∣∥‖|∤=≠≡≈∼≃≅∝<>≤≥≪≫⊂⊃⊆⊇∈∉∋⊤⊥∀∃∴←→↔↑↓↦⇐⇒⇔⟵⟶⟷⟸⟹⟺⟼"
    + "∏∐∑∫∬∮⌊⌋⌈⌉⟨⟩⏞⏟⎴⎵‘’“”–—−≔≕"
)
# Spaces, marks that are not seen, and what a \\text in Chinese takes from the fonts of the page.
ELSEWHERE = re.compile("[\\s\u00a0\u2000-\u200b\u2061-\u2064\ufe00\u3000-\u9fff\uff00-\uffef]")

PIECE = re.compile(
    r"""\\(?P<edge>begin|end)\s*\{(?P<name>\w+)\*?\}(?:(?<=array\})\{[^}]*\})?
    | (?P<text>\\(?:text\w*|math[a-z]+|operatorname\*?|label|tag)\s*\{[^{}]*\})
    | \\[A-Za-z]+ | \\. | (?P<word>[A-Za-z]+) | .""",
    re.VERBOSE | re.DOTALL,
)
CLOSES = {"{": "}", r"\left": r"\right"}
# Three letters are taken for a word, and two where a swallowed \t, \b, \n or \r leaves just these
# of a name.
LOST = re.compile(r"[A-Za-z]{3,}|au|ar|eq|ho")


def about_rows(name, rows):
    """`rows` holds the number of & in each row."""
    if name.endswith("cases"):
        right = set(rows) == {1}
    elif name in ("aligned", "alignedat", "align", "alignat", "split"):
        right = len(set(rows)) == 1 and (rows[0] == 0 or rows[0] % 2 == 1)
    else:
        right = len(set(rows)) == 1
    return (
        []
        if right
        else [f"has rows with {', '.join(map(str, rows))} & in {name}: was a \\\\ lost?"]
    )


def complaints(formula):
    """Return what is wrong with the TeX in `formula`, as a list of sentences."""
    if not formula.strip():
        return ["is empty"]
    found, inside = [], [(None, [0])]  # what closes each group, and the & in its rows
    if control := re.search(r"[^\n\x20-\x7e\x80-\U0010ffff]", formula):
        found.append(f"has the character {control[0]!r}: was a backslash swallowed?")
    for piece in PIECE.finditer(formula):
        part, name = piece[0], piece["name"]
        closer, rows = inside[-1]
        if piece["edge"] == "begin" or part in CLOSES:
            inside.append((name or CLOSES[part], [0]))
        elif piece["edge"] == "end" or part in CLOSES.values():
            if closer != (name or part):
                return [*found, f"closes {name or part} where {closer} is due"]
            inside.pop()
            if name:
                found += about_rows(name, rows)
            elif rows != [0]:
                found.append("has & or \\\\ outside rows")
        elif part == "&":
            rows[-1] += 1
        elif part == r"\\":
            if not re.match(r"(\[[^]]*\])?\s*\\end\b", formula[piece.end() :]):
                rows.append(0)
        elif re.fullmatch(r"\\\s", part) and any(
            name not in (None, *CLOSES.values()) for name, _ in inside
        ):
            found.append(
                f"has a backslash and a space among rows, before {formula[piece.end() :][:12]!r}: was it a row break?"
            )
        elif piece["word"] and LOST.fullmatch(part):
            found.append(
                f"has the word {part!r} as a product of letters: was a backslash lost, or is it \\text?"
            )
    if len(inside) > 1:
        found.append(f"ends where {inside[-1][0]} is due")
    elif inside[0][1] != [0]:
        found.append("has & or \\\\ outside rows")
    return found


def rendered(node, tex, display):
    """The MathML of a formula; what is wrong with it becomes a warning at its place in the source."""
    said = complaints(tex)
    try:
        mathml = CONVERTER.convert_with_local_state(tex.strip(), displaystyle=display)
    except LatexError as error:
        said.append(str(error))
        mathml = ""
    # Browsers hang a root from its line; over a low letter it would stand too deep.
    mathml = mathml.replace("<msqrt>", '<msqrt><mspace height="0.75em"></mspace>')
    shown = re.sub(r"<annotation.*?</annotation>|<[^>]+>|&\w+;", "", mathml, flags=re.DOTALL)
    if strange := set(ELSEWHERE.sub("", shown)) - set(CHARACTERS):
        said.append(f"has {' '.join(sorted(strange))}, which is not among CHARACTERS of {__name__}")
    for complaint in said:
        LOGGER.warning("formula %s: %s", complaint, tex.strip(), location=node)
    return mathml


def visit_inline(self, node):
    self.body.append(f'<span class="math">{rendered(node, node.astext(), False)}</span>')
    raise nodes.SkipNode


def visit_display(self, node):
    tex = node.astext()
    if re.search(r"\n\s*\n", tex.strip()):
        LOGGER.warning("formula has an empty line: make it two", location=node)
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(f'<div class="formula">{rendered(node, tex, True)}</div>')
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def make_font(app):
    """Write the style with the font, cut down to the characters that formulas may have: with the text, so that nothing moves later."""
    target = Path(app.outdir, "_static", STYLE)
    if app.builder.format != "html" or target.exists():
        return
    # Letters for small sizes would double it.
    options = subset.Options(flavor="woff2", layout_features=[], hinting=False)
    package = Path(find_spec("ziamath").origin).parent
    font = subset.load_font(str(package / "fonts" / "STIXTwoMath-Regular.ttf"), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=CHARACTERS)
    subsetter.subset(font)
    subset.save_font(font, written := io.BytesIO(), options)
    data = base64.b64encode(written.getvalue()).decode("ascii")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        f'@font-face {{ font-family: "STIX Two Math"; src: url(data:font/woff2;base64,{data}) }}\n'
        'math { font-family: "STIX Two Math", math; font-size: 1.08em; }\n'
    )


def add_style(app, pagename, templatename, context, doctree):
    if app.builder.format == "html" and app.env.get_domain("math").has_equations(pagename):
        app.add_css_file(STYLE)


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    app.connect("builder-inited", make_font)
    app.connect("html-page-context", add_style)
    return {"parallel_read_safe": True}
