import pytest

from lightning_rs.cli import fabric_on


def test_one_process_on_the_cpu():
    fabric = fabric_on("cpu")
    assert (fabric.device.type, fabric.world_size) == ("cpu", 1)


def test_a_device_that_is_not_there_is_said_in_a_line():
    with pytest.raises(ValueError, match="No supported gpu backend found|CUDA"):
        fabric_on("gpu", 1000)


@pytest.mark.parametrize(("devices", "num_nodes", "named"), [(0, 1, "devices"), (1, 0, "num_nodes")])
def test_a_number_below_one_is_refused_by_name(devices, num_nodes, named):
    with pytest.raises(ValueError, match=f"^{named} must be an integer of at least 1, got 0$"):
        fabric_on("cpu", devices, num_nodes)
