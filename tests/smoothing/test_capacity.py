import math
import re

import pytest
import torch

from lightning_rs.noise import Gaussian
from lightning_rs.smoothing import SmoothedClassifier, capacity
from lightning_rs.smoothing.capacity import check_capacity, first_line, is_out_of_memory
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("plan", "batch_size", "num_classes", "most"),
    [
        (Plan((100,), 10), 10**12, 10, r"a batch of 10{12} rows of shape \(3, 8, 8\): take a smaller batch_size"),
        (Plan((100,), 10), 10**400, 10, r"a batch of 1000.*\.\.\. rows of shape \(3, 8, 8\)"),
        (Plan((100,), 10), 100, 10**11, "the votes for 100000000000 classes"),
    ],
)
@pytest.mark.parametrize("device", [CPU, None])
def test_what_no_memory_holds_is_refused_with_its_largest_part(plan, batch_size, num_classes, most, device):
    with pytest.raises(ValueError, match=f"^not enough memory: .* MiB are needed and .* most of all for .*{most}"):
        check_capacity(plan, batch_size, num_classes, (3, 8, 8), torch.float32, device)


def test_needs_are_those_of_the_buffers(monkeypatch):
    """What a sampler really holds, at the limit and just below it."""
    plan = Plan((50,), 10, fields=frozenset({"scores"}))
    for available, fits in ((60_000_000, True), (40_000_000, False)):
        monkeypatch.setattr(capacity, "available_memory", lambda device, available=available: available)
        sampler = Sampler(lambda x: x[:, :3], 3, Gaussian(1.0), 10_000, 0, CPU)
        run = sampler.run([(0, torch.zeros(600))], plan)
        if fits:
            assert next(run).counts.sum() == 50
        else:  # Two buffers of 10,000 rows of 600 pixels are 48 MB.
            with pytest.raises(ValueError, match=re.escape("a batch of 10000 rows of shape (600,)")):
                next(run)


def test_single_scores_that_memory_does_not_hold_are_refused_before_sampling(monkeypatch):
    monkeypatch.setattr(capacity, "available_memory", lambda device: 2**35)
    calls = []
    smoothed = SmoothedClassifier(lambda x: calls.append(x) or x[:, :2], 2, 0.5)
    with pytest.raises(ValueError, match="a bound on 2147483647 single scores: take a smaller n or another bound"):
        smoothed.certify(torch.zeros(1, 2), n=2**31 - 1, mechanisms=["salman:bound=betting"])
    assert not calls


def test_gpus_are_not_asked_before_one_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert capacity.available_memory(None) >= 2**39
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert capacity.available_memory(None) < 2**60


def test_systems_that_do_not_say_hold_anything(monkeypatch):
    assert 0 < capacity.available_memory(CPU) < math.inf
    assert capacity.available_memory(torch.device("mps")) == math.inf
    monkeypatch.setattr(capacity, "Path", lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert capacity.available_memory(CPU) == math.inf


def test_errors_of_memory_are_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value) and is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit")) and not is_out_of_memory(KeyError("out of memory"))
    assert first_line(KeyError("a")) == "KeyError: 'a'"
    assert first_line(MemoryError()) == "MemoryError"
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
