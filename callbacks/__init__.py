"""Lightning callbacks, one a file."""

from callbacks.certification import CertificationCallback

__all__ = ["CertificationCallback"]
