"""What makes a host wait for its device, counted where there is none."""

from collections import Counter
from contextlib import nullcontext

from torch.utils._python_dispatch import TorchDispatchMode

from lightning_rs.noise.grid_gaussian import GridGaussianSource
from lightning_rs.smoothing import sampler


class Asked(TorchDispatchMode):
    """Counts what makes a host wait for its device; in inference mode calls come as they were made, not in parts."""

    WAITING = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "_unique2", "masked_select")

    def __init__(self):
        super().__init__()
        self.times = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, given = func.overloadpacket.__name__, kwargs or {}
        moves = name in ("to", "_to_copy") and given.get("device") is not None and not given.get("non_blocking")
        self.times[name] += moves or name in self.WAITING
        return func(*args, **given)


def sample_as_on_a_gpu(monkeypatch):
    """Noise is made by the device, and in the same thread, where `Asked` sees it."""
    monkeypatch.setattr(sampler, "ThreadPoolExecutor", lambda *_: nullcontext())
    monkeypatch.setattr(GridGaussianSource, "_decoder", GridGaussianSource._decoder_on_device)
    monkeypatch.setattr(
        GridGaussianSource,
        "_draw",
        lambda self, index, stage, block, out: self._draw_by_search(self.device_generator(index, stage, block), out),
    )
