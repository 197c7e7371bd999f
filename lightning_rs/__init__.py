"""lightning_rs: train classifiers under Gaussian noise and certify their robustness by randomized smoothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_rs.smoothing import SmoothedClassifier, Statistics

if TYPE_CHECKING:
    from lightning_rs.callbacks import CertificationCallback

__version__ = "0.1.0"

__all__ = ["CertificationCallback", "SmoothedClassifier", "Statistics", "__version__"]


def __getattr__(name: str) -> Any:
    # It takes Lightning, of which nothing else here has need.
    if name == "CertificationCallback":
        from lightning_rs.callbacks import CertificationCallback

        return CertificationCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
