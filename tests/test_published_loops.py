"""The peers of benchmarks/training.py learn what our objectives learn: the same loss and the same gradients."""

import copy
import runpy

import pytest
import torch
from conftest import ROOT

from lightning_rs import objectives
from lightning_rs.models import build_base_classifier

LOOPS = runpy.run_path(str(ROOT / "benchmarks" / "published_loops.py"))["LOOPS"]
ROWS = 16
SETTINGS = {  # Of both; without a trainer the epoch is the first, where a warm-up of one is over.
    "Gaussian": ({}, {}),
    "Consistency": ({"m": 3, "lbd": 5.0, "eta": 0.5}, {}),
    "SmoothMix": ({"m": 3, "alpha": 0.5, "steps": 3, "mix_step": 1, "eta": 5.0}, {"warmup": 1}),
    "SmoothAdv": ({"m": 3, "epsilon": 0.5, "steps": 3}, {"warmup": 1}),
    "CATRS": ({"m": 3, "epsilon": 0.5, "steps": 3, "lbd": 2.0}, {}),
    "MACER": ({"k": 3, "lbd": 2.0, "beta": 4.0, "gamma": 3.0}, {}),
}


def as_many_as_are_right(logits, y, m):
    return (logits.view(m, -1, 10).argmax(dim=2) == y).sum(dim=0).clamp(min=1)


@pytest.mark.parametrize(("name", "with_baseline"), [*((name, False) for name in LOOPS), ("CATRS", True)])
def test_the_plain_loop_has_our_loss_and_gradients(name, with_baseline, monkeypatch):
    """For the same weights, images and noise, in float64; they keep the copies of an image together, we do not."""
    settings, ours = SETTINGS[name]
    torch.manual_seed(0)
    x, y = torch.rand(ROWS, 1, 8, 8, dtype=torch.float64), torch.randint(10, (ROWS,))
    module = getattr(objectives, name)("digits_cnn", 10, [1, 8, 8], [0.3], [0.4], sigma=0.25, **settings, **ours)
    module.double()
    y = torch.where(torch.arange(ROWS) < ROWS // 2, module(x).argmax(dim=1), y)  # Some are right.
    loop = LOOPS[name](copy.deepcopy(module.base_classifier), 0.25, **settings)
    # Both draw how many copies count, each in its way: here both take what is expected.
    monkeypatch.setattr(torch.distributions.Binomial, "sample", lambda drawn: drawn.mean)
    monkeypatch.setattr("lightning_rs.objectives.catrs.draw_kept", as_many_as_are_right)
    if with_baseline:
        net = build_base_classifier("digits_cnn", 10, [1, 8, 8], [0.3], [0.4]).double()
        module.take_baseline(net)
        loop.soft_labels = lambda noisy: loop._soft(net(noisy))

    torch.manual_seed(1)
    sum(module.loss(x, y)[0].values()).backward()
    torch.manual_seed(1)
    noise = module.noise(x, loop.copies)
    together = noise.view(loop.copies, *x.shape).transpose(0, 1).flatten(0, 1)
    sum(loop.loss(x, y, together)[0].values()).backward()

    pairs = zip(module.base_classifier.parameters(), loop.net.parameters(), strict=True)
    torch.testing.assert_close(*([w.grad for w in side] for side in zip(*pairs, strict=True)), rtol=1e-6, atol=1e-8)


def test_the_plain_loop_learns_and_meters_what_it_learns():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 8, 8, generator=generator).repeat(8, 1, 1, 1)
    y = torch.tensor([3, 8]).repeat(8)
    torch.manual_seed(0)
    net = objectives.Gaussian("digits_cnn", 10, [1, 8, 8], [0.3], [0.4], sigma=0.25).base_classifier
    loop = LOOPS["MACER"](net, 0.25, **SETTINGS["MACER"][0])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    first, _, last = (loop.epoch([(x, y)] * steps, optimizer, torch.device("cpu")) for steps in (1, 14, 1))
    assert first["top1"].average < 0.7 and last["top1"].average > 0.9
    assert last["loss"].average == pytest.approx(last["classification"].average + last["robustness"].average)
