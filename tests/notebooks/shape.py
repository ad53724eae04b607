"""What a stored chapter must look like. Each rule returns its complaints in words.

A cell is named as pytest --nbval names it: "Cell 3" is the fourth code cell.
"""

import ast
import json
import re

import store
from trainlab.evidence import MIME

MAX_BYTES = 1_500_000
MAX_LINES = 450
MIN_ALT = 40
EMPTY_ALT = re.compile(
    r"(?i)\s*(an? |the )?(image|figure|picture|plot|graph|chart|alt text)\b( of\b|:|\.|$)"
)
MARKER = re.compile(r"#\s*(NBVAL_|PYTEST_VALIDATE)\w+")
NEIGHBOUR = re.compile(
    r"(?i)\b(next|last|previous|first|following) chapter\b|\bchapter (before|after)\b"
)
FOOTNOTE = re.compile(r"\[\^[\w-]+\]")
# A slash that begins a word and has a second one behind it, a Windows drive, or somebody's home.
PATH = re.compile(r"(?<![\w.)\]}<:/*$\\-])/\w[\w.+-]*/\w|\b[A-Z]:\\\w|(?<![\w\\])~/\w")
SHOWN = {"text/plain", "image/png", MIME}
GLUED = "application/papermill.record/"
VERDICT_BOX = re.compile(r"^:::\{verdict\} (.+)\n\n?((?:.*\n)*?):::$", re.MULTILINE)
PLAIN_WORDS = 60  # of a verdict, for each of its claims
BLOCK = re.compile(
    r"^`{3,}\{(exercise|solution)(-start)?\} *(\S*)\n((?: *:\w+:.*\n)*)", re.MULTILINE
)


def text_of(cell):
    """All that a reader can read in a code cell: source, printed text, results, tracebacks."""
    parts = [cell.source]
    for output in cell.outputs:
        parts += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
        parts += [
            str(value) for mime, value in output.get("data", {}).items() if "image/" not in mime
        ]
    return "\n".join(parts)


def about_running(cell, number):
    if not cell.source.strip():
        yield "is empty"
    if cell.execution_count != number + 1:
        yield f"has count {cell.execution_count}, not {number + 1}: nbval would not compare it"
    tags = cell.metadata.get("tags", [])
    for tag in tags:
        if tag.startswith("nbval") or tag == "skip-execution":
            yield f"has the tag {tag}: every cell is run and compared"
    if marker := MARKER.search(cell.source):
        yield f"has the comment {marker[0]!r}: every cell is run and compared"
    if cell.source.rstrip().endswith(";"):
        yield "ends with ';', which hides its result in Jupyter but not from nbval: assign it to _"
    failed = any(output.output_type == "error" for output in cell.outputs)
    if failed and "raises-exception" not in tags:
        yield "stores an error without the tag raises-exception"
    if re.search(r"\bClaim\(|\bplt\.show\(\)", cell.source) and not (
        failed or "hide-input" in tags
    ):
        yield "makes a figure or a claim and shows its code: add the tag hide-input"
    if "raises-exception" in tags and not failed:
        yield "has the tag raises-exception and stores no error"
    if any(output.get("name") == "stderr" for output in cell.outputs):
        yield "prints a warning, or something else on stderr"


def about_pictures(cell):
    mimes = [mime for output in cell.outputs for mime in output.get("data", {}) if "image/" in mime]
    for mime in {mime for output in cell.outputs for mime in output.get("data", {})}:
        if mime.removeprefix(GLUED) not in SHOWN or mime == f"{GLUED}image/png":
            yield f"stores {mime}: figures are PNG, shown with plt.show(), and the rest is text"
    if len(mimes) > 1:
        yield f"shows {len(mimes)} pictures, and a cell has one alt text"
    if mimes:
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt) < MIN_ALT or EMPTY_ALT.match(alt):
            yield f"has a picture and the alt text {alt!r}: say in its metadata what the picture shows"


def about_prose(prose):
    titles = re.findall(r"^# .*", prose, re.MULTILINE)
    if (
        len(titles) != 1
        or not prose.startswith("# ")
        or not re.match(r"# (\d+(\.\d+)*[a-z]?|L\d+[a-z]?) \S", prose)
    ):
        yield f"begins not with one title and the document's section number, but has {titles}"
    if "{admonition} Predict\n:class: predict\n" not in prose:
        yield "has no Predict box"
    if "\n:::{dropdown} The answer, if you only came for it\n" not in prose:
        yield "has no folded answer for those who only came for it"
    back, verdict = prose.find("**Back to your prediction.**"), prose.find("\n## The verdict\n")
    if not 0 <= back < verdict:
        yield "does not come back to the prediction before its verdict"
    for name in ("Remember", "Further reading"):
        if not re.search(rf"^## {name}$", prose, re.MULTILINE):
            yield f"has no heading {name!r}"
    if neighbour := NEIGHBOUR.search(prose):
        yield f"speaks of the '{neighbour[0]}': readers come from anywhere, so link it by its name"
    if note := FOOTNOTE.search(prose):
        yield f"has the footnote {note[0]}, which translation cannot carry"


def about_claims(code, prose):
    """A chapter ends in claims: records, which its verdict box shows; what else it glues, its text quotes."""
    outputs = [output for cell in code for output in cell.outputs]
    claims = [output["data"][MIME]["name"] for output in outputs if MIME in output.get("data", {})]
    if not claims:
        yield "makes no claim"
    boxes = VERDICT_BOX.findall(prose)
    boxed = [name for names, _ in boxes for name in names.split()]
    if sorted(boxed) != sorted(claims):
        yield f"makes the claims {claims}, and has verdict boxes for {boxed}"
    for names, said in boxes:
        plain, count = said.partition("\n\n")[0], len(names.split())
        if not plain.strip() or len(plain.split()) > PLAIN_WORDS * count:
            yield f"begins the verdict box of {names} with {len(plain.split())} words: one to {PLAIN_WORDS * count} in plain language"
        if len(re.findall(r"\{(?:claim|glue:\w*)\}`", plain)) > count:
            yield f"begins the verdict box of {names} with more than one number a claim: the rest goes below"
    glued = [
        output["metadata"]["scrapbook"]["name"]
        for output in outputs
        if "scrapbook" in output.get("metadata", {})
    ]
    for name in glued:
        if name not in claims and not re.search(
            rf"\{{glue:\w*\}}`{re.escape(name)}(:[^`]*)?`", prose
        ):
            yield f"glues {name!r}, which its text does not quote"


def about_order(cells):
    """The verdict is what a reader came for, so it stands before the cells that check it."""
    seen = set()
    for cell in cells:
        if cell.cell_type == "markdown":
            seen |= {
                name
                for names, _ in VERDICT_BOX.findall(cell.source + "\n")
                for name in names.split()
            }
            continue
        for output in cell.outputs:
            name = output.get("data", {}).get(MIME, {}).get("name")
            if name and name not in seen:
                yield f"checks {name} before its verdict box, where a reader looks for the answer"


def about_code(code):
    """A chapter's code is its idea: what tunes is the library's contest, not a loop of its own."""
    lines = sum(bool(line.strip()) for cell in code for line in cell.source.split("\n"))
    if lines > MAX_LINES:
        yield f"has {lines} lines of code; {MAX_LINES} is the most"
    for number, cell in enumerate(code):
        tree = ast.parse(
            "".join(
                line for line in cell.source.splitlines(True) if not line.startswith(("%", "!"))
            )
        )
        handed_on = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword) and node.arg == "tuning_seeds"
        }
        handed_on |= {
            id(value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Dict)
            for key, value in zip(node.keys, node.values)
            if isinstance(key, ast.Constant) and key.value == "tuning_seeds"
        }
        for node in ast.walk(tree):
            used = (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and "TUNING" in node.id
            )
            if used and id(node) not in handed_on:
                yield f"tunes by itself in cell {number}, with {node.id}: only a contest is given tuning_seeds"


def about_exercises(prose):
    exercises, solutions = [], {}
    for kind, _, argument, options in BLOCK.findall(prose):
        if kind == "solution":
            solutions[argument] = options
            continue
        label = re.search(r":label: *(\S+)", options)
        exercises.append(label[1] if label else None)
    if len(exercises) < 3:
        yield f"has {len(exercises)} exercises; three is the least"
    for label in exercises:
        if label is None:
            yield "has an exercise without :label:"
        elif label not in solutions:
            yield f"has no solution for the exercise {label}"
        elif ":class: dropdown" not in solutions[label]:
            yield f"shows the solution of {label} openly: it lacks ':class: dropdown'"
    for kind in ("exercise", "solution"):
        starts, ends = (
            len(re.findall(rf"^`{{3,}}\{{{kind}-{edge}\}}", prose, re.MULTILINE))
            for edge in ("start", "end")
        )
        if starts != ends:
            yield f"has {starts} {kind}-start and {ends} {kind}-end"


def complaints(text):
    """Return what is wrong with the stored chapter in `text`, a list of sentences."""
    notebook = store.read(text)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = (
        "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown") + "\n"
    )
    found = []
    for number, cell in enumerate(code):
        found += [
            f"Cell {number} {words}"
            for words in (*about_running(cell, number), *about_pictures(cell))
        ]
        if path := PATH.search(text_of(cell)):
            found.append(f"Cell {number} names a place on one machine, '{path[0]}'")
    found += [
        f"The chapter {words}"
        for words in (
            *about_prose(prose),
            *about_claims(code, prose),
            *about_order(notebook.cells),
            *about_code(code),
            *about_exercises(prose),
        )
    ]
    if path := PATH.search(prose):
        found.append(f"The chapter names a place on one machine, '{path[0]}'")
    outputs = [output for cell in code for output in cell.outputs]
    printed = "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "") + "\n"
        for output in outputs
    )
    if not re.search(r"^Confirmed: ", printed, re.MULTILINE):
        found.append("The chapter confirms nothing")
    found += [
        f"The chapter says {line!r}"
        for line in re.findall(r"^NOT CONFIRMED.*", printed, re.MULTILINE)
    ]
    size = len(json.dumps([cell.outputs for cell in code]))
    if size > MAX_BYTES:
        found.append(f"The chapter stores {size:,} bytes of outputs; {MAX_BYTES:,} is the most")
    if store.write(store.normal(notebook)) != text:
        found.append("The file is not in normal form: run `make notebooks`")
    return found
