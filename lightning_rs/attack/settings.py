"""How hard an attack tries, and how sure it is of what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lightning_rs.checks import check_at_least, check_inside, check_known, check_positive, check_word

METHODS = ("auto", "gradient", "black_box")


@dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """How images are attacked.

    Args:
        starts: of the search, the first at the image itself, the others at random within the ball.
        steps: of each search.
        copies: noisy copies over which each step's gradient is the mean.
        n0: draws that select the other answer at a point.
        n: draws that have to prove it.
        alpha: probability, at most for each image and claim, that a distance is reported at which the answer is not
            another one.
        furthest: distance in sigma up to which another answer is looked for in l2; in other norms what is as far for
            most directions.
        method: gradient, black_box, or auto, which takes gradients where the classifier has them.
        batch_size: rows per call of the base classifier.
        seed: of the noise and of the starts.

    Raises:
        ValueError: a value out of range.
    """

    starts: int = 3
    steps: int = 20
    copies: int = 64
    n0: int = 100
    n: int = 10_000
    alpha: float = 0.001
    furthest: float = 6.0
    method: Literal["auto", "gradient", "black_box"] = "auto"
    batch_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("starts", "steps", "copies", "n0", "n", "batch_size"):
            check_at_least(name, getattr(self, name), 1)
        check_inside("alpha", self.alpha)
        check_positive("furthest", self.furthest)
        check_known("method", self.method, METHODS)
        check_word("seed", self.seed)
