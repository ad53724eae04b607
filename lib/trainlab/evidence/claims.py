"""The claim as a record: what a chapter says in the end, once, for people and for programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainlab import checks
from trainlab.evidence.intervals import Interval, confirmation

VERDICTS = ("supported", "refuted", "depends", "not settled")
# The name under which a notebook stores the record, beside its text. The book's pages are made from
# it.
MIME = "application/vnd.trainlab.claim+json"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that an experiment has checked, with all that belongs to it.

    Make it the last result of a chapter: Jupyter shows its text and stores its fields.

    Parameters
    ----------
    name : str
        The identifier, unique in the book: "C02" for a claim of the source article, a word
        otherwise.
    section : str
        Where the article makes it, such as "2.1.3" or "2.1.1, 6.2".
    sentence : str
        What is claimed.
    verdict : str
        "supported", "refuted", "depends" or "not settled".
    note : str
        A few words behind the verdict: what it depends on, or what is meant.
    effects : dict
        From a few words to an :class:`Interval`, a number or a text.
    confirms : dict
        From each sentence that stands behind the verdict to whether it holds in this run. See
        :func:`confirm`.
    seeds : int
        How many runs an effect is an average of.
    budget, limits : str
        What a run was given; what the experiment cannot say.

    Raises
    ------
    ValueError
        If the verdict is none of the four, or a text is empty.
    TypeError
        If a confirmed sentence is neither true nor false, or an effect is no interval, number or
        text.

    Examples
    --------
    >>> claim = Claim(
    ...     name="C99", section="9.9", sentence="Two is small.", verdict="supported", note="against three",
    ...     effects={"two over three": 2 / 3}, confirms={"two is below three": 2 < 3},
    ...     seeds=8, budget="one comparison", limits="whole numbers")
    >>> print(claim)
    Verdict C99: supported - against three
        Two is small. (section 9.9)
        two over three: 0.667
        8 seeds; one comparison
        Limits: whole numbers
    Confirmed: two is below three
    >>> claim.record["effects"]
    [{'what': 'two over three', 'text': '0.667'}]
    """

    name: str
    section: str
    sentence: str
    verdict: str
    note: str = ""
    effects: Mapping[str, Any] = field(default_factory=dict)
    confirms: Mapping[str, bool]
    seeds: int
    budget: str
    limits: str

    def __post_init__(self):
        for part in ("name", "section", "sentence", "budget", "limits"):
            if not isinstance(getattr(self, part), str) or not getattr(self, part).strip():
                raise ValueError(f"{part} must be a text, received {getattr(self, part)!r}")
        checks.one_of("verdict", self.verdict, VERDICTS)
        checks.integer("seeds", self.seeds, low=1)
        if not self.confirms:
            raise ValueError("a claim needs a sentence that is confirmed, received none")
        for sentence, holds in self.confirms.items():
            if not isinstance(holds, (bool, np.bool_)):
                raise TypeError(
                    f"a sentence holds or does not, received {holds!r} for {sentence!r}"
                )
        for what, value in self.effects.items():
            _text(what, value)

    @property
    def record(self) -> dict[str, Any]:
        """The claim as plain data, which JSON can hold; numbers have three digits, as in its text."""
        names = ("name", "section", "sentence", "verdict", "note", "seeds", "budget", "limits")
        return {name: getattr(self, name) for name in names} | {
            "effects": [
                {"what": what, "text": _text(what, value)} | _ends(value)
                for what, value in self.effects.items()
            ],
            "confirms": [
                {"sentence": sentence, "holds": bool(holds)}
                for sentence, holds in self.confirms.items()
            ],
        }

    def __str__(self) -> str:
        note = f" - {self.note}" if self.note else ""
        sections = "sections" if "," in self.section else "section"
        lines = [
            f"Verdict {self.name}: {self.verdict}{note}",
            f"    {self.sentence} ({sections} {self.section})",
        ]
        lines += [f"    {what}: {_text(what, value)}" for what, value in self.effects.items()]
        lines += [
            f"    {self.seeds} seed{'s' * (self.seeds > 1)}; {self.budget}",
            f"    Limits: {self.limits}",
        ]
        lines += [confirmation(sentence, holds) for sentence, holds in self.confirms.items()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": str(self), MIME: self.record}


def _text(what, value):
    if isinstance(value, (str, Interval)):
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.3g}"
    raise TypeError(
        f"an effect must be an interval, a number or a text, received {value!r} for {what!r}"
    )


def _ends(value):
    if not isinstance(value, Interval):
        return {}
    ends = {name: float(f"{getattr(value, name):.3g}") for name in ("mean", "low", "high")}
    # JSON has no infinity.
    return {name: end for name, end in ends.items() if np.isfinite(end)} | {
        "n": value.n,
        "confidence": round(value.confidence, 6),
    }
