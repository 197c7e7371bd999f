"""Lightning callbacks, one a file."""

from lightning_rs.callbacks.averaging import EMA
from lightning_rs.callbacks.certification import CertificationCallback
from lightning_rs.callbacks.progress import TrainingProgress

__all__ = ["EMA", "CertificationCallback", "TrainingProgress"]
