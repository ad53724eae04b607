"""Every claiming sentence of the book has something behind it; sentences.py says what both words mean, and what they miss."""

import functools
import re
from pathlib import Path

import nbformat
import pytest
import yaml

import sentences
import store

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("chapters/**/*.ipynb", "book/**/*.md", "index.md", "README.md")
    for path in ROOT.glob(pattern)
    if ".ipynb_checkpoints" not in path.parts
)
CHAPTER = "chapters/03_algorithms/schedules.ipynb"
MADE_UP = "Who trains on Sundays always gets further than on Mondays."


def text_of(name):
    return (ROOT / name).read_text("utf-8")


def read(name, text):
    page = sentences.of_notebook if name.endswith(".ipynb") else sentences.of_markdown
    return page(name, text)


def without(found):
    return [f"{sentence.place}: {sentence.text}" for sentence in found if not sentence.by]


def uncovered(name, text):
    return without(read(name, text))


@functools.cache
def claiming(name):
    return read(name, text_of(name))


@pytest.mark.parametrize("name", PAGES)
def test_every_claiming_sentence_has_something_behind_it(name):
    assert without(claiming(name)) == []


def test_every_page_of_the_book_is_read():
    contents = yaml.safe_load(text_of("_toc.yml"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    assert {contents["root"], *files} <= {name.rpartition(".")[0] for name in PAGES}


def test_the_rules_see_every_chapter():
    """A rule that finds no claims in a chapter has gone blind; so has one that all sentences pass by one kind of cover."""
    kinds = set()
    for name in PAGES:
        if name.startswith("chapters/"):
            found = claiming(name)
            assert len(found) >= 5, name
            kinds |= {sentence.by for sentence in found}
    assert kinds == {*sentences.KINDS}


@pytest.mark.parametrize(
    "name", ["book/monday/code.md", "book/emergencies.md", "book/trust.md", "index.md"]
)
def test_a_made_up_sentence_is_found_in_a_page_of_the_book(name):
    assert uncovered(name, f"{text_of(name)}\n## More\n\n{MADE_UP}\n") == [
        f"{name}, cell 0, 'More': {MADE_UP}"
    ]


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("chapters/")])
def test_a_made_up_sentence_is_found_in_a_section_without_checks(name):
    notebook = store.read(text_of(name))
    last = next(cell for cell in reversed(notebook.cells) if "## Remember" in cell.source)
    last.source = last.source.replace("## Remember\n", f"## Remember\n\n{MADE_UP}\n", 1)
    (found,) = uncovered(name, store.write(notebook))
    assert found.endswith(f", 'Remember': {MADE_UP}")


def test_sentences_are_found_when_their_checks_are_gone():
    notebook = store.read(text_of(CHAPTER))
    for cell in notebook.cells:
        cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            cell.source, cell.outputs = "pass", []
    assert len(uncovered(CHAPTER, store.write(notebook))) >= 3


@pytest.mark.parametrize(
    "sentence",
    [
        "The ramp ends below the constant rate.",
        "Smaller batches never overfit.",
        "Momentum costs nothing here.",
        "On the digits AdamW is far better.",
        "Large batches need fewer updates.",
        "Large batches save updates.",
        "Most of the gain is knowledge.",
        "If the rate is too large, training diverges.",
        "Lower rates end lower than the best one.",
        "Test losses fell by a factor of two.",
        "It took three times as long.",
        "Clipping makes no difference.",
        "- **Length.** The middle branch ends lowest.",
        "1. The decay helps on the first task.",
        "So the shape matters less than the end.",
        "A shift of one update did not matter.",
        "Two of them lie close together.",
        "{term}`Momentum` wins with `SGD(0.9)`.",
    ],
)
def test_claims(sentence):
    assert sentences.claims(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Does the ramp end below the constant rate?",
        "Lower the rate when the loss is worse than before.",
        "If the loss is worse, go back to a checkpoint.",
        "So take the rate that ends lowest.",
        "3. **Tune the rate**, and take the best one.",
        'From it you might write: "AdamW beats plain descent by far".',
        "The article says that decay always helps.",
        "If you said that momentum always helps, you thought of a bowl.",
        "How much the wrong weights cost, no chapter has measured.",
        "The gradient is an arrow.",
        "![the decaying rates end lower](picture.png)",
        "The library calls it `never_better_than`.",
        "You will see how much better it gets.",
    ],
)
def test_no_claims(sentence):
    assert not sentences.claims(sentence)


CONFIRMED = "the amount ends higher, by more than a quarter"


@pytest.mark.parametrize(
    "text, by",
    [
        (MADE_UP, ""),
        (f"{MADE_UP} It does so {{claim}}`C02: seeds` times.", ""),
        ("It ends lower by {claim}`C02: no noise`.", "number"),
        ("It ends lower by {glue:text}`margin:d`.", "number"),
        (f"- **Batches.** {MADE_UP} See {{doc}}`schedules`.", "source"),
        (f"1. {MADE_UP} {{claim}}`C02: no noise` times.", "number"),
        ("{cite:t}`he2016` report that it ends lower.", "source"),
        ("It is of {cite:t}`he2016`. The authors report that it ends lower.", "source"),
        ("It ends lower ([here](decay.md)).", "source"),
        ("By {eq}`step` it ends lower.", "source"),
        (f"{MADE_UP}\n\n**Shown in**: {{doc}}`schedules`", "source"),
        (f"We think: {MADE_UP}", "opinion"),
        ("It may end lower, or it never ends.", "opinion"),
        ("It is larger, because $2 > 1$.", "formula"),
        ("It never gets there:\n\n$$\nx > 0\n$$", "formula"),
        ("What ends lowest is called the winner.", "definition"),
        ("Stairs by an amount end higher, by more than a quarter.", "said again"),
        ("Stairs by an amount end higher.", "said again"),
        ("Stairs end higher than the smooth curve.", ""),
    ],
)
def test_covers(text, by):
    cells = [("markdown", f"## Here\n\n{text}\n\n## There\n", False), ("code", "", True)]
    assert [sentence.by for sentence in sentences.claiming("page", cells, [CONFIRMED])] == [by]


def test_a_check_covers_its_section_alone():
    def code(source, **metadata):
        return nbformat.v4.new_code_cell(source, metadata=metadata)

    def text(source):
        return nbformat.v4.new_markdown_cell(source)

    solution = "```{{solution-{}}} label\n:class: dropdown\n```\n{}"
    cells = [
        text(f"# One\n\n{MADE_UP}\n\n## Two\n\n{MADE_UP}"),
        code("evidence.confirm('it ends lower', low < high)"),
        text(f"{MADE_UP}\n\n## Three\n\n{MADE_UP}"),
        code("print(low)"),
        text("## Four\n\n" + solution.format("start", MADE_UP)),
        code("for x in y:\n    assert x"),
        text(solution.format("end", MADE_UP) + f"\n\n## Five\n\n{MADE_UP}"),
        code("fails()", tags=["raises-exception"]),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    found = sentences.of_notebook("page", store.write(notebook))
    places = [re.sub(r".*cell (\d), '(\w+).*", r"\1 \2", sentence.place) for sentence in found]
    assert places == ["0 One", "0 Two", "2 Two", "2 Three", "4 Four", "6 Four", "6 Five"]
    assert [sentence.by for sentence in found] == ["", "check", "check", "", "check", "", "check"]


def test_boxes_tables_and_code_are_not_read():
    text = f"""# Title

:::{{admonition}} Predict
{MADE_UP}
:::

:::{{dropdown}} The answer
First.
:::

| {MADE_UP} |
|---|

```python
{MADE_UP}
```

```{{exercise-start}}
:label: one
```
{MADE_UP}
```{{exercise-end}}
```

{MADE_UP}
"""
    (found,) = sentences.of_markdown("page", text)
    assert found.text == MADE_UP


def test_a_paragraph_is_split_where_a_sentence_ends():
    paragraph = (
        "He et al. trained it. (It was *deep*.) **Why?** Take $a. B$ and `x. Y`, e.g. 1.5. "
        "It ends lower: Yes. {cite:t}`he2016` do."
    )
    assert sentences.split(paragraph) == [
        "He et al. trained it.",
        "(It was *deep*.)",
        "**Why?**",
        "Take $a. B$ and `x. Y`, e.g. 1.5.",
        "It ends lower: Yes.",
        "{cite:t}`he2016` do.",
    ]
