"""Compare certification in float32 and in bfloat16, with the same noise.

python benchmarks/precision.py --checkpoint '[runs/NAME/checkpoints/last.ckpt]'
"""

from __future__ import annotations

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.checkpoints import data_of, load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import Gaussian
from lightning_rs.results.radius_text import accuracy_headers
from lightning_rs.results.records import certificates_of
from lightning_rs.results.report import console_for

SIGMA = 0.25


def precision(
    checkpoint: list[str] = [],  # noqa: B006
    n: int = 10_000,
    alpha: float = 0.001,
    radii: list[float] = [0.0, 0.25, 0.5, 0.75],  # noqa: B006
    limit: int | None = None,
    epochs: int = 6,
    coloured_n: int = 1000,
    coloured_limit: int = 100,
) -> None:
    """Certified accuracy in float32 and in bfloat16, with the same noise.

    On checkpoints, and on a ResNet-20 trained here on digits that are enlarged to 3x32x32 and coloured at random.

    Args:
        checkpoint: checkpoints of train.py.
        n: draws an image.
        alpha: failure probability of a certificate.
        radii: radii of the table.
        limit: certify at most so many images of a checkpoint's data set.
        epochs: of the ResNet-20; 0 leaves it out.
        coloured_n, coloured_limit: draws and images for it.
    """
    for path in checkpoint:
        loaded = load_checkpoint(path)
        dataset = data_of(loaded).dataset("test")
        images = min(len(dataset), limit or len(dataset))
        _precision_of(path, loaded.base_classifier, loaded.sigma, dataset, images, n, alpha, radii)
    if epochs:
        net, dataset = coloured_resnet20(epochs)
        images = min(coloured_limit, len(dataset))
        _precision_of("ResNet-20 on coloured digits", net, SIGMA, dataset, images, coloured_n, alpha, radii)


def coloured_resnet20(epochs: int) -> tuple[nn.Module, TensorDataset]:
    """A ResNet-20 trained under noise on coloured, enlarged digits, and the images of the test split."""
    generator = torch.Generator().manual_seed(0)

    def coloured(split: str) -> TensorDataset:
        images, labels = Digits().load(split).tensors
        images = nn.functional.interpolate(images, (32, 32), mode="bilinear")
        return TensorDataset(images * (0.5 + 0.5 * torch.rand(len(images), 3, 1, 1, generator=generator)), labels)

    torch.manual_seed(0)
    net = build_base_classifier("cifar_resnet20", 10, [3, 32, 32], [0.25] * 3, [0.3] * 3).train()
    loader = DataLoader(coloured("train"), batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x + SIGMA * torch.randn_like(x)), y).backward()
            optimizer.step()
            schedule.step()
    return net.eval(), coloured("test")


def _precision_of(
    title: str,
    classifier: nn.Module,
    sigma: float,
    dataset: Dataset,
    images: int,
    n: int,
    alpha: float,
    radii: list[float],
) -> None:
    table = Table(title=f"{title}: sigma = {sigma:g}, {images} images, n = {n:,}, alpha = {alpha:g}")
    for column in ("", *accuracy_headers(radii), "ACR", "votes moved"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    before = None
    for kind in ("float32", "bfloat16"):
        settings = CertificationSettings(n=n, alpha=alpha, mechanisms=["cohen"], precision=kind, batch_size=200)
        what = Certification(classifier, title, 10, Gaussian(sigma), dataset, title, "test", settings)
        records = list(certify_examples(what, range(images)))
        votes = np.array([[r.counts.get(c, 0) for c in range(10)] for r in records])
        certificates = certificates_of(records, "cohen")
        cells = [f"{100 * share:.1f}" for share in certified_accuracy(*certificates, radii)]
        moved = "" if before is None else f"{np.abs(votes - before).sum() / 2 / votes.sum():.3%}"
        table.add_row(kind, *cells, f"{average_certified_radius(*certificates):.4f}", moved)
        before = votes
    console_for(table).print(table)


if __name__ == "__main__":
    auto_cli(precision, as_positional=False)
