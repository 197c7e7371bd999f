"""Where a run writes its logs: its directory, CSV and W&B."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import Dataset

from lightning_rs.results import Record, RunDescription, logged, run_of_records
from lightning_rs.results.wandb_payload import log_certification, log_figures

WandbMode = Literal["auto", "online", "offline", "disabled"]


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


def log_run(
    loggers: Sequence[Logger],
    records: Sequence[Record],
    description: RunDescription,
    radii: Sequence[float],
    prefix: str,
    seconds: float,
    step: int = 0,
    **beside: float,
) -> dict[str, float]:
    """Log the figures of a certification, and to W&B its settings and the plot too; returns the figures.

    Args:
        loggers: those of one process write, of the others they do not.
        records: of the examples.
        description: what they are of.
        radii: l2 radii of interest.
        prefix: of the names, as in `certify/cohen/acr`.
        seconds: time that it took.
        step: of the training.
        beside: what else belongs to the step.
    """
    run = run_of_records(records, description, prefix)
    figures = logged(run, radii, prefix) | {f"{prefix}/seconds": seconds}
    for logger in loggers:
        logger.log_metrics(figures | beside, step=step)
        if isinstance(logger, WandbLogger) and not rank_zero_only.rank and records:
            log_figures(logger.experiment, run, prefix, step)
    return figures


def log_hyperparameters(loggers: Sequence[Logger], values: dict[str, Any]) -> None:
    """Log what the figures belong to."""
    for logger in loggers:
        logger.log_hyperparams(values)


def log_records(
    loggers: Sequence[Logger],
    records: Sequence[Record],
    description: RunDescription,
    directory: Path,
    dataset: Dataset,
    examples: int,
) -> None:
    """Send records and a table of examples to W&B (see `log_certification`), and close the logs."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            log_certification(logger.experiment, records, description, directory, dataset, examples)
        logger.finalize("success")
