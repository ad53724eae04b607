"""What is kept of the chapters' repetitions: it belongs to their code as it is, and one of them, drawn anew at every change, is run again."""

import ast
import hashlib

import pytest

import replicate
import store
import test_stored
from records import reads_a_record
from test_stored import ROOT

ALL = [name for name in test_stored.ALL if not reads_a_record(ROOT / name)]


def record(name):
    kept = replicate.kept(ROOT / name)
    assert kept, (
        f"nothing is kept of {name} as it is now: make replicate NOTEBOOKS={name} takes minutes"
    )
    return kept


def drawn():
    """A chapter and a repetition, by the state of chapters and library: another state draws others."""
    files = sorted([*ROOT.glob("lib/trainlab/**/*.py"), *ROOT.glob("chapters/*/*.ipynb")])
    content = b"".join(path.read_bytes() for path in files)
    number = int(hashlib.sha256(content).hexdigest(), 16)
    return ALL[number % len(ALL)], 1 + number // len(ALL) % len(replicate.REPETITIONS)


@pytest.mark.parametrize("name", ALL)
def test_every_chapter_was_repeated_as_it_is_now(name):
    kept = record(name)
    assert list(kept) == list(replicate.REPETITIONS)
    notebook = store.read((ROOT / name).read_text("utf-8"))
    sentences, verdicts, effects = replicate.found(notebook)
    for result in kept.values():
        assert result["effects"].keys() == effects.keys()
        assert result["sentences"].keys() == sentences.keys()
        assert result["verdicts"].keys() == verdicts.keys()


def test_a_repetition_that_is_drawn_says_the_same_again():
    name, repetition = drawn()
    again = replicate.repeated(ROOT / name, repetition)
    assert replicate.differing(record(name)[repetition], again) == [], f"{name}, {repetition}"


def test_a_spoiled_record_differs():
    kept = record(ALL[0])[1]
    sentence, claim = next(iter(kept["sentences"])), next(iter(kept["verdicts"]))
    what, ends = next(iter(kept["effects"][claim].items()))
    moved = {what: [ends[2] + 1e-3, *ends[1:]], "one more": [1, 0, 2]}
    spoiled = {
        "sentences": kept["sentences"] | {sentence: not kept["sentences"][sentence]},
        "verdicts": kept["verdicts"] | {claim: "refuted, perhaps"},
        "effects": kept["effects"] | {claim: kept["effects"][claim] | moved},
    }
    found = [sentence, claim, f"{claim}: {what}", f"{claim}: one more"]
    assert sorted(replicate.differing(kept, spoiled)) == sorted(found)
    assert replicate.differing(kept, kept) == []


def test_a_record_goes_stale_with_the_chapters_code(tmp_path, monkeypatch):
    notebook = store.read((ROOT / ALL[0]).read_text("utf-8"))
    monkeypatch.setattr(replicate, "KEPT", tmp_path)
    path = tmp_path / "chapter.ipynb"
    path.write_text(store.write(notebook), "utf-8")
    result = {"sentences": {"it does": True}, "verdicts": {"C99": "supported"}, "effects": {}}
    replicate.keep(path, {2: result}, replicate.key_of(path))
    assert replicate.kept(path) == {2: result}
    notebook.cells[0].source += "\n\nOther words."
    code = replicate.code_of(notebook)[1]
    code.source += "  # a comment\n"
    path.write_text(store.write(notebook), "utf-8")
    assert replicate.kept(path) == {2: result}
    code.source += "unused = 1\n"
    path.write_text(store.write(notebook), "utf-8")
    assert replicate.kept(path) == {}


def test_a_chapter_that_is_edited_while_it_is_repeated_keeps_nothing(tmp_path, monkeypatch):
    notebook = store.nbformat.v4.new_notebook(cells=[store.nbformat.v4.new_code_cell("1")])
    path = tmp_path / "chapter.ipynb"
    path.write_text(store.write(notebook), "utf-8")
    monkeypatch.setattr(replicate, "repeated", lambda path, repetition: "found")
    assert replicate.tried(path, 1, replicate.key_of(path)) == "found"
    stopped = replicate.tried(path, 1, "the key of other code")
    assert isinstance(stopped, RuntimeError) and "changed meanwhile" in str(stopped)


def test_nothing_is_drawn_twice():
    notebook = store.read((ROOT / "chapters/03_algorithms/schedules.ipynb").read_text("utf-8"))
    texts = set()
    for repetition in range(9):
        change = replicate.DrawnAnew(repetition)
        code = [
            ast.unparse(change.visit(ast.parse(cell.source)))
            for cell in replicate.code_of(notebook)
        ]
        texts.add("\n".join(code))
    assert len(texts) == 9


def test_seeds_that_are_no_range_are_refused():
    with pytest.raises(ValueError, match=r"TUNING_SEEDS must be a range, received \[1, 2\]"):
        replicate.DrawnAnew(1).visit(ast.parse("TUNING_SEEDS = [1, 2]"))


def test_a_sentence_said_twice_holds_if_it_held_both_times():
    cell = store.nbformat.v4.new_code_cell("1")
    texts = ["Confirmed: a\nConfirmed: b\n", "NOT CONFIRMED in this run: a\n"]
    cell.outputs = [
        store.nbformat.v4.new_output("stream", name="stdout", text=text) for text in texts
    ]
    notebook = store.nbformat.v4.new_notebook(cells=[cell])
    assert replicate.found(notebook) == ({"a": False, "b": True}, {}, {})
