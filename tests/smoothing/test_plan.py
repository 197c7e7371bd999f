from types import SimpleNamespace

import pytest

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.noise import Gaussian, GridGaussian, Purpose
from lightning_rs.smoothing.plan import Plan, RowKind, certification_plan


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("n0", [0, 7])
def test_every_row_has_a_place(clean, n0):
    """The clean input, then the selection draws, then the main ones, numbered from 0 within their kind."""
    plan = Plan((5, 20), n0, clean=clean)
    assert plan.before == clean + n0
    expected = [
        (kind, draw, sum(counts[: i + 1]))
        for counts in [(int(clean), n0, 20)]
        for i, kind in enumerate(RowKind)
        for draw in range(counts[i])
    ]
    assert [plan.locate(row) for row in range(plan.before + 20)] == expected


def test_plan_collects_what_the_mechanisms_read():
    plan = certification_plan(MechanismSet(["cohen", "salman"]), Gaussian(0.5), (3,), 10, 1000, 0.001, clean=True)
    assert (plan.looks, plan.n0, plan.clean, plan.purpose) == ((1000,), 10, True, Purpose.TEST)
    assert plan.fields == {"counts", "selection_counts", "score_sum"}
    assert plan.finished is None


def test_sequential_plan_asks_the_schedule():
    chosen = MechanismSet(["sequential_betting"])
    plan, schedule = (
        certification_plan(chosen, Gaussian(0.5), (3,), 10, 1000, 0.001, [0.0]),
        chosen.schedule(0.5, 10, 1000, 0.001, [0.0]),
    )
    assert plan.looks == schedule.looks and len(plan.looks) > 5

    for path, enough in (([(25, 25)], True), ([(15, 25)], False)):
        assert plan.finished(SimpleNamespace(path=path)) is schedule.finished(path) is enough
    with pytest.raises(ValueError, match="sequential_betting needs radii"):
        certification_plan(chosen, Gaussian(0.5), (3,), 10, 1000, 0.001)


def test_random_bits_are_charged_to_alpha_and_refused_where_they_are_too_few():
    noise, shape = GridGaussian(1.0, 255), (3, 224, 224)
    plan = certification_plan(MechanismSet(["cohen"]), noise, shape, 100, 100_000, 0.001)
    assert plan.sampling_error(noise, shape) == noise.sampling_error(100_100, shape)
    message = "inexact with probability up to 3.8e-06, more than a hundredth of alpha = 0.0001: take fewer draws"
    with pytest.raises(ValueError, match=message):
        certification_plan(MechanismSet(["cohen"]), noise, shape, 100, 100_000, 0.0001)
