"""Lightning callbacks, one a file."""

from callbacks.certification import CertificationCallback
from callbacks.interruption import StopCleanly, resumable
from callbacks.progress import TrainingProgress

__all__ = ["CertificationCallback", "StopCleanly", "TrainingProgress", "resumable"]
