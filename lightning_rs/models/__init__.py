"""Architectures, and the registry that names them."""

from lightning_rs.models.registry import ARCHITECTURES, Architecture, build_base_classifier, list_architectures

__all__ = ["ARCHITECTURES", "Architecture", "build_base_classifier", "list_architectures"]
