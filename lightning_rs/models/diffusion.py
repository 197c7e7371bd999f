"""A diffusion model as a denoiser, in one step.

N. Carlini, F. Tramer, K. Dvijotham, L. Rice, M. Sun, J. Z. Kolter, "(Certified!!) Adversarial Robustness for Free!",
2023, Algorithm 1. A diffusion model in [-1, 1] knows at step t images sqrt(abar_t) x + sqrt(1 - abar_t) e, that is
sqrt(abar_t) (x + s_t e) with s_t = sqrt((1 - abar_t) / abar_t). Noise of standard deviation sigma on pixels in [0, 1]
is one of 2 sigma there. The net is asked at

    t* = min {t >= 1: s_t >= 2 sigma},

the steps counted from 0 as in its scheduler. The noise stays what it is, so that its scale abar = 1 / (1 + 4 sigma^2)
is that of sigma, and differs a little from that of t*.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_rs.checks import check_known, check_sigma, shown
from lightning_rs.models.hub import hub_folder
from lightning_rs.models.images import ImageFacts
from lightning_rs.optional import optional_import

PREDICTIONS = ("epsilon", "sample", "v_prediction")
# What says the noise levels, and the schedulers in which it means the same.
_LEVELS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)
_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")
_NET = "UNet2DModel"
# What diffusers and torch raise at arguments that make no net, and safetensors at a damaged file.
_MISBUILT = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_FILES = "unet/config.json, unet/diffusion_pytorch_model.safetensors and scheduler/scheduler_config.json"
# Of any number, of layers a block and of blocks in a configuration: nothing of it is built in a loop without end.
_LARGEST, _LAYERS, _BLOCKS = 100_000, 100, 20


class DiffusionDenoiser(nn.Module):
    """Estimates of the clean images, with pixels in [0, 1], of a frozen diffusion model.

    It stays in evaluation mode and its weights as they are, whatever is trained behind it.

    Args:
        unet: (rows, *shape) images and a step in, as many or twice as many channels out, of which the first are taken.
        alphas_cumprod: abar of each step.
        prediction_type: what the net estimates: the noise (`epsilon`), the image (`sample`) or both (`v_prediction`).
        rescale_timesteps: whether it was trained on steps between 0 and 1000, however many there are.
    """

    step: Tensor

    def __init__(
        self,
        unet: nn.Module,
        alphas_cumprod: Sequence[float],
        prediction_type: str = "epsilon",
        rescale_timesteps: bool = False,
    ) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(False).eval()
        self.alphas_cumprod = tuple(alphas_cumprod)
        self.prediction_type = check_known("prediction_type", prediction_type, PREDICTIONS)
        self.stretch = 1000.0 / len(self.alphas_cumprod) if rescale_timesteps else 1.0
        self.sigma: float | None = None
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)

    def set_sigma(self, sigma: float) -> None:
        """Denoise from now on what was given noise of standard deviation `sigma`, in pixel units.

        Raises:
            ValueError: sigma <= 0, or more than the model was trained for.
        """
        step = step_of(self.alphas_cumprod, sigma)
        self.sigma = sigma
        rescaled = "" if self.stretch == 1.0 else ", rescaled to 1000"
        self.label = f"diffusion at t = {step} of {len(self.alphas_cumprod)}{rescaled}, {self.prediction_type}"
        self.step.fill_(step)

    def forward(self, x: Tensor) -> Tensor:
        if self.sigma is None:
            raise ValueError("the diffusion denoiser does not know the noise yet: call set_sigma")
        abar = 1.0 / (1.0 + 4.0 * self.sigma**2)
        signal, noise = math.sqrt(abar), math.sqrt(1.0 - abar)
        scaled = 2.0 * signal * x - signal
        said = self.unet(scaled, self.step * self.stretch, return_dict=False)[0][:, : x.shape[1]]
        if self.prediction_type == "epsilon":  # (scaled - noise * said) / signal, from [-1, 1] to [0, 1].
            estimate = torch.sub(x, said, alpha=self.sigma)
        elif self.prediction_type == "sample":
            estimate = 0.5 * said + 0.5
        else:
            estimate = 0.5 * (signal * scaled - noise * said) + 0.5
        return estimate.clamp(0.0, 1.0)

    def train(self, mode: bool = True) -> DiffusionDenoiser:
        return super().train(False)

    def extra_repr(self) -> str:
        return f"steps={len(self.alphas_cumprod)}, prediction_type={self.prediction_type}"


def step_of(alphas_cumprod: Sequence[float], sigma: float) -> int:
    """min {t >= 1: sqrt((1 - abar_t) / abar_t) >= 2 sigma}, the step at which a diffusion model knows such noise.

    Raises:
        ValueError: sigma <= 0, or no step is as noisy.
    """
    needed = 4.0 * check_sigma(sigma) ** 2
    step = next((t for t, abar in enumerate(alphas_cumprod) if t >= 1 and 1.0 - abar >= needed * abar), None)
    if step is None:
        most = max(math.sqrt((1.0 - abar) / abar) / 2.0 for abar in alphas_cumprod)
        raise ValueError(f"the diffusion denoiser knows noise up to sigma = {most:.3g}, got {sigma:g}")
    return step


def diffusion_denoiser(
    images: ImageFacts,
    config: Mapping[str, Any],
    weights: Path | None = None,
    /,  # What follows are options; a stage's text, which a file may say, names no folder.
    schedule: str | None = None,
    timesteps: int | None = None,
    prediction: str | None = None,
    rescale_timesteps: int = 0,
) -> DiffusionDenoiser:
    """A diffusion model for these images, from plain values.

    Args:
        images: what comes in.
        config: `unet` and `scheduler`, arguments of diffusers' `UNet2DModel` and `DDPMScheduler`.
        weights: folder with those of the net; fresh ones if left out.
        schedule, timesteps, prediction: `beta_schedule`, `num_train_timesteps` and `prediction_type`, where the
            scheduler's own are missing or wrong.
        rescale_timesteps: 1 if it was trained on steps between 0 and 1000, however many there are.

    Raises:
        ValueError: values that are none of theirs; no noise levels; or images that it does not take.
    """
    said = {"beta_schedule": schedule, "num_train_timesteps": timesteps, "prediction_type": prediction}
    said = {key: value for key, value in said.items() if value is not None}
    if rescale_timesteps not in (0, 1):
        raise ValueError(f"rescale_timesteps must be 0 or 1, got {shown(rescale_timesteps)}")
    if not set(config) <= {"unet", "scheduler"} or not isinstance(config.get("unet"), Mapping):
        raise ValueError(f"a diffusion denoiser is made of unet and scheduler, got {shown(sorted(config))}")
    levels = {**(config.get("scheduler") or {}), **said}
    if not levels:
        raise ValueError("the diffusion denoiser lacks a scheduler: say schedule=linear,timesteps=1000, for example")
    diffusers = optional_import("diffusers", "diffusion")
    unet = _plain("unet", config["unet"], set(signature(diffusers.UNet2DModel).parameters))
    levels = _plain("scheduler", levels, set(_LEVELS))
    _check_unet(unet, images)
    load = partial(_weighed, diffusers.UNet2DModel, weights) if weights else diffusers.UNet2DModel
    with torch.device("cpu"):  # Numbers, even where the net has none.
        scheduler = _built("scheduler", diffusers.DDPMScheduler, levels)
        alphas = scheduler.alphas_cumprod.double().tolist()
    prediction = levels.get("prediction_type", "epsilon")
    if len(alphas) < 2 or not all(0.0 <= after <= before <= 1.0 for before, after in pairwise(alphas)):
        raise ValueError("the diffusion denoiser's scheduler has no noise levels: alphas_cumprod must fall from 1 to 0")
    denoiser = DiffusionDenoiser(_built("unet", load, unet), alphas, prediction, bool(rescale_timesteps))
    denoiser.own_config = {"unet": unet, "scheduler": levels}
    return denoiser


def read_diffusion(place: str) -> Callable[..., DiffusionDenoiser]:
    """What builds the denoiser of a folder, or of a name on the hub, for images: see `diffusion_denoiser`.

    Args:
        place: a folder as diffusers saves it, with `unet/` and `scheduler/`, or with the files of both; or a name on
            the hub.

    Raises:
        OSError: no such folder or name, see `hub_folder`.
        ValueError: diffusers is not installed, or another model than an unconditional UNet.
    """
    optional_import("diffusers", "diffusion")
    folder = hub_folder(place, (), "diffusion", optional=("*.json", "*.safetensors"))
    net = folder / "unet" if (folder / "unet").is_dir() else folder
    unet = _config(net / "config.json", (_NET,))
    if not list(net.glob("*.safetensors")):
        raise ValueError(f"{net} has no weights as safetensors, the one form that is read: expected {_FILES}")
    places = (folder / "scheduler" / "scheduler_config.json", net / "scheduler_config.json")
    scheduler = next((_config(path, _SCHEDULERS) for path in places if path.is_file()), {})
    known = signature(optional_import("diffusers", "diffusion").UNet2DModel).parameters
    config = {
        "unet": {key: value for key, value in unet.items() if key in known},
        "scheduler": {key: value for key, value in scheduler.items() if key in _LEVELS},
    }
    return lambda images, **options: diffusion_denoiser(images, config, net, **options)


def _config(path: Path, classes: Sequence[str]) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no {path}: a diffusion model is a folder with {_FILES}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    held = config.get("_class_name") if isinstance(config, dict) else None
    if held not in classes:
        raise ValueError(f"{path} is of {shown(held)}; a denoiser needs a {' or '.join(classes)}")
    return config


def _plain(what: str, config: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """The arguments, if they are known and each is a word, a number, a truth value, nothing, or a list of such."""
    if unknown := sorted(set(config) - known, key=str):
        raise ValueError(f"the diffusion denoiser's {what} has {shown(unknown)}; known: {', '.join(sorted(known))}")
    return {key: _value(f"{what}.{key}", value) for key, value in config.items()}


def _value(place: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) <= _LARGEST:
        return [_value(place, item) for item in value]
    word = isinstance(value, str) and re.fullmatch(r"\w+", value, re.ASCII)
    if not (value is None or word or (isinstance(value, (int, float)) and -_LARGEST <= value <= _LARGEST)):
        raise ValueError(f"the diffusion denoiser's {place} must be a word or a number, got {shown(value)}")
    return value


def _check_unet(unet: Mapping[str, Any], images: ImageFacts) -> None:
    channels, *size = images.shape
    own, out = unet.get("in_channels", 3), unet.get("out_channels", 3)
    if own != channels or out not in (own, 2 * own):
        raise ValueError(
            f"the diffusion denoiser takes {own} channels and returns {out}; images of {channels} need {channels}, and "
            f"{channels} or {2 * channels}"
        )
    if unet.get("num_class_embeds") is not None or unet.get("class_embed_type") is not None:
        raise ValueError("the diffusion denoiser wants the image's class, which nobody knows: it must be unconditional")
    blocks, layers = unet.get("down_block_types", [_NET] * 4), unet.get("layers_per_block", 2)
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= _BLOCKS or layers not in range(1, _LAYERS + 1):
        raise ValueError(
            f"the diffusion denoiser must have 1 to {_BLOCKS} blocks of 1 to {_LAYERS} layers, got {shown(blocks)} of "
            f"{shown(layers)}"
        )
    factor = 2 ** (len(blocks) - 1)
    if any(length % factor for length in size):
        raise ValueError(
            f"the diffusion denoiser halves images {int(math.log2(factor))} times: height and width must be multiples "
            f"of {factor}, got {size[0]}x{size[1]}"
        )


def _built(what: str, build: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    try:
        return build(**config)
    except _MISBUILT as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the diffusion denoiser's {what} cannot be built: {reason}") from None


def _weighed(model: type[nn.Module], weights: Path, **config: Any) -> nn.Module:
    """The net with the weights of a folder, which may be of older names."""
    net, info = model.from_pretrained(
        weights, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
    )
    if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
        raise ValueError(f"its weights do not fit: {shown([*info['missing_keys'], *info['unexpected_keys']])}")
    return net
