"""The smoothed classifier: sample its votes, certify its answers, predict with it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lightning_rs.checks import (
    alpha_left,
    check_at_least,
    check_draws,
    check_flag,
    check_known,
    check_several,
    check_word,
    shown,
)
from lightning_rs.mechanisms import ABSTAIN, Certificate, Mechanism, MechanismSet
from lightning_rs.noise import Noise, Purpose, as_noise
from lightning_rs.smoothing.plan import Plan, certification_plan
from lightning_rs.smoothing.prediction import SELECTION_DRAWS, prediction, prediction_plan
from lightning_rs.smoothing.sample import Sample
from lightning_rs.smoothing.sampler import Sampler
from lightning_rs.statistics import FIELDS as ARRAYS
from lightning_rs.statistics import Statistics, fields_from
from lightning_rs.statistics.fields import Sizes, Source

FIELDS = frozenset({*ARRAYS, "input_shape"}) - fields_from(Source.REGIONS) - fields_from(Source.PRIOR)
"""What `SmoothedClassifier.sample` can collect."""


class SmoothedClassifier:
    """g(x) = argmax_c P(f(x + z) = c) with noise z ~ N(0, sigma^2 I), or another, around any base classifier f.

    The base classifier is put into evaluation mode while it is sampled and put back afterwards; no gradients are
    recorded, and global random states are as they were.

    Args:
        base_classifier: module or callable that maps (rows, *shape) to (rows, num_classes) scores. Normalisation of
            the input belongs inside it: noise is added to what is passed here, and nothing is clamped.
        num_classes: number of classes K, at least 2.
        sigma: standard deviation of Gaussian noise, in the units of the input, or any `lightning_rs.noise.Noise`.
        levels: inputs are multiples of 1 / levels in [0, 1]: 255 for 8-bit images. Then noise is drawn on that grid and
            certificates hold for the program as it runs, see `lightning_rs.noise.GridGaussian`; other inputs are
            rounded by `smoothed.noise.quantize(x)`. When left out inputs may be any, and certificates assume real
            arithmetic.
        batch_size: rows per call of the base classifier. Noise does not depend on it; the scores' last bits may.
        seed: seed of the noise of certificates. They hold for classifiers and inputs that were chosen by somebody who
            did not know it.
        stochastic: the base classifier answers at random, to each row by itself: P is then over its randomness too,
            which is fresh in every call, whatever the seed. Without it such a one is refused.

    Raises:
        ValueError: a base classifier that cannot be called; sigma <= 0, fewer than two classes, batch_size < 1, seed
            outside [0, 2**64), or what is no number for one of them; or levels beside a noise object.

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
        sigma: float | Noise,
        *,
        levels: int | None = None,
        batch_size: int = 1000,
        seed: int = 0,
        stochastic: bool = False,
    ) -> None:
        if not callable(base_classifier):
            raise ValueError(f"base_classifier must be a module or a function, got {shown(base_classifier)}")
        self.base_classifier = base_classifier
        self.num_classes = check_at_least("num_classes", num_classes, 2)
        self.noise = as_noise(sigma, levels)
        self.sigma = self.noise.scale
        self.batch_size = check_at_least("batch_size", batch_size, 1)
        self.seed = check_word("seed", seed)
        self.stochastic = check_flag("stochastic", stochastic)
        self._next_index = dict.fromkeys(Purpose, 0)

    def sample(
        self,
        x: Tensor,
        index: ArrayLike | None = None,
        n0: int = 100,
        n: int = 100_000,
        *,
        fields: Collection[str] = (),
        purpose: Purpose = Purpose.TEST,
    ) -> Statistics:
        """Statistics of n0 selection and n estimation draws of every example.

        Args:
            x: (B, *shape) inputs, a dense tensor of finite float32 or float64 numbers; B may be 0.
            index: (B,) their indices, which with seed and purpose determine their noise on one kind of device. When
                left out, numbers that no input of this purpose has had yet: what is certified in parts gets the same
                noise as in one.
            n0: draws that select the class. 0 selects by the estimation votes; `cohen` and `cohen_two_sided` then spend
                half of alpha, and others are refused.
            n: draws that certify it.
            fields: fields of `Statistics` to collect beside the counts; see `MechanismSet.fields`.
            purpose: what the draws are for. Certify what only helps to choose a classifier as
                `lightning_rs.noise.Purpose.VALIDATION`, so that what is chosen meets other noise.

        Returns:
            Statistics of the B examples.

        Raises:
            ValueError: x is anything else; n outside [1, 2**31), n0 outside [0, 2**31), as many indices as examples are
                not given, unknown fields, fields that depend on the selected class without selection draws, no
                purpose; memory that does not hold the batches; or the base classifier fails, or does not return
                (rows, num_classes) real scores.
        """
        _check_inputs(x)
        fields = [check_known("field of Statistics", field, FIELDS) for field in check_several("fields", fields)]
        n0, n = check_draws("n0", n0, 0), check_draws("n", n, 1)
        return self._statistics(x, index, Plan((n,), n0, purpose, fields=frozenset(fields)))

    def certify(
        self,
        x: Tensor,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        mechanisms: Sequence[str | Mechanism] = ("cohen", "cohen_two_sided"),
        *,
        index: ArrayLike | None = None,
        radii: Sequence[float] | None = None,
        purpose: Purpose = Purpose.TEST,
    ) -> dict[str, Certificate]:
        """Certificates of every mechanism from one pass of draws; each holds with probability at least 1 - alpha.

        By itself, that is, for a mechanism that was chosen before: of the largest of several, `best` has the guarantee.

        Arguments are those of `sample`, and:
            alpha: failure probability of each example's certificate, in (0, 1).
            mechanisms: names or objects.
            radii: l2 radii of interest, increasing. Sequential mechanisms stop when it is known which of them are
                certified; n is the most that they draw.

        Raises:
            ValueError: as `sample`; an unknown mechanism, alpha outside (0, 1), an n with which a mechanism always
                abstains, n0 = 0 where that is not shown to hold, radii that do not increase from 0, sequential
                mechanisms beside others or without radii, or inputs that are not on the noise's levels.
        """
        _check_inputs(x)
        n0, n = check_draws("n0", n0, 0), check_draws("n", n, 1)
        chosen = MechanismSet(mechanisms)
        chosen.refuse_prior()
        chosen.check_noise(self.noise.name)
        if self.stochastic:
            chosen.check_stochastic()
        chosen.check_trials(n, alpha)
        chosen.check_input(x.shape[1:], alpha)
        plan = certification_plan(chosen, self.noise, x.shape[1:], n0, n, alpha, radii, purpose=purpose)
        return chosen.certify(self._statistics(x, index, plan), alpha)

    def predict(
        self,
        x: Tensor,
        n: int = 1000,
        alpha: float = 0.001,
        *,
        index: ArrayLike | None = None,
        test: str = "top_two",
        sequential: bool = False,
        seed: int | None = None,
    ) -> NDArray[np.int64]:
        """The smoothed classifier's classes (B,), or `ABSTAIN` where n draws do not tell them apart at alpha.

        The draws are not those of `sample`, so a certificate and a later prediction each spend their own alpha.

        Args:
            x: as for `sample`.
            index: (B,) as for `sample`; 0, 1, ... when left out, in every call.
            n: number of draws.
            alpha: probability of naming a wrong class, in (0, 1).
            test: `top_two` compares the two leading classes (PREDICT of Cohen et al. 2019); `top_class` asks whether
                the leading class has more than half of the probability.
            sequential: stop as soon as the answer is known, after n draws at most; 25 further draws select the class.
            seed: seed of the noise. When left out a secret one, so that nobody can have chosen x to suit its noise.

        Raises:
            ValueError: as `sample`; alpha outside (0, 1), an unknown test, or a seed outside [0, 2**64).
        """
        _check_inputs(x)
        check_flag("sequential", sequential)
        seed = secrets.randbits(64) if seed is None else check_word("seed", seed)
        n = check_draws("n", n, 1)
        alpha = alpha_left(alpha, self.noise.sampling_error(n + SELECTION_DRAWS, tuple(x.shape[1:])))
        plan = prediction_plan(n, alpha, test, sequential)
        answers = np.full(len(x), ABSTAIN)
        for sample in self._run(x, _indices(x, index, 0), plan, seed):
            answers[sample.position] = prediction(sample, alpha, test)
        return answers

    def _statistics(self, x: Tensor, index: ArrayLike | None, plan: Plan) -> Statistics:
        of_selected = sorted(name for name in plan.fields.intersection(ARRAYS) if ARRAYS[name].of_selected)
        if of_selected and not plan.n0:
            raise ValueError(f"n0 must be at least 1 to collect {', '.join(of_selected)}, got 0")
        if not isinstance(plan.purpose, Purpose):
            raise ValueError(f"purpose must be a lightning_rs.noise.Purpose, got {shown(plan.purpose)}")
        indices = _indices(x, index, self._next_index[plan.purpose])
        samples = sorted(self._run(x, indices, plan, self.seed), key=lambda sample: sample.position)
        self._next_index[plan.purpose] = max([self._next_index[plan.purpose], *(i + 1 for i in indices.tolist())])
        if not samples:
            names = {"counts", *plan.fields, *(("selection_counts",) if plan.n0 else ())}
            sizes = Sizes(self.num_classes, plan.looks[-1], len(plan.looks), tuple(x.shape[1:]))
            error = plan.sampling_error(self.noise, sizes.input_shape)
            return Statistics.empty(self.sigma, names, sizes, self.noise.name, error)
        return Statistics.concatenate([sample.statistics(self.noise, plan) for sample in samples])

    def _run(self, x: Tensor, indices: NDArray[np.integer], plan: Plan, seed: int) -> Iterator[Sample]:
        # Fewer rows in all than a batch has would only be padded. What sequential draws need is not known: the first
        # few looks.
        rows = min(self.batch_size, len(x) * (plan.before + plan.looks[min(3, len(plan.looks) - 1)]))
        device = device_of(self.base_classifier, x)
        settings = (self.num_classes, self.noise, rows, seed, device)
        sampler = Sampler(self.base_classifier, *settings, stochastic=self.stochastic)
        return sampler.run(zip(indices.tolist(), x, strict=True), plan)


def _check_inputs(x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a tensor (B, *shape), got {type(x).__name__}: {shown(x)}")
    if x.is_nested or x.layout is not torch.strided or x.is_quantized or x.device.type == "meta":
        raise ValueError("x must be a dense tensor of numbers, got a nested, sparse, quantized or meta one")
    if not x.ndim:
        raise ValueError("x must be a tensor (B, *shape) of B inputs, got a single number")


def _indices(x: Tensor, index: ArrayLike | None, first: int) -> NDArray[np.integer]:
    """Those that are given, checked; otherwise numbers from `first` on."""
    try:
        indices = np.arange(first, first + len(x)) if index is None else np.atleast_1d(np.asarray(index))
    except (TypeError, ValueError, RuntimeError):  # Ragged lists, and tensors that are none of NumPy's.
        indices = np.empty(0)
    if indices.shape != (len(x),) or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"index must hold one integer for each of the {len(x)} examples, got {shown(index)}")
    if len(indices):
        check_word("index", indices.min())
    return indices


def device_of(classifier: nn.Module | Callable[[Tensor], Tensor], x: Tensor | None = None) -> torch.device:
    """Device of the module's first parameter or buffer; that of `x`, or the CPU, for one without any."""
    if isinstance(classifier, nn.Module):
        for tensor in (*classifier.parameters(), *classifier.buffers()):
            return tensor.device
    return torch.device("cpu") if x is None else x.device
