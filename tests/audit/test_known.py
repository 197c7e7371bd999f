"""What is said of known classifiers, against 40-digit arithmetic and against their own answers."""

import numpy as np
import pytest
import torch
from mpmath import mp
from scipy import integrate, special

from lightning_rs.audit.claim import Claim
from lightning_rs.audit.known import Ball, HalfSpace
from lightning_rs.mechanisms import parse_mechanism

IN_NORMS = ("cohen", "cohen:norm=l1", "cohen:norm=linf", "mohapatra_channel:channel=1", "kumar_score:confidence=0.7")
SIGMA = 0.25


def claim(mechanism, shape):
    return Claim.of(parse_mechanism(mechanism), shape)


def worst(normal, about):
    """The step of length one, in the claim's norm, along which the normal's product falls most."""
    a = np.where(about.free, normal, 0.0)
    if about.norm == "l1":
        return -np.sign(a) * (np.abs(a) == np.abs(a).max())
    return -np.sign(a) if about.norm == "linf" else -a / np.linalg.norm(a)


@pytest.mark.parametrize("mechanism", IN_NORMS)
def test_half_space(mechanism):
    shape, share = (2, 2, 1), 0.9
    normal = np.array([1.0, -2.0, 0.5, 3.0]).reshape(shape)
    x = torch.linspace(0.1, 0.9, 4).reshape(shape)
    known, about = HalfSpace(normal, share, SIGMA, x), claim(mechanism, shape)

    def probability(delta):
        product = mp.fsum(mp.mpf(a) * mp.mpf(d) for a, d in zip(normal.ravel(), delta.ravel(), strict=True))
        b = mp.mpf(known.least.item())
        return mp.ncdf((product - b) / (SIGMA * mp.norm(normal.ravel().tolist())))

    assert float(probability(np.zeros(shape))) == pytest.approx(share, abs=1e-7)
    assert known.votes.tolist() == pytest.approx([0.1, 0.9])
    radius = known.radius(1, about)
    assert float(probability(radius * worst(normal, about))) == pytest.approx(about.share, abs=1e-7)
    assert known.radius(0, about) == 0.0
    rows = x + 0.3 * torch.randn(1000, *shape, generator=torch.Generator().manual_seed(0))
    product = ((rows - x).double().flatten(1) @ torch.from_numpy(normal.ravel())).numpy()
    assert np.array_equal(known(rows).argmax(dim=1).numpy(), (product >= known.least.item()).astype(int))
    assert set(torch.softmax(known(rows), dim=1).flatten().tolist()) == {0.0, 1.0}


def in_two_pixels(square, distance):
    """P(|u + (distance, 0)|^2 <= square), u of two independent standard normal numbers."""
    square, distance = float(square), float(distance)

    def slice_at(angle):
        v, w = np.sqrt(square) * np.sin(angle), np.sqrt(square) * np.cos(angle)
        density = np.exp(-0.5 * v * v) / np.sqrt(2 * np.pi)
        return density * w * (special.ndtr(w - distance) - special.ndtr(-w - distance))

    return integrate.quad(slice_at, -np.pi / 2, np.pi / 2, epsabs=1e-12)[0]


@pytest.mark.parametrize("mechanism", IN_NORMS)
@pytest.mark.parametrize("pixels", [1, 2])
def test_ball(mechanism, pixels):
    shape, share = (pixels, 1, 1), 0.85
    if pixels == 1 and "channel" in mechanism:
        mechanism = "mohapatra_channel"
    known, about = Ball(share, SIGMA, torch.full(shape, 0.5)), claim(mechanism, shape)
    square = mp.mpf(known.most.item()) / SIGMA**2

    def probability(distance):
        if pixels == 2:
            return in_two_pixels(square, distance)
        return mp.ncdf(mp.sqrt(square) - distance) - mp.ncdf(-mp.sqrt(square) - distance)

    assert float(probability(mp.mpf(0))) == pytest.approx(share, abs=1e-6)
    radius = known.radius(1, about)
    longest = np.sqrt(pixels) if about.norm == "linf" else 1.0
    assert float(probability(mp.mpf(radius * longest / SIGMA))) == pytest.approx(about.share, abs=1e-6)
    assert known.radius(0, about) == 0.0
    assert Ball(0.3, SIGMA, torch.full(shape, 0.5)).radius(0, claim("cohen", shape)) == np.inf
    rows = torch.rand(1000, *shape, generator=torch.Generator().manual_seed(0))
    inside = (rows - 0.5).double().flatten(1).norm(dim=1) <= np.sqrt(known.most.item())
    assert torch.equal(known(rows).argmax(dim=1), inside.long())
