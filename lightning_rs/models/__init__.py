"""Base classifiers as sequences of named stages, and the registries that name stages and architectures."""

from lightning_rs.models.architecture import Architecture, Pretrained
from lightning_rs.models.base_classifier import (
    DEFAULT_STAGES,
    build_base_classifier,
    build_stage,
    configs_of,
    default_stages,
    set_sigma,
    shape_at_net,
)
from lightning_rs.models.denoiser import DENOISER, DENOISERS, Denoiser, denoiser_stage
from lightning_rs.models.digest import weights_digest
from lightning_rs.models.head import head_of
from lightning_rs.models.images import ImageFacts
from lightning_rs.models.lora import with_lora
from lightning_rs.models.registry import (
    ARCHITECTURES,
    STAGES,
    get_architecture,
    is_place,
    list_architectures,
    load_named,
)
from lightning_rs.models.stage import Stage

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_STAGES",
    "DENOISER",
    "DENOISERS",
    "STAGES",
    "Architecture",
    "Denoiser",
    "ImageFacts",
    "Pretrained",
    "Stage",
    "build_base_classifier",
    "build_stage",
    "configs_of",
    "default_stages",
    "denoiser_stage",
    "get_architecture",
    "head_of",
    "is_place",
    "list_architectures",
    "load_named",
    "set_sigma",
    "shape_at_net",
    "weights_digest",
    "with_lora",
]
