import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from attack_cases import COHEN, RADII, RUN, broken
from scipy import stats

from lightning_rs.results.attack_figures import Attack, allowed_violations, attack_figures, attacks, logged_attack


def test_the_figures_of_a_mechanism():
    cohen, linf = attack_figures(RUN, RADII)
    assert (cohen.mechanism, cohen.norm, linf.norm) == ("cohen", "l2", "linf")
    assert (cohen.images, cohen.certificates, cohen.violations, cohen.unbroken) == (5, 4, 1, 1)
    # Right with a radius, and right and not broken, beyond each radius; wrong and abstained images count in neither.
    assert cohen.certified == pytest.approx((3 / 5, 2 / 5, 0))
    assert cohen.robust == pytest.approx((3 / 5, 2 / 5, 2 / 5))
    # Of 0.5 / 0.8, 0.3 / 0.6 and 0.2 / 0.1.
    assert cohen.ratio == pytest.approx(0.625)
    assert cohen.expected == pytest.approx(5 * 0.011)
    assert linf.violations == 0


def test_without_a_found_point_there_is_no_ratio_and_with_abstentions_alone_nothing():
    far = replace(COHEN, distance=np.where(COHEN.certified, np.inf, 0.0))
    none = replace(COHEN, prediction=np.full(5, -1), radius=np.zeros(5), distance=np.zeros(5))
    found, nothing = attack_figures(replace(RUN, certificates={"far": far, "none": none}), RADII)
    assert math.isnan(found.ratio) and found.unbroken == 4 and found.robust == pytest.approx((0.6,) * 3)
    assert (nothing.certificates, nothing.violations, nothing.too_many) == (0, 0, False)


def test_a_point_at_the_radius_itself_does_not_violate_the_open_ball():
    at, below = (replace(COHEN, distance=np.full(5, d), radius=np.full(5, 0.3)) for d in (0.3, np.nextafter(0.3, 0)))
    assert not at.violated.any() and below.violated.all()


@pytest.mark.parametrize(("count", "alpha"), [*product((1, 40, 500, 10_000), (0.001, 0.05))])
def test_no_more_violations_than_alpha_gives_in_999_of_1000_attacks(count, alpha):
    allowed = allowed_violations(count, alpha, 0.001)
    assert stats.binom.cdf(allowed, count, alpha + 0.001) >= 0.999
    assert allowed == 0 or stats.binom.cdf(allowed - 1, count, alpha + 0.001) < 0.999


def test_too_many_are_more_than_allowed():
    (within,), (beyond,) = (attack_figures(broken(k, 50), RADII) for k in (4, 5))
    assert within.allowed == beyond.allowed == 4  # Of Bin(50, .011).
    assert not within.too_many and beyond.too_many


def test_wrong_certificates_are_allowed_for_each_image_and_not_for_each_certificate():
    """Of 1,000 images between two classes ten got a certificate at alpha = .01, and each is wrong, as it should be."""
    run = broken(10, 1000)
    coins = replace(run.certificates["cohen"], prediction=np.where(np.arange(1000) < 10, 1, -1))
    (row,) = attack_figures(replace(run, certificates={"cohen": coins}), RADII)
    assert (row.certificates, row.violations) == (10, 10) and not row.too_many


def test_every_certificate_image_by_image():
    found = list(attacks(RUN))
    assert [(one.index, one.mechanism) for one in found] == list(product((3, 5, 7, 11), ("cohen", "a_b|c")))
    assert found[0] == Attack(3, 1, "cohen", "l2", 1, 0.5, 0.8, False)
    assert found[2].distance is None
    assert [one.index for one in found if one.violated] == [11]


def test_what_is_logged_has_a_name_for_each_figure():
    named = logged_attack(attack_figures(RUN, RADII), RADII)
    assert named["attack/cohen/violations"] == 1
    assert named["attack/cohen/certified@0.25"] == pytest.approx(0.4)
    assert named["attack/cohen/not_broken@0.6"] == pytest.approx(0.4)
    assert len(named) == 2 * (2 * len(RADII) + 5)
