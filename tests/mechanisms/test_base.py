"""What every mechanism promises, whatever its bound and its radius."""

from dataclasses import replace

import numpy as np
import pytest
from vote_cases import COUNTS, make, radius

from lightning_rs import Statistics
from lightning_rs.mechanisms import ABSTAIN, Mechanism, get_mechanism, list_mechanisms
from lightning_rs.mechanisms.base import certificate_of_selected, top_and_rival
from lightning_rs.mechanisms.registry import load_mechanism
from lightning_rs.statistics import FIELDS

ON_VOTES = [
    name
    for name in list_mechanisms()
    if get_mechanism(name).requires <= {"counts", "selection_counts", "uniform"}
    and "gaussian" in get_mechanism(name).noises
]


class Share(Mechanism):
    """Certifies nothing of worth: a radius that says which alpha could be spent."""

    name = "share"
    source = "these tests"

    def _certify(self, statistics, alpha):
        top, _ = top_and_rival(statistics)
        return certificate_of_selected(statistics, np.where(top > 20, alpha, 0.0))


class Shown(Share):
    same_sample = True


@pytest.mark.parametrize("name", ON_VOTES)
def test_scale_and_abstention(name):
    selection = [[1, 0, 0]] * len(COUNTS)
    one, two = (radius(name, COUNTS, selection=selection, sigma=sigma) for sigma in (0.25, 0.5))
    assert np.allclose(two, 2 * one, rtol=1e-9)
    assert one.max() > 0
    certificate = get_mechanism(name).certify(make([[1, 999, 0], [0, 1000, 0]], [[1, 0, 0]] * 2), 0.001)
    assert np.array_equal(certificate.prediction, [ABSTAIN, ABSTAIN])
    assert np.array_equal(certificate.radius, [0, 0])


def test_votes_of_the_selected_class_and_its_strongest_rival():
    top, rival = top_and_rival(Statistics.from_counts([[5, 9, 7], [9, 5, 7]], 1.0, [[3, 0, 0], [3, 0, 0]]))
    assert top.tolist() == [5, 9] and rival.tolist() == [9, 7]


def test_half_of_alpha_is_left_where_the_votes_select_themselves():
    counts = [[30, 2]]
    assert Share().certify(Statistics.from_counts(counts, 1.0, counts), 0.01).radius[0] == 0.01
    alone = Statistics.from_counts(counts, 1.0)
    with pytest.raises(ValueError, match="n0 must be at least 1 for share, which certifies the class that other draws"):
        Share().certify(alone, 0.01)
    assert Shown().certify(alone, 0.01).radius[0] == 0.005


def test_least_number_of_draws_is_found_by_trying():
    assert Share().minimum_trials(0.001) == 21


def test_certificate_says_the_norm_of_the_mechanism():
    class InL1(Share):
        norm = "l1"

    statistics = Statistics.from_counts([[30, 2]], 1.0, [[3, 0]])
    assert (Share().certify(statistics, 0.1).norm, InL1().certify(statistics, 0.1).norm) == ("l2", "l1")


def test_a_mechanism_that_never_certifies_says_so():
    class Never(Share):
        name = "never"

        def _certify(self, statistics, alpha):
            return certificate_of_selected(statistics, np.zeros(len(statistics)))

    with pytest.raises(ValueError, match="never cannot certify anything at alpha = 0.001 with any n"):
        Never().minimum_trials(0.001)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_alpha_must_be_a_probability(alpha):
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\), got "):
        Share().certify(Statistics.from_counts([[30, 2]], 1.0), alpha)


def test_missing_fields_are_named():
    with pytest.raises(
        ValueError, match="salman needs score_sum, selection_counts, which these statistics do not hold"
    ):
        get_mechanism("salman").certify(Statistics.from_counts([[90, 10]], 1.0), 0.001)


def test_draws_under_another_noise_are_refused():
    statistics = Statistics(1.0, [[90, 10]], [[9, 1]], noise="uniform")
    with pytest.raises(ValueError, match="^cohen certifies under gaussian or grid_gaussian noise, got uniform$"):
        get_mechanism("cohen").certify(statistics, 0.001)
    with pytest.raises(ValueError, match="^kumar_score:confidence=0.6 certifies under gaussian or grid_gaussian noise"):
        get_mechanism("kumar_score", confidence=0.6).check_noise("uniform")


def test_draws_that_were_looked_at_are_refused():
    """Clopper-Pearson at the stopping count is not a bound."""
    looks = [[[25, 25], [50, 50]]]
    with pytest.raises(ValueError, match="cohen needs a number of draws that is fixed in advance; these draws were"):
        get_mechanism("cohen").certify(Statistics(0.5, [[50, 0]], [[10, 0]], look_counts=looks), 0.001)


def test_the_error_of_random_bits_is_taken_from_alpha():
    """With an error of alpha / 200 every mechanism certifies as at what is left of alpha, and no more than that."""
    alpha, error = 0.01, 0.01 / 200
    exact = Statistics.unanimous(2000, set(FIELDS) - {"look_counts"})
    inexact = replace(exact, sampling_error=error)
    for label in ("cohen", "cohen_two_sided", "delattre", "salman", "kumar_score", "mohapatra_l2"):
        mechanism = load_mechanism(label)
        radius, at_less, at_all = (
            mechanism.certify(statistics, level).radius[0]
            for statistics, level in ((inexact, alpha), (exact, alpha - error), (exact, alpha))
        )
        assert 0 < radius == at_less < at_all, label
    confidence = get_mechanism("kumar_score")
    assert confidence.certified_confidence(inexact, alpha, 0.1) == confidence.certified_confidence(
        exact, alpha - error, 0.1
    )
    with pytest.raises(ValueError, match="more than a hundredth of alpha = 0.004: take fewer draws"):
        get_mechanism("cohen").certify(inexact, 0.004)


def test_mechanisms_that_read_the_noise_say_themselves_for_which_they_hold():
    class Reads(Share):
        name = "reads"
        requires = frozenset({"counts", "gradient_sums"})

    Reads().check_noise("gaussian")
    with pytest.raises(ValueError, match="^reads certifies under gaussian noise, got grid_gaussian$"):
        Reads().check_noise("grid_gaussian")


def test_mechanisms_that_read_the_noise_are_refused_beside_random_answers():
    class Reads(Share):
        name = "reads"
        requires = frozenset({"counts", "gradient_sums"})

    class Proved(Reads):
        def check_stochastic(self):
            """It holds for random base classifiers, too."""

    Share().check_stochastic()
    with pytest.raises(ValueError, match="^reads reads the noise and does not say that it holds for stochastic base"):
        Reads().check_stochastic()
    Proved().check_stochastic()
