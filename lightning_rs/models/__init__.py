"""Base classifiers as sequences of named stages, and the registries that name stages and architectures."""

from lightning_rs.models.architecture import Architecture
from lightning_rs.models.base_classifier import DEFAULT_STAGES, build_base_classifier
from lightning_rs.models.images import ImageFacts
from lightning_rs.models.registry import ARCHITECTURES, STAGES, get_architecture, list_architectures, load_named
from lightning_rs.models.stage import Stage

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_STAGES",
    "STAGES",
    "Architecture",
    "ImageFacts",
    "Stage",
    "build_base_classifier",
    "get_architecture",
    "list_architectures",
    "load_named",
]
