"""How many sentences of the chapters took their threshold from the top of the chapter, before its first run, and how many did not.

The code of each check is read, and that of the names in it: a number that something is compared with is a threshold.
"""

import ast
import json
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxRole

ROUNDING = 1e-3  # A smaller number asks whether two results are the same.
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
KINDS = ("top", "beside", "none")


def trees(notebook):
    """The code cells of a notebook; what is not Python alone is left out."""
    for cell in json.loads(notebook)["cells"]:
        if cell["cell_type"] == "code":
            try:
                yield ast.parse("".join(cell["source"]))
            except SyntaxError:
                continue


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


def compared(condition, values):
    """All that is compared by size in a condition, and in what its names were set to."""
    seen, left = set(), [condition]
    while left:
        for node in ast.walk(left.pop()):
            if isinstance(node, ast.Compare) and any(isinstance(op, ORDERS) for op in node.ops):
                yield from (node.left, *node.comparators)
            elif isinstance(node, ast.Name) and node.id not in seen and not node.id.isupper():
                seen.add(node.id)
                left += [
                    value
                    for value in values.get(node.id, ())
                    if isinstance(value, (ast.Compare, ast.BoolOp, ast.UnaryOp))
                ]


def thresholds(notebook):
    """For each sentence that a chapter checks: is its threshold at the top, beside its check, or has it none?"""
    cells = list(trees(notebook))
    values, found = assigned(cells), {}
    constants = {name for name in assigned(cells[:1]) if name.isupper()}
    for tree in cells:
        for sentence, condition in checks(tree):
            sides = list(compared(condition, values))
            numbers = [
                node.value
                for side in sides
                for node in ast.walk(side)
                if isinstance(node, ast.Constant) and type(node.value) in (int, float)
            ]
            names = {node.id for side in sides for node in ast.walk(side) if type(node) is ast.Name}
            if any(value not in (0, 1) and value >= ROUNDING for value in numbers):
                kind = "beside"
            else:
                kind = "top" if names & constants else "none"
            text = sentence.value if isinstance(sentence, ast.Constant) else ast.unparse(sentence)
            found[text] = kind
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
