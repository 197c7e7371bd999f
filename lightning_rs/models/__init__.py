"""Architectures, and the registry that names them."""

from lightning_rs.models.registry import (
    ARCHITECTURES,
    Architecture,
    build_base_classifier,
    get_architecture,
    list_architectures,
)

__all__ = ["ARCHITECTURES", "Architecture", "build_base_classifier", "get_architecture", "list_architectures"]
