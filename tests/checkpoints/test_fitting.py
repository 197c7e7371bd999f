import time

import pytest
import torch
from torch import nn

from lightning_rs.checkpoints.fitting import fitted, misfit_of, outline
from lightning_rs.models import build_base_classifier
from lightning_rs.models.normalize import Normalize


def small(features=3):
    return nn.Sequential(nn.Linear(features, 2), nn.BatchNorm1d(2))


def weights(**changed):
    return small().state_dict() | {key.replace("_", ".", 1): value for key, value in changed.items()}


def test_weights_that_fit_are_taken_as_they_are():
    state = {key: torch.rand_like(value.float()) for key, value in small().state_dict().items()}
    state |= {"0.weight": torch.rand(2, 3, dtype=torch.float64), "1.num_batches_tracked": torch.tensor(7)}
    net = fitted(small, state)
    assert not net.training
    assert torch.equal(net[0].weight, state["0.weight"].float())
    assert net[1].num_batches_tracked == 7
    del state["1.num_batches_tracked"]
    assert fitted(small, state)[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"0_weight": torch.zeros(2, 4)}, r"^1 of another shape or type: 0.weight float \[2, 4\] for float \[2, 3\]$"),
        ({"0_weight": torch.zeros(1).expand(10**12)}, r"0.weight float \[1000000000000\] for float \[2, 3\]$"),
        ({"0_weight": torch.zeros(2, 3, dtype=torch.complex64)}, r"0.weight complex \[2, 3\] for float"),
        ({"0_weight": torch.zeros(2, 3, dtype=torch.bool)}, r"0.weight bool \[2, 3\] for float"),
        ({"0_weight": torch.zeros(2, 3, dtype=torch.int64)}, r"0.weight integer \[2, 3\] for float"),
        ({"0_weight": [[1.0]]}, "0.weight a list for float"),
        ({"2_weight": torch.zeros(1)}, "^1 unexpected: 2.weight$"),
        ({"2_a\x1b": torch.zeros(1)}, r"^1 unexpected: 2.a\\x1b$"),
        ({"0_weight": torch.full((2, 3), float("nan"))}, "^0.weight holds NaN or infinities$"),
        ({"0_weight": torch.full((2, 3), 1e300, dtype=torch.float64)}, "^0.weight holds NaN or infinities$"),
        ({"1_running_mean": torch.full((2,), float("nan"))}, "^1.running_mean holds NaN$"),
        ({"1_running_var": torch.tensor([1.0, -1.0])}, "^1.running_var holds negative numbers$"),
    ],
)
def test_misfits_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        fitted(small, weights(**changed))


def test_many_misfits_are_counted():
    held = {f"{i}.x": torch.zeros(1) for i in range(9)}
    assert misfit_of(held, {}) == "9 missing: 0.x, 1.x, 2.x, ..."
    assert misfit_of({}, held) == "9 unexpected: 0.x, 1.x, 2.x, ..."
    assert misfit_of(held, held) is None


def test_a_mask_may_be_infinite_and_a_normalisation_not():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.full((2,), float("-inf")))

    assert torch.equal(fitted(Masked, Masked().state_dict()).mask, Masked().mask)
    for key, value in (("mean", float("inf")), ("std", 0.0), ("std", -1.0), ("std", float("inf"))):
        state = Normalize([0.5], [0.5]).state_dict()
        state[key] = torch.full_like(state[key], value)
        with pytest.raises(ValueError, match="must have finite means and positive finite stds"):
            fitted(lambda: Normalize([0.5], [0.5]), state)


def test_a_net_that_no_memory_holds_is_not_built():
    def build():
        return build_base_classifier("digits_cnn", 2**31 - 1, (1, 8, 8), [0.5], [0.5])

    assert outline(build)["net.7.weight"].shape == (2**31 - 1, 128)  # A terabyte.
    start = time.process_time()
    with pytest.raises(ValueError, match=r"net.7.weight float \[10, 128\] for float \[2147483647, 128\]"):
        fitted(build, build_base_classifier("digits_cnn", 10, (1, 8, 8), [0.5], [0.5]).state_dict())
    assert time.process_time() - start < 20.0


def test_a_net_that_looks_at_its_numbers_is_built():
    def build():
        net = nn.Linear(2, 2)
        nn.init.constant_(net.weight, torch.ones(1).item())
        return net

    assert outline(build)["weight"].shape == (2, 2)
