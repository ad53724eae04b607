"""The book's plots: one style, bands over seeds, labels at the lines instead of legends.

Every function draws on Matplotlib axes that you pass in and returns them, so that you can
go on drawing. Text that describes a figure to those who cannot see it belongs to the notebook's
cell, next to the figure (see the contributing guide).
"""

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito (2008), Color universal design: told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def use_style():
    """Set the book's Matplotlib style for this session."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 96,  # 7 inches are as wide as the text of a page
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.labelsize": 11,
            "axes.prop_cycle": plt.cycler(color=COLOURS, linestyle=DASHES),
            "font.size": 11,
            "lines.linewidth": 2.0,
            "axes.grid": True,
            "grid.color": "#e4e4e4",
            "grid.linewidth": 0.8,
            "savefig.bbox": None,
        }
    )


def look(index):
    """Return the colour and the dash pattern of an arm, options of Matplotlib's ``plot``.

    Parameters
    ----------
    index : int
        Its place among the arms.

    Returns
    -------
    dict
    """
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def name(axes, text, point, *, index=0, offset=(6, 0), **options):
    """Write `text` beside a point, in the colour of its line.

    Parameters
    ----------
    axes : matplotlib Axes
    text : str
    point : (float, float)
        In the units of the axes.
    index : int
        Which colour of the book's style.
    offset : (float, float)
        From the point to the text, in points.
    **options
        Of Matplotlib's ``annotate``.

    Returns
    -------
    matplotlib Axes
    """
    options = {"va": "center", "annotation_clip": False, "color": look(index)["color"]} | options
    axes.annotate(text, point, xytext=offset, textcoords="offset points", **options)
    return axes


def key(figure, names, *, columns=None, markers=None):
    """Write below a figure of several panels what its colours and dashes mean.

    Parameters
    ----------
    figure : matplotlib Figure
    names : sequence of str
        In the order of their colours.
    columns : int, optional
        How many stand side by side; all of them by default.
    markers : str, optional
        One for each name, where the figure shows points.

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.lines import Line2D

    looks = [
        look(index) | ({"marker": markers[index], "linestyle": "none"} if markers else {})
        for index in range(len(names))
    ]
    handles = [Line2D([], [], label=text, **options) for text, options in zip(names, looks)]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns or len(names), frameon=False
    )
    return figure


def bands(axes, x, arms, *, labels=False, **options):
    """Draw a :func:`band` for each arm of a dict.

    Parameters
    ----------
    axes : matplotlib Axes
    x : array, shape (T,)
    arms : dict of arrays, shape (R, T)
        One row a run, as a contest's `curves` have them.
    labels : bool
        Write their names at the lines' ends; without it, see :func:`key`.
    **options
        Of :func:`band`.

    Returns
    -------
    matplotlib Axes
    """
    for index, (text, runs) in enumerate(arms.items()):
        band(axes, x, np.transpose(runs), text if labels else "", index=index, **options)
    return axes


def intervals(axes, rows, *, index=0, marker="o", shift=0.0):
    """Draw an interval for each row: a point at its mean, a line from its low to its high end.

    Parameters
    ----------
    axes : matplotlib Axes
    rows : dict of :class:`~trainlab.evidence.Interval`
        From a row's name to its interval; the first is at the top.
    index : int
        Which colour of the book's style.
    marker : str
    shift : float
        How far below its row, in rows, where several sets share the rows.

    Returns
    -------
    matplotlib Axes
    """
    colour = look(index)["color"]
    for row, found in enumerate(rows.values()):
        axes.plot([found.low, found.high], [row + shift] * 2, color=colour, linestyle="-")
        axes.plot(found.mean, row + shift, color=colour, marker=marker, linestyle="none")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    return axes


def band(axes, x, runs, label, *, index=0, at=-1, offset=(6, 0)):
    """Draw the median of many runs, the band that holds their middle 80 %, and a label.

    Parameters
    ----------
    axes : matplotlib Axes
    x : array, shape (T,)
    runs : array, shape (T, R)
        One column a run. Infinite values (runs that diverged) leave the picture at its top.
    label : str
        Written beside the line, in its colour; "" for none.
    index : int
        Which colour and dash pattern of the book's style.
    at : int
        The point of the line that carries the label.
    offset : (float, float)
        From that point to the label, in points.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If `runs` does not have one row for each entry of `x`.
    """
    x, runs = np.asarray(x), np.asarray(runs, float)
    if runs.ndim != 2 or len(runs) != len(x):
        raise ValueError(f"runs must have shape ({len(x)}, R), received {runs.shape}")
    # Nearest-rank quantiles: interpolating between a finite run and an infinite one gives NaN.
    low, middle, high = np.quantile(runs, (0.1, 0.5, 0.9), axis=1, method="nearest")
    seen = np.isfinite(middle)
    top = np.nanmax(np.where(np.isfinite(runs), runs, np.nan))
    axes.fill_between(
        x[seen],
        low[seen],
        np.where(np.isfinite(high), high, top)[seen],
        color=look(index)["color"],
        alpha=0.18,
        lw=0,
    )
    axes.plot(x[seen], middle[seen], **look(index))
    if label:
        name(axes, label, (x[seen][at], middle[seen][at]), index=index, offset=offset)
    return axes


def schedules(axes, named, steps, *, unit="update"):
    """Draw each schedule of the dict `named` over the first `steps` updates, labelled by its name.

    Returns
    -------
    matplotlib Axes
    """
    step = np.arange(steps)
    rates = {name: schedule(step) for name, schedule in named.items()}
    height = max(rate.max() for rate in rates.values())
    label_at = -np.inf
    for text in sorted(rates, key=lambda text: rates[text][-1]):
        # Lines often end together; their labels must not.
        label_at = max(rates[text][-1], label_at + 0.07 * height)
        index = list(rates).index(text)
        axes.plot(step, rates[text], **look(index), drawstyle="steps-post")
        name(axes, text, (steps, label_at), index=index)
    axes.set(xlabel=unit, ylabel="learning rate", ylim=(0, None), xlim=(0, steps))
    return axes
