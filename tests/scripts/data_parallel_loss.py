"""Losses and gradients of every objective on one process and on two, of the same global batch under the same noise.

Prints one JSON object: objective to the largest differences of loss and gradient, relative to the largest gradient.
"""

import json
import os
import socket

import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from lightning_rs import objectives

ARGUMENTS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}
MODULES = {
    "Gaussian": (1, {}),
    "Stability": (1, {}),
    "MACER": (3, {"k": 3}),
    "Consistency": (3, {"m": 3}),
    "SmoothAdv": (3, {"m": 3, "steps": 3, "lbd": 2.0, "eta": 0.5, "warmup": 1}),
    "CATRS": (3, {"m": 3, "steps": 3}),
    "SmoothMix": (3, {"m": 3, "steps": 3, "mix_step": 1, "warmup": 1}),
}
ROWS = 8


class Loss(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x, y):
        return sum(self.module.loss(x, y)[0].values())


def measure(name, rank, world_size):
    copies, options = MODULES[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(ROWS, 1, 8, 8, generator=generator)
    y = torch.randint(10, (ROWS,), generator=generator)
    noise = 0.5 * torch.randn(copies, ROWS, 1, 8, 8, generator=generator)
    share = torch.rand(ROWS, generator=generator)
    mine = slice(rank * ROWS // world_size, (rank + 1) * ROWS // world_size)
    torch.manual_seed(0)
    module = getattr(objectives, name)(**ARGUMENTS, sigma=0.5, **options)
    # Far enough from the start for some images to be classified correctly.
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    module.noise = lambda x, copies=1: noise[:, mine].flatten(0, 1)
    drawn, torch.rand = torch.rand, lambda size, **_: share[mine].expand(size)
    model = Loss(module) if world_size == 1 else DistributedDataParallel(Loss(module))
    loss = model(x[mine], y[mine])
    loss.backward()
    torch.rand = drawn
    total = loss.detach().clone()
    if world_size > 1:
        distributed.all_reduce(total)
    return float(total / world_size), torch.cat([p.grad.flatten() for p in module.parameters()])


def work(rank, world_size, port, results):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=world_size)
    for name in MODULES:
        loss, gradient = measure(name, rank, world_size)
        if rank == 0:
            alone, expected = measure(name, 0, 1)
            difference = float((gradient - expected).abs().max() / expected.abs().max())
            results[name] = (abs(loss - alone), difference)
    distributed.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as kept, multiprocessing.Manager() as manager:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # The processes may listen there, and nobody else.
        kept.bind(("127.0.0.1", 0))
        results, port = manager.dict(), kept.getsockname()[1]
        multiprocessing.start_processes(work, (2, port, results), nprocs=2, start_method="fork")
        print(json.dumps(dict(results)))
