"""Certify examples of a data set: examples in, records out."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy
import scipy
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import lightning_rs
from lightning_rs.checks import check_alpha, check_at_least, check_radii
from lightning_rs.data import check_image
from lightning_rs.mechanisms import Mechanism, check_inputs, check_trials, resolve_mechanisms, sequential_mechanisms
from lightning_rs.results.description import RunDescription
from lightning_rs.results.records import Record, certificate_of, sparse, stored_statistics
from lightning_rs.smoothing import Preparation, PreparedClassifier, find_batch_size, prepare
from lightning_rs.smoothing.classifier import device_of, statistics_of
from lightning_rs.smoothing.plan import certification_plan
from lightning_rs.smoothing.sampler import Sampler, evaluating


@dataclass(frozen=True)
class CertificationSettings:
    """How every example is certified.

    Args:
        n0: draws that select the class.
        n: draws that certify it.
        alpha: failure probability of one example's certificate.
        mechanisms: names of mechanisms, with options if any: `salman:bound=betting`. All see the same draws.
        batch_size: noisy copies per call of the base classifier, or `auto`, which tries sizes.
        seed: seed of the noise.
        radii: l2 radii of interest in pixel units, increasing. Sequential mechanisms stop when it is known which of
            them are certified, and draw n copies at most; others do not need them.
        precision, channels_last, fold_batch_norm, compile: how the base classifier is run, see
            `lightning_rs.smoothing.Preparation`.

    Raises:
        ValueError: a value out of range, an unknown mechanism, sequential mechanisms beside others, or an n too small
            to certify anything.
    """

    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    mechanisms: Sequence[str] = ("cohen", "cohen_two_sided")
    batch_size: int | Literal["auto"] = 1000
    seed: int = 0
    radii: Sequence[float] | None = None
    precision: str = "float32"
    channels_last: bool = False
    fold_batch_norm: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if not all(isinstance(mechanism, str) for mechanism in self.mechanisms):
            raise ValueError("mechanisms must be given by name, as in cohen_two_sided:top_share=0.5")
        object.__setattr__(self, "mechanisms", tuple(resolve_mechanisms(self.mechanisms)))
        check_at_least("n0", self.n0, 1)
        check_at_least("n", self.n, 1)
        check_alpha(self.alpha)
        if self.batch_size != "auto":
            check_at_least("batch_size", self.batch_size, 1)
        check_at_least("seed", self.seed, 0)
        if self.radii is not None:
            object.__setattr__(self, "radii", check_radii(self.radii))
        check_trials(self.resolved, self.n, self.alpha)
        if self.sequential and self.alpha > 0.4:
            raise ValueError(f"alpha must be at most 0.4 for sequential mechanisms, got {self.alpha}")
        _ = self.preparation

    def check(self, sigma: float, device: torch.device | None = None) -> None:
        """Refuse settings that certify nothing at this sigma, or do not suit the device, before any work.

        Raises:
            ValueError: says what was expected and what came.
        """
        certification_plan(self.resolved, sigma, self.n0, self.n, self.alpha, self.radii)
        if device is not None:
            self.preparation.check(device)

    @property
    def resolved(self) -> dict[str, Mechanism]:
        """The mechanisms by label."""
        return resolve_mechanisms(self.mechanisms)

    @property
    def sequential(self) -> bool:
        """Whether drawing may stop before n draws."""
        return bool(sequential_mechanisms(self.resolved))

    @property
    def preparation(self) -> Preparation:
        """How the base classifier is run."""
        return Preparation(self.precision, self.channels_last, self.fold_batch_norm, self.compile)


def certify_examples(
    base_classifier: nn.Module,
    num_classes: int,
    sigma: float,
    dataset: Dataset,
    indices: Iterable[int],
    settings: CertificationSettings,
) -> Iterator[Record]:
    """Certify the examples of `dataset` at `indices`: one record each, as soon as it is finished.

    They finish in the given order if their number of draws is fixed, otherwise in any. A record depends on the
    example's index, the classifier and the settings, not on the other examples or the order.

    Raises:
        ValueError: an image outside [0, 1], a base classifier that does not return `num_classes` scores or whose
            answers are not reproducible, or a preparation that it does not bear.
    """
    mechanisms = settings.resolved
    plan = certification_plan(mechanisms, sigma, settings.n0, settings.n, settings.alpha, settings.radii, clean=True)
    indices = [int(index) for index in indices]
    if not indices:
        return
    settings = resolve_batch_size(base_classifier, sigma, dataset[indices[0]][0], settings)
    device, first = device_of(base_classifier), dataset[indices[0]][0]
    check_inputs(mechanisms, first.shape, settings.alpha)
    prepared = _prepare(base_classifier, first.to(device), sigma, settings)
    sampler = Sampler(prepared, num_classes, sigma, settings.batch_size, settings.seed, device)
    labels: list[int] = []

    def images() -> Iterator[tuple[int, Tensor]]:
        for index in indices:
            image, label = dataset[index]
            check_image(image)
            labels.append(int(label))
            yield index, image

    with evaluating(base_classifier):
        for sample in sampler.run(images(), plan):
            statistics = statistics_of(sample, sigma, settings.seed, plan)
            certificates = {name: m.certify(statistics, settings.alpha) for name, m in mechanisms.items()}
            yield Record(
                index=sample.index,
                label=labels[sample.position],
                clean_prediction=sample.clean_prediction,
                selection=sparse(statistics.selection_counts[0]),
                counts=sparse(statistics.counts[0]),
                certificates={name: certificate_of(certificate) for name, certificate in certificates.items()},
                seconds=sample.seconds,
                statistics=stored_statistics(statistics),
            )


def resolve_batch_size(
    base_classifier: nn.Module, sigma: float, image: Tensor, settings: CertificationSettings
) -> CertificationSettings:
    """The settings with a batch size in the place of `auto`: the fastest for images like this one on this machine."""
    if settings.batch_size != "auto":
        return settings
    image = image.to(device_of(base_classifier))
    # Compilation would be repeated for every size, and the best size hardly depends on it.
    plain = dataclasses.replace(settings, compile=False, batch_size=100)
    with evaluating(base_classifier):
        size = find_batch_size(_prepare(base_classifier, image, sigma, plain), image)
    return dataclasses.replace(settings, batch_size=size)


def _prepare(
    base_classifier: nn.Module, image: Tensor, sigma: float, settings: CertificationSettings
) -> PreparedClassifier:
    # Compilation is for one shape; for the other checks a few rows do.
    rows = settings.batch_size if settings.compile else min(settings.batch_size, 100)
    noise = torch.randn((rows, *image.shape), generator=torch.Generator().manual_seed(settings.seed))
    with evaluating(base_classifier):
        return prepare(base_classifier, settings.preparation, image + sigma * noise.to(image))


def describe_run(
    base_classifier: nn.Module,
    architecture: str,
    num_classes: int,
    sigma: float,
    data: str,
    split: str,
    indices: Sequence[int],
    settings: CertificationSettings,
    device: torch.device,
) -> RunDescription:
    """Everything that makes a certification comparable with another: the content of `run.json`.

    Raises:
        ValueError: the settings certify nothing at this sigma, or do not suit the device.
    """
    settings.check(sigma, device)
    return RunDescription(
        data=data,
        split=split,
        indices=tuple(indices),
        architecture=architecture,
        num_classes=num_classes,
        weights_sha256=weights_digest(base_classifier),
        normalization=_normalization(base_classifier),
        pixel_range=(0, 1),
        sigma=sigma,
        n0=settings.n0,
        n=settings.n,
        alpha=settings.alpha,
        mechanisms=tuple(settings.mechanisms),
        seed=settings.seed,
        batch_size=settings.batch_size,
        # Where sampling stops depends on them.
        radii=settings.radii if settings.sequential else None,
        weights=str(_dtype(base_classifier)).removeprefix("torch."),
        precision=settings.precision,
        channels_last=settings.channels_last,
        fold_batch_norm=settings.fold_batch_norm,
        compile=settings.compile,
        # CPU and GPU draw different noise, see `lightning_rs.noise.gaussian`.
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        versions={m.__name__: m.__version__ for m in (lightning_rs, torch, numpy, scipy)},
        commit=commit(),
    )


def commit() -> str | None:
    """The commit of this package's own checkout; None if it was installed otherwise."""
    root = Path(lightning_rs.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of the names, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _dtype(module: nn.Module) -> torch.dtype:
    return next((tensor.dtype for tensor in module.parameters()), torch.float32)


def _normalization(module: nn.Module) -> dict[str, list[float]] | None:
    first = module[0] if isinstance(module, nn.Sequential) and len(module) else None
    if first is None or not (hasattr(first, "mean") and hasattr(first, "std")):
        return None
    return {"mean": first.mean.flatten().tolist(), "std": first.std.flatten().tolist()}
