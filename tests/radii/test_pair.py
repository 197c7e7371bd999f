import numpy as np
import pytest

from lightning_rs.mechanisms import get_mechanism
from lightning_rs.radii import PAIR_RADII, neyman_pearson_radius

LOWER, UPPER = np.array([0.9, 0.6, 0.45, 0.999]), np.array([0.05, 0.4, 0.2, 1e-5])


def test_names_are_those_of_mechanisms():
    for name in PAIR_RADII:
        assert get_mechanism(name).smoothing == "hard"


def test_one_sided_gives_all_the_rest_to_one_rival():
    got = PAIR_RADII["cohen"](LOWER, UPPER, 0.5)
    assert np.array_equal(got, neyman_pearson_radius(LOWER, 1 - LOWER, 0.5))
    assert got[2] == 0.0


@pytest.mark.parametrize("name", PAIR_RADII)
def test_none_is_above_the_neyman_pearson_radius(name):
    """It is tight: no radius that sees two numbers alone can be larger."""
    radius = PAIR_RADII[name](LOWER, UPPER, 0.5)
    assert radius.shape == (4,) and np.all(radius >= 0) and radius[0] > 0
    assert np.all(radius <= neyman_pearson_radius(LOWER, UPPER, 0.5) * (1 + 1e-12))
    assert np.allclose(PAIR_RADII[name](LOWER, UPPER, 1.0), 2 * radius, rtol=1e-9)
