"""What coverage is tried on: which known classifier, by which mechanisms, with how many draws and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy import special
from torch import Tensor

from lightning_rs.audit.band_net import SHAPE, BandNet
from lightning_rs.audit.claim import Claim
from lightning_rs.audit.known import SURE, Ball, HalfSpace, KnownClassifier
from lightning_rs.audit.limits import fair_trials, lower_limit, telling_successes
from lightning_rs.audit.tables import bands, tuned, worst_region
from lightning_rs.mechanisms import list_mechanisms, parse_mechanism
from lightning_rs.mechanisms.sequential import SequentialMechanism
from lightning_rs.noise import GridGaussian
from lightning_rs.statistics import fields_from
from lightning_rs.statistics.fields import Source

MAIN = ("cohen", "cohen_two_sided", "voracek")
"""Whose bounds are tight enough for a factor of two in alpha to be seen."""
MAIN_SOFT = ("salman:top_share=0.99", "moutaouakil_soft:bound=hoeffding_kl")

OPTIONS = {
    "best": ("of=cohen+cohen_two_sided+voracek",),
    "cohen": ("norm=l1", "norm=linf"),
    "cohen_two_sided": ("top_share=0.5",),
    "kumar_margin": ("confidence=0.2", "band=dkw", "band=naive"),
    "kumar_score": ("confidence=0.6", "band=dkw", "band=naive"),
    "mohapatra_channel": ("channel=1",),
    "mohapatra_l1": ("estimator=half", "estimator=miss"),
    "mohapatra_l2": ("estimator=half", "estimator=miss"),
    "moutaouakil": ("statistic=diff",),
    "moutaouakil_soft": ("bound=hoeffding_kl",),
    "salman": ("bound=betting", "bound=empirical_bernstein", "bound=hoeffding", "top_share=0.99"),
}
"""How mechanisms are tried beside the way that their bare names say; of an audit that is not quick."""

LEVELS = 8
EARLIER = 4
_TINY = 1e-6
"""How far below a limit a probability is placed, relative to it: far beyond what float32 and quadratures round."""


@dataclass(frozen=True)
class Trial:
    """Many equal images, each certified with draws of its own.

    Attributes:
        name: of the classifier.
        known: makes it.
        mechanisms: with options.
        n0, n: draws of each image.
        images: how many.
        alpha: at which each is certified.
        clear: whether a mechanism that abstains on all images fails: there is a class that stands out.
        radii: of sequential mechanisms.
        before: makes the classifier of which the known one is a changed copy, of incremental mechanisms: it is
            certified first, and has `EARLIER` times as many draws.
    """

    name: str
    known: Callable[[], KnownClassifier]
    mechanisms: tuple[str, ...]
    n0: int
    n: int
    images: int
    alpha: float
    clear: bool = False
    radii: tuple[float, ...] | None = None
    before: Callable[[], KnownClassifier] | None = None

    @property
    def cost(self) -> float:
        """About how many seconds it takes, as seen: see `Case`."""
        costly = sum(parse_mechanism(text).costly for text in self.mechanisms)
        return self.images * (0.003 + 0.001 * len(self.mechanisms) + 0.01 * costly + 6e-7 * self.n)


def trials(quick: bool) -> list[Trial]:
    """All of an audit, with every registered mechanism that can be made from its name alone in one at least."""
    # The larger alpha, the fewer images show its double; the smaller, the fewer show what is grossly wrong.
    alpha, many, few_long, few = (0.3, 200, 200, 15) if quick else (0.1, 800, 400, 100)
    kinds = mechanisms_by_kind(with_options=not quick)
    main = partial(Trial, images=many, alpha=alpha)
    rest = partial(Trial, images=few, alpha=0.1)
    unanimous = (2.0 * 0.99 * alpha) ** (1.0 / 20)
    coin = fair_trials(alpha, 60, 120)
    chosen = [
        main("a net that is a half-space, at a limit", partial(_net_at_limit, 400, alpha), MAIN, 20, 400),
        main("all votes for one class", partial(_half_space, 1.5, unanimous), (*MAIN, *MAIN_SOFT), 20, 20),
        main("two classes of one half", _coin, MAIN, coin, coin),
        replace(main("a half-space near its truth", partial(_half_space, 1.5, 0.93), MAIN, 20, 8000), images=few_long),
        rest("a net of three bands", partial(_net, (2, 8), 0.2), (*kinds["hard"], *kinds["soft"]), 20, 200, clear=True),
        rest("three scores, one of them tiny", _three_scores, kinds["soft"], 20, 100),
        rest("the worst region for a gradient", partial(_worst, False), kinds["first order"], 50, 2000, clear=True),
        *(
            replace(
                main(f"a half-space, {mechanism}", partial(_half_space, 1.5, 0.85), (mechanism,), 20, 500, clear=True),
                radii=(0.5 * 1.5 / LEVELS, 1.02 * 1.5 / LEVELS),
            )
            for mechanism in kinds["sequential"]
        ),
        _changed(rest, (1.5, 0.9), "a half-space that lost a strip", kinds["incremental"], clear=True),
    ]
    if quick:
        return chosen
    in_norms = ("cohen", "cohen:norm=l1", "cohen:norm=linf")
    among_pixels = (*in_norms, *kinds["first order"], "mohapatra_channel:channel=all,height=1")
    at_limit = (0.5, _limit(400, alpha))
    return [
        *chosen,
        _changed(main, at_limit, "a half-space that lost much, at a limit", kinds["incremental"]),
        rest("a net of four bands, none of which has one half", partial(_net, (3, 5, 7), 0.32), kinds["hard"], 50, 400),
        rest("two classes of one half, all mechanisms", _coin, kinds["hard"], coin, coin),
        rest("rare scores of 0", _rare_zeros, kinds["soft"], 20, 20),
        replace(rest("a noisy rival", _noisy_rival, ("salman", "moutaouakil_soft"), 100, 20_000), images=300),
        rest("the worst region across a diagonal", partial(_worst, True), kinds["first order"], 50, 2000, clear=True),
        rest("a slab, in real arithmetic", partial(_ball, (1, 1, 1)), in_norms, 20, 400, clear=True),
        rest(
            "a ball in eight pixels, in real arithmetic", partial(_ball, (2, 2, 2)), among_pixels, 50, 1000, clear=True
        ),
        rest(
            "a half-space across a diagonal, in real arithmetic",
            partial(_oblique, _limit(400, alpha)), among_pixels, 50, 400, clear=True,
        ),
    ]  # fmt: skip


def mechanisms_by_kind(with_options: bool) -> dict[str, tuple[str, ...]]:
    """Every registered mechanism by what it needs: `hard`, `soft`, `first order`, `sequential`, and `incremental`.

    Those that cannot be made from their name alone, or claim what no truth is known of, are left out.
    """
    kinds: dict[str, list[str]] = {"hard": [], "soft": [], "first order": [], "sequential": [], "incremental": []}
    for name in list_mechanisms():
        for text in (name, *(f"{name}:{options}" for options in OPTIONS.get(name, ()) if with_options)):
            try:
                mechanism = parse_mechanism(text)
                Claim.of(mechanism, (2, 2, 1))
            except ValueError:
                continue
            if isinstance(mechanism, SequentialMechanism):
                kind = "sequential"
            elif mechanism.requires & fields_from(Source.NOISE):
                kind = "first order"
            elif mechanism.requires & fields_from(Source.PRIOR):
                kind = "incremental"
            else:
                kind = mechanism.smoothing
            kinds[kind].append(text)
    return {kind: tuple(texts) for kind, texts in kinds.items()}


def _changed(
    trial: Callable[..., Trial], edge: tuple[float, float], name: str, mechanisms: tuple[str, ...], **options: bool
) -> Trial:
    """A half-space that lost a strip: its own probability and the strip's are known."""
    known, before = partial(_half_space, *edge), partial(_wider, *edge)
    return replace(trial(name, known, mechanisms, 20, 400, **options), before=before)


def _image(shape: tuple[int, ...]) -> Tensor:
    """On the grid of 1 / LEVELS, in its middle."""
    return torch.full(shape, 0.5)


def _grid(steps: float, share: float) -> GridGaussian:
    """The noise of which this share is no further in one direction than `steps` of the grid."""
    return GridGaussian(steps / LEVELS / abs(float(special.ndtri(share))), LEVELS)


def _limit(trials: int, alpha: float) -> float:
    """One of the limits at alpha, near four fifths."""
    return lower_limit(telling_successes(trials, alpha, int(0.75 * trials), int(0.85 * trials)), trials, alpha)


def _half_space(steps: float, share: float) -> KnownClassifier:
    """Class 1 where the pixel is above an edge that lies `steps` of the grid below it, with scores 0 and 1."""
    noise = _grid(steps, share * (1.0 - _TINY))
    return bands([int(0.5 * LEVELS - steps + 0.5)], SURE * torch.eye(2), _image((1, 1, 1)), noise)


def _wider(steps: float, share: float) -> KnownClassifier:
    """The half-space whose edge lies a step or two lower, under the noise of `_half_space`."""
    noise = _grid(steps, share * (1.0 - _TINY))
    lower = 2.0 if steps < 1.0 else 1.0
    return bands([int(0.5 * LEVELS - steps - lower + 0.5)], SURE * torch.eye(2), _image((1, 1, 1)), noise)


def _net_at_limit(trials: int, alpha: float) -> KnownClassifier:
    """The same as a net, whose share is just below a limit."""
    share = _limit(trials, alpha) * (1.0 - _TINY)
    return BandNet([3], 8.0, _image(SHAPE), _grid(1.5, share))


def _net(cuts: tuple[int, ...], sigma: float) -> KnownClassifier:
    return BandNet(cuts, 3.0, _image(SHAPE), GridGaussian(sigma, LEVELS))


def _coin() -> KnownClassifier:
    """Class 1 within three integers around the pixel, with one half of the votes and a trifle more.

    Whoever moves away leaves it: no positive radius is true of either class.
    """
    logits = SURE * torch.eye(2)[[0, 1, 0]]
    return tuned(
        lambda sigma: bands([3, 6], logits, _image((1, 1, 1)), GridGaussian(sigma, LEVELS)), 1, 0.5 + 1e-9, 0.1, 1.0
    )


def _scored(probabilities: list[float], cuts: list[int], share: float) -> KnownClassifier:
    """Of class 1 the scores of each band, of class 0 the rest; `share` of the draws are in the last band."""
    own = torch.tensor(probabilities, dtype=torch.float64)
    logits = torch.stack([torch.log1p(-own), torch.log(own)], dim=1).clamp(min=-SURE)
    last = 0.5 * LEVELS + 0.5 - cuts[-1]
    return bands(cuts, logits, _image((1, 1, 1)), _grid(last, share))


def _three_scores() -> KnownClassifier:
    """Scores of 0, 1/1024 and 1, the last in four draws of five."""
    return _scored([0.0, 2.0**-10, 1.0], [2, 3], 0.8)


def _rare_zeros() -> KnownClassifier:
    """Scores of .54 in nine draws of ten, which is all that most samples of few draws show, and of 0 else.

    The class has the votes, and not the largest expected score.
    """
    return _scored([0.0, 0.54], [2], 0.9)


def _noisy_rival() -> KnownClassifier:
    """A class of a sure score, a rival that has as much on average, now more and now less, and one of a little less.

    In one sample of four the first rival looks weaker than the second, and of that the margin is known without doubt.
    Whoever bounds the margin over the rival that looks strongest certifies a class that is not ahead.
    """
    sure, high, share = 0.25, 0.49, 0.4
    low = (sure + 1e-4 - share * high) / (1.0 - share)
    rows = [[sure, rival, sure - 8.5e-4, *([(0.5012 - rival) / 2.0] * 2)] for rival in (low, high)]
    return bands([5], torch.tensor(rows, dtype=torch.float64).log(), _image((1, 1, 1)), _grid(0.5, share))


def _worst(diagonal: bool) -> KnownClassifier:
    return worst_region(1.0, (1.1, 0.3, 0.5), diagonal, _image((2, 1, 1)), GridGaussian(0.25, LEVELS))


def _ball(shape: tuple[int, ...]) -> KnownClassifier:
    return Ball(0.85, 0.25, _image(shape))


def _oblique(share: float) -> KnownClassifier:
    normal = np.array([1.0, -1.0, 1.0, -1.0])
    return HalfSpace(normal, share * (1.0 - _TINY), 0.25, _image((2, 2, 1)))
