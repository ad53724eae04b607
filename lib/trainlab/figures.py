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
            "figure.dpi": 120,
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


def band(axes, x, runs, label, *, index=0, at=-1, offset=(6, 0)):
    """Draw the median of many runs, the band that holds their middle 80 %, and a label.

    Parameters
    ----------
    axes : matplotlib Axes
    x : array, shape (T,)
    runs : array, shape (T, R)
        One column a run. Infinite values (runs that diverged) leave the picture at its top.
    label : str
        Written beside the line, in its colour.
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
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    seen = np.isfinite(middle)
    top = np.nanmax(np.where(np.isfinite(runs), runs, np.nan))
    axes.fill_between(x[seen], low[seen], np.where(np.isfinite(high), high, top)[seen], color=colour, alpha=0.18, lw=0)
    axes.plot(x[seen], middle[seen], color=colour, linestyle=dash)
    axes.annotate(
        label,
        (x[seen][at], middle[seen][at]),
        xytext=offset,
        textcoords="offset points",
        color=colour,
        va="center",
        annotation_clip=False,
    )
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
    for name in sorted(rates, key=lambda name: rates[name][-1]):
        # Lines often end together; their labels must not.
        label_at = max(rates[name][-1], label_at + 0.07 * height)
        index = list(rates).index(name) % len(COLOURS)
        axes.plot(step, rates[name], color=COLOURS[index], linestyle=DASHES[index], drawstyle="steps-post")
        axes.annotate(name, (steps, label_at), xytext=(6, 0), textcoords="offset points",
                      color=COLOURS[index], va="center", annotation_clip=False)
    axes.set(xlabel=unit, ylabel="learning rate", ylim=(0, None), xlim=(0, steps))
    return axes
