import numpy as np
import pytest

from lightning_rs.statistics import gradient_channels, gradient_moments


def test_moments_are_what_they_say():
    sums = np.random.default_rng(3).normal(size=(2, 2, 2, 3, 4, 5))
    moments = gradient_moments(sums)
    assert moments.shape == (2, 2, 3, 4)
    for i in range(2):
        for kind in range(2):
            for channel in range(3):
                s, t = sums[i, 0, kind, channel].ravel(), sums[i, 1, kind, channel].ravel()
                expected = [s @ s, s @ t, np.abs(s + t).max(), np.abs(s + t).sum()]
                assert np.allclose(moments[i, kind, channel], expected)
    assert gradient_moments(sums.reshape(2, 2, 2, 60)).shape == (2, 2, 1, 4)


def test_moments_are_of_the_draws_not_of_their_halves():
    """Where the halves point the same way their product is that of each; where they differ the sum shrinks."""
    s = np.array([3.0, -4.0])
    same, opposite = (gradient_moments(np.stack([s, sign * s])[None, :, None].repeat(2, 2)) for sign in (1, -1))
    assert same[0, 0, 0].tolist() == [25.0, 25.0, 8.0, 14.0]
    assert opposite[0, 0, 0].tolist() == [25.0, -25.0, 0.0, 0.0]


@pytest.mark.parametrize(("shape", "channels"), [((3, 4, 5), 3), ((1, 8, 8), 1), ((12,), 1), ((2, 3, 4, 5), 1)])
def test_only_images_have_channels(shape, channels):
    assert gradient_channels(shape) == channels
