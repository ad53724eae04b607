"""Each complaint about a formula can be raised, and a good formula raises none."""

import pytest

from formulas import complaints

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
