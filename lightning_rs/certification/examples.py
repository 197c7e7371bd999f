"""Certify examples of a data set: examples in, records out."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_rs.certification.environment import environment_of
from lightning_rs.certification.prior import Prior
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.data import read_image
from lightning_rs.models import weights_digest
from lightning_rs.noise import Noise, Purpose, Stage
from lightning_rs.random_state import OwnRandomness
from lightning_rs.results import Environment, Record, RunDescription, Shard
from lightning_rs.smoothing import PreparedClassifier, find_batch_size, prepare
from lightning_rs.smoothing.capacity import check_capacity
from lightning_rs.smoothing.classifier import device_of
from lightning_rs.smoothing.first_batch import check_same_answers
from lightning_rs.smoothing.paired import PairedSampler
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler, evaluating

# Images that are looked at before any work.
_CHECKED = 100


@dataclass(frozen=True)
class Certification:
    """What is certified, and how.

    Attributes:
        base_classifier: images with pixels in [0, 1] in, scores out; on the device where it is to run.
        architecture: what it is called.
        num_classes: number of classes.
        noise: what is added.
        dataset: index to (image, label).
        data, split: what the data set and its part are called.
        settings: everything else.
        drawn_seed: in the place of the seed `random`, see `settled`.
        shard: which part of the examples is this process's work, see `Shard`; None for all of them.
        prior: the certification of the classifier before, of a changed one, see `incremental_certification`.

    Raises:
        ValueError: a shard with the seed `random`.
    """

    base_classifier: nn.Module
    architecture: str
    num_classes: int
    noise: Noise
    dataset: Dataset
    data: str
    split: str
    settings: CertificationSettings
    drawn_seed: int | None = None
    shard: Shard | None = None
    prior: Prior | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and self.settings.seed == "random":
            raise ValueError(
                "every shard would draw a seed of its own, and all must have the same: draw one, and give --seed NUMBER"
            )

    @property
    def seed(self) -> int | str:
        """Seed of the noise, or `random` as long as none is drawn."""
        return self.settings.seed if self.drawn_seed is None else self.drawn_seed

    @property
    def indices(self) -> list[int]:
        """Those of the examples that are asked for."""
        return self.settings.subset(len(self.dataset))

    @property
    def device(self) -> torch.device:
        """Where the base classifier is."""
        return device_of(self.base_classifier)

    @property
    def purpose(self) -> Purpose:
        """What the draws are for: validation images never share noise with those that are reported, nor does a changed
        classifier with the one before."""
        if self.prior is not None:
            return Purpose.INCREMENTAL
        return Purpose.VALIDATION if self.split == "val" else Purpose.TEST

    def plan(self, shape: Sequence[int]) -> Plan:
        """The draws of every example of this shape."""
        plan = self.settings.plan(self.noise, shape, self.purpose, self.earlier)
        return plan if self.prior is None else dataclasses.replace(plan, clean=False)  # It is asked by itself.

    @property
    def earlier(self) -> int:
        """Draws of each example, of the classifier before, on which certificates rest too."""
        return 0 if self.prior is None else self.prior.draws

    def check(self) -> None:
        """Refuse what cannot be certified, before any work, and before the base classifier is where it will run.

        Raises:
            ValueError: an index outside the data set, settings that do not suit the noise or the images, batches that
                no memory of this machine holds, or one of a hundred images to certify that cannot be read, does not lie
                on the noise's levels or has no class for a label.
        """
        indices = self.indices
        image, _ = self._read(indices[0])
        self.settings.check(self.noise, image.shape, self.earlier)
        if self.settings.batch_size != "auto":
            check_capacity(self.plan(image.shape), self.settings.batch_size, self.num_classes, image.shape, image.dtype)
        # Reading all of a large data set would take minutes; the others are checked when their turn comes.
        for index in indices[:: -(-len(indices) // _CHECKED)]:
            self.image(index)

    def ask(self) -> None:
        """Go the way of one image to its scores, without a draw and without a trace.

        Raises:
            ValueError: the base classifier fails, or returns anything but (1, num_classes) real scores; or other ones
                when it is asked again, and is not said to be stochastic.
        """
        image = self.image(self.indices[0])[0].to(self.device)[None]
        sampler = Sampler(self.base_classifier, self.num_classes, self.noise, 1, 0, image.device)
        with evaluating(self.base_classifier), torch.no_grad(), torch.random.fork_rng():
            scores = sampler.classify(image)
            if not self.settings.stochastic:
                check_same_answers(sampler.classify, image, scores)

    def describe(self) -> RunDescription:
        """Everything that makes the certification comparable with another: the content of `run.json`.

        Raises:
            ValueError: a preparation that the device or the base classifier does not have.
        """
        settings, device = self.settings, self.device
        shape = tuple(self.image(self.indices[0])[0].shape)
        settings.preparation.check(device, self.base_classifier)
        weights = next((tensor.dtype for tensor in self.base_classifier.parameters()), torch.float32)
        return RunDescription(
            data=self.data,
            split=self.split,
            indices=self.indices,
            shard=None if self.shard is None else str(self.shard),
            architecture=self.architecture,
            denoiser=_denoiser(self.base_classifier),
            num_classes=self.num_classes,
            input_shape=shape,
            weights_sha256=weights_digest(self.base_classifier),
            normalization=_normalization(self.base_classifier),
            pixel_range=(0, 1),
            noise=self.noise.label,
            sampling_error=self.plan(shape).sampling_error(self.noise, shape),
            quantized=settings.quantize,
            sigma=self.noise.scale,
            n0=settings.n0,
            n=settings.n,
            alpha=settings.alpha,
            attempts=settings.attempts,
            mechanisms=tuple(settings.mechanism_set),
            seed=self.seed,
            seed_drawn=settings.seed == "random",
            # Where sampling stops depends on them.
            radii=settings.radii_for(self.noise.scale) if settings.mechanism_set.sequential else None,
            weights=str(weights).removeprefix("torch."),
            **dataclasses.asdict(settings.preparation),
            stochastic=settings.stochastic,
            like=None if self.prior is None else self.prior.run.digest,
        )

    def environment(self) -> Environment:
        """Where and with what its records are made, which does not make it another certification; once it is settled,
        with the batch size."""
        size = self.settings.batch_size
        return environment_of(self.base_classifier, self.device, None if size == "auto" else size)

    def image(self, index: int) -> tuple[Tensor, int]:
        """The image to certify, at its levels if it is to be rounded, and its label.

        Raises:
            ValueError: an image that cannot be read, is not a floating-point tensor in [0, 1] or not on the noise's
                levels, or a label that is no class; the message names it.
        """
        image, label = self._read(index)
        image = self.noise.quantize(image) if self.settings.quantize else image
        try:
            self.noise.check_input(image)
        except ValueError as error:
            raise ValueError(
                f"{self.data}, {self.split} image {index}: {error}; set the levels of the data set (None: no grid), or "
                "certify with quantize true, or with noise gaussian"
            ) from None
        if self.prior is not None:
            self.prior.check_label(index, int(label))
        return image, int(label)

    def _read(self, index: int) -> tuple[Tensor, int]:
        return read_image(self.dataset, index, f"{self.data}, {self.split}", self.num_classes)

    def settled(self) -> Certification:
        """The same with a drawn seed in the place of `random`, and in that of `auto` the fastest batch size.

        That is one for images like the first, on this machine.
        """
        if self.seed == "random":
            return dataclasses.replace(self, drawn_seed=secrets.randbits(64)).settled()
        if self.settings.batch_size != "auto":
            return self
        image = self.image(self.indices[0])[0].to(self.device)
        # Compilation would be repeated for every size, and the best size hardly depends on it.
        plain = dataclasses.replace(self, settings=dataclasses.replace(self.settings, compile=False, batch_size=100))
        # What a random classifier draws meanwhile is not taken from a training.
        with evaluating(self.base_classifier), OwnRandomness(self.device):
            size = find_batch_size(plain.prepared(image), image)
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, batch_size=size))

    def prepared(self, image: Tensor) -> PreparedClassifier:
        """The base classifier as it is run, checked on noisy copies of an image, which is on its device.

        Raises:
            ValueError: see `prepare`.
        """
        # Compilation is for one shape; for the other checks a few rows do.
        rows = self.settings.batch_size if self.settings.compile else min(self.settings.batch_size, 100)
        noise = self.noise.source(0, tuple(image.shape), image.dtype, image.device, Purpose.PILOT)
        batch = image.new_empty((rows, *image.shape))
        noise.perturb(batch, image, 0, Stage.ESTIMATION, 0)
        with evaluating(self.base_classifier):
            return prepare(self.base_classifier, self.settings.preparation, batch)

    def sampler(self, image: Tensor) -> Sampler | PairedSampler:
        """What draws the votes of examples like an image, which is on the base classifier's device.

        Raises:
            ValueError: see `prepared`.
        """
        settings = self.settings
        prepared = self.prepared(image)
        how = (self.num_classes, self.noise, settings.batch_size, self.seed, image.device)
        if self.prior is None:
            return Sampler(prepared, *how, stochastic=settings.stochastic)
        (mechanism,) = settings.mechanism_set.values()
        known = self.prior.known(mechanism, self.num_classes)
        return PairedSampler(prepared, self.prior.prepared(image, settings.batch_size), known, *how)


class Certifier:
    """A certification whose classifier is prepared once, by the first of all examples that come.

    Args:
        certification: what is certified, and how.
    """

    def __init__(self, certification: Certification) -> None:
        self._certification = certification
        self._prepared: tuple[Certification, Plan, Sampler | PairedSampler] | None = None

    def records(self, indices: Iterable[int | None]) -> Iterator[Record]:
        """The records of the examples at `indices`: see `certify_examples`."""
        indices = iter(indices)
        if (first := next(indices, None)) is None:
            return
        self._prepared = self._prepared or self._prepare(first)
        certification, plan, sampler = self._prepared
        settings = certification.settings
        labels: list[int] = []

        def images() -> Iterator[tuple[int, Tensor] | None]:
            for index in chain([first], indices):
                if index is None:
                    yield None
                    continue
                image, label = certification.image(index)
                labels.append(label)
                yield int(index), image

        with evaluating(certification.base_classifier):
            for sample in sampler.run(images(), plan):
                statistics = sample.statistics(certification.noise, plan)
                certificates = settings.mechanism_set.certify(statistics, settings.spent_alpha)
                kept = settings.mechanism_set.kept(statistics)
                yield Record.of(sample, labels[sample.position], kept, certificates)

    def _prepare(self, index: int) -> tuple[Certification, Plan, Sampler | PairedSampler]:
        """The settled certification, its draws and what makes them, for examples like that at `index`."""
        certification = self._certification.settled()
        image, _ = certification.image(index)
        certification.settings.check(certification.noise, image.shape, certification.earlier)
        sampler = certification.sampler(image.to(certification.device))
        return certification, certification.plan(image.shape), sampler


def certify_examples(certification: Certification, indices: Iterable[int | None]) -> Iterator[Record]:
    """Certify the examples at `indices`: one record each, as soon as it is finished.

    They finish in the given order if their number of draws is fixed, otherwise in any. A record depends on the
    example's index, the classifier and the settings, not on the other examples or the order.

    Args:
        certification: what is certified, and how.
        indices: of the examples. Each is asked for when there is room for one more example, after the records of those
            before it that are finished have been taken; None, which must not come first or while none is under way, is
            no example, and the question is asked again.

    Raises:
        ValueError: an image outside [0, 1], a base classifier that does not return `num_classes` scores or whose
            answers are not reproducible, or a preparation that it does not bear.
    """
    return Certifier(certification).records(indices)


def _denoiser(module: nn.Module) -> str | None:
    """What a denoiser in front says of itself, or the name of its class."""
    denoiser = dict(module.named_children()).get("denoiser")
    return None if denoiser is None else getattr(denoiser, "label", type(denoiser).__name__)


def _normalization(module: nn.Module) -> dict[str, list[float]] | None:
    first = module[0] if isinstance(module, nn.Sequential) and len(module) else None
    layer = getattr(module, "normalize", first)
    if not (hasattr(layer, "mean") and hasattr(layer, "std")):
        return None
    try:  # Tensors, as in ours, or numbers, as in torchvision's.
        said = {name: torch.as_tensor(getattr(layer, name), dtype=torch.float64) for name in ("mean", "std")}
    except (TypeError, ValueError, RuntimeError):  # Methods of those names, say.
        return None
    return {name: numbers.flatten().tolist() for name, numbers in said.items()}
