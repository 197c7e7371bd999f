import pytest

from lightning_rs.cli import fabric_on


def test_one_process_on_the_cpu():
    fabric = fabric_on("cpu")
    assert (fabric.device.type, fabric.world_size) == ("cpu", 1)


def test_a_device_that_is_not_there_is_said_in_a_line():
    with pytest.raises(ValueError, match="No supported gpu backend found|CUDA"):
        fabric_on("gpu", 1000)
