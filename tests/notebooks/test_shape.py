"""Each rule for a stored chapter can fail: spoil one thing, expect the complaint that names it."""

import base64
import io

import nbformat
import pytest
from PIL import Image

import shape
import store
from trainlab.evidence import MIME

EXERCISE = """```{{exercise-start}}
:label: {0}
```
Try it.
```{{exercise-end}}
```

```{{solution-start}} {0}
:class: dropdown
```
Done.
```{{solution-end}}
```"""
PROSE = "\n\n".join(
    [
        "# 2.1.1 A title",
        ":::{admonition} Predict\n:class: predict\nWhat will happen? See [a page](https://example.org/a/b) and $a/b/c$.\n:::",
        ":::{dropdown} The answer, if you only came for it\nIt works.\n:::",
        "**Back to your prediction.** It did, because it must.",
        "## The verdict",
        ":::{verdict} C99\nIt did, {glue:text}`a:d` times.\n:::",
        *(EXERCISE.format(label) for label in ("one", "two", "three")),
        "## Remember\n\n- This.",
        "## Further reading\n\n- That.",
    ]
)


def png(colour="white", **options):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, "png", **options)
    return base64.b64encode(buffer.getvalue()).decode()


def output(kind, **content):
    return nbformat.v4.new_output(kind, **content)


def cell(number, source, *outputs, **metadata):
    return nbformat.v4.new_code_cell(
        source,
        id=f"code-{number}",
        execution_count=number + 1,
        outputs=list(outputs),
        metadata=metadata,
    )


ALT = "A white rectangle, four pixels wide and three high, without a border."


CLAIM = {"name": "C99", "verdict": "supported"}  # the fields that a rule looks at


def good():
    """A chapter with nothing wrong, as a notebook."""
    cells = [
        nbformat.v4.new_markdown_cell(PROSE, id="prose"),
        cell(
            0,
            "TUNING_SEEDS = range(9, 12)\nrules = {'tuning_seeds': TUNING_SEEDS}\nevidence.confirm('half', 1 / 2 / 4 == 0.125)",
            output("stream", name="stdout", text="Confirmed: half\n"),
        ),
        cell(
            1,
            "plt.show()",
            output("display_data", data={"image/png": png(), "text/plain": "<Figure>"}),
            mystnb={"image": {"alt": ALT}},
            tags=["hide-input"],
        ),
        cell(
            2,
            "1 / 0",
            output(
                "error",
                ename="ZeroDivisionError",
                evalue="division by zero",
                traceback=["division by zero"],
            ),
            tags=["raises-exception"],
        ),
        cell(
            3,
            "glue('C99', claim)",
            output(
                "display_data",
                data={"text/plain": "Verdict C99: supported", MIME: CLAIM},
                metadata={"scrapbook": {"name": "C99", "mime_prefix": ""}},
            ),
        ),
        cell(
            4,
            "glue('a', 1)",
            output(
                "display_data",
                data={"text/plain": "1"},
                metadata={"scrapbook": {"name": "a", "mime_prefix": ""}},
            ),
        ),
    ]
    return store.normal(nbformat.v4.new_notebook(cells=cells))


def test_a_good_chapter_has_no_complaints():
    assert shape.complaints(store.write(good())) == []


def test_a_verdict_stands_before_its_check():
    notebook = good()
    prose = notebook.cells[0]
    box = ":::{verdict} C99\nIt did, {glue:text}`a:d` times.\n:::"
    prose.source = prose.source.replace(box, "")
    notebook.cells.append(nbformat.v4.new_markdown_cell(box, id="box"))
    assert shape.complaints(store.write(store.normal(notebook))) == [
        "The chapter checks C99 before its verdict box, where a reader looks for the answer"
    ]


SPOILED = {}


def spoils(expected):
    """Register a change to the good chapter, and the words that must be complained with."""

    def register(change):
        SPOILED[change.__name__] = (change, expected)
        return change

    return register


def replace(old, new):
    def change(prose, *code):
        assert old in prose.source
        prose.source = prose.source.replace(old, new)

    return change


@spoils("Cell 1 has count None, not 2")
def count_is_stripped(prose, verdict, picture, error, claim, glued):
    picture.execution_count = None


@spoils("Cell 4 has count 9, not 5")
def run_out_of_order(prose, verdict, picture, error, claim, glued):
    glued.execution_count = 9


@spoils("Cell 4 is empty")
def empty_cell(prose, verdict, picture, error, claim, glued):
    glued.source = " \n"


@spoils("Cell 0 has the tag nbval-skip")
def skipped(prose, verdict, *rest):
    verdict.metadata["tags"] = ["nbval-skip"]


@spoils("Cell 0 has the tag nbval-ignore-output")
def ignored(prose, verdict, *rest):
    verdict.metadata["tags"] = ["nbval-ignore-output"]


@spoils("Cell 0 has the tag skip-execution")
def not_executed(prose, verdict, *rest):
    verdict.metadata["tags"] = ["skip-execution"]


@spoils("Cell 0 has the comment '# NBVAL_IGNORE_OUTPUT'")
def ignored_by_comment(prose, verdict, *rest):
    verdict.source = "# NBVAL_IGNORE_OUTPUT\n" + verdict.source


@spoils("Cell 1 makes a figure or a claim and shows its code: add the tag hide-input")
def open_figure(prose, verdict, picture, *rest):
    picture.metadata.pop("tags")


@spoils("Cell 3 makes a figure or a claim and shows its code: add the tag hide-input")
def open_claim(prose, verdict, picture, error, claim, glued):
    claim.source = "claim = evidence.Claim(name='C99')\n" + claim.source


@spoils("Cell 4 ends with ';'")
def semicolon(prose, verdict, picture, error, claim, glued):
    glued.source += ";"


@spoils("Cell 2 stores an error without the tag")
def error_without_tag(prose, verdict, picture, error, claim, glued):
    del error.metadata["tags"]


@spoils("Cell 2 has the tag raises-exception and stores no error")
def error_that_is_none(prose, verdict, picture, error, claim, glued):
    error.outputs = []


@spoils("Cell 0 prints a warning")
def warning(prose, verdict, *rest):
    verdict.outputs.append(output("stream", name="stderr", text="RuntimeWarning: overflow\n"))


@spoils("Cell 1 has a picture and the alt text ''")
def no_alt_text(prose, verdict, picture, *rest):
    picture.metadata = {}


@spoils("Cell 1 has a picture and the alt text 'A curve.'")
def short_alt_text(prose, verdict, picture, *rest):
    picture.metadata["mystnb"]["image"]["alt"] = "A curve."


@spoils("Cell 1 has a picture and the alt text 'Figure of")
def alt_text_that_says_nothing(prose, verdict, picture, *rest):
    picture.metadata["mystnb"]["image"]["alt"] = "Figure of the results of the experiment above."


@spoils("Cell 1 shows 2 pictures")
def two_pictures(prose, verdict, picture, *rest):
    picture.outputs = picture.outputs * 2


@spoils("Cell 1 stores image/svg+xml")
def svg(prose, verdict, picture, *rest):
    picture.outputs[0].data["image/svg+xml"] = "<svg/>"


@spoils("Cell 4 stores application/papermill.record/image/png")
def glued_picture(prose, verdict, picture, error, claim, glued):
    glued.outputs[0].data = {"application/papermill.record/image/png": png()}


@spoils("Cell 0 names a place on one machine, '/data/b'")
def path_in_source(prose, verdict, *rest):
    verdict.source += "\nopen('/data/books/x.csv')"


@spoils("Cell 0 names a place on one machine, '/opt/b'")
def path_printed(prose, verdict, *rest):
    verdict.outputs[0].text += "read /opt/book/x.csv\n"


@spoils("Cell 2 names a place on one machine, '~/b'")
def path_in_traceback(prose, verdict, picture, error, claim, glued):
    error.outputs[0].traceback = ["File ~/book/x.py:3, in f"]


@spoils("Cell 4 names a place on one machine, 'C:\\U'")
def path_in_result(prose, verdict, picture, error, claim, glued):
    glued.outputs[0].data["text/plain"] = "'C:\\Users'"


@spoils("The chapter confirms nothing")
def nothing_confirmed(prose, verdict, *rest):
    verdict.outputs[0].text = "Verdict: supported, not Confirmed: half\n"


@spoils("The chapter says 'NOT CONFIRMED in this run: half'")
def false_sentence(prose, verdict, *rest):
    verdict.outputs[0].text += "NOT CONFIRMED in this run: half\n"


@spoils("The chapter says 'NOT CONFIRMED in this run: the claim'")
def false_sentence_of_a_claim(prose, verdict, picture, error, claim, glued):
    claim.outputs[0].data["text/plain"] += "\nNOT CONFIRMED in this run: the claim"


@spoils("The chapter makes no claim")
def no_claim(prose, verdict, picture, error, claim, glued):
    del claim.outputs[0].data[MIME]


@spoils("The chapter makes the claims ['C98'], and has verdict boxes for ['C99']")
def another_claim(prose, verdict, picture, error, claim, glued):
    claim.outputs[0].data[MIME] = {"name": "C98"}


@spoils("The chapter glues 'b', which its text does not quote")
def glued_for_nobody(prose, verdict, picture, error, claim, glued):
    glued.outputs[0].metadata.scrapbook["name"] = "b"


@spoils("The chapter tunes by itself in cell 0, with TUNING_SEEDS")
def tuning_loop(prose, verdict, *rest):
    verdict.source = "TUNING_SEEDS = range(2)\ncontest(task, arms, tuning_seeds=TUNING_SEEDS)\nfor seed in TUNING_SEEDS:\n    train(seed)"


@spoils("The chapter has 451 lines of code; 450 is the most")
def long_code(prose, verdict, *rest):
    verdict.source = "\n".join(["half = 1 / 2"] * 447)


@spoils("The chapter speaks of the 'next chapter'")
def nameless_neighbour(prose, *rest):
    prose.source += "\n\nThe next chapter shows it."


@spoils("Cell 1 stores text/html")
def html(prose, verdict, picture, *rest):
    picture.outputs[0].data["text/html"] = "<b>bold</b>"


@spoils("The chapter stores 2,0")
def too_large(prose, verdict, *rest):
    verdict.outputs[0].text += "x" * 2_000_000


@spoils("The file is not in normal form")
def timings(prose, verdict, *rest):
    verdict.metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00"}


@spoils("The file is not in normal form")
def address(prose, verdict, picture, error, claim, glued):
    glued.outputs[0].data["text/plain"] = "<object object at 0x7f0123456789>"


for name, words, change in [
    (
        "no_section_number",
        "The chapter begins not with one title",
        replace("# 2.1.1 A title", "# A title"),
    ),
    (
        "two_titles",
        "The chapter begins not with one title",
        replace("## Remember", "# 2 More\n\n## Remember"),
    ),
    ("no_prediction", "The chapter has no Predict box", replace(":class: predict", "")),
    ("no_answer", "The chapter has no folded answer", replace("The answer, if you only", "If you")),
    (
        "no_way_back",
        "The chapter does not come back to the prediction",
        replace("**Back to your prediction.**", "So."),
    ),
    (
        "back_too_late",
        "The chapter does not come back to the prediction before its verdict",
        replace(
            "**Back to your prediction.** It did, because it must.\n\n## The verdict",
            "## The verdict\n\n**Back to your prediction.**",
        ),
    ),
    (
        "no_verdict_box",
        "The chapter makes the claims ['C99'], and has verdict boxes for []",
        replace("{verdict} C99", "{note}"),
    ),
    (
        "no_plain_words",
        "The chapter begins the verdict box of C99 with 0 words: one to 60 in plain language",
        replace("It did, {glue:text}`a:d` times.\n", ""),
    ),
    (
        "many_words",
        "The chapter begins the verdict box of C99 with 64 words: one to 60 in plain language",
        replace("It did, {glue", "It did, " + "really " * 60 + "{glue"),
    ),
    (
        "many_numbers",
        "The chapter begins the verdict box of C99 with more than one number a claim: the rest goes below",
        replace("`a:d` times.", "`a:d` times, at {claim}`C99: seeds` seeds."),
    ),
    ("nothing_to_remember", "The chapter has no heading 'Remember'", replace("## Remember", "")),
    (
        "nothing_to_read",
        "The chapter has no heading 'Further reading'",
        replace("## Further reading", "**Further reading**"),
    ),
    (
        "footnote",
        "The chapter has the footnote [^1]",
        replace("- That.", "- That.[^1]\n\n[^1]: Really."),
    ),
    ("two_exercises", "The chapter has 2 exercises", replace(EXERCISE.format("three"), "")),
    ("no_label", "The chapter has an exercise without :label:", replace(":label: two\n", "")),
    (
        "no_solution",
        "The chapter has no solution for the exercise two",
        replace("{solution-start} two", "{solution-start} too"),
    ),
    (
        "open_solution",
        "The chapter shows the solution of one openly",
        replace("{solution-start} one\n:class: dropdown", "{solution-start} one"),
    ),
    (
        "endless_solution",
        "The chapter has 3 solution-start and 2 solution-end",
        replace("{solution-end}\n```\n\n## Remember", "{note}\n```\n\n## Remember"),
    ),
    (
        "path_in_prose",
        "The chapter names a place on one machine, '/home/s'",
        replace("- This.", "- Look into /home/somebody."),
    ),
]:
    change.__name__ = name
    spoils(words)(change)


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_chapter_is_complained_of(name):
    change, expected = SPOILED[name]
    notebook = good()
    change(*notebook.cells)
    found = shape.complaints(store.write(notebook))
    assert any(words.startswith(expected) for words in found), found
