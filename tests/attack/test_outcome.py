import math

import pytest

from lightning_rs.attack.outcome import Attacked


@pytest.mark.parametrize(("distance", "violated"), [(0.49, True), (0.5, False), (0.51, False), (math.inf, False)])
def test_a_claim_is_violated_within_its_open_ball_alone(distance, violated):
    assert Attacked(prediction=3, radius=0.5, distance=distance).violated is violated
