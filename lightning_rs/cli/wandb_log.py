"""The log in W&B, whose failures stop no work."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.cli.remarks import say

WandbMode = Literal["auto", "online", "offline", "disabled"]

# Seconds that W&B may take to send what it still has when it is turned off.
_PATIENCE = 30.0


def _unfailing(method: Callable[..., None]) -> Callable[..., None]:
    """A logger's method that, where it fails, turns W&B off instead."""

    @wraps(method)
    def attempt(self: WandbLog, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda: method(self, *args, **kwargs))

    return attempt


class WandbLog(WandbLogger):
    """Lightning's W&B logger, which goes on offline if the server does not answer, and is off once anything fails.

    From then on a disabled W&B run takes the place of the other, and what was logged before stays.

    Args:
        directory: in which W&B's folder lies; its name is that of the W&B run.
        project: W&B project.
        mode: of W&B.
        run_id: of the W&B run to go on with.
    """

    def __init__(self, directory: Path, project: str, mode: str, run_id: str | None = None) -> None:
        import wandb

        # Our own lines say what a user needs; the start-up and closing summaries of wandb would bury the table.
        settings = wandb.Settings(silent=True, console="off", init_timeout=30)
        super().__init__(
            name=directory.name, project=project, save_dir=directory, id=run_id, mode=mode, settings=settings
        )
        del self._wandb_init["anonymous"]  # wandb warns about the argument, whatever its value.
        self._off = False

    log_metrics = _unfailing(WandbLogger.log_metrics)
    log_hyperparams = _unfailing(WandbLogger.log_hyperparams)
    log_table = _unfailing(WandbLogger.log_table)
    log_image = _unfailing(WandbLogger.log_image)
    log_audio = _unfailing(WandbLogger.log_audio)
    log_video = _unfailing(WandbLogger.log_video)
    watch = _unfailing(WandbLogger.watch)
    after_save_checkpoint = _unfailing(WandbLogger.after_save_checkpoint)
    finalize = _unfailing(WandbLogger.finalize)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self.attempt(self._start)
        return self._experiment

    def attempt(self, work: Callable[[], Any]) -> None:
        """Do what concerns W&B alone, unless W&B is off; if that fails, say why, and turn it off."""
        if self._off:
            return
        try:
            work()
        except Exception as error:  # wandb, its service and the disk may raise anything.
            self._off = True
            reason = str(error).strip().split("\n")[0]
            say(f"W&B: {type(error).__name__} ({reason}): it is off from here on; all else goes on")
            closing = Thread(target=self._close, daemon=True)
            closing.start()
            closing.join(_PATIENCE)

    def _close(self) -> None:
        import wandb

        # Its own log may be what cannot be written, and would say so at length.
        logging.getLogger("wandb").handlers[:] = [logging.NullHandler()]
        # Now rather than at the end of the program, where a service that was killed would leave a traceback.
        with suppress(Exception):
            wandb.teardown()
        with suppress(Exception):
            self._experiment = wandb.init(mode="disabled")

    def _start(self) -> None:
        import wandb

        folder = Path(self._wandb_init["dir"]).absolute() / "wandb"
        # wandb falls back to the system's temporary folder if its directory does not exist.
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Its service would print its log, and files could not be sent, where HOME cannot be written.
        for variable, usual in (("CACHE", wandb.env.get_cache_dir()), ("DATA", wandb.env.get_data_dir())):
            if not _can_write(Path(usual)):
                os.environ[f"WANDB_{variable}_DIR"] = str(folder)
        try:
            run = super().experiment
        except wandb.errors.CommError as error:
            reason = str(error).split("\n")[0]
            say(f"W&B: the server does not answer ({reason}), logging offline to {self._wandb_init['dir']}/wandb")
            self._wandb_init["mode"] = "offline"
            run = super().experiment
        if self._wandb_init["mode"] == "online" and getattr(run, "url", None):
            say(f"W&B: {run.url}")


def wandb_id(directory: Path) -> str | None:
    """Id of the W&B run that logged to `directory` last, from the name of its folder; None without one."""
    folders = sorted(directory.glob("wandb/*run-*-*"), key=lambda path: path.name.removeprefix("offline-"))
    return folders[-1].name.removeprefix("offline-").split("-", 2)[2] if folders else None


def available_mode() -> WandbMode:
    """`online` if wandb finds an API key in the environment, its settings or netrc; WANDB_MODE comes first."""
    asked = os.environ.get("WANDB_MODE")
    if asked:
        return {"online": "online", "disabled": "disabled"}.get(asked, "offline")
    if rank_zero_only.rank:
        return "disabled"  # Only the first process logs.
    return "online" if has_key() else "offline"


def has_key() -> bool:
    """Whether wandb finds an API key."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except (wandb.errors.Error, OSError):
        return False


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
