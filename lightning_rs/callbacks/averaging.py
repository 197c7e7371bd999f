"""An exponential moving average of the weights, which is what is evaluated, certified and saved."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging


class EMA(EMAWeightAveraging):
    """average = decay * average + (1 - decay) * weights, after every step; batch-norm statistics likewise.

    Validation, live certification, `state_dict` in checkpoints and the model after the fit have the average; the
    weights in training are `current_model_state` in checkpoints, and a resumed run goes on with both.

    Lightning's callback as it is would put the weights back before other callbacks see the end of the validation epoch,
    so live certification would certify them instead of the average; and testing a checkpoint would load them.

    Args:
        decay: share of the old average that stays, in (0, 1).

    Raises:
        ValueError: decay outside (0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(f"decay must lie in (0, 1), got {decay}")
        super().__init__(decay=decay)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # The module is not there yet: the average would stay on the host, and all weights go there at every step.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pass

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Also where there was nothing left to train.
        self.on_train_end(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
