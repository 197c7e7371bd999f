"""What train.py and certify.py share: clean exits, loggers and the names of runs."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

from jsonargparse import ArgumentParser
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

WandbMode = Literal["auto", "online", "offline", "disabled"]

# What the libraries say about themselves, and a user cannot act on.
_IRRELEVANT_WARNINGS = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Experiment logs directory .* exists and is not empty.*",
    ".*LeafSpec.* is deprecated.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*it is recommended to use `Trainer.devices=1.*",
)


@contextmanager
def clean_exit() -> Iterator[None]:
    """Turn what a user can mend (bad values, missing files) into one line on stderr and exit status 2."""
    try:
        yield
    except (ValueError, OSError, MisconfigurationException) as error:
        fail(str(error))


_IRRELEVANT_REMARKS = ("litlogger", "TPU available", "to estimate number of stepping batches", "limit_test_batches=1")


def quiet_libraries() -> None:
    """Hide the libraries' remarks that a user cannot act on, and let no terminal fail at a σ."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for message in _IRRELEVANT_WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(
            lambda record: not any(remark in record.getMessage() for remark in _IRRELEVANT_REMARKS)
        )


def free_directory(parent: Path, name: str) -> Path:
    """`parent`/`name`, or with -2, -3, ... appended, whichever does not exist yet."""
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return path


def make_loggers(directory: Path, project: str, mode: WandbMode, resumed_at: int | None = None) -> list[Logger]:
    """A CSV log in `directory`, always, and one W&B run, named like the directory, unless `mode` is `disabled`.

    `auto` is online if wandb finds an API key and offline otherwise. Nothing prompts; without a key nothing waits.
    A run that is resumed at the step `resumed_at` keeps its rows up to there (-1: none of them), and its W&B id.
    """
    loggers: list[Logger] = [_csv_logger(directory, resumed_at)]
    if mode == "auto":
        mode = _available_mode()
        if mode == "offline":
            reason = "WANDB_MODE is set" if os.environ.get("WANDB_MODE") else "no API key found"
            _say(f"W&B: {reason}, logging offline; upload with: wandb sync {directory}/wandb/offline-run-*")
    elif mode == "online" and not rank_zero_only.rank and not _has_key():
        raise ValueError("W&B mode is online but wandb finds no API key: run wandb login, or use auto or offline")
    if mode != "disabled":
        loggers.append(_Wandb(directory, project, mode, None if resumed_at is None else wandb_id(directory)))
    return loggers


def wandb_id(directory: Path) -> str | None:
    """Id of the W&B run that logged to `directory` last, from the name of its folder; None without one."""
    folders = sorted(directory.glob("wandb/*run-*-*"), key=lambda path: path.name.removeprefix("offline-"))
    return folders[-1].name.removeprefix("offline-").split("-", 2)[2] if folders else None


def _csv_logger(directory: Path, resumed_at: int | None) -> CSVLogger:
    logger = CSVLogger(directory.parent, name=directory.name, version="")
    path = directory / "metrics.csv"
    if resumed_at is not None and resumed_at >= 0 and not rank_zero_only.rank and path.is_file():
        with path.open(newline="") as file:
            # A row that was cut off when the run was killed has no step.
            rows = [r for r in csv.DictReader(file) if (r.get("step") or "").isdigit() and int(r["step"]) <= resumed_at]
        # Lightning's writer starts by deleting the file.
        logger.experiment.metrics.extend({key: value for key, value in row.items() if value != ""} for row in rows)
        logger.save()
    return logger


class _Wandb(WandbLogger):
    """Lightning's W&B logger, which goes on offline if the server does not answer."""

    def __init__(self, directory: Path, project: str, mode: str, run_id: str | None = None) -> None:
        import wandb

        # Our own lines say what a user needs; the start-up and closing summaries of wandb would bury the table.
        settings = wandb.Settings(silent=True, console="off", init_timeout=30)
        super().__init__(
            name=directory.name, project=project, save_dir=directory, id=run_id, mode=mode, settings=settings
        )
        del self._wandb_init["anonymous"]  # wandb warns about the argument, whatever its value.

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        import wandb

        if self._experiment is None:
            # wandb falls back to the system's temporary folder if its directory does not exist.
            Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
            try:
                run = super().experiment
            except wandb.errors.CommError as error:
                reason = str(error).split("\n")[0]
                _say(f"W&B: the server does not answer ({reason}), logging offline to {self._wandb_init['dir']}/wandb")
                self._wandb_init["mode"] = "offline"
                run = super().experiment
            if self._wandb_init["mode"] == "online" and getattr(run, "url", None):
                _say(f"W&B: {run.url}")
        return super().experiment


def _available_mode() -> WandbMode:
    """`online` if wandb finds an API key in the environment, its settings or netrc; WANDB_MODE comes first."""
    asked = os.environ.get("WANDB_MODE")
    if asked:
        return {"online": "online", "disabled": "disabled"}.get(asked, "offline")
    if rank_zero_only.rank:
        return "disabled"  # Only the first process logs.
    return "online" if _has_key() else "offline"


def _has_key() -> bool:
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.Error:
        return False


@rank_zero_only
def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class TrainParser(LightningArgumentParser):
    """Lightning's parser, with errors in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(message)


class CertifyParser(ArgumentParser):
    """jsonargparse's parser, with errors in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(message)


def fail(message: str) -> NoReturn:
    """End the program with one line on stderr and exit status 2."""
    if not rank_zero_only.rank:
        print(f"error: {_one_line(message)}", file=sys.stderr)
    raise SystemExit(2)


def _one_line(message: str) -> str:
    """The part of a message that tells a user what to change; jsonargparse buries it in a list of failed types."""
    key = re.search(r'Parser key "([^"]+)"', message)
    causes = [c.strip() for c in re.findall(r"^\s*- (.*)$", message, flags=re.MULTILINE)]
    causes = [
        c for c in causes if not c.startswith(("Expected a <class 'NoneType'>", "Expected a path", "Does not val"))
    ]
    text = causes[0] if causes else message
    text = re.sub(r'Parser key "([^"]+)":\s*', r"\1: ", " ".join(text.split()))
    unknown = re.fullmatch(r"Expected a dot import path string: (.*)", text)
    if unknown and key and key.group(1) in _CLASSES:
        kind, known = _CLASSES[key.group(1)]()
        return f"unknown {kind} {unknown.group(1)!r}; known: {', '.join(sorted(known))}"
    if causes and key and key.group(1) not in text:
        text = f"{key.group(1)}: {text}"
    text = re.sub(r"<class '([^']+)'>", r"\1", text.replace("typing.", ""))
    text = re.sub(r"Literal\[([^\]]*)\]", r"one of \1", text).replace("a one of", "one of")
    return text.replace(". Got value:", ", got")


def _objectives() -> tuple[str, list[str]]:
    from lightning_rs.objectives import OBJECTIVES

    return "objective", list(OBJECTIVES)


def _datasets() -> tuple[str, list[str]]:
    from lightning_rs.data import DATASETS

    return "data set", list(DATASETS)


_CLASSES = {"model": _objectives, "data": _datasets}
