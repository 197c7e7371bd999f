"""Cost of a net in another form, and of the stages before it, beside the plain net in the same run.

python benchmarks/nets.py onnx --checkpoint runs/NAME/checkpoints/last.ckpt    an ONNX export beside the net in torch
python benchmarks/nets.py stages                                               resizing before ResNet-20

Both are sampled in turns, so that a machine that is busy is busy for both; the ratio is the median of the turns'.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from lightning_rs import SmoothedClassifier
from lightning_rs.checkpoints import data_of, load_checkpoint
from lightning_rs.models import build_base_classifier, load_named

SIGMA, N0 = 0.25, 100


def onnx(checkpoint: str, n: int = 10_000, images: int | None = None, turns: int = 5) -> None:
    """Votes that move, and the cost, where ONNX Runtime runs an export of the checkpoint's classifier.

    Args:
        checkpoint: of train.py.
        n: noisy copies of an image.
        images: of the test split; all when left out.
        turns: of the timing, on a tenth of the images.
    """
    loaded = load_checkpoint(checkpoint)
    data = data_of(loaded)
    dataset, levels = data.dataset("test"), data.facts.levels
    x = torch.stack([dataset[i][0] for i in range(images or len(dataset))])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        options = {"dynamo": True, "dynamic_shapes": ({0: "batch"},), "verbose": False}
        torch.onnx.export(loaded.base_classifier, (x[:2],), file, **options)
        load_named(f"onnx/{file}")
        stages = {"stages": ["net"]}  # The export has the normalisation in it.
        exported = build_base_classifier(f"onnx/{file}", *_facts(data.facts), **stages)
        samplings = [_sampling(net, x, loaded.num_classes, n, levels) for net in (loaded.base_classifier, exported)]
        torchs, onnxs = (sampling(len(x)) for sampling in samplings)
        moved = np.abs(torchs - onnxs).sum(axis=1) // 2
        print(f"votes: {moved.sum()} of {torchs.sum():,} moved, on {(moved > 0).sum()} of {len(x)} images")
        _compare("ONNX Runtime", *(lambda s=sampling: s(max(1, len(x) // 10)) for sampling in samplings), turns)


def stages(n: int = 400, images: int = 3, turns: int = 7) -> None:
    """The cost of resizing before ResNet-20: images that have the size already, and larger ones.

    Args:
        n: noisy copies of an image.
        images: random ones.
        turns: of the timing.
    """
    generator = torch.Generator().manual_seed(0)

    def sampling(size: int, *before: str) -> Callable[[], np.ndarray]:
        x = torch.randint(0, 256, (images, 3, size, size), generator=generator).float() / 255
        torch.manual_seed(0)
        facts = (10, (3, size, size), [0.5] * 3, [0.25] * 3, [*before, "normalize", "net"])
        net = build_base_classifier("cifar_resnet20", *facts)
        return lambda: _sampling(net, x, 10, n, 255)(images)

    plain = sampling(32)
    _compare("resize 32 to 32", plain, sampling(32, "resize:size=32"), turns)
    _compare("resize 40 to 32", plain, sampling(40, "resize:size=32"), turns)


def _facts(facts: object) -> tuple:
    return facts.num_classes, facts.shape, facts.mean, facts.std


def _sampling(net: nn.Module, x: Tensor, classes: int, n: int, levels: int | None) -> Callable[[int], np.ndarray]:
    smoothed = SmoothedClassifier(net, classes, SIGMA, levels=levels, batch_size=1000)
    return lambda count: smoothed.sample(x[:count], index=range(count), n0=N0, n=n).counts


def _compare(name: str, plain: Callable[[], object], other: Callable[[], object], turns: int) -> None:
    def seconds(run: Callable[[], object]) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    plain(), other()
    times = [(seconds(plain), seconds(other)) for _ in range(turns)]
    ratios = sorted(b / a for a, b in times)
    print(
        f"{name}: {median(ratios):.3f} times the plain net's {median(a for a, _ in times):.2f} s "
        f"(turns {ratios[0]:.3f} to {ratios[-1]:.3f}, {torch.get_num_threads()} threads)"
    )


if __name__ == "__main__":
    auto_cli([onnx, stages], as_positional=False)
