import numpy as np
import pytest

from lightning_rs import Statistics
from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.mechanisms.pair import PairMechanism
from lightning_rs.radii.pair import ProbabilityPair


class Lead(PairMechanism):
    """sigma times the lead of the selected class's share over the others'; alpha is taken from both."""

    name = "lead"
    source = "these tests"

    def pair(self, statistics, alpha):
        share = statistics.counts / statistics.trials[:, None]
        rows = np.arange(len(share))
        lower = share[rows, statistics.selected] - alpha
        share[rows, statistics.selected] = 0.0
        return ProbabilityPair(lower, share.max(axis=1) + alpha, 1.0 - lower)

    def radius(self, pair, sigma):
        return sigma * (pair.lower - pair.upper)


def test_certificate_is_the_radius_of_the_pair_and_says_the_pair():
    statistics = Statistics.from_counts([[70, 20, 10], [40, 50, 10]], 0.5, [[1, 0, 0]] * 2)
    certificate = Lead().certify(statistics, 0.01)
    assert certificate.prediction.tolist() == [0, ABSTAIN]
    assert certificate.radius == pytest.approx([0.5 * 0.48, 0.0])
    assert certificate.p_lower == pytest.approx([0.69, 0.39])
    assert certificate.p_upper == pytest.approx([0.21, 0.51])


def test_both_parts_have_to_be_defined():
    class Half(PairMechanism):
        name, source = "half", "these tests"

        def radius(self, pair, sigma):
            return pair.lower

    with pytest.raises(TypeError, match="abstract"):
        Half()
