"""The smoothed classifier: sample its votes, certify its answers, predict with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lightning_rs.bounds import top_class_p_value, top_two_p_value
from lightning_rs.checks import check_alpha, check_at_least, check_known, check_sigma
from lightning_rs.mechanisms import (
    ABSTAIN,
    SCORE_THRESHOLDS,
    Certificate,
    Mechanism,
    check_inputs,
    check_trials,
    gradient_channels,
    required_fields,
    resolve_mechanisms,
)
from lightning_rs.smoothing.gradient import GRADIENT_FIELDS
from lightning_rs.smoothing.noise import Stage
from lightning_rs.smoothing.sampler import Sampler, count_nan_against
from lightning_rs.smoothing.statistics import Statistics
from lightning_rs.smoothing.tally import SCORE_FIELDS

FIELDS = frozenset(field.name for field in dataclasses.fields(Statistics)) - {"sigma"}


class SmoothedClassifier:
    """g(x) = argmax_c P(f(x + z) = c) with z ~ N(0, sigma^2 I), around any base classifier f.

    The base classifier is put into evaluation mode while it is sampled and put back afterwards; no gradients are
    recorded, and no global random state is read or written.

    Args:
        base_classifier: module or callable that maps (rows, *shape) to (rows, num_classes) scores. Normalisation of
            the input belongs inside it: noise is added to what is passed here, and nothing is clamped.
        num_classes: number of classes K, at least 2.
        sigma: standard deviation of the noise, in the units of the input.
        batch_size: rows per call of the base classifier. Noise does not depend on it; the scores' last bits may.
        seed: seed of the noise.

    Raises:
        ValueError: sigma <= 0, fewer than two classes, batch_size < 1 or seed < 0.

    Example:
        >>> import torch
        >>> f = torch.nn.Linear(4, 3)
        >>> g = SmoothedClassifier(f, num_classes=3, sigma=0.5)
        >>> certificates = g.certify(torch.zeros(2, 4), n0=100, n=1000, alpha=0.001)
        >>> certificates["cohen"].radius.shape
        (2,)
    """

    def __init__(
        self,
        base_classifier: nn.Module | Callable[[Tensor], Tensor],
        num_classes: int,
        sigma: float,
        *,
        batch_size: int = 1000,
        seed: int = 0,
    ) -> None:
        self.base_classifier = base_classifier
        self.num_classes = check_at_least("num_classes", num_classes, 2)
        self.sigma = check_sigma(sigma)
        self._sampler = Sampler(
            base_classifier,
            self.num_classes,
            self.sigma,
            check_at_least("batch_size", batch_size, 1),
            check_at_least("seed", seed, 0),
        )

    def sample(
        self,
        x: Tensor,
        index: ArrayLike | None = None,
        n0: int = 100,
        n: int = 100_000,
        *,
        fields: Collection[str] = (),
    ) -> Statistics:
        """Statistics of n0 selection and n estimation draws of every example.

        Args:
            x: (B, *shape) inputs, float32 or float64.
            index: (B,) their indices, which with the seed determine their noise; 0, 1, ... when left out.
            n0: draws that select the class. 0 selects by the estimation votes; mechanisms then spend half of alpha.
            n: draws that certify it.
            fields: fields of `Statistics` to collect beside the counts; see `required_fields`.

        Returns:
            Statistics of the B examples.

        Raises:
            ValueError: n < 1, n0 < 0, as many indices as examples are not given, unknown fields, fields that depend on
                the selected class without selection draws, or the base classifier fails.
        """
        check_at_least("n0", n0, 0)
        check_at_least("n", n, 1)
        for field in fields:
            check_known("field of Statistics", field, FIELDS)
        of_selected = sorted(set(fields) & (SCORE_FIELDS | GRADIENT_FIELDS | {"selection_counts"}))
        if of_selected and not n0:
            raise ValueError(f"n0 must be at least 1 to collect {', '.join(of_selected)}, got 0")
        images, indices = self._inputs(x, index)
        with evaluating(self.base_classifier), torch.inference_mode():
            parts = [self._sampler.sample(image, i, n0, n, fields) for image, i in zip(images, indices, strict=True)]
        return Statistics.concatenate(parts) if parts else self._nothing(n0, n, fields, tuple(x.shape[1:]))

    def certify(
        self,
        x: Tensor,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        mechanisms: Sequence[str | Mechanism] = ("cohen", "cohen_two_sided"),
        *,
        index: ArrayLike | None = None,
    ) -> dict[str, Certificate]:
        """Certificates of every mechanism from one pass of draws; each holds with probability at least 1 - alpha.

        Arguments are those of `sample`, and:
            alpha: failure probability of each example's certificate, in (0, 1).
            mechanisms: names or objects.

        Raises:
            ValueError: an unknown mechanism, alpha outside (0, 1), or an n with which a mechanism always abstains.
        """
        resolved = resolve_mechanisms(mechanisms)
        check_trials(resolved, n, alpha)
        check_inputs(resolved, x.shape[1:], alpha)
        statistics = self.sample(x, index, n0, n, fields=required_fields(resolved))
        return {name: mechanism.certify(statistics, alpha) for name, mechanism in resolved.items()}

    def predict(
        self, x: Tensor, n: int = 1000, alpha: float = 0.001, *, index: ArrayLike | None = None, test: str = "top_two"
    ) -> NDArray[np.int64]:
        """The smoothed classifier's classes (B,), or `ABSTAIN` where n draws do not tell them apart at alpha.

        The draws are not those of `sample`, so a certificate and a later prediction each spend their own alpha.

        Args:
            x, index: as for `sample`.
            n: number of draws.
            alpha: probability of naming a wrong class, in (0, 1).
            test: `top_two` compares the two leading classes (PREDICT of Cohen et al. 2019); `top_class` asks whether
                the leading class has more than half of the probability.

        Raises:
            ValueError: n < 1, alpha outside (0, 1), or an unknown test.
        """
        check_at_least("n", n, 1)
        check_alpha(alpha)
        check_known("test", test, ("top_two", "top_class"))
        images, indices = self._inputs(x, index)
        answers = []
        with evaluating(self.base_classifier), torch.inference_mode():
            for image, i in zip(images, indices, strict=True):
                votes = self._sampler.votes(image, i, Stage.PREDICTION, n)
                # The class is chosen before NaN draws are counted against it: they must never make it.
                selected = int(votes[:-1].argmax())
                counts = count_nan_against(votes, selected)
                top, runner_up = counts[selected], np.delete(counts, selected).max()
                if runner_up >= top:
                    answers.append(ABSTAIN)
                    continue
                p_value = top_two_p_value(top, runner_up) if test == "top_two" else top_class_p_value(top, n)
                answers.append(selected if p_value <= alpha else ABSTAIN)
        return np.array(answers, dtype=np.int64)

    def _nothing(self, n0: int, n: int, fields: Collection[str], shape: tuple[int, ...]) -> Statistics:
        """Statistics of no example at all."""
        widths = {"margin_sum": (), "uniform": (), "scores": (n,)}
        widths |= {name: (len(SCORE_THRESHOLDS) + 1,) for name in ("score_histogram", "margin_histogram")}
        widths |= {"gradient_counts": (2, 2), "gradient_sums": (2, 2, *shape)}
        widths |= {"gradient_moments": (2, gradient_channels(shape), 4)}
        names = {"counts", *fields, *(("selection_counts",) if n0 else ())} - {"input_shape"}
        arrays = {name: np.zeros((0, *widths.get(name, (self.num_classes,)))) for name in names}
        return Statistics(self.sigma, **arrays, input_shape=shape)

    def _inputs(self, x: Tensor, index: ArrayLike | None) -> tuple[Tensor, list[int]]:
        """The inputs on the base classifier's device, and their indices."""
        indices = np.arange(len(x)) if index is None else np.atleast_1d(np.asarray(index))
        if indices.shape != (len(x),) or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"index must hold one integer for each of the {len(x)} examples, got {index}")
        return x.to(device_of(self.base_classifier, x)), indices.tolist()


def device_of(classifier: nn.Module | Callable[[Tensor], Tensor], x: Tensor) -> torch.device:
    """Device of the module's first parameter or buffer; that of `x` for a callable without any."""
    if isinstance(classifier, nn.Module):
        for tensor in (*classifier.parameters(), *classifier.buffers()):
            return tensor.device
    return x.device


@contextmanager
def evaluating(classifier: nn.Module | Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put a module into evaluation mode, and every submodule back into its own mode afterwards."""
    modules = list(classifier.modules()) if isinstance(classifier, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
