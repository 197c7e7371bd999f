"""The figures of an attack: what is certified beside what could not be broken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.metrics import certified_accuracy
from lightning_rs.results.description import RunDescription
from lightning_rs.results.radius_text import radius_texts

CONFIDENCE = 0.999
"""Of the number of violations that is allowed."""


@dataclass(frozen=True)
class AttackedCertificates:
    """The certificates of one mechanism, and how near each could be broken, B images.

    Attributes:
        norm: of radii and distances.
        prediction: (B,) int64, `ABSTAIN` where there is no certificate.
        radius: (B,) float64, 0 there.
        distance: (B,) float64, of the nearest point found at which the claim is broken: an upper limit of the true
            radius; infinite where none was found, 0 where there is no certificate.
    """

    norm: str
    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    distance: NDArray[np.float64]

    @property
    def certified(self) -> NDArray[np.bool_]:
        """(B,), where there is a certificate."""
        return self.prediction != ABSTAIN

    @property
    def violated(self) -> NDArray[np.bool_]:
        """(B,), where the claim is broken within its own radius."""
        return self.distance < self.radius


@dataclass(frozen=True)
class AttackedRun:
    """An attack on a certification, B images.

    Attributes:
        description: of the certification.
        alpha: probability, at most, that a distance is too small, for each image and mechanism.
        index, label: (B,) int64.
        certificates: by mechanism.
    """

    description: RunDescription
    alpha: float
    index: NDArray[np.int64]
    label: NDArray[np.int64]
    certificates: Mapping[str, AttackedCertificates]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def title(self) -> str:
        """What was attacked, in one line."""
        return f"{self.description.title}; {len(self):,} images attacked"

    def robust_distance(self, mechanism: str) -> NDArray[np.float64]:
        """(B,) distances up to which a right answer could not be broken, 0 where it is wrong or missing."""
        certificates = self.certificates[mechanism]
        return np.where(certificates.prediction == self.label, certificates.distance, 0.0)


@dataclass(frozen=True)
class AttackFigures:
    """The figures of one mechanism.

    Attributes:
        mechanism, norm: what they are of.
        images, certificates: how many were attacked.
        violations: certificates that are broken within their own radius.
        expected: violations at most, on average, if all is as it should be: both alphas for each image.
        allowed: violations at most, with probability `CONFIDENCE`: see `allowed_violations`.
        certified: share of images that are right with a radius above each of the radii of interest, (R,).
        robust: share of images that are right and could not be broken within each of the radii, (R,).
        ratio: median of certified radius / found distance, where a point was found; nan where there is none.
        unbroken: certificates for which no point was found at all.
    """

    mechanism: str
    norm: str
    images: int
    certificates: int
    violations: int
    expected: float
    allowed: int
    certified: tuple[float, ...]
    robust: tuple[float, ...]
    ratio: float
    unbroken: int

    @property
    def too_many(self) -> bool:
        """Whether there are more violations than alpha allows."""
        return self.violations > self.allowed


def allowed_violations(images: int, alpha: float, attack_alpha: float) -> int:
    """The `CONFIDENCE` quantile of Bin(N, alpha + attack_alpha), N images, those that got no certificate included.

    An image gets a wrong certificate with probability at most alpha over its own draws, and one that holds is said to
    be broken with probability at most attack_alpha over those of the attack. Images are independent, so the number of
    violations is stochastically smaller than that binomial. With the number of certificates for N it is not: of images
    between two classes few get any, and these are all wrong.
    """
    return int(stats.binom.ppf(CONFIDENCE, images, min(1.0, alpha + attack_alpha)))


def attack_figures(run: AttackedRun, radii: Sequence[float]) -> list[AttackFigures]:
    """The figures of each mechanism.

    Args:
        run: of one image or more.
        radii: (R,) radii of interest, in the norm of each mechanism.
    """
    found = []
    for mechanism, one in run.certificates.items():
        count = int(one.certified.sum())
        near = one.certified & np.isfinite(one.distance)
        ratios = one.radius[near] / np.maximum(one.distance[near], np.finfo(np.float64).tiny)
        found.append(
            AttackFigures(
                mechanism=mechanism,
                norm=one.norm,
                images=len(run),
                certificates=count,
                violations=int(one.violated.sum()),
                expected=(run.description.spent_alpha + run.alpha) * len(run),
                allowed=allowed_violations(len(run), run.description.spent_alpha, run.alpha),
                certified=tuple(certified_accuracy(one.prediction, one.radius, run.label, radii).tolist()),
                robust=tuple(certified_accuracy(one.prediction, one.distance, run.label, radii).tolist()),
                ratio=float(np.median(ratios)) if len(ratios) else math.nan,
                unbroken=count - int(near.sum()),
            )
        )
    return found


@dataclass(frozen=True)
class Attack:
    """One certificate of one image, and what was found about it.

    Attributes:
        index, label: of the image, and its class.
        mechanism, norm: of the certificate.
        prediction, radius: what is certified.
        distance: of the nearest point found that breaks it; None where there is none.
        violated: whether that is nearer than the radius.
    """

    index: int
    label: int
    mechanism: str
    norm: str
    prediction: int
    radius: float
    distance: float | None
    violated: bool


def attacks(run: AttackedRun) -> Iterator[Attack]:
    """Every certificate, image by image."""
    for row in range(len(run)):
        for mechanism, one in run.certificates.items():
            if one.certified[row]:
                distance = float(one.distance[row])
                yield Attack(
                    index=int(run.index[row]),
                    label=int(run.label[row]),
                    mechanism=mechanism,
                    norm=one.norm,
                    prediction=int(one.prediction[row]),
                    radius=float(one.radius[row]),
                    distance=distance if math.isfinite(distance) else None,
                    violated=bool(one.violated[row]),
                )


def logged_attack(figures: Sequence[AttackFigures], radii: Sequence[float], prefix: str = "attack") -> dict[str, float]:
    """The figures by the names under which they are logged, e.g. `attack/cohen/violations`."""
    named: dict[str, float] = {}
    texts = radius_texts(radii)
    for row in figures:
        own = {f"certified@{text}": share for text, share in zip(texts, row.certified, strict=True)}
        own |= {f"not_broken@{text}": share for text, share in zip(texts, row.robust, strict=True)}
        own |= {"certificates": row.certificates, "violations": row.violations, "allowed": row.allowed}
        own |= {"median_ratio": row.ratio, "unbroken": row.unbroken}
        named |= {f"{prefix}/{row.mechanism}/{name}": value for name, value in own.items()}
    return named
