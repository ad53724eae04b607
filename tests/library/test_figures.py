"""Figures: what is drawn is what was passed in, and wrong shapes are refused."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from trainlab import figures
from trainlab.evidence import Interval
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


def test_an_arm_has_the_look_of_its_place_and_the_eighth_that_of_the_first():
    assert figures.look(1) == {"color": figures.COLOURS[1], "linestyle": figures.DASHES[1]}
    assert figures.look(7) == figures.look(0)


def test_a_name_stands_beside_its_point_in_the_colour_of_its_line(axes):
    assert figures.name(axes, "arm", (1, 2), index=2, offset=(3, 4), ha="right") is axes
    (text,) = axes.texts
    assert (text.get_text(), text.xy, text.xyann) == ("arm", (1, 2), (3, 4))
    assert text.get_color() == figures.COLOURS[2] and text.get_va() == "center"
    assert text.get_ha() == "right" and not text.get_annotation_clip()


def test_bands_are_those_of_each_arm_with_one_row_a_run(axes):
    arms = {"a": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "b": np.ones((3, 2))}
    assert figures.bands(axes, [10, 20], arms) is axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3.0, 4.0], [1.0, 1.0]]
    assert [line.get_color() for line in axes.lines] == list(figures.COLOURS[:2])
    assert len(axes.texts) == 0
    figures.bands(axes, [10, 20], arms, labels=True, at=0)
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("a", (10, 3.0)),
        ("b", (10, 1.0)),
    ]


def test_intervals_are_drawn_from_the_top_in_their_rows(axes):
    rows = {"first": Interval(2.0, 1.0, 3.0, n=8), "second": Interval(5.0, 4.0, 6.0, n=8)}
    assert figures.intervals(axes, rows, index=1, marker="s", shift=0.25) is axes
    spans, points = axes.lines[::2], axes.lines[1::2]
    assert [list(line.get_xdata()) for line in spans] == [[1.0, 3.0], [4.0, 6.0]]
    assert [list(line.get_ydata()) for line in spans] == [[0.25, 0.25], [1.25, 1.25]]
    assert [list(line.get_xdata()) for line in points] == [[2.0], [5.0]]
    assert [list(line.get_ydata()) for line in points] == [[0.25], [1.25]]
    assert {line.get_color() for line in axes.lines} == {figures.COLOURS[1]}
    assert [line.get_marker() for line in points] == ["s", "s"]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "None", "-", "None"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim() == (1.5, -0.5)


@pytest.mark.parametrize("columns, markers", [(None, None), (1, "os")])
def test_a_key_says_what_the_looks_mean(axes, columns, markers):
    figure = axes.figure
    assert figures.key(figure, ["a", "b"], columns=columns, markers=markers) is figure
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    lines = legend.get_lines()
    assert [line.get_color() for line in lines] == list(figures.COLOURS[:2])
    assert [line.get_marker() for line in lines] == list(markers or ["None", "None"])
    assert [line.get_linestyle() for line in lines] == (["None"] * 2 if markers else ["-", "--"])
    figure.canvas.draw()
    heights = {round(text.get_window_extent().y0) for text in legend.get_texts()}
    assert len(heights) == (2 if columns == 1 else 1) and not legend.get_frame_on()
