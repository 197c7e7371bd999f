"""How an audit is made."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from lightning_rs.smoothing import Preparation


@dataclass(frozen=True)
class AuditSettings:
    """How classifiers whose truth is known are certified: the way the user's own will be.

    Attributes:
        quick: the checks of half a minute instead of those of minutes.
        device: where classifiers run and noise is drawn.
        preparation: precision, memory format, folding and compilation.
        seed: of the noise.
    """

    quick: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    preparation: Preparation = field(default_factory=Preparation)
    seed: int = 0
