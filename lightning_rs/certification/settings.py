"""How a certification is made, and of which examples: the one list of its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lightning_rs.checks import (
    alpha_share,
    check_alpha,
    check_at_least,
    check_attempts,
    check_draws,
    check_flag,
    check_radii,
    check_several,
    check_word,
    shown,
)
from lightning_rs.data import certification_indices, check_subset
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.noise import NOISES, Noise, Purpose, make_noise
from lightning_rs.results.figures import default_radii
from lightning_rs.smoothing import Preparation
from lightning_rs.smoothing.plan import Plan, certification_plan


@dataclass(frozen=True, kw_only=True)
class CertificationSettings:
    """How every example is certified, and which ones are.

    Args:
        n0: noisy copies that select the class.
        n: noisy copies that certify it; with a sequential mechanism the most that may be drawn.
        alpha: failure probability of each certificate, or of those of all attempts together.
        attempts: this is one of so many certifications of these images (other noise, n, mechanisms or classifiers),
            among which you may choose after looking; each spends alpha / attempts. Of each, one mechanism that was
            settled before: k to choose from count k times.
        mechanisms: names of mechanisms, with options if any; all use the same noisy copies. With sequential_betting,
            drawing stops when it is known at which of the radii an image is certified.
        radii: l2 radii of the table in pixel units, increasing; chosen to suit sigma when left out.
        noise: distribution of the noise: grid_gaussian, whose certificates hold for the program as it runs; gaussian,
            whose certificates assume real arithmetic; or the path of an own one. When left out that of the training,
            where that is Gaussian on the grid of the images' levels if they have one.
        quantize: round images to the grid first; what is certified is the rounded image.
        skip: certify every skip-th image.
        limit: certify at most so many images.
        indices: certify these images of the split instead.
        batch_size: noisy copies per call of the base classifier, or auto, which tries sizes.
        seed: seed of the noise, or random; the classifier must not have been chosen by somebody who knew it.
        precision: of the base classifier; the noise is always drawn in float32.
        channels_last: keep images and weights in channels-last order, which many convolutions prefer.
        fold_batch_norm: multiply batch norms into the convolutions before them.
        compile: compile the base classifier, on a GPU with CUDA graphs.
        stochastic: the base classifier answers at random, to each noisy copy by itself (MC dropout, diffusion); what is
            certified is its answer over noise and randomness. Without it such a one is refused.

    Raises:
        ValueError: a value of another type or out of range (n0, n < 2**31, seed < 2**64), an unknown mechanism,
            sequential mechanisms beside others, an n too small to certify anything, or what does not hold for
            stochastic base classifiers, or cannot be checked of them.
    """

    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    attempts: int = 1
    mechanisms: Sequence[str] = ("cohen", "cohen_two_sided")
    radii: list[float] | None = None
    noise: str | None = None
    quantize: bool = False
    skip: int = 1
    limit: int | None = None
    indices: list[int] | None = None
    batch_size: int | Literal["auto"] = 1000
    seed: int | Literal["random"] = 0
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    fold_batch_norm: bool = False
    compile: bool = False
    stochastic: bool = False

    def __post_init__(self) -> None:
        named = [self.mechanisms] if isinstance(self.mechanisms, str) else check_several("mechanisms", self.mechanisms)
        if not all(isinstance(mechanism, str) for mechanism in named):
            raise ValueError("mechanisms must be given by name, as in cohen_two_sided:top_share=0.5")
        check_subset(self.skip, self.limit, self.indices)
        check_draws("n0", self.n0, 1)
        check_draws("n", self.n, 1)
        check_alpha(self.alpha)
        check_attempts(self.attempts)
        if self.batch_size != "auto":
            check_at_least("batch_size", self.batch_size, 1)
        if self.seed != "random":
            check_word("seed", self.seed)
        for name in ("quantize", "channels_last", "fold_batch_norm", "compile", "stochastic"):
            check_flag(name, getattr(self, name))
        if self.stochastic:
            self._check_stochastic()
        if not isinstance(self.noise, (str, type(None))):
            raise ValueError(f"noise must be given by name, as in grid_gaussian:levels=255, got {shown(self.noise)}")
        if self.noise is not None:
            NOISES.load(self.noise.partition(":")[0])
        if self.radii is not None:
            object.__setattr__(self, "radii", check_radii(self.radii))
        self.mechanism_set.check_trials(self.n, self.spent_alpha)
        _ = self.preparation

    def _check_stochastic(self) -> None:
        for name in ("fold_batch_norm", "compile"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} is checked by the scores, which have to stay the same: with a stochastic base classifier "
                    "leave it out"
                )
        self.mechanism_set.check_stochastic()

    def check(self, noise: Noise, shape: Sequence[int], earlier: int = 0) -> None:
        """Refuse settings that certify nothing under this noise, or do not suit images of this shape.

        `earlier` is the number of draws of a classifier before, on which the certificates rest too.

        Raises:
            ValueError: says what was expected and what came.
        """
        self.mechanism_set.check_noise(noise.name)
        self.mechanism_set.check_input(shape, self.spent_alpha)
        if not earlier:
            self.mechanism_set.refuse_prior()
        self.plan(noise, shape, earlier=earlier)
        if self.quantize and noise.levels is None:
            raise ValueError(
                f"quantize rounds images to the levels of the noise, and {noise.name} noise has none: give --noise "
                "grid_gaussian:levels=255, or another number of levels"
            )

    def noise_for(self, trained: Noise, levels: int | None = None) -> Noise:
        """The noise to certify under, of a classifier that was trained under `trained`.

        Args:
            trained: that of the training.
            levels: of the images, see `ImageFacts`; None where they have none.

        Raises:
            ValueError: see `make_noise`.
        """
        on_grid = self.noise is None and trained.name == "gaussian" and levels is not None
        return make_noise("grid_gaussian" if on_grid else self.noise or trained.label, trained.scale, levels)

    def subset(self, size: int) -> list[int]:
        """Indices of the examples to certify, of a data set of `size`.

        Raises:
            ValueError: an index outside the data set.
        """
        return certification_indices(size, self.skip, self.limit, self.indices)

    def only_first(self, size: int) -> CertificationSettings:
        """The same for the first of the examples alone, of a data set of `size`."""
        return dataclasses.replace(self, skip=1, limit=None, indices=self.subset(size)[:1])

    def radii_for(self, sigma: float) -> tuple[float, ...]:
        """The radii, or those that suit noise of this scale."""
        return self.radii or default_radii(sigma)

    def plan(
        self, noise: Noise, shape: Sequence[int], purpose: Purpose = Purpose.TEST, earlier: int = 0
    ) -> Plan:
        """The draws of every example of this shape, and the clean image: see `certification_plan`."""
        effort = (self.n0, self.n, self.spent_alpha, self.radii_for(noise.scale))
        of = {"clean": True, "purpose": purpose, "earlier": earlier}
        return certification_plan(self.mechanism_set, noise, shape, *effort, **of)

    @property
    def spent_alpha(self) -> float:
        """Failure probability of each certificate of this attempt: its share of alpha."""
        return alpha_share(self.alpha, self.attempts)

    @cached_property
    def mechanism_set(self) -> MechanismSet:
        """The mechanisms by label."""
        return MechanismSet(self.mechanisms)

    @property
    def preparation(self) -> Preparation:
        """How the base classifier is run."""
        return Preparation(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Preparation)})
