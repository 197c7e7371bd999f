"""A base classifier and noise go in, statistics of the noisy draws come out."""

from lightning_rs.noise import Stage
from lightning_rs.smoothing.classifier import SmoothedClassifier
from lightning_rs.smoothing.execution import Preparation, PreparedClassifier, find_batch_size, prepare
from lightning_rs.statistics import Statistics

__all__ = [
    "Preparation",
    "PreparedClassifier",
    "SmoothedClassifier",
    "Stage",
    "Statistics",
    "find_batch_size",
    "prepare",
]
