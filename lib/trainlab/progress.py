"""Bars that show how far a long loop has come."""

from collections.abc import Iterable


def progress_bar(
    steps: Iterable, wanted: bool, unit: str = "updates", total: int | None = None
) -> Iterable:
    """Return `steps`, with a bar around it if `wanted`, if there is a terminal, and if tqdm is installed."""
    if not wanted:
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    # disable=None shows the bar in terminals only, so that notebooks store no speeds.
    return tqdm(steps, desc=unit, total=total, disable=None)
