import numpy as np
import pytest

from lightning_rs.statistics import MARGIN_THRESHOLDS, SCORE_THRESHOLDS
from lightning_rs.statistics.thresholds import BINOMIAL_STEP


def test_thresholds():
    for thresholds, low in ((SCORE_THRESHOLDS, 0.0), (MARGIN_THRESHOLDS, -1.0)):
        assert thresholds.shape == (1000,)
        assert np.all(np.diff(thresholds) > 0)
        assert low < thresholds[0] and thresholds[-1] < 1.0


def test_even_steps_and_then_ever_finer_towards_one():
    even = SCORE_THRESHOLDS <= 0.9 + 1e-12
    assert np.allclose(np.diff(SCORE_THRESHOLDS[even]), 0.002, rtol=1e-9) and even.sum() == 450
    coarse = SCORE_THRESHOLDS[BINOMIAL_STEP - 1 :: BINOMIAL_STEP]
    assert len(coarse) == 100
    # From .9 on each of the coarse ones is as much closer to 1 as the one before: from 1e-1 to 1e-5 in 55 steps.
    assert 1 - coarse[44:] == pytest.approx(0.1 * 10 ** (-4 / 55 * np.arange(56)), rel=1e-9)
