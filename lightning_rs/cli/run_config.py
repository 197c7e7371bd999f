"""A run's own `config.yaml`: written whole, and read back as data when the run is resumed.

Whoever can write a run's folder could otherwise name classes to import in it, or paths to write to.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import yaml
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import SaveConfigCallback

from lightning_rs.cli.plugins import words_after
from lightning_rs.files import write_whole
from lightning_rs.results.escaping import one_line

_SEAL = "# The end. CRC-32 of all before this line: "
_GROUPS = ("trainer", "model", "data", "checkpoint", "live_certification", "certification", "wandb")
# Where a run writes is known without its configuration; a data set that it had is there.
_NOT_TAKEN = (
    "trust",
    "trainer.default_root_dir",
    "checkpoint.dirpath",
    "live_certification.output",
    "certification.output",
    "data.init_args.download",
)
# Not all that is ours: some of our functions write files or import modules.
_OURS = {"model.class_path": ("lightning_rs.objectives.",), "data.class_path": ("lightning_rs.data.",)}
# Those that write no files and call nothing by name.
_OWN_CALLBACKS = ("EMA", "TrainingProgress")
_LIGHTNINGS = (
    "DeviceStatsMonitor",
    "EarlyStopping",
    "GradientAccumulationScheduler",
    "LearningRateMonitor",
    "ModelSummary",
    "RichModelSummary",
    "RichProgressBar",
    "TQDMProgressBar",
    "Timer",
)
_LENGTH, _BRACKETS = 1_000_000, 1000
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+", re.ASCII)
_WORD = re.compile(r"[\w:,+-]*", re.ASCII)


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` into the run's directory, with a check sum in its last line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, save_to_log_dir=False, **kwargs)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        write_whole(Path(trainer.default_root_dir) / "config.yaml", sealed(self.parser.dump(self.config)))


def sealed(text: str) -> str:
    """The text with a last line that says its check sum."""
    return f"{text}{_SEAL}{zlib.crc32(text.encode()):08x}\n"


def run_config(directory: str | Path, arguments: Sequence[str] = (), trust: bool = False) -> dict[str, Any]:
    """The configuration of the run in `directory`, without what says where to write.

    Args:
        directory: of the run.
        arguments: the command line. What its options replace is left out, and modules that it names are trusted.
        trust: whether the configuration may name classes other than ours and Lightning's harmless ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is cut off, was changed, is no configuration, or names what needs trust.
    """
    path = Path(directory) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no run to resume: there is no {path}")
    text = _text(path)
    config = _mapping(path, text)
    optimizer = config["model"].get("init_args", {}).get("optimizer")
    if isinstance(optimizer, str):
        raise ValueError(f"{directory} is of version 0.1: it can be certified, but its training cannot be resumed")
    if text != sealed(text.rpartition(_SEAL)[0]):
        raise ValueError(
            f"{path} is cut off, or was changed since it was written: resume with changes as options on the command "
            f"line, or train anew with --config {path}"
        )
    for key in _NOT_TAKEN:
        _drop(config, key)
    if trust:
        return config
    for key, value in list(_named(config, _vouched(arguments))):
        option = re.sub(r"\[\d+\].*", "", key).replace(".init_args", "")
        if words_after(arguments, f"--{option}"):
            _drop(config, re.sub(r"\[\d+\].*", "", key))
        else:
            raise ValueError(
                f"{path}: {one_line(key):.200} is {value!r:.80}, which is no part of this project: if you trust "
                "whoever wrote this folder, resume with --trust"
            )
    return config


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from None
    # PyYAML takes minutes for a file of opening brackets.
    if len(text) > _LENGTH or text.count("[") + text.count("{") > _BRACKETS:
        raise ValueError(f"{path} is too long, or too deeply nested, to be the configuration of a run")
    return text


def _mapping(path: Path, text: str) -> dict[str, Any]:
    try:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        # PyYAML fails in ways of its own at a value that does not fit its tag.
        plain = not any(isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) for event in events)
        config = yaml.safe_load(text) if plain else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # The last of a date that there is not.
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    if not plain:
        raise ValueError(f"{path} has YAML aliases or tags, which no run writes")
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a mapping, got {config!r:.80}")
    for key in _GROUPS:
        inner = config.get(key, {})
        held = {"init_args": inner.get("init_args", {})} if isinstance(inner, dict) else {}
        for name, value in {key: inner, **{f"{key}.{name}": value for name, value in held.items()}}.items():
            if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
                raise ValueError(f"{path}: expected {name} to be a mapping, got {value!r:.80}")
    if not all(isinstance(key, str) for key in config) or "model" not in config:
        raise ValueError(f"{path} is not the configuration of a run: it has {', '.join(map(repr, config))[:80]}")
    return config


def _drop(config: dict[str, Any], key: str) -> None:
    *above, last = key.split(".")
    for part in above:
        config = config.get(part, {})
    config.pop(last, None)


def _vouched(arguments: Sequence[str]) -> frozenset[str]:
    """Modules that the command line names."""
    said = words_after(arguments, "--plugins", "--data", "--model", "--model.architecture", "--model.noise")
    return frozenset(word.partition(".")[0] for text in said for word in re.findall(r"[\w.]+", text))


def _named(config: Mapping[str, Any], vouched: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Keys and values that could import code or write elsewhere."""
    for key, value in config.items():
        if key == "trainer":
            yield from _named_by_trainer(value, vouched)
        elif key not in ("name", "runs"):
            yield from _import_paths(key, value, vouched)


def _named_by_trainer(trainer: Mapping[str, Any], vouched: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for key, value in trainer.items():
        if key == "callbacks":
            for number, callback in enumerate(_listed(value)):
                place, known = f"trainer.callbacks[{number}]", isinstance(callback, dict)
                if not known or set(callback) - {"class_path", "init_args"}:
                    yield place, callback
                elif not _is_known_callback(callback.get("class_path"), vouched):
                    yield f"{place}.class_path", callback.get("class_path")
                else:
                    yield from _import_paths(f"{place}.init_args", callback.get("init_args"), vouched)
        elif isinstance(value, str):
            if not _WORD.fullmatch(value):
                yield f"trainer.{key}", value
        elif not all(isinstance(item, (bool, int, float, NoneType)) for item in _listed(value)):
            yield f"trainer.{key}", value


def _is_known_callback(path: Any, vouched: frozenset[str]) -> bool:
    folder, _, name = str(path).rpartition(".")
    root = folder.partition(".")[0]
    ours = f"{folder}.".startswith(("callbacks.", "lightning_rs.callbacks.")) and name in _OWN_CALLBACKS
    lightnings = f"{folder}.".startswith("pytorch_lightning.callbacks.") and name in _LIGHTNINGS
    return ours or lightnings or root in vouched


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _import_paths(key: str, value: Any, vouched: frozenset[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _import_paths(f"{key}.{inner}", item, vouched)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _import_paths(f"{key}[{number}]", item, vouched)
    elif isinstance(value, str) and not key.endswith((".data_dir", ".project")):
        name = value.partition(":")[0].strip()
        known = name.startswith(_OURS.get(key, ())) or name.partition(".")[0] in vouched
        if (_IMPORT_PATH.fullmatch(name) or key.startswith("plugins") or key.endswith(".class_path")) and not known:
            yield key, value
