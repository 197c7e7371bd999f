"""A denoiser in front of the classifier of a checkpoint."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import torch
from torch import nn

from lightning_rs.checkpoints.ours import Checkpoint, load_checkpoint
from lightning_rs.checkpoints.schema import one_line
from lightning_rs.models import DENOISER, DENOISERS, ImageFacts, build_stage, denoiser_stage, load_named
from lightning_rs.registry import split_options


def with_denoiser(checkpoint: Checkpoint, denoiser: str) -> Checkpoint:
    """The checkpoint with a denoiser before its classifier.

    One that depends on the noise has to be told it: see `lightning_rs.models.set_sigma`.

    Args:
        checkpoint: of any origin, see `load_checkpoint`.
        denoiser: `diffusion/PLACE`, with options as in `diffusion/PLACE,option=value`; or a checkpoint of train.py
            whose base classifier has a denoiser in front, which is taken from there.

    Raises:
        OSError: no such file, or one that cannot be read.
        ValueError: the checkpoint has a denoiser already; the other has none; or one that does not take these images.
    """
    own = checkpoint.base_classifier
    if hasattr(own, DENOISER.name):
        raise ValueError("the checkpoint has a denoiser in front already: leave denoiser out")
    if denoiser.startswith("diffusion/"):
        module = _diffusion(checkpoint, denoiser)
    else:
        module = _of_checkpoint(checkpoint, denoiser)
    stages = OrderedDict([(DENOISER.name, module), *own.named_children()])
    return replace(checkpoint, base_classifier=nn.Sequential(stages).eval())


def _diffusion(checkpoint: Checkpoint, spec: str) -> nn.Module:
    stage, shape = denoiser_stage(spec), checkpoint.input_shape
    load_named(stages=[stage])
    images = ImageFacts(checkpoint.num_classes, shape, [0.0] * shape[0], [1.0] * shape[0])
    return build_stage(DENOISER, images, split_options("stage", stage)[1])


def _of_checkpoint(checkpoint: Checkpoint, path: str) -> nn.Module:
    if path.partition(",")[0] in DENOISERS:
        raise ValueError(f"an untrained {path} denoises nothing: give a checkpoint that has one, or diffusion/PLACE")
    other = load_checkpoint(path)
    module = getattr(other.base_classifier, DENOISER.name, None)
    if module is None:
        raise ValueError(f"{path} has no denoiser in front of its classifier")
    own, theirs = ("x".join(map(str, held.input_shape)) for held in (checkpoint, other))
    try:
        with torch.inference_mode():
            fits = module(torch.zeros(1, *checkpoint.input_shape)).shape[1:] == checkpoint.input_shape
        reason = "other images come out"
    except (RuntimeError, ValueError) as error:
        fits, reason = False, one_line(error, 200)
    if not fits:
        raise ValueError(f"the denoiser of {path} is for {theirs} images, the classifier for {own}: {reason}")
    return module
