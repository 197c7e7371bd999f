"""Time a training step of every objective, beside the passes that it must make.

python benchmarks/objectives.py                     digits_cnn, batches of 64
python benchmarks/objectives.py --architecture cifar_resnet20 --size 32 --channels 3 --batch_size 16

A pass takes the batch forward and backward once. Passes are counted, not assumed: hooks count the rows that the net
sees, and those whose logits receive a gradient. An attack's backward pass leaves out the gradients of the weights, so
it is cheaper than a pass of plain training, and the ratio may lie below the number of passes.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from jsonargparse import auto_cli
from rich.table import Table
from torch import Tensor

from lightning_rs import objectives
from lightning_rs.objectives import SmoothingModule
from lightning_rs.results.report import console_for

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Gaussian": ("Gaussian", {}),
    "Stability": ("Stability", {}),
    "Consistency, m=2": ("Consistency", {"m": 2}),
    "MACER, k=8": ("MACER", {"k": 8}),
    "SmoothAdv, PGD, m=2, T=4": ("SmoothAdv", {"m": 2, "steps": 4}),
    "SmoothAdv, DDN, m=2, T=4": ("SmoothAdv", {"m": 2, "steps": 4, "attack": "ddn"}),
    "SmoothAdv with Consistency": ("SmoothAdv", {"m": 2, "steps": 4, "lbd": 2.0, "eta": 0.5}),
    "SmoothMix, m=2, T=4": ("SmoothMix", {"m": 2, "steps": 4, "mix_step": 1}),
    "CATRS, m=2, T=4": ("CATRS", {"m": 2, "steps": 4}),
}


def count_passes(module: SmoothingModule, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Forward and backward passes of one step, in units of the batch."""
    rows = {"forward": 0, "backward": 0}

    def forward(net: torch.nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        rows["forward"] += len(logits)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: rows.update(backward=rows["backward"] + len(gradient)))

    handle = module.base_classifier.register_forward_hook(forward)
    step(module, torch.optim.SGD(module.parameters(), lr=0.0), x, y)
    handle.remove()
    return rows["forward"] / len(x), rows["backward"] / len(x)


def step(module: SmoothingModule, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    parts, _ = module.loss(x, y)
    torch.stack(list(parts.values())).sum().backward()
    optimizer.step()


def seconds(module: SmoothingModule, x: Tensor, y: Tensor, steps: int) -> float:
    """Seconds a step, over `steps` of them after one that warms up: of the processor on a CPU, where another program
    would otherwise be timed along, and of the clock on a GPU."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)
    cuda = x.device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    step(module, optimizer, x, y)
    if cuda:
        torch.cuda.synchronize(x.device)
    start = clock()
    for _ in range(steps):
        step(module, optimizer, x, y)
    if cuda:
        torch.cuda.synchronize(x.device)
    return (clock() - start) / steps


def benchmark(
    architecture: str = "digits_cnn",
    channels: int = 1,
    size: int = 8,
    batch_size: int = 64,
    steps: int = 5,
    repeats: int = 20,
    device: str = "cpu",
) -> None:
    """Print the table.

    Args:
        architecture: the net.
        channels: channels of its images.
        size: height and width of its images.
        batch_size: images a step.
        steps: steps that are timed together.
        repeats: how often; the best counts.
        device: cpu (one thread) or cuda.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.rand(batch_size, channels, size, size, device=device)
    y = torch.randint(10, (batch_size,), device=device)
    table = Table(title=f"{architecture}, batches of {batch_size}, {device}")
    for column in ("objective", "forward", "backward", "passes", "ms a step", "ratio to Gaussian", "ratio / passes"):
        table.add_column(column, justify="left" if column == "objective" else "right", no_wrap=column == "objective")
    modules = {
        label: getattr(objectives, name)(
            architecture, 10, [channels, size, size], [0.5] * channels, [0.25] * channels, sigma=0.5, **options
        ).to(device)
        for label, (name, options) in CASES.items()
    }
    # In turns, so that what else the machine does meets all of them alike.
    rounds = [{label: seconds(module, x, y, steps) for label, module in modules.items()} for _ in range(repeats)]
    best = {label: min(times[label] for times in rounds) for label in modules}
    for label, module in modules.items():
        forward, backward = count_passes(module, x, y)
        passes, ratio = (forward + backward) / 2, best[label] / best["Gaussian"]
        figures = (f"{forward:g}", f"{backward:g}", f"{passes:g}", f"{1e3 * best[label]:.2f}", f"{ratio:.2f}")
        table.add_row(label, *figures, f"{ratio / passes:.2f}")
    console_for(table).print(table)


if __name__ == "__main__":
    auto_cli(benchmark, as_positional=False)
