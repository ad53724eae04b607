"""Figures: what is drawn is what was passed in, and wrong shapes are refused."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from trainlab import figures
from trainlab.schedules import Constant, StepDecay


@pytest.fixture
def axes():
    with plt.rc_context():
        figures.use_style()
        fig, axes = plt.subplots()
        yield axes
        plt.close(fig)


def test_band_draws_the_median_and_writes_the_label_at_its_end(axes):
    runs = np.array([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]])
    assert figures.band(axes, [10, 20], runs, "arm") is axes
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [10, 20]
    assert line.get_ydata().tolist() == [2.0, 5.0]
    (label,) = axes.texts
    assert label.get_text() == "arm" and label.xy == (20, 5.0)
    assert label.get_color() == line.get_color() == figures.COLOURS[0]


def test_band_holds_the_middle_80_percent(axes):
    # 0 to 10: the nearest ranks of 10 % and 90 % are 1 and 9.
    runs = np.tile(np.arange(11.0), (2, 1))
    figures.band(axes, [0, 1], runs, "")
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1.0, 9.0)


def test_band_leaves_out_points_at_which_most_runs_are_lost(axes):
    runs = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, np.inf], [3.0, np.inf, np.inf]])
    figures.band(axes, [0, 1, 2], runs, "")
    assert axes.lines[0].get_ydata().tolist() == [1.0, 2.0]
    assert np.isfinite(axes.collections[0].get_paths()[0].vertices).all()


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 4, 5)])
def test_band_refuses_runs_that_do_not_fit_and_names_their_shape(axes, shape):
    with pytest.raises(ValueError) as caught:
        figures.band(axes, [1, 2, 3], np.zeros(shape), "")
    assert f"(3, R), received {shape}" in str(caught.value)


def test_schedules_are_drawn_step_by_step(axes):
    schedule = StepDecay(0.1, factor=0.5, every=2)
    figures.schedules(axes, {"stairs": schedule}, 5)
    assert axes.lines[0].get_ydata().tolist() == [schedule(step) for step in range(5)]
    assert axes.lines[0].get_drawstyle() == "steps-post"


def test_labels_of_schedules_that_end_together_do_not_overlap(axes):
    figures.schedules(
        axes, {"one": Constant(0.1), "two": Constant(0.1), "three": Constant(0.1)}, 10
    )
    heights = sorted(label.xy[1] for label in axes.texts)
    assert len(heights) == 3 and min(np.diff(heights)) > 0.05 * 0.1


def test_colours_and_dashes_are_all_different():
    assert (
        len(set(figures.COLOURS))
        == len(figures.COLOURS)
        == len(figures.DASHES)
        == len(set(figures.DASHES))
    )
