"""Short names of the Lightning callbacks, as in `--trainer.callbacks+=callbacks.EMA`: see `lightning_rs.callbacks`."""

from lightning_rs.callbacks import EMA, CertificationCallback, TrainingProgress

__all__ = ["EMA", "CertificationCallback", "TrainingProgress"]
