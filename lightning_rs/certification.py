"""Certify examples of a data set: examples in, records out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import scipy
import torch
from torch import nn
from torch.utils.data import Dataset

import lightning_rs
from lightning_rs.checks import check_alpha, check_at_least
from lightning_rs.data import check_image
from lightning_rs.mechanisms import check_inputs, check_trials, required_fields, resolve_mechanisms
from lightning_rs.results.records import Record, certificate_of, sparse, stored_statistics
from lightning_rs.smoothing import SmoothedClassifier
from lightning_rs.smoothing.classifier import device_of, evaluating


@dataclass(frozen=True)
class CertificationSettings:
    """How every example is certified.

    Args:
        n0: draws that select the class.
        n: draws that certify it.
        alpha: failure probability of one example's certificate.
        mechanisms: names of mechanisms, with options if any: `salman:bound=betting`. All see the same draws.
        batch_size: noisy copies per call of the base classifier.
        seed: seed of the noise.

    Raises:
        ValueError: a value out of range, an unknown mechanism, or an n too small to certify anything.
    """

    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    mechanisms: Sequence[str] = ("cohen", "cohen_two_sided")
    batch_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not all(isinstance(mechanism, str) for mechanism in self.mechanisms):
            raise ValueError("mechanisms must be given by name, as in cohen_two_sided:top_share=0.5")
        object.__setattr__(self, "mechanisms", tuple(resolve_mechanisms(self.mechanisms)))
        check_at_least("n0", self.n0, 1)
        check_at_least("n", self.n, 1)
        check_alpha(self.alpha)
        check_at_least("batch_size", self.batch_size, 1)
        check_at_least("seed", self.seed, 0)
        check_trials(resolve_mechanisms(self.mechanisms), self.n, self.alpha)


def certify_examples(
    base_classifier: nn.Module,
    num_classes: int,
    sigma: float,
    dataset: Dataset,
    indices: Iterable[int],
    settings: CertificationSettings,
) -> Iterator[Record]:
    """Certify the examples of `dataset` at `indices`, one record each, in that order.

    A record depends on the example's index, the classifier and the settings, not on the other examples or the order.

    Raises:
        ValueError: an image outside [0, 1], or a base classifier that does not return `num_classes` scores.
    """
    smoothed = SmoothedClassifier(
        base_classifier, num_classes, sigma, batch_size=settings.batch_size, seed=settings.seed
    )
    mechanisms = resolve_mechanisms(settings.mechanisms)
    fields = required_fields(mechanisms)
    for index in indices:
        image, label = dataset[index]
        check_image(image)
        check_inputs(mechanisms, image.shape, settings.alpha)
        start = time.perf_counter()
        x = image.unsqueeze(0)
        statistics = smoothed.sample(x, [index], settings.n0, settings.n, fields=fields)
        with evaluating(base_classifier), torch.inference_mode():
            clean = int(base_classifier(x.to(device_of(base_classifier, x))).argmax())
        certificates = {name: m.certify(statistics, settings.alpha) for name, m in mechanisms.items()}
        yield Record(
            index=int(index),
            label=int(label),
            clean_prediction=clean,
            selection=sparse(statistics.selection_counts[0]),
            counts=sparse(statistics.counts[0]),
            certificates={name: certificate_of(certificate) for name, certificate in certificates.items()},
            seconds=time.perf_counter() - start,
            statistics=stored_statistics(statistics),
        )


def describe_run(
    base_classifier: nn.Module,
    architecture: str,
    sigma: float,
    data: str,
    split: str,
    indices: Sequence[int],
    settings: CertificationSettings,
    device: torch.device,
) -> dict[str, Any]:
    """Everything that makes a certification comparable with another, in plain values: the content of `run.json`."""
    return {
        "data": data,
        "split": split,
        "indices": list(indices),
        "architecture": architecture,
        "weights_sha256": weights_digest(base_classifier),
        "normalization": _normalization(base_classifier),
        "pixel_range": [0, 1],
        "sigma": sigma,
        "n0": settings.n0,
        "n": settings.n,
        "alpha": settings.alpha,
        "mechanisms": list(settings.mechanisms),
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "precision": str(_dtype(base_classifier)).removeprefix("torch."),
        # CPU and GPU draw different noise, see `lightning_rs.smoothing.noise`.
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": {m.__name__: m.__version__ for m in (lightning_rs, torch, numpy, scipy)},
    }


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
