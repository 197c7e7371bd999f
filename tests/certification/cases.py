"""A small certification, and its subject: a linear net on digits, whose answers are sharp and dull."""

import torch

from lightning_rs.certification import Certification, CertificationSettings, Subject
from lightning_rs.checkpoints import Checkpoint
from lightning_rs.data import Digits
from lightning_rs.noise import Gaussian


def make_net():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    net[1].weight.data *= 6
    return net


def make_subject(data=None, sigma=0.25):
    net = make_net()
    loaded = Checkpoint(net, "linear", 10, (1, 8, 8), sigma, objective=None, data=None)
    return Subject("last.ckpt", loaded, net, data or Digits())


def make_certification(**settings):
    net = make_net()
    chosen = CertificationSettings(**{"n0": 50, "n": 300, "batch_size": 100, "limit": 6, **settings})
    return Certification(net, "linear", 10, Gaussian(0.25), Digits().dataset("test"), "Digits", "test", chosen)
