"""A base classifier and Gaussian noise go in, statistics of the noisy draws come out."""

from lightning_rs.smoothing.classifier import SmoothedClassifier
from lightning_rs.noise import NoiseStream, Stage
from lightning_rs.smoothing.execution import Preparation, PreparedClassifier, find_batch_size, prepare
from lightning_rs.statistics import Statistics

__all__ = [
    "NoiseStream",
    "Preparation",
    "PreparedClassifier",
    "SmoothedClassifier",
    "Stage",
    "Statistics",
    "find_batch_size",
    "prepare",
]
