"""Training objectives, one a file: the loss as a pure function and its LightningModule."""

from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.gaussian import Gaussian, gaussian_loss

__all__ = ["Gaussian", "SmoothingModule", "gaussian_loss"]
