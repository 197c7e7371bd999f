import pytest
from objective_checks import ARGUMENTS, ObjectiveChecks, batch, distances_of_the_images_that_the_loss_sees

from lightning_rs.objectives import SmoothAdv


class TestSmoothAdv(ObjectiveChecks):
    objective = SmoothAdv
    options = {"m": 3, "steps": 2}  # noqa: RUF012


class TestSmoothAdvWithDDN(ObjectiveChecks):
    objective = SmoothAdv
    options = {"m": 3, "steps": 2, "attack": "ddn"}  # noqa: RUF012


class TestSmoothAdvWithConsistency(ObjectiveChecks):
    objective = SmoothAdv
    options = {"m": 3, "steps": 2, "lbd": 2.0, "eta": 0.5}  # noqa: RUF012


def test_attacked_images_and_their_noise_are_what_the_loss_sees():
    module = TestSmoothAdv.build(warmup=1)
    distance = distances_of_the_images_that_the_loss_sees(module, 1)
    assert (distance <= module.epsilon * (1 + 1e-5)).all()


def test_parts_are_the_cross_entropy_or_those_of_consistency():
    assert list(TestSmoothAdv.build().loss(*batch())[0]) == ["cross_entropy"]
    parts = TestSmoothAdvWithConsistency.build().loss(*batch())[0]
    assert list(parts) == ["classification", "consistency", "entropy"]


def test_epsilon_grows_with_the_epoch(monkeypatch):
    module, (x, y) = TestSmoothAdv.build(warmup=4), batch()
    distances = []
    for epoch in (0, 1, 3, 9):
        monkeypatch.setattr(type(module), "current_epoch", epoch)
        radii = []
        module.attack = lambda f, x, y, noise, epsilon, steps, radii=radii: radii.append(epsilon) or x
        module.loss(x, y)
        distances += radii
    assert distances == [0.25, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": -1}, "m must be an integer of at least 1, got -1"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, got 0.0"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"warmup": 0}, "warmup must be an integer of at least 1, got 0"),
        ({"attack": "fgsm"}, "unknown attack 'fgsm'; known: ddn, pgd"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        SmoothAdv(**ARGUMENTS, **change)
