"""What objectives of denoisers share: the classifier behind the denoiser, which stays as it was trained."""

from __future__ import annotations

from abc import ABC
from typing import Any

from torch import nn

from lightning_rs.objectives.base import SmoothingModule


class DenoiserObjective(SmoothingModule, ABC):
    """A denoiser trained before a classifier. The base classifier is both, and is certified and saved as any other.

    Of its stages only the first one, `denoiser`, learns. The others keep their weights and stay in evaluation mode:
    batch norms use their running statistics and keep them.

    Source: H. Salman, M. Sun, G. Yang, A. Kapoor, J. Z. Kolter, "Denoised Smoothing: A Provable Defense for Pretrained
    Classifiers", 2020.

    Args:
        classifier: file that the classifier is taken from by `lightning_rs.checkpoints.TrainedClassifier`, for a new
            run of `train.py`.
        args, kwargs: see `SmoothingModule`; the first of the stages is `denoiser`.

    Raises:
        ValueError: stages that do not begin with a denoiser.
    """

    def __init__(self, *args: Any, classifier: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [name for name, _ in self.base_classifier.named_children()]
        if names[0] != "denoiser":
            raise ValueError(
                f"{type(self).__name__} trains a denoiser, which is the first stage: name it, for example --denoiser "
                f"dncnn, got the stages {', '.join(names)}"
            )
        self.classifier.requires_grad_(False).eval()

    @property
    def denoiser(self) -> nn.Module:
        """The stage that is trained."""
        return self.base_classifier.denoiser

    @property
    def classifier(self) -> nn.Sequential:
        """All stages behind the denoiser."""
        return self.base_classifier[1:]

    def train(self, mode: bool = True) -> DenoiserObjective:
        super().train(mode)
        self.classifier.eval()
        return self
