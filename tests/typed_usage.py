"""What a type checker must know of the public names: checked by mypy, never run."""

from typing import assert_type

import numpy as np

from trainlab import data, evidence
from trainlab.callbacks import Average, Checkpoint, EarlyStopping, Evaluation, ReduceOnPlateau
from trainlab.losses import LinearLoss, Loss, huber, linear_cross_entropy, softmax_cross_entropy
from trainlab.models import MLP, Linear
from trainlab.optimizers import (
    BIASES,
    NO_DECAY,
    SGD,
    AdamW,
    Group,
    Muon,
    clip_by_global_norm,
    orthogonalise,
)
from trainlab.schedules import Cosine, Schedule, Warmup
from trainlab.sweep import Results, grid, sweep
from trainlab.trainer import Trainer
from trainlab.transformer import Decoder

schedule = Warmup(Cosine(0.1, total_steps=100), steps=10)
assert_type(schedule(3), float)
assert_type(schedule(np.arange(3)), np.ndarray)
schedules: list[Schedule] = [schedule, Cosine(0.1, 100)]

loss = softmax_cross_entropy([[1.0, 2.0]], [1], label_smoothing=0.1)
assert_type(loss, Loss)
assert_type(loss.gradient, np.ndarray)
assert_type(loss.weights, np.ndarray | None)
assert_type(linear_cross_entropy([[1.0]], [[1.0], [2.0]], [1], chunk=8), LinearLoss)
assert_type(huber([1.0], [2.0], delta=0.5), Loss)

train, validation, test = data.digits()
trainer = Trainer(
    MLP((64, 32, 10)), softmax_cross_entropy, AdamW(), schedule, batch_size=16, seed=[0, 1]
)
stopping = EarlyStopping(validation.x, validation.y, every=10, patience=3)
watch = [
    Evaluation(test.x, test.y, every=5),
    ReduceOnPlateau(test.x, test.y, every=5, patience=2),
    stopping,
    Average(start=5),
]
assert_type(Average(decay=0.9, every=2).params, dict[str, np.ndarray])
assert_type(
    trainer.fit(train.x, train.y, epochs=1, callback=[*watch, Checkpoint("runs", every=10)]),
    Trainer,
)
assert_type(trainer.history, dict[str, np.ndarray])
assert_type(stopping.best, float | np.ndarray)
assert_type(
    Trainer.resume("runs", Linear(1, 1), softmax_cross_entropy, SGD(), schedule, batch_size=16),
    Trainer,
)

clipped, norm = clip_by_global_norm(trainer.params, 1.0)
assert_type(clipped, dict[str, np.ndarray])
optimizer = SGD(0.9, groups=[BIASES, Group(("W1", "W2"), rate=0.5)])
state = optimizer.init(trainer.params)
optimizer.update(trainer.params, clipped, state, 0.1, out=(dict(trainer.params), dict(state)))
AdamW(weight_decay=0.1, groups=(NO_DECAY,))
Muon(0.9, weight_decay=0.1, matrices=("W_*", "U"), groups=[NO_DECAY])
assert_type(orthogonalise(np.eye(2), steps=3), np.ndarray)
Decoder(5, 8, 4, 2, 1, padding=0, tied=False)
logits, cache = Decoder(5, 8, 4, 2, 1).forward(trainer.params, [[0, 1]])
assert_type(logits, np.ndarray)

results = sweep(
    lambda seeds, rate: {"loss": np.zeros(len(seeds))}, grid(rate=[0.1]), seeds=range(3)
)
assert_type(results, Results)
assert_type(evidence.paired(results["loss"][0], results["loss"][1]).verdict(margin=0.1), str)
