"""How many updates does it take to bring the training loss down to a target?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainlab import checks
from trainlab.evidence.contests import _alike
from trainlab.optimizers import SGD
from trainlab.trainer import Trainer

OPTIONS = ("schedule", "batch_size", "optimizer", "most")


@dataclass(frozen=True)
class Race:
    """Updates until the training loss is at a target: a task for :func:`contest` that ends with its winner.

    The settings of a call are trained side by side, all seeds with them, until one setting has
    brought all its seeds to the target. That is the winner, so the others, which would only have
    taken longer, are left there. The loss is looked at after 1, 2, 3, 4, 5, 7, 9, ... updates, each
    a fifth more than the one before; between two looks it is taken for a straight line.

    Parameters
    ----------
    model, loss
        As for :class:`~trainlab.trainer.Trainer`.
    examples : pair of arrays (x, y)
        What is trained on.
    target : float
        The loss that counts as trained.
    most : int, at least 1
        The number of updates at which a run gives up.
    batch_size : int, optional
    optimizer
    watched : int, optional
        The loss is that of the first so many examples, which is cheaper; by default that of all.

    Raises
    ------
    ValueError
        If the settings of a call differ in more than their schedule, have an option of another
        name, or lack a schedule or a batch size; and if `target`, `most` or `watched` is no number
        of its kind.

    Notes
    -----
    A setting is a dict with a schedule, and may have a batch size, an optimizer and a `most` of its
    own.

    Updates to a target loss, each side at its best rate, are how a batch size is judged: McCandlish
    et al., *An Empirical Model of Large-Batch Training*, 2018; Shallue et al., *Measuring the
    Effects of Data Parallelism on Neural Network Training*, 2019.

    Examples
    --------
    >>> from trainlab import data, losses, models
    >>> from trainlab.schedules import Constant
    >>> train = data.diabetes().train
    >>> race = Race(models.Linear(10, 1), losses.squared_error, train, target=0.6, most=200, batch_size=8)
    >>> found = race([{"schedule": Constant(0.1)}, {"schedule": Constant(1e-4)}], seeds=[0, 1])
    >>> np.isfinite(found["updates"]).tolist()
    [[True, True], [False, False]]
    >>> (found["examples"][0] / found["updates"][0]).tolist()
    [8.0, 8.0]
    """

    model: Any
    loss: Callable
    examples: tuple
    target: float
    most: int
    batch_size: int | None = None
    optimizer: Any = SGD()
    watched: int | None = None

    def __post_init__(self):
        checks.number("target", self.target)
        checks.integer("most", self.most, low=1)
        if self.watched is not None:
            checks.integer("watched", self.watched, low=1)

    def __call__(self, settings: Sequence[dict], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Return "updates", "examples" and "epochs" until the target, arrays of shape (settings, seeds); infinite where it was not reached."""
        batch_size, optimizer, most = self._shared(settings)
        x, y = self.examples
        watch = x[: self.watched], y[: self.watched]
        trainer = Trainer(
            self.model,
            self.loss,
            optimizer,
            schedule=[setting["schedule"] for setting in settings for _ in seeds],
            seed=[seed for _ in settings for seed in seeds],
            batch_size=batch_size,
            on_divergence="record",
        )
        reached = np.full((len(settings), len(seeds)), np.inf)
        before, look = np.reshape(trainer.evaluate(*watch), reached.shape), 1
        reached[before <= self.target] = 0
        while trainer.step < most and np.isinf(reached).any(axis=1).all():
            last = trainer.step
            trainer.fit(x, y, steps=min(look, most) - last, progress=False)
            now = np.reshape(trainer.evaluate(*watch), reached.shape)
            new = np.isinf(reached) & (now <= self.target)
            high = np.minimum(before[new], 1e300)  # infinity has no slope
            share = (high - self.target) / (high - now[new])
            reached[new] = last + share * (trainer.step - last)
            before, look = now, int(look * 1.2) + 1
        examples = reached * batch_size
        return {"updates": reached, "examples": examples, "epochs": examples / len(x)}

    def _shared(self, settings):
        """What all settings of a call have in common."""
        shared = {name: getattr(self, name) for name in OPTIONS if name != "schedule"}
        first = shared | settings[0]
        for setting in settings:
            for name in setting:
                checks.one_of("an option of a race", name, OPTIONS)
            for name in shared:
                if not _alike((shared | setting)[name], first[name]):
                    raise ValueError(
                        f"the settings of a race must have the same {name}, received {first[name]!r} and {setting[name]!r}"
                    )
            if "schedule" not in setting:
                raise ValueError(f"a setting of a race must have a schedule, received {setting!r}")
        if first["batch_size"] is None:
            raise ValueError(
                f"a race needs a batch_size, its own or that of its settings, received {settings[0]!r}"
            )
        checks.integer("most", first["most"], low=1)
        return tuple(first[name] for name in shared)
