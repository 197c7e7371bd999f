"""Training objectives, one a file: the loss as a pure function and its LightningModule."""

from __future__ import annotations

import inspect
from typing import Any

from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.baseline_objective import BaselineObjective
from lightning_rs.objectives.catrs import CATRS, catrs_loss
from lightning_rs.objectives.clean import Clean
from lightning_rs.objectives.consistency import Consistency, consistency_loss
from lightning_rs.objectives.denoiser_objective import DenoiserObjective
from lightning_rs.objectives.denoising import Denoising, denoising_loss
from lightning_rs.objectives.denoising_stability import DenoisingStability, denoising_stability_loss
from lightning_rs.objectives.engine import Engine
from lightning_rs.objectives.gaussian import Gaussian, gaussian_loss
from lightning_rs.objectives.macer import MACER, macer_loss
from lightning_rs.objectives.optimization import Optimizer, Schedule
from lightning_rs.objectives.smoothadv import SmoothAdv
from lightning_rs.objectives.smoothmix import SmoothMix, smoothmix_loss
from lightning_rs.objectives.stability import Stability, stability_loss
from lightning_rs.registry import Registry


def _name_of(value: Any) -> str | None:
    concrete = inspect.isclass(value) and issubclass(value, SmoothingModule) and not inspect.isabstract(value)
    return value.__name__ if concrete else None


OBJECTIVES: Registry[type[SmoothingModule]] = Registry("objective", __name__, _name_of, "--model {}")

__all__ = [
    "CATRS",
    "MACER",
    "OBJECTIVES",
    "BaselineObjective",
    "Clean",
    "Consistency",
    "DenoiserObjective",
    "Denoising",
    "DenoisingStability",
    "Engine",
    "Gaussian",
    "Optimizer",
    "Schedule",
    "SmoothAdv",
    "SmoothMix",
    "SmoothingModule",
    "Stability",
    "catrs_loss",
    "consistency_loss",
    "denoising_loss",
    "denoising_stability_loss",
    "gaussian_loss",
    "macer_loss",
    "smoothmix_loss",
    "stability_loss",
]
