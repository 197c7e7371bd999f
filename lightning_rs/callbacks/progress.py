"""One bar for the whole training."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from lightning_rs.progress import progress


class TrainingProgress(ProgressBar):
    """Steps done of all steps, with the time left for the whole training, the epoch and the metrics of interest.

    Lightning's own bars start anew every epoch and never say when the training will end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown = True
        self._bar: tqdm | None = None

    def disable(self) -> None:
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = trainer.estimated_stepping_batches
        # Without a limit on steps or epochs there is no end to estimate.
        total = int(steps) if steps != float("inf") else None
        shown = self._shown and trainer.is_global_zero
        self._bar = progress(total, "Training", "step", shown=shown, done=trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            metrics = self.get_metrics(trainer, pl_module)
            metrics.pop("v_num", None)
            self._bar.set_postfix({"epoch": trainer.current_epoch + 1, **metrics}, refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
