"""Image classifiers of transformers, from a local folder or the Hugging Face hub, as nets of logits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta, Struct
from torch import Tensor, nn

from lightning_rs.models.architecture import Architecture, Pretrained
from lightning_rs.models.hf_processor import PROCESSOR, images_of, quiet_transformers
from lightning_rs.models.hub import hub_folder
from lightning_rs.optional import optional_import

_CONFIG, _WEIGHTS = "config.json", "model*.safetensors"
_MOST_LAYERS = 1000  # A file may say any number, and a net of a billion layers would be built for years.


class _Images(Struct):
    """Height and width that a net takes, None for any, and what they are normalised with, None if not said."""

    size: Annotated[int, Meta(ge=1, le=2**14)] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


class _Config(Struct):
    """From what a net is built again."""

    model: dict[str, Any]
    images: _Images


class Logits(nn.Module):
    """The logits of a transformers model, which returns more than them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


def hf_architecture(place: str, config: Mapping[str, Any] | None = None) -> Architecture:
    """The image classifier of transformers at a place, with the size and normalisation of its image processor.

    Args:
        place: a folder, or a name on the hub, that the user named; not read if there is a config.
        config: what an earlier such architecture held as `config`, perhaps in a file of others: nothing that it says
            imports, reads or fetches anything.

    Raises:
        OSError: no such place, or the hub cannot be reached; it says what to put where.
        ValueError: no image classifier of transformers, or an image processor that does more than resize and normalise.
    """
    held = _read(place) if config is None else config
    try:
        said = msgspec.convert(held, _Config)
    except msgspec.ValidationError as error:
        raise ValueError(f"hf/{place} has no whole configuration: {error}") from None
    model, images = _declared(_config_class(said.model), said.model), said.images
    return Architecture(
        f"hf/{place}",
        partial(_build, model),
        channels=_vision(model).get("num_channels", 3),
        prefers=images.size,
        mean=images.mean,
        std=images.std,
        pretrained=partial(_pretrained, place, images.mean, images.std) if config is None else None,
        carries=config is None and _has_weights(place),
        config={"model": model, "images": msgspec.to_builtins(images)},
    )


def _read(place: str) -> dict[str, Any]:
    folder = hub_folder(place, [_CONFIG], optional=[PROCESSOR])
    path = folder / _CONFIG
    try:
        model = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(model, dict):
        raise ValueError(f"{path} is no configuration: expected a mapping, got a {type(model).__name__}")
    _config_class(model)
    vision = _vision(model)
    if (folder / PROCESSOR).is_file():
        return {"model": model, "images": images_of(folder, vision.get("num_channels", 3))}
    size = vision.get("image_size")
    return {"model": model, "images": {"size": size if isinstance(size, int) else None}}


def _has_weights(place: str) -> bool:
    """Whether there are more than a configuration; of the hub's that is taken for granted."""
    folder = Path(place).expanduser()
    return not folder.is_dir() or any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir())


def _vision(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a model's configuration that is of images."""
    part = model.get("vision_config")
    return part if isinstance(part, Mapping) else model


def _config_class(model: Mapping[str, Any]) -> type:
    """The class of a configuration, by the type of model that it says, which is one of transformers' own."""
    configs = optional_import("transformers", "hf").CONFIG_MAPPING
    auto = optional_import("transformers.models.auto.modeling_auto", "hf")
    kind, known = model.get("model_type"), auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    if kind == "timm_wrapper":
        raise ValueError("it is a net of timm: name it timm/NAME")
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(f"{kind!r:.60} is no image classifier of transformers; known: {', '.join(known)}")
    return configs[kind]


def _declared(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a configuration what its class declares for itself, and which of its classifiers it is for.

    The rest, such as code, kernels, quantisation and other models to fetch, is for every class alike, and left out.

    Raises:
        ValueError: a number of layers that no net has, or a class that declares nothing.
    """
    transformers = optional_import("transformers", "hf")
    if not dataclasses.is_dataclass(kind):
        raise ValueError("a model of parts that may be any others is not taken")
    shared = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)}
    own = {field.name for field in dataclasses.fields(kind)} - shared
    own |= {alias for alias, name in kind.attribute_map.items() if name in own}
    kept: dict[str, Any] = {key: values[key] for key in ("model_type",) if key in values}
    for key in sorted(own & values.keys()):
        value = values[key]
        if key in kind.sub_configs and isinstance(value, Mapping):
            value = _declared(kind.sub_configs[key], value)
        elif any(word in key for word in ("layers", "depth", "blocks")):
            numbers = [number for number in (value if isinstance(value, list) else [value]) if _is_number(number)]
            if not sum(map(abs, numbers)) <= _MOST_LAYERS:
                raise ValueError(f"{key} must be at most {_MOST_LAYERS} together, got {value!r:.60}")
        kept[key] = value
    architectures = values.get("architectures")
    if isinstance(architectures, list) and all(isinstance(name, str) for name in architectures):
        kept["architectures"] = architectures  # Names, which are looked up among transformers' own.
    return kept


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _model_config(model: Mapping[str, Any], num_classes: int) -> Any:
    return _config_class(model)(**{k: v for k, v in model.items() if k != "model_type"}, num_labels=num_classes)


def _build(model: Mapping[str, Any], num_classes: int) -> Logits:
    auto = optional_import("transformers", "hf").AutoModelForImageClassification
    try:
        with quiet_transformers():
            return Logits(auto.from_config(_model_config(model, num_classes), trust_remote_code=False))
    except Exception as error:  # transformers looks at few values of a configuration, and may raise anything.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"transformers cannot build {model['model_type']}: {type(error).__name__}: {reason}") from None


def _pretrained(place: str, mean: list[float] | None, std: list[float] | None, weights: str) -> Pretrained:
    """The weights that lie beside a configuration; those of a head only if it is of a classifier.

    Raises:
        OSError: they cannot be read or fetched; it says what to put where.
        ValueError: there are none, as safetensors, or they do not fit.
    """
    if weights != "pretrained":
        raise ValueError(f"hf/{place} has the weights 'pretrained', got {weights!r}")
    folder = hub_folder(place, [_CONFIG, _WEIGHTS])
    if (folder / "adapter_config.json").exists():
        raise ValueError(f"{folder} holds an adapter to other weights: merge and save it with peft's merge_and_unload")
    raw = json.loads((folder / _CONFIG).read_text())
    labels = raw.get("id2label") or range(raw.get("num_labels") or 2)  # transformers' own default.
    auto = optional_import("transformers", "hf").AutoModelForImageClassification
    config = _model_config(_declared(_config_class(raw), raw), len(labels))
    options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
    try:
        with quiet_transformers():
            net, told = auto.from_pretrained(folder, config=config, output_loading_info=True, **options)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the weights in {folder} do not fit its {_CONFIG}: {reason}") from None
    held = {f"model.{key}": value for key, value in net.state_dict().items() if key not in told["missing_keys"]}
    return Pretrained(held, mean, std)
