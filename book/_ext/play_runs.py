"""The runs behind two of the figures to play with, kept beside the chapters' records.

python book/_ext/play_runs.py    trains what the records lack: some minutes
"""

from functools import cache
from pathlib import Path

import numpy as np

from trainlab import data, language, losses
from trainlab.evidence import Record, Task
from trainlab.models import MLP
from trainlab.optimizers import NO_DECAY, SGD, AdamW
from trainlab.schedules import Constant, Cosine, Warmup, WarmupStableDecay
from trainlab.transformer import Decoder

RECORDS = Path(__file__).parents[2] / "chapters" / "records"

# The contest of chapter 1: its model, images, budget, rates and seeds.
RATES = 10.0 ** (np.arange(-9, 4) / 3)
JUDGES, TUNERS = range(32), range(100, 106)
ONE_HOT = np.eye(10)


def squared_to_one_hot(outputs, labels, reduction="none"):
    return losses.squared_error(outputs, ONE_HOT[labels], reduction=reduction)


ARMS = {
    "plain": {},
    "AdamW": {"optimizer": AdamW()},
    "momentum": {"optimizer": SGD(momentum=0.9)},
    "squared error": {"loss": squared_to_one_hot},
}


def errors(trainer, split):
    """Percentage of wrong answers. No number, no answer: wrong."""
    found = {}
    for name, examples in (("validation", split.validation), ("test", split.test)):
        outputs = trainer.predict(examples.x)
        wrong = (outputs.argmax(axis=-1) != examples.y) | ~np.isfinite(outputs).all(axis=-1)
        found[name] = 100 * wrong.mean(axis=-1)
    return found


@cache
def contest(make=False):
    """Of each arm, a row for each rate: the validation errors of the tuning seeds, the test errors of the others."""
    split = data.digits()
    task = Task(
        MLP((64, 16, 10), "tanh", dtype=np.float64),
        losses.softmax_cross_entropy,
        split,
        updates=4 * len(split.train.x) // 32,
        batch_size=32,
        measure=errors,
        every=67,
    )
    record, found = Record(RECORDS / "play_contest.jsonl", task, make), {}
    for name, options in ARMS.items():
        settings = [options | {"schedule": Constant(rate)} for rate in map(float, RATES)]
        found[name] = record(settings, TUNERS)["validation"], record(settings, JUDGES)["test"]
    return found, record


# The branches of L3: its made-up language, model and largest rate, with several seeds.
PEAK, RAMP, EVERY, SEEDS = 0.016, 80, 20, range(8)
ENDS, SHARES = (400, 800, 1200, 1600), (50, 80, 95)  # of the updates, in per cent, before the fall


def above_lowest(trainer, split):
    """How far the model is from the true probabilities of the made-up language, in nats."""
    made_up = language.MarkovLanguage(symbols=8)
    # What follows one symbol, for the first place of a window, where the one before it is not seen.
    first = np.einsum("ab,abc->bc", made_up.pairs, made_up.probabilities)
    first /= made_up.pairs.sum(axis=0)[:, None]
    x = split.test.x
    later = made_up.probabilities[x[:, :-1], x[:, 1:]]
    p = np.concatenate([first[x[:, :1]], later], axis=1)
    logits = trainer.predict(x).astype(float)
    q = np.exp(logits - logits.max(axis=-1, keepdims=True))
    q /= q.sum(axis=-1, keepdims=True)
    return {"test": (p * np.log(p / q)).sum(axis=-1).mean(axis=(-2, -1))}


@cache
def branches(make=False):
    """The loss on the way, a row for each seed: of the trunk, of each branch by end and share, of the cosine of each end."""
    task = Task(
        Decoder(8, 16, width=16, heads=2, layers=1),
        losses.softmax_cross_entropy,
        language.MarkovLanguage(symbols=8).windows(16, train=16 * max(ENDS), held_out=128),
        max(ENDS),
        16,
        AdamW(groups=[NO_DECAY]),
        measure=above_lowest,
        every=EVERY,
        max_norm=1.0,
    )
    record = Record(RECORDS / "play_branches.jsonl", task, make)

    def curve(schedule, end=max(ENDS)):
        ramped = Warmup(schedule, RAMP, start=PEAK / (RAMP + 1))
        return record([{"schedule": ramped, "updates": end}], SEEDS)["curve/test"][0]

    found = {"trunk": curve(Constant(PEAK))}
    for end in ENDS:
        found[end, "cosine"] = curve(Cosine(PEAK, end - RAMP), end)
        for share in SHARES:
            begin = end * share // 100
            landing = WarmupStableDecay(PEAK, 0, begin - RAMP, end - begin)
            found[end, share] = curve(landing, end)
    return found, record


def main():
    for make in (contest, branches):
        _, record = make(make=True)
        record.keep({key: record.runs[key] for key in record.asked})
        size = record.path.stat().st_size
        print(f"{record.path.name}: {len(record.runs)} runs, {size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
