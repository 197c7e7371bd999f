"""The rounding of floating-point noise remembers the image: an attack that grid noise has to stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lightning_rs import SmoothedClassifier
from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.noise import make_noise

SIGMA = 0.5

_LOWERED = 60
"""Pixels that are one level lower in the other image."""

_ALPHA = 1e-6
"""Of the certificate, and of the prediction that refutes it."""


class Remembers(nn.Module):
    """Class 1 where every pixel could be a + z in float32, which is so at x = a and hardly anywhere else.

    It answers 1 if (s - a) + a = s in every pixel of s. So it is for s = a + z, however that was rounded, but for
    s = b + z with another b not in one pixel of a hundred.

    The attack of V. Voracek and M. Hein, "Sound Randomized Smoothing in Floating-Point Arithmetics", 2023.

    Args:
        level: of all pixels of the image that it remembers.
        levels: of the grid.
    """

    def __init__(self, level: int, levels: int) -> None:
        super().__init__()
        self.register_buffer("a", torch.tensor(level, dtype=torch.float32) / levels)

    def forward(self, rows: Tensor) -> Tensor:
        kept = ((rows - self.a) + self.a == rows).flatten(1).all(dim=1)
        return torch.stack([~kept, kept], dim=1).float()


@dataclass(frozen=True)
class Attack:
    """Two images side by side, of which `Remembers` knows the first.

    Attributes:
        shape: of them.
        levels: of their grid.
        level: of every pixel of the first.
    """

    shape: tuple[int, ...]
    levels: int
    level: int

    @property
    def classifier(self) -> Remembers:
        return Remembers(self.level, self.levels)

    @property
    def image(self) -> Tensor:
        return torch.full(self.shape, self.level, dtype=torch.float32) / self.levels

    @property
    def other(self) -> Tensor:
        """The image with some pixels one level lower."""
        lowered = torch.full(self.shape, self.level, dtype=torch.float32)
        lowered.view(-1)[:_LOWERED] -= 1
        return lowered / self.levels

    @property
    def distance(self) -> float:
        """Between the two, in l2."""
        return float((self.other - self.image).double().norm())


ATTACKS = (
    *(Attack((3, 32, 32), 255, level) for level in (129, 150, 200, 210)),
    Attack((1, 28, 28), 15, 11),
    Attack((1, 28, 28), 16, 4),
)


def cases(settings: AuditSettings) -> list[Case]:
    """Grid noise, which has to stand the attack, and gaussian noise, of which it is only said how it does."""
    return [
        Case("float attack: grid_gaussian noise", partial(_grid, settings)),
        Case("float attack: gaussian noise", partial(_gaussian, settings)),
    ]


def _grid(settings: AuditSettings) -> Iterator[Finding]:
    broken = [_broken(settings, attack, "grid_gaussian") for attack in _chosen(settings)]
    expected = "no certificate refuted within its radius"
    seen, numbers = _said(broken)
    yield Finding("float attack", "noise on the grid", expected, seen, not any(broken), numbers)


def _gaussian(settings: AuditSettings) -> Iterator[Finding]:
    seen, numbers = _said([_broken(settings, attack, "gaussian") for attack in _chosen(settings)])
    expected = "either: it assumes real arithmetic"
    yield Finding("float attack", "noise in float32 (for information)", expected, seen, True, numbers)


def _chosen(settings: AuditSettings) -> tuple[Attack, ...]:
    return ATTACKS[-2:] if settings.quick else ATTACKS


def _broken(settings: AuditSettings, attack: Attack, noise: str) -> bool:
    """Whether the certificate of the image is refuted by the answer at the other image, within its radius."""
    how = make_noise(noise, SIGMA, attack.levels)
    chosen = CertificationSettings(
        n0=20, n=1000, alpha=_ALPHA, mechanisms=["cohen"], seed=settings.seed, batch_size=255,
        **asdict(settings.preparation),
    )  # fmt: skip
    classifier = attack.classifier.to(settings.device)
    dataset = [(attack.image, 1)]
    certification = Certification(classifier, "remembers", 2, how, dataset, "one image", "test", chosen)
    (record,) = certify_examples(certification, [0])
    certificate = record.certificates["cohen"]
    if certificate.prediction == ABSTAIN or certificate.radius <= attack.distance:
        return False
    smoothed = SmoothedClassifier(classifier, 2, how, batch_size=255)
    answer = smoothed.predict(attack.other[None].to(settings.device), n=400, alpha=_ALPHA, seed=settings.seed)[0]
    return answer not in (certificate.prediction, ABSTAIN)


def _said(broken: list[bool]) -> tuple[str, dict[str, int]]:
    seen = f"{sum(broken)} of {len(broken)} refuted"
    return seen, {"images": len(broken), "refuted": sum(broken)}
