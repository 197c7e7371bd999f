"""A run's own `config.yaml`: written whole, and read back as data when the run is resumed.

Whoever can write a run's folder could otherwise name classes to import in it, or paths to write to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import SaveConfigCallback

from lightning_rs.cli.plugins import words_after
from lightning_rs.cli.trust import needing_trust, vouched_for
from lightning_rs.files import check_links, write_whole
from lightning_rs.results.check_sums import CheckSum
from lightning_rs.results.escaping import one_line

_SEAL = CheckSum(b"", b"# The end. CRC-32 of all before this line: ", b"\n")
# Where a run writes is known without its configuration; a data set that it had is there; it has weights of its own.
_NOT_TAKEN = (
    "trust",
    "trainer.default_root_dir",
    "checkpoint.dirpath",
    "live_certification.output",
    "certification.output",
    "data.init_args.download",
    "model.init_args.weights",
    "model.init_args.classifier",
)
_LENGTH, _BRACKETS = 200_000, 1000


class _Class(Struct, forbid_unknown_fields=True):
    """A class and its arguments."""

    class_path: str
    init_args: dict[str, Any] = {}
    dict_kwargs: dict[str, Any] = {}


class _RunConfig(Struct):
    """As far as it is looked at here; the command line's parser knows every option's own type."""

    model: _Class
    data: _Class
    trainer: dict[str, Any] = {}
    checkpoint: dict[str, Any] = {}
    live_certification: dict[str, Any] = {}
    certification: dict[str, Any] = {}
    wandb: dict[str, Any] = {}


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` into the run's directory, with a check sum in its last line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, save_to_log_dir=False, **kwargs)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        text = self.parser.dump(self.config, skip_none=False)
        write_whole(Path(trainer.default_root_dir) / "config.yaml", sealed(text))


def sealed(text: str) -> str:
    """The text with a last line that says its check sum."""
    return _SEAL.add(text.encode()).decode()


def run_config(directory: str | Path, arguments: Sequence[str] = (), trust: bool = False) -> dict[str, Any]:
    """The configuration of the run in `directory`, without what says where to write.

    Args:
        directory: of the run.
        arguments: the command line. What its options replace is left out, and modules that it names are trusted.
        trust: whether the configuration may name classes other than ours and Lightning's harmless ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is cut off, was changed, is no configuration, or names what needs trust; or a link in
            the directory that leads out of it.
    """
    path = Path(directory) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no run to resume: there is no {path}")
    text = _text(path)
    config = _mapping(path, text)
    optimizer = config["model"].get("init_args", {}).get("optimizer")
    if isinstance(optimizer, str):
        raise ValueError(f"{directory} is of version 0.1: it can be certified, but its training cannot be resumed")
    content, seal, _ = text.rpartition(_SEAL.before.decode())
    if not seal and not trust:
        raise ValueError(
            f"{path} has no check sum: it is cut off, or was written before there were any; if you know that it is "
            "whole, resume with --trust"
        )
    if seal and text != sealed(content):
        raise ValueError(
            f"{path} was changed since it was written: resume with changes as options on the command "
            f"line, or train anew with --config {path}"
        )
    for key in _NOT_TAKEN:
        _drop(config, key)
    if trust:
        return config
    try:
        check_links(directory)
    except ValueError as error:
        raise ValueError(
            f"{error}, where the training would read and write: if it is yours, resume with --trust"
        ) from None
    for key, value in list(needing_trust(config, vouched_for(arguments))):
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
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # A date of month 99 is a ValueError.
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    if not plain:
        raise ValueError(f"{path} has YAML aliases or tags, which no run writes")
    try:
        msgspec.convert(config, _RunConfig, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path} is not the configuration of a run: {one_line(str(error))[:200]}") from None
    return config


def _drop(config: dict[str, Any], key: str) -> None:
    *above, last = key.split(".")
    for part in above:
        config = config.get(part, {})
    config.pop(last, None)
