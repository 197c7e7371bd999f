"""Thresholds at which the distribution of scores and margins is counted: fixed before any draw, so that bounds hold."""

from __future__ import annotations

import numpy as np


def _thresholds() -> np.ndarray:
    """1,000 values in (0, 1), ascending: even in steps of .002 up to .9, then ever finer towards 1."""
    coarse = np.concatenate([np.arange(46) / 50.0, 1.0 - 0.1 * 10.0 ** (-np.arange(1, 56) * 4.0 / 55.0)])
    return np.interp(np.arange(1, 1001) / 10.0, np.arange(101), coarse)


SCORE_THRESHOLDS = _thresholds()
"""For scores in [0, 1], (1000,) ascending. Every tenth serves the binomial band, which pays for each."""

MARGIN_THRESHOLDS = 2.0 * SCORE_THRESHOLDS - 1.0
"""For margins in [-1, 1], (1000,) ascending."""

BINOMIAL_STEP = 10
"""Every how many-th threshold the binomial band uses."""
