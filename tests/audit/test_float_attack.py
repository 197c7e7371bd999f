import pytest
import torch

from lightning_rs.audit import float_attack
from lightning_rs.audit.float_attack import ATTACKS, Attack
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.noise import make_noise

QUICK = AuditSettings(quick=True)


def found():
    grid, gaussian = [finding for case in float_attack.cases(QUICK) for finding in case.run()]
    return grid, gaussian


def test_the_grid_stands_it_and_floating_point_noise_does_not():
    grid, gaussian = found()
    assert grid.passed and grid.numbers == {"images": 2, "refuted": 0}
    assert gaussian.passed and gaussian.numbers == {"images": 2, "refuted": 2}, "it is said, and no failure"


def test_noise_that_is_not_on_the_grid_is_found(monkeypatch):
    monkeypatch.setattr(float_attack, "make_noise", lambda name, scale, levels: make_noise("gaussian", scale, levels))
    grid, _ = found()
    assert not grid.passed and grid.seen == "2 of 2 refuted"


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_it_remembers_one_of_two_images_side_by_side(attack):
    assert attack.distance == pytest.approx(60**0.5 / attack.levels)
    noise = torch.randn((50, *attack.shape), generator=torch.Generator().manual_seed(0)).mul(0.5)
    rows = torch.stack([attack.image, attack.other])[:, None] + noise
    answers = attack.classifier(rows.flatten(0, 1)).argmax(dim=1)
    assert answers[:50].all() and answers[50:].sum() < 15


def test_an_image_within_no_radius_refutes_nothing():
    far = Attack((1, 28, 28), 1, 1)
    assert far.distance > 2 and not float_attack._broken(QUICK, far, "gaussian")
