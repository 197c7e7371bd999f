"""The devices that a program runs on."""

from __future__ import annotations

from lightning_fabric import Fabric

from lightning_rs.checks import check_at_least


def fabric_on(accelerator: str, devices: int | str = 1, num_nodes: int = 1) -> Fabric:
    """Lightning's Fabric on these devices.

    Args:
        accelerator: cpu, gpu or auto.
        devices: number of processes, or auto.
        num_nodes: number of machines.

    Raises:
        ValueError: a number below 1, or this machine has no such device, or not so many.
    """
    if devices != "auto":
        check_at_least("devices", devices, 1)
    check_at_least("num_nodes", num_nodes, 1)
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    except RuntimeError as error:  # No such device.
        raise ValueError(str(error)) from None
