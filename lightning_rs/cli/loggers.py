"""Where a run writes its logs: its directory, CSV and W&B."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import Dataset

from lightning_rs.cli.csv_log import CsvLog
from lightning_rs.cli.remarks import say
from lightning_rs.cli.wandb_log import WandbLog, WandbMode, available_mode, has_key, wandb_id
from lightning_rs.results import Record, RunDescription, logged, run_of_records
from lightning_rs.results.attack_figures import AttackedRun
from lightning_rs.results.attack_wandb import send_attack
from lightning_rs.results.wandb_payload import log_certification, log_figures


def make_loggers(directory: Path, project: str, mode: WandbMode, resumed_at: int | None = None) -> list[Logger]:
    """A CSV log in `directory`, always, and one W&B run, named like the directory, unless `mode` is `disabled`.

    `auto` is online if wandb finds an API key and offline otherwise. Nothing prompts; without a key nothing waits.
    A run that is resumed at the step `resumed_at` keeps its rows up to there (-1: none of them), and its W&B id.
    Whatever fails in W&B is said once and stops no work: the run goes on without it.
    """
    loggers: list[Logger] = [CsvLog(directory, resumed_at)]
    if mode == "disabled":
        return loggers
    try:
        import wandb  # noqa: F401
    except Exception as error:  # What does not fit together may raise anything.
        say(f"W&B: it cannot be imported ({type(error).__name__}: {error}): it is off")
        return loggers
    if mode == "auto":
        mode = available_mode()
        if mode == "offline":
            reason = "WANDB_MODE is set" if os.environ.get("WANDB_MODE") else "no API key found"
            say(f"W&B: {reason}, logging offline; upload with: wandb sync {directory}/wandb/offline-run-*")
    elif mode == "online" and not rank_zero_only.rank and not has_key():
        raise ValueError("W&B mode is online but wandb finds no API key: run wandb login, or use auto or offline")
    if mode != "disabled":
        loggers.append(WandbLog(directory, project, mode, None if resumed_at is None else wandb_id(directory)))
    return loggers


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
        if records:
            _send(logger, lambda wandb_run: log_figures(wandb_run, run, prefix, step))
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
        _send(logger, lambda run: log_certification(run, records, description, directory, dataset, examples))
        logger.finalize("success")


def log_attack(loggers: Sequence[Logger], run: AttackedRun, figures: dict[str, float], directory: Path) -> None:
    """Log the figures of an attack, send to W&B its curves and certificates (see `send_attack`), and close the logs."""
    for logger in loggers:
        logger.log_metrics(figures, step=0)
        _send(logger, lambda wandb_run: send_attack(wandb_run, run, directory))
        logger.finalize("success")


def _send(logger: Logger, send: Callable[[Any], None]) -> None:
    """Send what W&B alone takes; Lightning's own logger of a user's may fail as it does elsewhere."""
    if isinstance(logger, WandbLogger) and not rank_zero_only.rank:
        if isinstance(logger, WandbLog):
            logger.attempt(lambda: send(logger.experiment))
        else:
            send(logger.experiment)
