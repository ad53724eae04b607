"""A bar is shown where its reader can see it, and leaves no speeds in a stored notebook."""

import sys

import pytest

from trainlab.progress import progress_bar


@pytest.mark.parametrize(
    "wanted, variable, shown", [(True, None, False), (True, "1", True), (False, "1", False)]
)
def test_a_bar_is_shown_where_it_is_asked_for(monkeypatch, capsys, wanted, variable, shown):
    monkeypatch.delenv("TRAINLAB_PROGRESS", raising=False)
    if variable:
        monkeypatch.setenv("TRAINLAB_PROGRESS", variable)
    assert list(progress_bar(range(3), wanted, unit="tasks")) == [0, 1, 2]
    said = capsys.readouterr()
    assert ("tasks" in said.err) == shown and said.out == ""


def test_a_bar_says_how_many_are_to_come_and_is_wiped_at_its_end(monkeypatch, capsys):
    monkeypatch.setenv("TRAINLAB_PROGRESS", "1")
    assert list(progress_bar(iter("abc"), True, total=3)) == ["a", "b", "c"]
    said = capsys.readouterr().err
    assert "updates:   0%" in said and "0/3" in said
    assert said.rpartition("\r")[0].endswith(" ") and said.endswith("\r")


def test_a_bar_says_the_same_in_a_terminal_and_stays_there(monkeypatch, capsys):
    monkeypatch.delenv("TRAINLAB_PROGRESS", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress_bar(iter("abc"), True, total=3)) == ["a", "b", "c"]
    said = capsys.readouterr().err
    assert "updates:   0%" in said and "3/3" in said and said.endswith("\n")
