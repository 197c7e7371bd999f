"""Where the smoothed classifier's margin falls: its value and its gradient at points, over noisy copies of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lightning_rs.attack.claims import Claim
from lightning_rs.noise import NoiseSource, Stage
from lightning_rs.objectives.copies import log_probabilities
from lightning_rs.smoothing.capacity import first_line, is_out_of_memory
from lightning_rs.smoothing.sampler import Sampler

Margins = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (points, *shape) to margins (points,) and their gradients (points, d)."""

# Without gradients more copies have to be asked about.
_BLACK_BOX_COPIES = 8
# Times by which noise is spread until answers differ.
_SPREADS = (1.0, 2.0, 4.0, 8.0)
# Deviation, relative to the mean, below which they do not.
_FLAT = 1e-4


class Surroundings:
    """The noise around one image, drawn for the search: no draw is used twice, and none that proves anything.

    Args:
        sampler: the classifier and how it is asked.
        source: of the noise at points.
        index: by which the noise is addressed.
    """

    def __init__(self, sampler: Sampler, source: NoiseSource, index: int) -> None:
        self._sampler, self._source, self._index = sampler, source, index
        self._used = 0

    @property
    def scale(self) -> float:
        """That of the noise."""
        return self._sampler.noise.scale

    def reserve(self, count: int) -> int:
        """The number of the first of so many draws that nobody has had."""
        self._used += count
        return self._used - count

    def copies(self, points: Tensor, count: int, first: int | None = None) -> tuple[Tensor, Tensor]:
        """(points, count, *shape) noisy copies, all points under the same draws, and these draws (count, *shape).

        They are fresh ones, or those from number `first` on.
        """
        first = self.reserve(count) if first is None else first
        rows = points.new_empty((len(points), count, *points.shape[1:]))
        draws = points.new_empty((count, *points.shape[1:]))
        for row, point in zip(rows, points, strict=True):
            self._source.perturb(row, point, self._index, Stage.SELECTION, first, draws)
        return rows, draws

    def standardised(self, draws: Tensor) -> Tensor:
        """Draws that `copies` returned as (count, d) in float64, in units of the scale."""
        return self._source.standardised(draws).flatten(1)

    def log_p(self, rows: Tensor) -> Tensor:
        """(count, points, classes) log-softmax scores of copies (points, count, *shape); equal ones for NaN."""
        log_p = log_probabilities(self._sampler.classify(rows.flatten(0, 1)))
        log_p = torch.where(log_p.isnan().any(dim=1, keepdim=True), -math.log(log_p.shape[1]), log_p)
        return log_p.view(*rows.shape[:2], -1).transpose(0, 1)

    def screened(self, points: Tensor, count: int, first: int | None = None) -> Tensor:
        """`log_p` of `copies`, without gradient."""
        with torch.no_grad():
            return self.log_p(self.copies(points, count, first)[0])


def by_gradient(around: Surroundings, claim: Claim, prediction: int, copies: int) -> Margins:
    """Margins whose gradients are means over the copies; rounding to a grid passes them on as they are."""

    def margins(points: Tensor) -> tuple[Tensor, Tensor]:
        rows, _ = around.copies(points, copies)
        try:
            with torch.enable_grad():
                # What the classifier does to its input in place is not done to a leaf.
                values = claim.margin(around.log_p(rows.requires_grad_().clone()), prediction)
                (gradient,) = torch.autograd.grad(values.sum(), rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = f"not enough memory for gradients of {rows.shape[0] * rows.shape[1]} rows at once"
            raise ValueError(f"{message}, take fewer copies or starts: {first_line(error)}") from error
        return values.detach(), gradient.sum(dim=1).flatten(1).nan_to_num(0.0, 0.0, 0.0)

    return margins


def by_answers(around: Surroundings, claim: Claim, prediction: int, copies: int) -> Margins:
    """Margins whose gradients come from the answers alone: grad E[F(x + sigma u)] = E[u F(x + sigma u)] / sigma.

    That is Stein's identity; of a margin that is a function of expected scores, by the chain rule. Where all answers
    agree the noise is spread until they do not: a direction is all that is wanted.
    """

    def margins(points: Tensor) -> tuple[Tensor, Tensor]:
        rows, drawn = around.copies(points, _BLACK_BOX_COPIES * copies)
        draws, centre = around.standardised(drawn), points[:, None]
        values, gradients = points.new_zeros(len(points)), points.new_zeros(len(points), draws.shape[1])
        flat = torch.arange(len(points), device=points.device)
        for spread in _SPREADS:
            spread_rows = rows[flat] if spread == 1.0 else centre[flat] + spread * (rows[flat] - centre[flat])
            with torch.no_grad():
                log_p = around.log_p(spread_rows)
            with torch.enable_grad():
                log_p.requires_grad_()
                found = claim.margin(log_p, prediction)
                weights = torch.autograd.grad(found.sum(), log_p)[0].sum(dim=-1).nan_to_num(0.0, 0.0, 0.0)
            if spread == 1.0:
                values = found.detach().to(points.dtype)
            weights = weights - weights.mean(dim=0)
            differ = weights.std(dim=0) * len(weights) > _FLAT
            gradient = (weights.T.double() @ draws / (spread * around.scale)).to(points.dtype)
            gradients[flat[differ]] = gradient[differ]
            flat = flat[~differ]
            if not len(flat):
                break
        return values, gradients

    return margins


def method_for(
    wanted: Literal["auto", "gradient", "black_box"], around: Surroundings, claim: Claim, prediction: int, image: Tensor
) -> Literal["gradient", "black_box"]:
    """The way to attack an image: the one wanted, or gradients if one reaches the image.

    Raises:
        ValueError: gradients are wanted, and none reaches it.
    """
    if wanted == "black_box":
        return "black_box"
    try:
        _, gradient = by_gradient(around, claim, prediction, 8)(image[None])
        why = None if gradient.any() else "it is zero"
    except (ValueError, RuntimeError) as error:  # Classifiers that know no gradients fail in many ways.
        why = first_line(error)
    if why is not None and wanted == "gradient":
        raise ValueError(f"no gradient of the base classifier reaches the image: take method black_box ({why})")
    return "gradient" if why is None else "black_box"
