"""What objectives with a baseline share: a second base classifier, trained before, that is asked and stays as it is."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_rs.models import weights_digest
from lightning_rs.objectives.base import SmoothingModule


class BaselineObjective(SmoothingModule, ABC):
    """An objective that asks a frozen base classifier, the baseline, for its scores.

    The baseline is no part of what is trained, counted, averaged, saved or certified; copies of the module share it.
    It is where the module is, of its type, and computed by the same engine.

    Args:
        baseline: checkpoint of the baseline, loaded by `train.py`; by hand give it to `take_baseline`.
        args, kwargs: see `SmoothingModule`.

    Attributes:
        needs_baseline: whether there is no loss without one.
        published_baseline: objective by which the published method trains its baseline, if it has to have one.
        baseline_digest: of the baseline's weights. Checkpoints hold it, and a training goes on with the same alone.

    Raises:
        ValueError: in training, a baseline that was named or is needed, and not given.
    """

    needs_baseline: ClassVar[bool] = True
    published_baseline: ClassVar[str | None] = None

    def __init__(self, *args: Any, baseline: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._baseline = _Shared(None)
        self.baseline_digest: str | None = None
        self._baseline_scores: Callable[[Tensor], Tensor] | None = None

    @property
    def baseline(self) -> nn.Module | None:
        """The baseline, if there is one."""
        return self._baseline.net

    def take_baseline(self, baseline: nn.Module) -> None:
        """Take a base classifier, of these images and classes, as the baseline; it is frozen."""
        self.baseline_digest = weights_digest(baseline)
        self._baseline = _Shared(baseline.requires_grad_(False).eval())

    @torch.no_grad()
    def baseline_logits(self, x: Tensor) -> Tensor:
        """The baseline's logits (rows, classes) of images (rows, channels, height, width)."""
        return (self._baseline_scores or self.baseline)(x)

    def setup(self, stage: str) -> None:
        named = self.hparams["baseline"]
        if stage == "fit" and self.baseline is None and (self.needs_baseline or named is not None):
            which = "the baseline" if named is None else f"the baseline {named}"
            raise ValueError(f"{which} was not loaded: give its base classifier to take_baseline")
        super().setup(stage)
        if stage == "fit" and self.baseline is not None:
            self._baseline_scores = self.engine.set_up(self.baseline)

    def teardown(self, stage: str) -> None:
        super().teardown(stage)
        if stage == "fit" and self.baseline is not None:
            self._baseline_scores = None
            self.engine.tear_down(self.baseline)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BaselineObjective:
        """The baseline goes to the device, and takes the type, that the module does."""
        if self.baseline is not None:
            self.baseline._apply(fn)
        return super()._apply(fn, recurse)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["lightning_rs"]["baseline"] = self.baseline_digest


class _Shared:
    """Keeps a net where torch does not find it, so that it is no part of the module, and a copy does not double it."""

    def __init__(self, net: nn.Module | None) -> None:
        self.net = net

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self
