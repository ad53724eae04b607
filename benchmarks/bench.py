"""Times trainlab against PyTorch, scikit-learn and Optax: same model, same batches, one thread.

Both sides do the same job: shuffle, follow a cosine schedule, update, and record the loss of every
update. Measurements alternate, and a ratio is the median over the rounds, so that a busy moment of
the machine hits both. Above 1, trainlab is faster. What is not installed is left out, and said so.

In the end the limit of these numbers: a loop in bare NumPy that does the same sums and nothing else,
and where an update of trainlab spends its time. What lies between the two is what is checked, kept
and weighed at each update.
"""

import argparse
import cProfile
import importlib
import pstats
import statistics
import time
from collections import Counter
from pathlib import Path

import numpy as np

from trainlab import data, losses
from trainlab.models import MLP
from trainlab.optimizers import SGD, AdamW
from trainlab.schedules import Cosine
from trainlab.trainer import Trainer
from trainlab.transformer import Decoder

TRAIN = data.digits().train
X, Y = TRAIN.x.astype(np.float32), TRAIN.y
SIZES, WIDE, PEAK = (64, 32, 10), (64, 64, 10), 0.01


def clock(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(what, target, ours, theirs, rounds, scale=1.0):
    """Print the times of both in microseconds and the median ratio; `scale` is ours per theirs in work done."""
    ours(), theirs()
    pairs = [(clock(ours), clock(theirs)) for _ in range(rounds)]
    mine, other = (1e6 * statistics.median(times) for times in zip(*pairs))
    ratio = statistics.median(b / a for a, b in pairs) * scale
    verdict = (
        "" if target is None else f"at least {target:g}: {'met' if ratio >= target else 'MISSED'}"
    )
    print(f"{what:<58} {mine:>11,.0f} {other:>11,.0f} {ratio:>8.2f}x  {verdict}", flush=True)


def trainlab_loop(model, optimizer, x, y, batch_size, steps, replicas=None):
    trainer = Trainer(
        model,
        losses.softmax_cross_entropy,
        optimizer,
        Cosine(PEAK, 10**6),
        batch_size=batch_size,
        replicas=replicas,
    )
    return lambda: trainer.fit(x, y, steps=steps, progress=False)


def bare_loop(batch_size, steps):
    """The updates of the small MLP in as few calls of NumPy as they need: no replicas, no history, nothing checked."""
    rng = np.random.default_rng(0)
    W1, W2 = (
        rng.normal(0, 0.1, shape).astype(np.float32)
        for shape in zip(SIZES, SIZES[1:], strict=False)
    )
    b1, b2 = (np.zeros(size, np.float32) for size in SIZES[1:])
    rows, rate = np.arange(batch_size), np.float32(PEAK)

    def run():
        order, at = rng.permutation(len(X)), 0
        for _ in range(steps):
            if at + batch_size > len(X):
                order, at = rng.permutation(len(X)), 0
            batch = order[at : at + batch_size]
            at += batch_size
            inputs = X[batch]
            hidden = np.maximum(inputs @ W1 + b1, 0)
            gap = hidden @ W2 + b2
            gap -= gap.max(axis=1, keepdims=True)
            np.exp(gap, out=gap)
            gap /= gap.sum(axis=1, keepdims=True)
            gap[rows, Y[batch]] -= 1
            gap *= rate / np.float32(batch_size)
            back = (gap @ W2.T) * (hidden > 0)
            W1[...] -= inputs.T @ back
            b1[...] -= back.sum(axis=0)
            W2[...] -= hidden.T @ gap
            b2[...] -= gap.sum(axis=0)

    return run


def show_profile(loop, updates):
    """Print which parts of the library an update spends its time in, by the profiler, which makes all of it slower."""
    profile = cProfile.Profile()
    profile.runcall(loop)
    times: Counter = Counter()
    calls = 0
    for (file, _, _), (_, count, own, _, _) in pstats.Stats(profile).stats.items():
        inside = "trainlab" in Path(file).parts
        calls += 0 if inside else count
        times[Path(file).stem if inside else "NumPy and Python"] += own
    print(f"\nWhere the time of an update goes ({calls / updates:.0f} calls of NumPy and Python):")
    for part, seconds in times.most_common(8):
        print(f"    {part:<20} {seconds / sum(times.values()):4.0%}")


def torch_loop(torch, model, optimizer, x, y, batch_size, steps):
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10**6)
    x, y, history = torch.tensor(x), torch.tensor(y), []

    def batches():
        while True:
            order = torch.randperm(len(x))
            for start in range(0, len(x) - batch_size + 1, batch_size):
                yield order[start : start + batch_size]

    rows = batches()

    def run():
        for _ in range(steps):
            batch = next(rows)
            optimizer.zero_grad()
            outputs = model(x[batch])
            loss = torch.nn.functional.cross_entropy(outputs.flatten(0, -2), y[batch].flatten())
            loss.backward()
            optimizer.step()
            scheduler.step()
            history.append(loss.item())

    return run


def torch_mlp(torch, sizes):
    layers = [
        layer
        for pair in zip(sizes, sizes[1:])
        for layer in (torch.nn.ReLU(), torch.nn.Linear(*pair))
    ]
    return torch.nn.Sequential(*layers[1:])


def optax_loop(jax, optax, batch_size, steps):
    jnp = jax.numpy
    optimizer = optax.sgd(optax.cosine_decay_schedule(PEAK, 10**6))
    params = {
        name: jnp.asarray(value)
        for name, value in MLP(SIZES).init(np.random.default_rng(0)).items()
    }

    def loss(params, x, y):
        hidden = jax.nn.relu(x @ params["W1"] + params["b1"])
        logits = hidden @ params["W2"] + params["b2"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def update(params, state, x, y):
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        changes, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, changes), state, value

    memory = {"params": params, "state": optimizer.init(params)}
    rng, history = np.random.default_rng(0), []

    def run():
        order = np.concatenate(
            [rng.permutation(len(X)) for _ in range(1 + steps * batch_size // len(X))]
        )
        for step in range(steps):
            batch = order[step * batch_size : (step + 1) * batch_size]
            memory["params"], memory["state"], value = update(
                memory["params"], memory["state"], X[batch], Y[batch]
            )
            history.append(float(value))

    return run


def sklearn_loop(neural_network, batch_size, epochs):
    model = neural_network.MLPClassifier(
        (32,), solver="sgd", alpha=0, momentum=0, batch_size=batch_size, learning_rate_init=PEAK, max_iter=epochs,
        n_iter_no_change=10**6, warm_start=False, random_state=0,
    )  # fmt: skip

    def run():
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that so few epochs do not converge
            model.fit(X, Y)

    return run


def torch_decoder(torch, model):
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            n, length, width = x.shape
            q, k, v = (
                self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            )
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.mix(mixed.transpose(1, 2).reshape(n, length, width))
            return x + self.down(F.relu(self.up(self.norm2(x))))

    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.E = nn.Parameter(0.02 * torch.randn(model.vocabulary, model.width))
            self.P = nn.Parameter(0.02 * torch.randn(model.context, model.width))
            self.blocks = nn.Sequential(
                *[Block(model.width, model.heads) for _ in range(model.layers)]
            )
            self.norm = nn.LayerNorm(model.width)

        def forward(self, tokens):
            return self.norm(self.blocks(F.embedding(tokens, self.E) + self.P)) @ self.E.T

    return Theirs()


def installed(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: its rows are left out")
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch, optax, neural_network = (
        installed("torch"),
        installed("optax"),
        installed("sklearn.neural_network"),
    )
    print(
        f"{'NumPy ' + np.__version__ + ', one thread; microseconds a round':<58} {'trainlab':>11} {'other':>11} {'ratio':>9}"
    )

    if torch:
        torch.set_num_threads(1)
        other = f"PyTorch {torch.__version__}"
        for batch_size, target in ((16, 3.5), (64, 3), (256, 2.3)):
            theirs = torch_mlp(torch, SIZES)
            sgd = torch.optim.SGD(theirs.parameters(), lr=PEAK)
            compare(
                f"MLP 64-32-10, batch {batch_size}, 300 updates, {other}",
                target,
                trainlab_loop(MLP(SIZES), SGD(), X, Y, batch_size, 300),
                torch_loop(torch, theirs, sgd, X, Y, batch_size, 300),
                rounds,
            )
        for batch_size, target in ((8, 25), (32, 14)):
            theirs = torch_mlp(torch, WIDE)
            sgd = torch.optim.SGD(theirs.parameters(), lr=PEAK, momentum=0.9)
            compare(
                f"MLP 64-64-10, momentum, 32 replicas, batch {batch_size}, {other}",
                target,
                trainlab_loop(MLP(WIDE), SGD(0.9), X, Y, batch_size, 100, replicas=32),
                torch_loop(torch, theirs, sgd, X, Y, batch_size, 100),
                rounds,
                scale=32,
            )
        for width, texts, target in ((32, 8, 1.3), (64, 16, 1.05)):
            model = Decoder(64, 32, width, heads=4, layers=2)
            theirs = torch_decoder(torch, model)
            adamw = torch.optim.AdamW(theirs.parameters(), lr=PEAK)
            tokens = np.random.default_rng(0).integers(0, 64, (64, 33))
            x, y = tokens[:, :-1], tokens[:, 1:]
            compare(
                f"decoder, AdamW, width {width}, {texts} x 32 tokens, {other}",
                target,
                trainlab_loop(model, AdamW(), x, y, texts, 30),
                torch_loop(torch, theirs, adamw, x, y, texts, 30),
                rounds,
            )

        rng = np.random.default_rng(0)
        logits, labels = (
            rng.normal(size=(4096, 1000)).astype(np.float32),
            rng.integers(0, 1000, 4096),
        )
        theirs, their_labels = torch.tensor(logits, requires_grad=True), torch.tensor(labels)

        def torch_cross_entropy():
            theirs.grad = None
            torch.nn.functional.cross_entropy(theirs, their_labels).backward()

        name = f"cross-entropy with gradient, 4096 x 1000, {other}"
        compare(
            name,
            1,
            lambda: losses.softmax_cross_entropy(logits, labels),
            torch_cross_entropy,
            5 * rounds,
        )

        def torch_schedule():
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=PEAK)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10**4)
            for _ in range(10**4):
                optimizer.step()
                scheduler.step()

        steps, schedule = np.arange(10**6), Cosine(PEAK, 10**6)
        compare(
            f"10^6 schedule values, 10^4 of {other}",
            500,
            lambda: schedule(steps),
            torch_schedule,
            3,
            scale=100,
        )
    if neural_network:
        updates = 3 * (len(X) // 16)
        ours, epochs = (
            trainlab_loop(MLP(SIZES), SGD(), X, Y, 16, updates),
            sklearn_loop(neural_network, 16, 3),
        )
        compare(
            f"MLP 64-32-10, batch 16, {updates} updates, scikit-learn", None, ours, epochs, rounds
        )
    if optax:
        loop = optax_loop(importlib.import_module("jax"), optax, 16, 300)
        ours = trainlab_loop(MLP(SIZES), SGD(), X, Y, 16, 300)
        compare("MLP 64-32-10, batch 16, 300 updates, Optax (jit)", None, ours, loop, rounds)
    for batch_size in (16, 64, 256):
        ours = trainlab_loop(MLP(SIZES), SGD(), X, Y, batch_size, 300)
        what = f"MLP 64-32-10, batch {batch_size}, 300 updates, bare NumPy"
        compare(what, None, ours, bare_loop(batch_size, 300), rounds)
    show_profile(trainlab_loop(MLP(SIZES), SGD(), X, Y, 16, 3000), 3000)


if __name__ == "__main__":
    main()
