"""Where the time of sampling goes: the noise, the net, the mechanisms, and gaps in which the device waits for the host.

python benchmarks/shares.py --output shares.json                    ResNet-110 at 32 on the GPU that is there
python benchmarks/shares.py --model digits_cnn --n 2000            in miniature

The shares are of one run's wall time. The device's busy time is the sum of its kernels in a trace of
`torch.profiler`; what is left to the wall time is gaps. On a CPU there is no queue, and no gap to be seen.
"""

from __future__ import annotations

import json
import time

import torch
from jsonargparse import auto_cli
from sampling import MODELS, SIGMA, best_time
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lightning_rs.files import write_whole
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import Stage, make_noise
from lightning_rs.smoothing import Preparation, prepare
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler


def shares(
    model: str = "cifar_resnet110",
    n: int = 100_000,
    batch_size: int = 1000,
    precision: str | None = None,
    output: str | None = None,
) -> None:
    """Seconds of a run of one image, and of its parts.

    Args:
        model: architecture, with random weights.
        n: draws.
        batch_size: rows a call.
        precision: of the net; bfloat16 on a GPU and float32 elsewhere when left out.
        output: JSON file of the figures.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = precision or ("bfloat16" if device.type == "cuda" else "float32")
    channels, size, *_ = MODELS[model]
    shape = (channels, size, size)
    net = build_base_classifier(model, 10, list(shape), [0.5] * channels, [0.25] * channels).to(device).eval()
    x = torch.randint(256, shape).float().div(255).to(device)
    rows = x.expand(batch_size, *shape).clone()
    prepared = prepare(net, Preparation(precision, channels_last=True, fold_batch_norm=True), rows)
    noise = make_noise("grid_gaussian:levels=255", SIGMA)
    sampler, plan = Sampler(prepared, 10, noise, batch_size, 0, device), Plan((n,), 100)
    source = noise.source(1, shape, device=device)
    samples = list(sampler.run([(0, x)], plan))

    batches = -(-(n + 100) // batch_size)
    with torch.inference_mode():
        figures = {
            "run": best_time(lambda: list(sampler.run([(0, x)], plan)), device, 2),
            "noise": batches * best_time(lambda: source.perturb(rows, x, 0, Stage.ESTIMATION, 0), device),
            "net": batches * best_time(lambda: prepared(rows), device),
        }
    mechanisms, start = MechanismSet(["cohen", "cohen_two_sided"]), time.perf_counter()
    mechanisms.certify(samples[0].statistics(noise, plan), 0.001)
    figures["mechanisms"] = time.perf_counter() - start
    if device.type == "cuda":
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
            start = time.perf_counter()
            list(sampler.run([(0, x)], plan))
            torch.cuda.synchronize(device)
            wall = time.perf_counter() - start
        on_device = (event for event in trace.events() if event.device_type == DeviceType.CUDA)
        busy = sum(event.self_device_time_total for event in on_device) / 1e6
        figures |= {"profiled_run": wall, "device_busy": busy, "gaps": max(0.0, wall - busy)}
    print(f"{model}, {precision}, n = {n:,}, batches of {batch_size:,}, on {device.type}")
    for name, seconds in figures.items():
        print(f"  {name}: {seconds:.4f} s, {seconds / figures['run']:.1%} of the run", flush=True)
    if output is not None:
        about = {"model": model, "precision": precision, "n": n, "batch_size": batch_size, "device": device.type}
        write_whole(output, json.dumps(about | {"seconds": figures}, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(shares, as_positional=False)
