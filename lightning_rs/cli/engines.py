"""The engines that share out a certification: Lightning's processes, or a pool of Ray."""

from __future__ import annotations

from typing import Any, Literal

import torch

from lightning_rs.certification.ray_pool import RayOptions, import_ray

Engine = Literal["lightning", "ray"]


def ray_options(
    engine: Engine, accelerator: str, devices: int | str, num_nodes: int, **given: Any
) -> RayOptions | None:
    """What a pool of Ray is asked for; None with Lightning's processes.

    Args:
        engine: which of both.
        accelerator: cpu, gpu or auto. A worker of Ray gets a GPU with gpu, and with auto if this machine has one.
        devices, num_nodes: Lightning's processes.
        given: what `RayOptions` takes; None where the user says nothing.

    Raises:
        ValueError: an option of the other engine, numbers out of range, no GPU where workers of this machine need
            one, or Ray is not installed.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if engine == "lightning":
        if given:
            raise ValueError(f"{', '.join(given)}: only with --engine ray; Lightning's processes are --devices")
        return None
    if devices != "auto" or num_nodes != 1:
        raise ValueError("--engine ray takes --workers in the place of --devices and --num_nodes")
    if accelerator == "cpu" and given.get("gpus_per_worker"):
        raise ValueError(f"gpus_per_worker is {given['gpus_per_worker']:g}, and the accelerator cpu: leave one out")
    on_gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
    options = RayOptions(**{"gpus_per_worker": float(on_gpu)} | given)
    if options.gpus_per_worker and options.address is None and not torch.cuda.is_available():
        raise ValueError("this machine has no GPU for a worker: torch finds no CUDA device; --address names a cluster")
    import_ray()
    return options
