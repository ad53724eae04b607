"""Where the sentences of the chapters have their thresholds: at the chapter's top, before its first run, or in their own words.

The code of each check is read, and that of the names in it: a number that something is compared with is a threshold.
"""

import ast
import json
import math
import re
from itertools import product
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxRole

ROUNDING = 1e-3  # A smaller number asks whether two results are the same.
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
KINDS = ("top", "looked", "said", "beside", "none")
LOOKED = "# Chosen after a first look"  # in a chapter's first cell, above the thresholds of which it is true
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
PARTS = "half third quarter fifth sixth seventh eighth ninth tenth"
NUMBERS = {word: number for number, word in enumerate(WORDS.split(), start=1)}
NUMBERS |= {word: 1 / number for number, word in enumerate(PARTS.split(), start=2)}
NUMBERS |= {"twice": 2, "twentieth": 0.05, "hundredth": 0.01, "thousandth": 0.001}
NUMBERS |= {"sixteenth": 1 / 16, "twenty": 20, "hundred": 100, "thousand": 1000, "million": 1e6}
NUMBERS |= {"most": 0.5, "double": 2, "percent": 0.01}


def trees(notebook):
    """The code cells of a notebook; what is not Python alone is left out."""
    for cell in json.loads(notebook)["cells"]:
        if cell["cell_type"] == "code":
            try:
                yield ast.parse("".join(cell["source"]))
            except SyntaxError:
                continue


def after_a_look(notebook):
    """The lines of the first cell of code below the mark of what was chosen late."""
    first = next(cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code")
    return "".join(first["source"]).partition(LOOKED)[2].partition("\n")[2]


def checks(tree):
    """The sentences that a cell confirms, by itself or in a claim, each with its condition."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("confirm"):
            yield node.args[0], node.args[1]
        elif isinstance(node, ast.keyword) and node.arg == "confirms":
            if isinstance(node.value, ast.Dict):
                pairs = zip(node.value.keys, node.value.values, strict=True)
                yield from (pair for pair in pairs if pair[0] is not None)  # not **others


def assigned(cells):
    """From a name to what it was set to, in whatever cell."""
    found: dict = {}
    for tree in cells:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            found.setdefault(name.id, []).append(node.value)
    return found


def answers(value):
    """Whether an expression is true or false, or several such: what a name in a condition may stand for."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).split(".")[-1] in ("all", "any", "bool")
    if isinstance(value, ast.Tuple):
        return all(map(answers, value.elts))
    return isinstance(value, (ast.Compare, ast.BoolOp, ast.UnaryOp))


def compared(condition, values):
    """All that is compared by size in a condition, and in what its names were set to."""
    seen, left = set(), [condition]
    while left:
        for node in ast.walk(left.pop()):
            if isinstance(node, ast.Compare) and any(isinstance(op, ORDERS) for op in node.ops):
                yield from (node.left, *node.comparators)
            elif isinstance(node, ast.Name) and node.id not in seen and not node.id.isupper():
                seen.add(node.id)
                left += [value for value in values.get(node.id, ()) if answers(value)]


def sizes(side):
    """The numbers in one side of a comparison. A place in a list is none, nor is what a function is asked."""
    if isinstance(side, ast.Constant):
        yield from [side.value] * (type(side.value) in (int, float))
    elif isinstance(side, ast.BinOp) and all(
        isinstance(part, ast.Constant) for part in (side.left, side.right)
    ):
        yield eval(ast.unparse(side))  # two numbers, such as 1 / 3
    else:
        for part in ast.iter_child_nodes(side):
            if isinstance(side, ast.Call) and part is not side.func:
                continue
            if not (isinstance(side, ast.Subscript) and part is side.slice):
                yield from sizes(part)


def names(sentence, number):
    """Whether a sentence names a number: itself, as a part, a multiple or a percentage, up or down.

    >>> [names("more than two thirds lower", number) for number in (2 / 3, 1 / 3, 0.4)]
    [True, True, False]
    >>> [names("within 15 % of it", number) for number in (1.15, 0.85, 1 / 1.15, 15, 1.5)]
    [True, True, True, True, False]
    """
    words = re.findall(r"[a-z]+|\d[\d,]*(?:\.\d+)?", sentence.lower())
    said = [
        NUMBERS.get(re.sub("fold$|s$", "", word), NUMBERS.get(word))
        if word.isalpha()
        else float(word.replace(",", ""))
        for word in words
    ]
    said = [value for value in said if value]
    said += [value * times for value in said for times in (0.01, 100)]
    said += [first * second for first, second in product(said, said)]
    near = [way for value in said for way in (value, 1 - value, 1 + value)]
    near += [1 / value for value in near if value]
    return any(math.isclose(number, value) for value in near)


def thresholds(notebook):
    """For each sentence that a chapter checks where its threshold is: one of the KINDS.

    At the top, before a first look or marked as chosen after one; in the sentence's own words; beside its check
    alone; or nowhere.
    """
    cells = list(trees(notebook))
    values, found = assigned(cells), {}
    constants = {name for name in assigned(cells[:1]) if name.isupper()}
    looked = {name for name in assigned([ast.parse(after_a_look(notebook))]) if name.isupper()}
    for tree in cells:
        for sentence, condition in checks(tree):
            sides = list(compared(condition, values))
            text = sentence.value if isinstance(sentence, ast.Constant) else ast.unparse(sentence)
            numbers = [number for side in sides for number in sizes(side)]
            numbers = [number for number in numbers if number not in (0, 1) and number >= ROUNDING]
            used = {node.id for side in sides for node in ast.walk(side) if type(node) is ast.Name}
            if not all(names(text, number) for number in numbers):
                found[text] = "beside"
            elif used & constants:
                found[text] = "looked" if used & looked else "top"
            else:
                found[text] = "said" if numbers else "none"
    return found


class Count(SphinxRole):
    """How many sentences of all chapters have a threshold of one of the KINDS."""

    def run(self):
        folder = Path(self.env.srcdir)
        kinds = []
        for path in sorted((folder / "chapters").glob("*/*.ipynb")):
            self.env.note_dependency(path.relative_to(folder).as_posix())
            kinds += thresholds(path.read_text("utf-8")).values()
        if self.text not in KINDS:
            raise ExtensionError(f"thresholds: {self.text!r} is none of {KINDS}")
        return [nodes.Text(str(kinds.count(self.text)))], []


def setup(app):
    app.add_role("thresholds", Count())
    return {"parallel_read_safe": True}
