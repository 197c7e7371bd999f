"""The devices that a program runs on."""

from __future__ import annotations

from lightning_fabric import Fabric


def fabric_on(accelerator: str, devices: int | str = 1, num_nodes: int = 1) -> Fabric:
    """Lightning's Fabric on these devices.

    Args:
        accelerator: cpu, gpu or auto.
        devices: number of processes, or auto.
        num_nodes: number of machines.

    Raises:
        ValueError: this machine has no such device, or not so many.
    """
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    except RuntimeError as error:  # No such device.
        raise ValueError(str(error)) from None
