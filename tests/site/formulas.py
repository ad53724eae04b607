"""What the TeX of a formula must look like. MathJax shows a lost row break or a lost backslash as something else, without an error."""

import re

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
