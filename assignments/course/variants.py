"""The numbers of an assignment, drawn from the instructor's secret."""

import ast
import copy
import hashlib

import numpy as np


def seed(*words):
    """Return a whole number below 2**63 that nobody can guess who does not know all the words."""
    text = "\0".join(map(str, words)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def tag(cell):
    """Return what a cell says of itself to this course: "variant" and "only"."""
    return cell.get("metadata", {}).get("trainlab", {})


def draw(notebook, *words):
    """Return a copy of a notebook with the numbers that `words` draw; without words, those that it is written with.

    What was drawn among tasks is drawn for good: another draw from the copy changes numbers only.

    A cell with the metadata ``{"trainlab": {"variant": {"RATE": [0.1, 0.2]}}}`` assigns one of these
    to the name, one a line. A cell with ``{"trainlab": {"only": {"SHAPE": "cosine"}}}`` stays where that was
    drawn and is left out elsewhere.
    """
    notebook = copy.deepcopy(notebook)
    drawn = {}
    for cell in notebook["cells"]:
        options = tag(cell).get("variant", {})
        source = "".join(cell["source"])
        for name, values in options.items():
            if words:
                value = values[seed(*words, name) % len(values)]
            else:
                line = next(line for line in source.split("\n") if line.startswith(f"{name} = "))
                value = ast.literal_eval(line.partition(" = ")[2].partition("  # ")[0])
            drawn[name] = value
        if options:
            cell["source"] = _assign(source, {name: drawn[name] for name in options})
    kept, settled = [], set()
    for cell in notebook["cells"]:
        only = tag(cell).get("only", {})
        settled |= set(only)
        if all(drawn[name] == value for name, value in only.items()):
            tag(cell).pop("only", None)
            kept.append(cell)
    for cell in kept:
        for name in settled & set(tag(cell).get("variant", {})):
            tag(cell)["variant"][name] = [drawn[name]]
    notebook["cells"] = kept
    return notebook


def _assign(source, values):
    lines = source.split("\n")
    for index, line in enumerate(lines):
        name, equals, rest = line.partition(" = ")
        if equals and name in values:
            comment = f"  # {rest.partition('  # ')[2]}" if "  # " in rest else ""
            text = repr(values[name]).replace("'", '"')
            lines[index] = f"{name} = {text}{comment}"
    return "\n".join(lines)


def fresh(*words):
    """Return the generator of a hidden check's inputs."""
    return np.random.default_rng(seed(*words, "hidden"))
