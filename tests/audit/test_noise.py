"""Each test breaks one place of the real noise, and asks which checks see it."""

import pytest
import torch

from lightning_rs.audit import noise as module
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.noise import NoiseSource, Stage
from lightning_rs.noise.base import philox
from lightning_rs.noise.grid_gaussian import GridGaussianSource

QUICK = AuditSettings(quick=True)


def failed(part=""):
    """Subjects of the findings that did not pass, without the noise's name."""
    findings = [f for case in module.cases(QUICK) if case.name.startswith(part) for f in case.run()]
    return {finding.subject.partition(",")[0] for finding in findings if not finding.passed}


def test_this_machine_draws_what_it_should():
    assert failed() == set()


VOTES = {"votes of estimation", "votes of selection", "votes of validation", "votes of validation's selection"}
TOGETHER = {"votes of stages and purposes"}


@pytest.mark.parametrize(
    ("address", "fails", "others"),
    [
        (lambda s, i, g, b: (s.seed, 0, g, b, s.purpose), {"images", *VOTES}, set()),
        (lambda s, i, g, b: (s.seed, i, Stage.ESTIMATION, b, s.purpose), {"stages", *TOGETHER}, set()),
        (lambda s, i, g, b: (s.seed, i, g, b), {"purposes", *TOGETHER}, set()),
        (lambda s, i, g, b: (0, i, g, b, s.purpose), {"seeds"}, set()),
        # What repeats itself also goes together with what it has nothing to do with.
        (lambda s, i, g, b: (s.seed, i, g, 0, s.purpose), {"draws of one image"}, {"images", "stages", "purposes"}),
    ],
    ids=["images", "stages", "purposes", "seeds", "blocks"],
)
def test_draws_that_are_shared_are_found(address, fails, others, monkeypatch):
    monkeypatch.setattr(NoiseSource, "generator", lambda self, *key: philox(*address(self, *key)))
    seen = failed("noise: independence")
    assert fails <= seen <= fails | others | ({"seeds"} if others else set())


def test_a_sampler_that_takes_one_stage_for_the_other_is_found(monkeypatch):
    honest = GridGaussianSource.perturb

    def perturb(self, out, x, index, stage, start, draws=None):
        honest(self, out, x, index, Stage.ESTIMATION, start, draws)

    monkeypatch.setattr(GridGaussianSource, "perturb", perturb)
    assert failed("noise: independence") == {"votes of stages and purposes"}


def shifted(draws):
    draws[:, 0, 0, 0] += (torch.arange(len(draws)) % 2 == 0).to(draws.dtype)


def narrowed(draws):
    draws.clamp_(max=8)


@pytest.mark.parametrize(
    ("change", "fails"), [(shifted, {"means of pixels"}), (narrowed, {"distribution"})], ids=["shifted", "narrowed"]
)
def test_another_distribution_is_found(change, fails, monkeypatch):
    honest = GridGaussianSource._draw

    def draw(self, index, stage, block, out):
        honest(self, index, stage, block, out)
        change(out)

    monkeypatch.setattr(GridGaussianSource, "_draw", draw)
    assert fails <= failed("noise: distribution of GridGaussian(0.25")


def test_random_bits_in_which_draws_follow_each_other_are_found(monkeypatch):
    """Every second draw is the one before with the other sign: each is as likely as it should be."""
    honest = GridGaussianSource._draw

    def draw(self, index, stage, block, out):
        honest(self, index, stage, block, out)
        out[1::2] = -out[::2]

    monkeypatch.setattr(GridGaussianSource, "_draw", draw)
    assert "draws of one image" in failed("noise: independence of Grid")
