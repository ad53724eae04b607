"""Formulas become MathML. Each complaint about one can be raised with its place, and a good one raises none."""

import io
import sys
from pathlib import Path

import pytest
from sphinx.application import Sphinx

EXTENSIONS = Path(__file__).parents[2] / "book" / "_ext"
sys.path.append(str(EXTENSIONS))
from formulas import complaints  # noqa: E402

GOOD = [
    r"\ell_i = \max\Big(0, \frac{1}{n}\Big),\ \text{mean of all}",
    r"\begin{cases} -t_i & t_i s_i < 1 \\[2pt] 0 & \text{otherwise} \\ \end{cases}",
    r"\left\{ \begin{aligned} a &= b & c &= d \\ &= c & &= e \end{aligned} \right.",
    r"\begin{array}{lcr} a & b & c \\ d & e & f \end{array}",
    "\\begin{split}a \\\\\nb\\end{split}",
]
BAD = [
    (
        r"\begin{cases} -t_i & t_i s_i < 1 \ 0 & \text{otherwise} \end{cases}",
        "rows with 2 & in cases",
    ),
    (r"\begin{cases} -t_i & t_i s_i < 1 \ 0 & \text{otherwise} \end{cases}", "was it a row break"),
    ("\\begin{cases} a & b \\\n c & d \\\\ e & f \\end{cases}", "was it a row break"),
    (r"\begin{cases} a & b \\ c \end{cases}", "rows with 1, 0 & in cases"),
    (r"\begin{aligned} a &= b \ &= c \end{aligned}", "rows with 2 & in aligned"),
    (r"\begin{pmatrix} a & b \\ c & d e & f \end{pmatrix}", "rows with 1, 2 & in pmatrix"),
    (r"\begin{pmatrix} a & b \\ c & d", "ends where pmatrix is due"),
    (r"a & b", "outside rows"),
    (r"{a \\ b}", "outside rows"),
    (r"\frac{a}{b", "ends where } is due"),
    (r"a}", "closes } where None is due"),
    (r"\left( \frac{a}{b}", r"ends where \right is due"),
    (r"{\left( a} \right)", r"closes } where \right is due"),
    (" ", "is empty"),
    ("\frac{a}{b}", r"the character '\x0c'"),
    ("\frac{a}{b}", "the word 'rac'"),
    ("\beta", r"the character '\x08'"),
    ("\alpha", r"the character '\x07'"),
    ("\tau".expandtabs(), "the word 'au'"),
    ("\text{mean}".expandtabs(), "the word 'ext'"),
]


@pytest.mark.parametrize("formula", GOOD)
def test_a_good_formula_has_no_complaints(formula):
    assert complaints(formula) == []


@pytest.mark.parametrize("formula, complaint", BAD)
def test_a_bad_formula_is_caught(formula, complaint):
    assert any(complaint in found for found in complaints(formula)), complaints(formula)


def built(folder, text):
    """A page built from Markdown, and what the builder warned of."""
    (folder / "index.md").write_text("# A page\n\n" + text, "utf-8")
    said = io.StringIO()
    settings = {
        "extensions": ["myst_parser", "formulas"],
        "html_math_renderer": "mathml",
        "myst_enable_extensions": ["dollarmath"],
        "myst_update_mathjax": False,
    }
    out = folder / "out"
    Sphinx(folder, None, out, out, "html", settings, status=None, warning=said).build()
    return (out / "index.html").read_text("utf-8"), said.getvalue(), out


def test_a_formula_is_mathml_with_its_number_and_its_font(tmp_path):
    text = "Inline $\\eta < 1$.\n\n$$\nx^2 = \\mathbb{E} y\n$$ (square)\n\nSee {eq}`square`.\n"
    page, said, out = built(tmp_path, text)
    assert said == ""
    assert "<mi>η</mi><mo>&lt;</mo>" in page and "𝔼" in page
    assert 'class="eqno">(1)' in page and 'href="#equation-square"' in page
    assert 'id="equation-square"' in page and "MathJax" not in page
    assert 'href="_static/formulas.css' in page
    assert 20_000 < (out / "_static" / "formulas.css").stat().st_size < 80_000


@pytest.mark.parametrize(
    "formula, complaint",
    [(r"\nothing", "nothing"), (r"\frac{a}{b", "due"), ("a ↯ b", "↯"), ("max x", "the word 'max'")],
)
def test_a_bad_formula_is_a_warning_with_file_and_line(tmp_path, formula, complaint):
    _, said, _ = built(tmp_path, f"Words.\n\nA bad one: ${formula}$.\n")
    assert "index.md:5: WARNING: formula" in said and complaint in said
