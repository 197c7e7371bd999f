"""Lightning callbacks, one a file."""

from callbacks.averaging import EMA
from callbacks.certification import CertificationCallback
from callbacks.progress import TrainingProgress

__all__ = ["EMA", "CertificationCallback", "TrainingProgress"]
