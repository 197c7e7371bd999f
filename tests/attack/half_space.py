"""Classifiers of small images whose smoothed answers, and distances to other ones, are known."""

import math

import torch
from torch import nn

from lightning_rs.results.records import ExampleCertificate

SHAPE = (1, 4, 4)
SIGMA = 0.25
IMAGE = torch.full(SHAPE, 0.5)
DISTANCE = 0.4
"""From the image to the half-space of class 1, in l2."""
# Known to the noise alone.
NORMAL = torch.tensor([3.0, -1, 2, 1, -2, 1, 1, -1, 2, 2, -1, 1, 1, -2, 1, 1])


class HalfSpace(nn.Module):
    """Class 1 where normal . x is beyond a threshold, class 0 elsewhere, by logits of this slope."""

    def __init__(self, slope=20.0, distance=DISTANCE):
        super().__init__()
        normal = NORMAL / NORMAL.norm()
        self.linear = nn.Linear(len(normal), 2).double()
        with torch.no_grad():
            self.linear.weight.copy_(slope / 2 * torch.stack([-normal, normal]))
            self.linear.bias.copy_(slope / 2 * (normal @ IMAGE.flatten() + distance) * torch.tensor([1.0, -1.0]))

    def forward(self, x):
        return self.linear(x.double().flatten(1))


class HardHalfSpace(HalfSpace):
    """The same with answers 0 and 1 alone, which no gradient passes."""

    def forward(self, x):
        return nn.functional.one_hot(super().forward(x).argmax(1), 2)


def true_distance(norm, mask=None):
    """From the image to the other class, by the dual norm of the normal."""
    normal = NORMAL / NORMAL.norm()
    dual = {"l2": normal.norm(), "l1": normal.abs().max(), "linf": normal.abs().sum()}
    dual["l2_subspace"] = None if mask is None else normal[mask].norm()
    return DISTANCE / float(dual[norm])


def certificates(mechanisms, share, distance=None):
    """Of class 0 by every mechanism, at a share of its true radius."""
    true = {label: true_distance(m.norm, _mask(m)) if distance is None else distance for label, m in mechanisms.items()}
    return {label: ExampleCertificate(0, share * true[label], norm=m.norm) for label, m in mechanisms.items()}


def _mask(mechanism):
    return torch.from_numpy(mechanism.mask(SHAPE)).flatten() if hasattr(mechanism, "mask") else None


def expected_score(shift, slope=20.0):
    """E[score of class 0] at so much less than DISTANCE from the boundary, by quadrature."""
    from scipy import integrate

    def density(z):
        u = (shift - SIGMA * z) * slope
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (1 + math.exp(-u))

    return integrate.quad(density, -9, 9, limit=200)[0]
