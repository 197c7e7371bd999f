"""Checkpoints of train.py and of other programs, loaded without running anything in them."""

from lightning_rs.checkpoints.foreign import doubt_about_normalization, foreign_classifier, parse_normalization
from lightning_rs.checkpoints.ours import Checkpoint, check_continues, data_of, load_checkpoint
from lightning_rs.checkpoints.run_files import Progress, RunCheckpoints, progress_of

__all__ = [
    "Checkpoint",
    "Progress",
    "RunCheckpoints",
    "check_continues",
    "data_of",
    "doubt_about_normalization",
    "foreign_classifier",
    "load_checkpoint",
    "parse_normalization",
    "progress_of",
]
