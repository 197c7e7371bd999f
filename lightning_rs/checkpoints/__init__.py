"""Checkpoints of train.py and of other programs, loaded without running anything in them."""

from lightning_rs.checkpoints.archive import read_checkpoint
from lightning_rs.checkpoints.baseline import load_baseline
from lightning_rs.checkpoints.denoiser import with_denoiser
from lightning_rs.checkpoints.foreign import foreign_classifier
from lightning_rs.checkpoints.initial import load_initial_weights
from lightning_rs.checkpoints.nets import load_net
from lightning_rs.checkpoints.normalization import doubt_about_normalization, parse_normalization
from lightning_rs.checkpoints.ours import Checkpoint, data_of, load_checkpoint, net_config
from lightning_rs.checkpoints.resuming import Resumable, resumable, sources_of, weights_for, without_paths
from lightning_rs.checkpoints.run_files import RunCheckpoints, run_and_checkpoint
from lightning_rs.checkpoints.trained_classifier import TrainedClassifier

__all__ = [
    "Checkpoint",
    "Resumable",
    "RunCheckpoints",
    "TrainedClassifier",
    "data_of",
    "doubt_about_normalization",
    "foreign_classifier",
    "load_baseline",
    "load_checkpoint",
    "load_initial_weights",
    "load_net",
    "net_config",
    "parse_normalization",
    "read_checkpoint",
    "resumable",
    "run_and_checkpoint",
    "sources_of",
    "weights_for",
    "with_denoiser",
    "without_paths",
]
