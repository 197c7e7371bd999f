"""What in a run's configuration needs its user's word: all that is not known to be harmless."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lightning_rs.cli.plugins import words_after

# Words that the trainer's options take. Numbers, truth values and nothing serve everywhere.
_TRAINERS_WORDS = {
    "accelerator": "auto|cpu|gpu|cuda|mps|tpu",
    "deterministic": "warn",
    "devices": r"auto|-?\d+(,\d+)*",
    "gradient_clip_algorithm": "norm|value",
    "max_time": r"\d\d(:\d\d){3}",
    "precision": "transformer-engine(-float16)?|(bf)?16(-true|-mixed)?|(32|64)(-true)?",
    "strategy": "auto|ddp(_find_unused_parameters_(true|false)|_spawn)?|fsdp",
}
# Callbacks that write no files and call nothing by name, and the texts that they take.
_CALLBACKS = (
    r"(lightning_rs\.)?callbacks(\.\w+)?\.(EMA|TrainingProgress)"
    r"|pytorch_lightning\.callbacks(\.\w+)*\.(DeviceStatsMonitor|EarlyStopping|LearningRateMonitor|ModelSummary"
    r"|RichModelSummary|RichProgressBar|TQDMProgressBar)"
)
_TEXT = r"(?:[\w@/:=,+%^ -]|(?<=\d)\.(?=\d))*"  # No dot but in a number, and nothing that begins a list.
_PLACE = r"(.*[:=,])?(diffusion|exported|hf|onnx)/.*"  # What is read from there, or downloaded.
_CALLBACKS_WORDS = {"logging_interval": "step|epoch", "mode": "min|max", "monitor": _TEXT}
# Of libraries, whose names are looked up; one of a hub or a folder is built from what the checkpoint holds of it.
_NETS = r"(timm|torchvision|hf)/[\w@/:=,+%^ .~-]*"
_KEY = r"[^\W\d]\w*"
_WORDS = re.compile(r"(?<![\w./-])[\w.]+(?![\w./-])")
_CLASSES = r"lightning_rs\.(objectives|data)(\.\w+)+"
# They are texts and nothing else: folders and files that are only read, names, and patterns of names.
_FREE = (
    "checkpoint.filename",
    "data.init_args.data_dir",
    "data.init_args.path",
    "data.init_args.root",
    "model.init_args.baseline",
    "model.init_args.freeze",
    "wandb.project",
)


def vouched_for(arguments: Sequence[str]) -> frozenset[str]:
    """Modules and paths that a command line names; files and nets of libraries, which have a /, are neither."""
    options = ("--plugins", "--data", "--model", "--model.architecture", "--model.noise", "--model.stages")
    return frozenset(word for text in words_after(arguments, *options) for word in _WORDS.findall(text))


def needing_trust(config: Mapping[str, Any], vouched: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Places and values that could import code, or write elsewhere than into the run's directory.

    Args:
        config: of a run: mappings by group, as in YAML.
        vouched: modules and paths that the user named.
    """

    def known(text: str) -> bool:
        name = text.partition(":")[0]
        return any(name == word or name.startswith(f"{word}.") for word in vouched)

    def of_values(place: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, item in value.items():
                if not _matches(_KEY, key):
                    yield f"a key of {place}", key
                elif not (f"{place}.{key}" in _FREE and all(isinstance(text, str) for text in listed(item))):
                    yield from of_values(f"{place}.{key}", item)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from of_values(f"{place}[{number}]", item)
        elif not (_is_number(value) or (isinstance(value, str) and known(value))):
            net = place == "model.init_args.architecture" and _matches(_NETS, value)
            if not net and (_matches(_PLACE, value) or not _matches(_TEXT, value)):
                yield place, value

    def of_class(place: str, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        if not (_matches(_CLASSES, value["class_path"]) or known(value["class_path"])):
            yield f"{place}.class_path", value["class_path"]
        for key in ("init_args", "dict_kwargs"):
            yield from of_values(f"{place}.{key}", value.get(key, {}))

    def of_callback(place: str, value: Any) -> Iterator[tuple[str, Any]]:
        plain = isinstance(value, dict) and set(value) <= {"class_path", "init_args"}
        path, arguments = (value.get("class_path"), value.get("init_args") or {}) if plain else (None, {})
        if not isinstance(path, str) or not isinstance(arguments, dict):
            yield place, value
        elif not (_matches(_CALLBACKS, path) or known(path)):
            yield f"{place}.class_path", path
        elif not known(path):
            for key, item in arguments.items():
                if not (_is_number(item) or _matches(_CALLBACKS_WORDS.get(key, ""), item)):
                    yield f"{place}.init_args.{key}", item

    for key, value in config.items():
        if key in ("model", "data"):
            yield from of_class(key, value)
        elif key == "plugins":
            for name in listed(value):
                if not (isinstance(name, str) and known(name)):
                    yield key, value
        elif key == "trainer":
            for option, chosen in value.items():
                if option == "callbacks":
                    for number, callback in enumerate(listed(chosen)):
                        yield from of_callback(f"trainer.callbacks[{number}]", callback)
                elif not all(_is_number(c) or _matches(_TRAINERS_WORDS.get(option, ""), c) for c in listed(chosen)):
                    yield f"trainer.{option}", chosen
                elif not _matches(_KEY, option):
                    yield "a key of trainer", option
        elif key in ("name", "runs"):
            if not (value is None or isinstance(value, str)):
                yield key, value
        elif not _matches(_KEY, key):
            yield "a key", key
        else:
            yield from of_values(key, value)


def listed(value: Any) -> list[Any]:
    """What an option takes as one value, as several or as none, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_number(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float)


def _matches(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None
