"""What every stored chapter must be: `complaints` returns what is wrong with one, in words."""

import re

import nbformat

MASKS = re.compile(r"nbval[-_](skip|ignore|check)|NBVAL_", re.I)
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|opt|var)/[\w.-]+")
HEADINGS = ["## The verdict", "## Exercises", "## Remember", "## Further reading"]
MOST_OUTPUT = 1_500_000


def tags(cell):
    return cell.metadata.get("tags", [])


def alt_text(cell):
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


def complaints(notebook):
    """Return what is wrong with a stored chapter, as a list of sentences; code cells count from 0."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    source = "\n".join(cell.source for cell in code)

    for number, cell in enumerate(code):
        if cell.execution_count != number + 1:
            found.append(f"cell {number} has the count {cell.execution_count}, not {number + 1}: outputs stripped, or run out of order")
        if MASKS.search(cell.source) or any(MASKS.search(tag) for tag in tags(cell)):
            found.append(f"cell {number} is hidden from the comparison")
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and "raises-exception" not in tags(cell):
            found.append(f"cell {number} holds an error without the tag raises-exception")
        if "raises-exception" in tags(cell) and not failed:
            found.append(f"cell {number} has the tag raises-exception, but no error")
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if pictures and len(alt_text(cell).split()) < 10:
            found.append(f"cell {number} draws a picture without a description of ten words or more")
        if pictures > 1:
            found.append(f"cell {number} draws {pictures} pictures, which would share one description")
        if any(output.output_type == "stream" and output.name == "stderr" for output in cell.outputs):
            found.append(f"cell {number} prints a warning")

    size = sum(len(str(cell.outputs)) for cell in code)
    if size > MOST_OUTPUT:
        found.append(f"the outputs are {size} characters long, over {MOST_OUTPUT}")
    if "assert " not in source:
        found.append("nothing is asserted")
    printed = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    if "Verdict" not in printed:
        found.append("no verdict is printed")

    if not re.match(r"# \d(\.\d+)+ ", words):
        found.append("the title does not begin with the section's number")
    for heading in HEADINGS:
        if heading not in words:
            found.append(f"no heading {heading!r}")
    if ":class: predict" not in words:
        found.append("nothing to predict")
    exercises = re.findall(r"```\{exercise(?:-start)?\}.*?\n:label: (\S+)", words)
    solutions = re.findall(r"```\{solution(?:-start)?\} (\S+)", words)
    if len(exercises) < 3:
        found.append(f"{len(exercises)} exercises, fewer than 3")
    found += [f"exercise {label} has no solution" for label in exercises if label not in solutions]
    if "[^" in words:
        found.append("a footnote, which translations lose")
    match = MACHINE_PATH.search(nbformat.writes(notebook))
    if match:
        found.append(f"names a place on one machine: {match.group()}")
    return found
