"""What a certificate says of the smoothed classifier: the sentence that an audit holds against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms import Mechanism


@dataclass(frozen=True)
class Claim:
    """The sentence that a mechanism says of class c and every image within the radius.

    Attributes:
        kind: `vote`: c has more votes than any other class; `score`: a larger expected score than any other;
            `confidence`: an expected score of at least `least`; `margin`: an expected margin, own score less the
            largest other one, of at least `least`.
        norm: of the radius.
        free: (*shape) bool, the pixels that may change.
        least: see `kind`.
    """

    kind: str
    norm: str
    free: NDArray[np.bool_]
    least: float = 0.0

    @classmethod
    def of(cls, mechanism: Mechanism, shape: tuple[int, ...]) -> Claim:
        """What the mechanism claims of images of this shape.

        Raises:
            ValueError: it claims something else than what is known here.
        """
        free = mechanism.mask(shape) if mechanism.norm == "l2_subspace" else np.ones(shape, dtype=bool)
        if mechanism.keeps == "class":
            return cls("vote" if mechanism.smoothing == "hard" else "score", mechanism.norm, free)
        kinds = {"score": "confidence", "margin": "margin"}
        if mechanism.keeps not in kinds:
            raise ValueError(f"{mechanism.label or mechanism.name} claims what no truth is known of")
        return cls(kinds[mechanism.keeps], mechanism.norm, free, mechanism.confidence)

    @property
    def share(self) -> float:
        """The share of all draws that c has to have, for the claim to hold, if scores of two classes are 0 and 1."""
        return {"vote": 0.5, "score": 0.5, "confidence": self.least, "margin": (1.0 + self.least) / 2.0}[self.kind]
