"""Bars that show how far a long loop has come."""

import os
from collections.abc import Iterable

IN_NOTEBOOKS = "TRAINLAB_PROGRESS"  # the variable that `make lab` sets


def progress_bar(
    steps: Iterable, wanted: bool, unit: str = "updates", total: int | None = None
) -> Iterable:
    """Return `steps`, with a bar around it if `wanted`, if tqdm is installed, and if there is a terminal or TRAINLAB_PROGRESS is set."""
    if not wanted:
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    # disable=None shows the bar in terminals only, so that stored notebooks hold no speeds.
    if IN_NOTEBOOKS in os.environ:
        return tqdm(steps, desc=unit, total=total, disable=False, leave=False)
    return tqdm(steps, desc=unit, total=total, disable=None)
