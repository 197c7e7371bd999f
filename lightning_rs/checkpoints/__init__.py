"""Checkpoints of train.py and of other programs, loaded without running anything in them."""

from lightning_rs.checkpoints.foreign import doubt_about_normalization, foreign_classifier, parse_normalization
from lightning_rs.checkpoints.ours import Checkpoint, check_continues, data_of, load_checkpoint

__all__ = [
    "Checkpoint",
    "check_continues",
    "data_of",
    "doubt_about_normalization",
    "foreign_classifier",
    "load_checkpoint",
    "parse_normalization",
]
