"""Evidence: intervals over seeds, the fair comparison, and the claim that comes of it.

What the book means by *fair* is one call, :func:`contest`. What it found is read with intervals
over seeds: in pairs, because two arms with the same seed share initial parameters and batches. And
what a chapter says in the end is one record, a :class:`Claim`.
"""

from trainlab.evidence.calibration import calibration_error
from trainlab.evidence.claims import MIME, Claim
from trainlab.evidence.contests import Arm, Contest, Task, contest, held_out
from trainlab.evidence.intervals import (
    Interval,
    bootstrap,
    confirm,
    interval,
    paired,
    paired_all,
    student_t_quantile,
)
from trainlab.evidence.races import Race
from trainlab.evidence.records import Record, making

__all__ = [
    "Arm",
    "Task",
    "contest",
    "held_out",
    "Contest",
    "Race",
    "Record",
    "making",
    "calibration_error",
    "Claim",
    "MIME",
    "Interval",
    "interval",
    "paired",
    "paired_all",
    "bootstrap",
    "confirm",
    "student_t_quantile",
]
