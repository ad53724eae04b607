"""The figures to play with: their states are trainlab's, and they answer to the keyboard, on a phone, in words."""

import itertools
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "book" / "_ext"), str(ROOT / "tests" / "notebooks")]
import play  # noqa: E402
import play_runs  # noqa: E402
import records  # noqa: E402


@pytest.mark.parametrize("name", play.FIGURES)
def test_a_page_holds_every_state_and_shows_the_first_without_a_script(site, name):
    page = (site / f"{play.PLACES[name][0]}.html").read_text("utf-8")
    (part,) = re.findall(r'<figure class="play".*?</figure>', page, re.DOTALL)
    paths, states = json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', part)[1]
    )
    figure = play.FIGURES[name]()
    sizes = [len(positions) for positions in figure.knobs.values()]
    positions = list(itertools.product(*map(range, sizes)))
    assert len(states) == len(positions) and figure.start in positions
    for place in {0, len(states) // 2, len(states) - 1, positions.index(figure.start)}:
        lines, words = figure.state(*positions[place])
        assert states[place][0] == words
        assert [paths[at] for at in states[place][1:]] == play.drawn_lines(figure, lines)
    first = states[positions.index(figure.start)]
    assert f">{first[0]}</p>" in part and all(f'd="{paths[at]}"' in part for at in first[1:])
    assert part.count("<figcaption>") == 1 and part.count("?</figcaption>") == 1
    shown = (site / "book" / "play.html").read_text("utf-8")
    assert shown.count('<figure class="play"') == len(play.FIGURES)


def test_all_figures_answer_to_the_keyboard_on_a_phone(browser, site):
    tab = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    said = []
    tab.on("pageerror", lambda error: said.append(error))
    tab.goto((site / "book" / "play.html").as_uri())
    figures = tab.locator("figure.play").all()
    assert len(figures) == len(play.FIGURES)
    for figure in figures:
        assert figure.locator("svg").bounding_box()["width"] > 280
        for knob in figure.locator("input").all():
            before = (
                figure.locator(".play-words").inner_text(),
                knob.get_attribute("aria-valuetext"),
            )
            drawing = figure.locator("svg").inner_html()
            knob.focus()
            tab.keyboard.press("ArrowRight")
            tab.keyboard.press("ArrowRight")
            after = figure.locator(".play-words").inner_text(), knob.get_attribute("aria-valuetext")
            assert before[0] != after[0] and before[1] != after[1]
            assert drawing != figure.locator("svg").inner_html()
            assert knob.locator("xpath=following-sibling::output").inner_text() == after[1]
    assert said == []
    tab.close()


@pytest.mark.parametrize("runs", [play_runs.contest, play_runs.branches])
def test_kept_runs_are_those_of_the_library(runs):
    _, record = runs()
    assert record.runs.keys() == record.asked.keys()
    keys = sorted(record.asked)
    order = [keys[at] for at in records.drawn(record.path, len(keys))]
    for key in order[:2]:
        share, spreads = records.early_difference(record, key)
        assert share <= records.EARLY or spreads <= records.SPREADS, key
    assert records.late_difference(record, order[2]) <= records.SPREADS, order[2]


def test_the_contest_is_the_chapters():
    """The same rates are chosen, with the same errors, as the chapter prints."""
    chapter = json.loads((ROOT / f"{play.PLACES['contest'][0]}.ipynb").read_text("utf-8"))
    printed = "".join(
        "".join(output.get("text", ""))
        for cell in chapter["cells"]
        for output in cell.get("outputs", [])
    )
    figure = play.contest()
    for name, (tuning, tests) in play_runs.contest()[0].items():
        best = tuning.mean(axis=1).argmin()
        told = re.search(rf"^{name} +\S+ +(\S+) +rate (\S+)$", printed, re.MULTILINE)
        assert told.groups() == (f"{tests[best].mean():.3g}", f"{play_runs.RATES[best]:.3g}")
    _, words = figure.state(0, 9, 3)
    assert words.startswith("Both are tuned") and words.endswith(
        "No difference larger than a point."
    )
    _, words = figure.state(*figure.start)
    assert words.startswith("Both at the article's rate") and words.endswith("AdamW wins.")


def test_a_branch_is_the_trunk_until_it_leaves():
    found, _ = play_runs.branches()
    for end, share in itertools.product(play_runs.ENDS, play_runs.SHARES):
        looks = end * share // 100 // play_runs.EVERY
        assert (found[end, share][:, :looks] == found["trunk"][:, :looks]).all()
        assert found[end, share].shape[1] * play_runs.EVERY == end


def test_a_section_that_is_not_there_is_refused(monkeypatch):
    from types import SimpleNamespace

    from docutils.frontend import get_default_settings
    from docutils.utils import new_document
    from sphinx.errors import ExtensionError

    page, _ = play.PLACES["walk"]
    app = SimpleNamespace(env=SimpleNamespace(docname=page))
    with pytest.raises(ExtensionError, match="has no section"):
        play.put_in(app, new_document("", get_default_settings()))
