"""Train on as many processes as you start, with PyTorch's DistributedDataParallel and a schedule of this book.

    torchrun --standalone --nproc_per_node=2 ddp.py

On a cluster only the launch differs: one `torchrun` on each computer, with --nnodes and --rdzv-endpoint.
With graphics cards, say "nccl" for "gloo" and move the model and the examples to the card.
"""

import sys

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from trainlab import data
from trainlab.schedules import Cosine, Warmup

BATCH, UPDATES, RAMP, PEAK = 64, 40, 4, 0.5


def main():
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)  # DistributedDataParallel sends the first process's parameters to all
    network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    model = DistributedDataParallel(network.double())
    # LambdaLR multiplies, so the optimizer's own rate is 1.
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = Warmup(Cosine(PEAK, UPDATES - RAMP), RAMP)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.__call__)
    split = data.digits()
    x, y = (torch.as_tensor(np.asarray(part)) for part in split.train)
    for step in range(UPDATES):
        whole = np.random.default_rng([1, step]).integers(len(x), size=BATCH)
        rows = whole[rank::size]  # every process draws the same batch and takes its share
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows].double()), y[rows]).backward()
        optimizer.step()
        scheduler.step()
    if rank == 0:
        x, y = (torch.as_tensor(np.asarray(part)) for part in split.test)
        loss = torch.nn.functional.cross_entropy(network(x.double()), y).item()
        print(f"{size} processes, {BATCH // size} examples each: test loss {loss:.4f}")
        for path in sys.argv[1:]:
            torch.save(network.state_dict(), path)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
