"""One-pixel images and the classifier that asks whether the pixel is above one half: all of its truth is known."""

import numpy as np
import torch
from scipy import stats

from lightning_rs.certification import Certification, CertificationSettings
from lightning_rs.noise import Gaussian

SIGMA = 0.1
RADII = [0.0, 0.1, 0.16]


class Pixels(torch.utils.data.Dataset):
    """Image i is one pixel, labelled 1."""

    def __init__(self, shares):
        """Of votes for class 1, one an image."""
        self.shares = np.asarray(shares, dtype=np.float64)
        self.pixels = torch.from_numpy(0.5 + SIGMA * stats.norm.ppf(self.shares)).float()

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index].reshape(1, 1, 1), 1


def half_space():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 2))
    net[1].weight.data = torch.tensor([[0.0], [10.0]])
    net[1].bias.data = torch.tensor([0.0, -5.0])
    return net


def certification_of(shares, **settings):
    """Of images with these shares of votes for their label."""
    chosen = CertificationSettings(**{"n": 2000, "batch_size": 500, "radii": RADII, **settings})
    return Certification(half_space(), "half-space", 2, Gaussian(SIGMA), Pixels(shares), "Pixels", "test", chosen)


def exact_accuracy(shares, n, alpha, radii, n0=100):
    """(images, radii) probabilities that `cohen` certifies the label at each radius, from binomial sums.

    The selection votes have to name it, more than half of n0 of them, and the others to reach the least count whose
    limit of Clopper and Pearson is above Phi(r / sigma).
    """
    counts = np.arange(1, n + 1)
    limits = stats.beta.ppf(alpha, counts, n - counts + 1)
    least = counts[np.searchsorted(limits, stats.norm.cdf(np.asarray(radii) / SIGMA), side="right").clip(max=n - 1)]
    selected = stats.binom.sf(n0 // 2, n0, shares)
    return selected[:, None] * stats.binom.sf(least - 1, n, np.asarray(shares)[:, None])
