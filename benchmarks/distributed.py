"""Time training with one process and with two, and all-reduces of many sizes: what chapter 5.1.2 reads.

    mpiexec -n 2 python benchmarks/distributed.py [chapters/records/distributed.json]

Run it where nothing else runs, with one thread for sums (OMP_NUM_THREADS=1). All cases take turns,
`REPEATS` times, so what disturbs the machine for a second disturbs all of them alike. A minute.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from trainlab import buffers
from trainlab.losses import softmax_cross_entropy
from trainlab.models import MLP
from trainlab.optimizers import SGD
from trainlab.transformer import Decoder

REPEATS = 30
SIZES = [8 * 4**power for power in range(12)]  # bytes of a message
AT_LEAST = 0.01  # seconds that a timing takes; shorter things are done several times for it
WORLD = MPI.COMM_WORLD
CASES = {
    "digits network, batch 32": (MLP((64, 32, 10)), 32),
    "digits network, batch 512": (MLP((64, 32, 10)), 512),
    "wide network, batch 32": (MLP((64, 512, 512, 10)), 32),
    "wide network, batch 1,024": (MLP((64, 512, 512, 10)), 1024),
    "decoder, 16 texts": (Decoder(64, 32, 32, heads=2, layers=2), 16),
    "decoder, 128 texts": (Decoder(64, 32, 32, heads=2, layers=2), 128),
}


def wait_asleep():
    """A barrier that takes no processor: who waits sleeps, and does not spin beside somebody who is being timed."""
    request = WORLD.Ibarrier()
    while not request.Test():
        time.sleep(0.0005)


class Training:
    """A model in its training; `update(rows, exchange)` makes one update with so many examples."""

    def __init__(self, model, batch):
        rng = np.random.default_rng(WORLD.rank)
        if isinstance(model, Decoder):
            tokens = rng.integers(model.vocabulary, size=(batch, model.context + 1))
            self.x, self.y = tokens[:, :-1], tokens[:, 1:]
        else:
            self.x = rng.normal(size=(batch, model.sizes[0])).astype(np.float32)
            self.y = rng.integers(model.sizes[-1], size=batch)
        self.model, self.optimizer = model, SGD()
        self.params = buffers.pack(model.init(np.random.default_rng(0)))
        self.state = self.optimizer.init(self.params)
        self.gradients = buffers.room(self.params)

    @property
    def numbers(self):
        return sum(value.size for value in self.params.values())

    def update(self, rows, exchange):
        """Return the seconds that the exchange took."""
        y = self.y[:rows]
        outputs, cache = self.model.forward(self.params, self.x[:rows])
        error = softmax_cross_entropy(outputs, y).gradient
        self.model.backward(self.params, cache, error, out=self.gradients)
        begin = time.perf_counter()
        if exchange:
            for whole in self.gradients.whole().values():
                WORLD.Allreduce(MPI.IN_PLACE, whole)
                whole /= WORLD.size
        took = time.perf_counter() - begin
        self.optimizer.update(self.params, self.gradients, self.state, 1e-4)
        return took


def timed(action, times):
    """Seconds of the clock, of the processor, and of what `action` returns, each for one call."""
    action()  # after a pause the caches are cold
    clock, busy, inside = time.perf_counter(), time.process_time(), 0.0
    for _ in range(times):
        inside += action()
    return tuple(
        total / times for total in (time.perf_counter() - clock, time.process_time() - busy, inside)
    )


def all_reduce(numbers, result):
    WORLD.Allreduce(numbers, result)
    return 0.0


def often(seconds):
    """How many times in a row something is done to take long enough, the same number on both sides."""
    return int(WORLD.bcast(min(2000, max(1, round(AT_LEAST / seconds)))))


def measure():
    buffers.keep_freed_memory()
    messages = {size: (np.ones(size // 8), np.empty(size // 8)) for size in SIZES}
    trainings = {name: (Training(*case), case[1]) for name, case in CASES.items()}
    found = {
        "messages": {size: [] for size in SIZES},
        "cases": {
            name: {what: [] for what in ("alone", "half", "beside", "together", "exchange")}
            | {"processor alone": [], "processor together": []}
            for name in CASES
        },
    }
    times = {size: often(timed(lambda m=m: all_reduce(*m), 3)[0]) for size, m in messages.items()}
    for name, (training, batch) in trainings.items():
        times[name] = often(timed(lambda: training.update(batch, False), 3)[0])

    for _ in range(REPEATS):
        for size, message in messages.items():
            WORLD.Barrier()
            found["messages"][size].append(timed(lambda: all_reduce(*message), times[size])[0])
        for name, (training, batch) in trainings.items():
            case = found["cases"][name]
            for what, rows in (("alone", batch), ("half", batch // 2)):
                wait_asleep()
                if WORLD.rank == 0:
                    clock, busy, _ = timed(lambda: training.update(rows, False), times[name])
                    case[what].append(clock)
                    if what == "alone":
                        case["processor alone"].append(busy)
                wait_asleep()
            WORLD.Barrier()
            clock, *_ = timed(lambda: training.update(batch // 2, False), times[name])
            case["beside"].append(clock)
            WORLD.Barrier()
            clock, busy, inside = timed(lambda: training.update(batch // 2, True), times[name])
            case["together"].append(clock)
            case["exchange"].append(inside)
            case["processor together"].append(WORLD.allreduce(busy))
    for name, (training, batch) in trainings.items():
        found["cases"][name] |= {"parameters": training.numbers, "batch": batch}
    return found


def rounded(value):
    if isinstance(value, dict):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    if WORLD.size != 2:
        sys.exit("mpiexec -n 2 python benchmarks/distributed.py")
    found = measure()
    if WORLD.rank == 0:
        about = {
            "what": "seconds; of an update, or of one all-reduce of so many bytes",
            "made by": "mpiexec -n 2 python benchmarks/distributed.py chapters/records/distributed.json",
            "machine": f"{os.cpu_count()} cores of a virtual machine ({processor()}), one process on each, one thread in each",
            "software": f"Python {platform.python_version()}, NumPy {np.__version__}, {MPI.Get_library_version().splitlines()[0].strip()}",
            "repeats": REPEATS,
        }
        text = json.dumps(about | rounded(found)) + "\n"
        if len(sys.argv) > 1:
            Path(sys.argv[1]).write_text(text, "utf-8")
        for size, seconds in found["messages"].items():
            print(f"{size:10,} bytes: {np.median(seconds) * 1e6:10.1f} microseconds")
        for name, case in found["cases"].items():
            row = {what: np.median(v) * 1e3 for what, v in case.items() if isinstance(v, list)}
            print(
                f"{name} ({case['parameters']:,}):",
                ", ".join(f"{w} {v:.3f}" for w, v in row.items()),
            )


if __name__ == "__main__":
    main()
