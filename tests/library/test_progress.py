"""A bar is shown where its reader can see it, and leaves no speeds in a stored notebook."""

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
