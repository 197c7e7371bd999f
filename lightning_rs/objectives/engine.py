"""How a training is computed: memory format and compilation. What is learned is the same up to rounding and draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from lightning_rs.checks import check_flag


@dataclass(frozen=True)
class Engine:
    """What may be done to a base classifier to train it faster. Precision is the trainer's own: `bf16-mixed`.

    Checkpoints are the same whatever is chosen: plain weights under the same names. Validation, live certification and
    certification run the classifier itself, never what was compiled.

    Args:
        channels_last: keep images, noise and weights in channels-last order, which many convolutions prefer. The noise
            is drawn in that order, and so is another.
        compile: compile the base classifier's passes in training with `torch.compile`. Needs a C++ compiler on a CPU.

    Raises:
        ValueError: anything but true or false.
    """

    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        for option in fields(self):
            check_flag(option.name, getattr(self, option.name))

    def set_up(self, classifier: nn.Module) -> Callable[[Tensor], Tensor]:
        """Lay the classifier's weights out; what its passes in training are to call.

        It is a function, not a module: a wrapped one would give the weights other names.
        """
        if self.channels_last:
            classifier.to(memory_format=torch.channels_last)

        def scores(x: Tensor) -> Tensor:
            return classifier(x)

        return torch.compile(scores, dynamic=False) if self.compile else scores

    def tear_down(self, classifier: nn.Module) -> None:
        """Leave the classifier as one that was loaded from a checkpoint, so that both are certified alike."""
        if self.channels_last:
            classifier.to(memory_format=torch.contiguous_format)

    def lay_out(self, x: Tensor) -> Tensor:
        """Images (rows, channels, height, width), in the order that the classifier prefers."""
        if self.channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x


def plain_layout(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in plain order, as files hold them."""
    return {name: weight.contiguous() if isinstance(weight, Tensor) else weight for name, weight in weights.items()}
