"""lightning_rs: train classifiers under Gaussian noise and certify their robustness by randomized smoothing."""

from lightning_rs.smoothing import SmoothedClassifier, Statistics

__version__ = "0.1.0"

__all__ = ["SmoothedClassifier", "Statistics", "__version__"]
