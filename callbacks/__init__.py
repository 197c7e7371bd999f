"""Lightning callbacks, one a file."""

from callbacks.certification import CertificationCallback
from callbacks.progress import TrainingProgress

__all__ = ["CertificationCallback", "TrainingProgress"]
