"""What a certification is of, or an attack: a classifier with everything in front of it, and its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lightning_rs.certification.examples import Certification
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.checkpoints import Checkpoint, data_of, load_checkpoint, load_net, with_denoiser
from lightning_rs.data import ImageDataModule
from lightning_rs.models import load_named, set_sigma
from lightning_rs.noise import make_noise


@dataclass(frozen=True)
class Subject:
    """A classifier and its images.

    Attributes:
        name: of the file or the net that the user gave.
        loaded: the classifier as it answers, with a denoiser in front if it has one.
        classifier: the same without a denoiser that the user put there.
        data: its images.
    """

    name: str
    loaded: Checkpoint
    classifier: nn.Module
    data: ImageDataModule

    def certification(
        self, settings: CertificationSettings, device: torch.device, sigma: float | None = None, split: str = "test"
    ) -> Certification:
        """The certification of a split; the classifier moves to the device.

        Args:
            settings: how.
            device: where.
            sigma: standard deviation of the noise; that of the training when left out.
            split: of the data set, whose files have to be there.

        Raises:
            ValueError: nobody says sigma; a noise that the images do not have the levels for; or see
                `ImageDataModule.dataset`.
            FileNotFoundError: the data set's files are not there.
        """
        dataset = self.data.dataset(split)
        sigma = self.loaded.sigma if sigma is None else sigma
        if sigma is None:
            raise ValueError(f"{self.name} does not say the noise of its training: give sigma")
        set_sigma(self.loaded.base_classifier, sigma)
        levels = self.data.facts.levels
        return Certification(
            base_classifier=self.loaded.base_classifier.to(device),
            architecture=self.loaded.architecture,
            num_classes=self.loaded.num_classes,
            noise=settings.noise_for(make_noise(self.loaded.noise, sigma, levels), levels),
            dataset=dataset,
            data=self.data.called(split),
            split=split,
            settings=settings,
        )


def load_subject(
    checkpoint: str | None = None,
    arch: str | None = None,
    weights: str | None = None,
    normalization: str | None = None,
    denoiser: str | None = None,
    data: str | None = None,
    data_args: Mapping[str, Any] | None = None,
    stages: Sequence[str] | None = None,
) -> Subject:
    """The classifier of a checkpoint, or a net without one, and its images.

    Args:
        checkpoint: file of train.py, or of the field: see `load_checkpoint`.
        arch: architecture of a file that does not name its own, or the net without a file: see `load_net`.
        weights: of a net without a file.
        normalization: of a foreign file or net.
        denoiser: what to put before the classifier: see `with_denoiser`.
        data: name of the data set, or path of an own one; that of the training when left out.
        data_args: arguments of the data set; those of the training when left out.
        stages: paths of own stages that the file names.

    Raises:
        OSError: files that are not there.
        ValueError: what does not go together, is unknown or does not fit, or is not said and has to be.
    """
    load_named(stages=stages or [])
    if checkpoint is not None:
        if weights is not None:
            raise ValueError(f"the weights are those of {checkpoint}: leave weights out")
        loaded = load_checkpoint(checkpoint, arch, data, normalization, data_args)
    elif arch is None:
        raise ValueError("give --checkpoint FILE, or with --arch a net that has its weights, such as onnx/FILE")
    elif stages:
        raise ValueError("stages are those that a checkpoint names: leave stages out")
    else:
        loaded = load_net(arch, weights, data, normalization, data_args)
    images = data_of(loaded, data, **(data_args or {}))
    classifier = loaded.base_classifier
    if denoiser is not None:
        loaded = with_denoiser(loaded, denoiser)
    return Subject(checkpoint or str(arch), loaded, classifier, images)
