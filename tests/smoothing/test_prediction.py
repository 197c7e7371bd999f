"""Answers without a certificate: from a fixed number of draws, or as soon as they are known."""

import numpy as np
import pytest
import torch

from lightning_rs import SmoothedClassifier
from lightning_rs.bounds import top_class_p_value, top_two_p_value
from lightning_rs.mechanisms import ABSTAIN, betting_looks
from lightning_rs.noise import Gaussian, Purpose
from lightning_rs.smoothing.prediction import prediction, prediction_plan
from lightning_rs.smoothing.sample import Sample


def sample_of(counts, selection=None):
    """A sample with these votes."""
    counts = np.array(counts)
    selected = int((counts if selection is None else np.array(selection)).argmax())
    return Sample(0, 0, (1,), None, selection, counts, selected, {}, [(int(counts[selected]), int(counts.sum()))], 0.0)


def half_space(x):
    return torch.stack([-x[:, 0], x[:, 0]], dim=1)


def test_predict_names_the_class_or_abstains():
    g = SmoothedClassifier(half_space, 2, sigma=1.0)
    x = torch.tensor([[2.0, 5.0], [-2.0, 5.0], [0.0, 5.0]])
    for test in ("top_two", "top_class"):
        assert np.array_equal(g.predict(x, n=1000, alpha=0.001, test=test, seed=0), [1, 0, ABSTAIN])


@pytest.mark.parametrize("counts", [[60, 30, 10], [48, 30, 22], [52, 24, 24], [45, 45, 10]])
def test_a_class_is_named_where_its_p_value_is_at_most_alpha(counts):
    """Class 0 may lead the second and yet not have one half of the votes."""
    top, second, n = counts[0], max(counts[1:]), sum(counts)
    for test, p_value in (("top_two", top_two_p_value(top, second)), ("top_class", top_class_p_value(top, n))):
        for alpha in (0.9 * p_value, min(1.1 * p_value, 0.999)):
            expected = 0 if top > second and p_value <= alpha else ABSTAIN
            assert prediction(sample_of(counts), alpha, test) == expected


def test_betting_names_gives_up_or_goes_on():
    plan = prediction_plan(1000, 0.001, "top_two", sequential=True)
    for counts, finished, answer in (([25, 0], True, 0), ([0, 25], True, ABSTAIN), ([13, 12], False, ABSTAIN)):
        sample = sample_of(counts, selection=[20, 5])
        assert plan.finished(sample) is finished
        assert prediction(sample, 0.001, "top_two") == answer


def test_draws_are_made_for_prediction():
    fixed, sequential = (prediction_plan(1000, 0.001, "top_two", s) for s in (False, True))
    assert fixed.purpose is sequential.purpose is Purpose.PREDICTION
    assert (fixed.looks, fixed.n0, fixed.finished) == ((1000,), 0, None)
    assert (sequential.looks, sequential.n0) == (tuple(betting_looks(1000)), 25)


def test_sequential_prediction():
    """Clear inputs are named with few draws, ties are not named, and the answer does not depend on the batches."""

    def classifier(x):
        return torch.stack([x[:, 0], -x[:, 0], -x[:, 0] - 1.0], dim=1)

    x = torch.tensor([[2.0], [-2.0], [0.0], [0.1]])
    for test in ("top_two", "top_class"):
        how = {"n": 5000, "test": test, "sequential": True, "seed": 0}
        answers = SmoothedClassifier(classifier, 3, 1.0).predict(x, **how)
        assert answers[:3].tolist() == [0, 1, ABSTAIN]
        again = SmoothedClassifier(classifier, 3, 1.0, batch_size=60).predict(x, **how)
        assert np.array_equal(answers, again)


@pytest.mark.parametrize("test", ["top_two", "top_class"])
def test_wrong_sequential_predictions_are_rare(test):
    """Class 0 leads by a hair, .505 to .495: at alpha = .1, class 1 is named in at most 10 % of the runs."""

    def classifier(x):
        return torch.stack([x[:, 0], -x[:, 0]], dim=1)

    x = torch.full((600, 1), 0.0125)
    g = SmoothedClassifier(classifier, 2, 1.0, batch_size=2000)
    answers = g.predict(x, n=2000, alpha=0.1, test=test, sequential=True, seed=0)
    assert np.mean(answers == 1) <= 0.1 + 3 * np.sqrt(0.09 / 600)
    assert np.mean(answers == ABSTAIN) > 0.5


@pytest.mark.parametrize(
    ("n", "alpha", "test", "message"),
    [
        (0, 0.001, "top_two", "n must be an integer of at least 1, got 0"),
        (10, 1.0, "top_two", r"alpha must lie in \(0, 1\), got 1.0"),
        (10, 0.001, "t", "unknown test 't'; known: top_class, top_two"),
    ],
)
def test_bad_input(n, alpha, test, message):
    with pytest.raises(ValueError, match=message):
        prediction_plan(n, alpha, test, sequential=False)


class Inexact(Gaussian):
    """Gaussian noise that says of its draws that one is wrong with probability .0005."""

    def sampling_error(self, draws, shape):
        return 0.0005


@pytest.mark.parametrize("sequential", [False, True])
def test_the_error_of_random_bits_is_taken_from_alpha(sequential):
    def classifier(x):
        return torch.stack([x[:, 0], -x[:, 0]], dim=1)

    x = torch.linspace(0.05, 0.5, 400)[:, None]
    how = {"n": 300, "sequential": sequential, "seed": 0}
    inexact, exact = (SmoothedClassifier(classifier, 2, noise(1.0)) for noise in (Inexact, Gaussian))
    left = exact.predict(x, alpha=0.0495, **how)
    assert np.array_equal(inexact.predict(x, alpha=0.05, **how), left)
    with pytest.raises(ValueError, match="more than a hundredth of alpha = 0.04: "):
        inexact.predict(x, alpha=0.04, **how)
