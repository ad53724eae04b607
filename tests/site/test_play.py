"""The figures to play with: their states are trainlab's, and they answer to the keyboard, on a phone, in words."""

import itertools
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
import play  # noqa: E402


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
    assert len(re.findall("<figure class=", (site / "book" / "play.html").read_text())) >= 8


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


def test_a_section_that_is_not_there_is_refused(monkeypatch):
    from types import SimpleNamespace

    from docutils.frontend import get_default_settings
    from docutils.utils import new_document
    from sphinx.errors import ExtensionError

    page, _ = play.PLACES["walk"]
    app = SimpleNamespace(env=SimpleNamespace(docname=page))
    with pytest.raises(ExtensionError, match="has no section"):
        play.put_in(app, new_document("", get_default_settings()))
