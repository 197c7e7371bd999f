"""A small certification: a linear net on digits, whose answers are sharp and dull."""

import torch

from lightning_rs.certification import Certification, CertificationSettings
from lightning_rs.data import Digits
from lightning_rs.noise import Gaussian


def make_certification(**settings):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    net[1].weight.data *= 6
    chosen = CertificationSettings(**{"n0": 50, "n": 300, "batch_size": 100, "limit": 6, **settings})
    return Certification(net, "linear", 10, Gaussian(0.25), Digits().dataset("test"), "Digits", "test", chosen)
