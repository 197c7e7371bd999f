"""Training objectives, one a file: the loss as a pure function and its LightningModule."""

from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.consistency import Consistency, consistency_loss
from lightning_rs.objectives.gaussian import Gaussian, gaussian_loss
from lightning_rs.objectives.macer import MACER, macer_loss
from lightning_rs.objectives.smoothadv import SmoothAdv, smoothadv_loss
from lightning_rs.objectives.smoothmix import SmoothMix, smoothmix_loss
from lightning_rs.objectives.stability import Stability, stability_loss

__all__ = [
    "MACER",
    "Consistency",
    "Gaussian",
    "SmoothAdv",
    "SmoothMix",
    "SmoothingModule",
    "Stability",
    "consistency_loss",
    "gaussian_loss",
    "macer_loss",
    "smoothadv_loss",
    "smoothmix_loss",
    "stability_loss",
]
