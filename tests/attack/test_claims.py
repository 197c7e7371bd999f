"""Refutations: exact or with their error below alpha where claims hold just so, and made where claims are broken."""

import numpy as np
import pytest
import torch
from scipy import stats

from lightning_rs.attack.claims import KeptMargin, KeptScore, LargestScore, MajorityVote, claim_of
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.mechanisms.base import Mechanism
from lightning_rs.smoothing.sample import Sample

ALPHA = 0.05


def sample(counts, selection, **fields):
    counts, selection = np.array(counts), np.array(selection)
    return Sample(
        position=0,
        index=0,
        shape=(1,),
        clean_prediction=None,
        selection_counts=selection,
        counts=counts,
        selected=int(selection.argmax()),
        fields={name: np.asarray(values, dtype=float) for name, values in fields.items()},
        path=[],
        seconds=0.0,
    )


def sample_of_scores(scores, selection):
    """As the sampler sums scores (n, classes)."""
    chosen = int(np.argmax(selection))
    others = np.delete(scores, chosen, axis=1)
    return sample(
        np.bincount(scores.argmax(1), minlength=scores.shape[1]),
        selection,
        score_sum=scores.sum(0),
        score_square_sum=(scores**2).sum(0),
        margin_sum=(scores[:, chosen] - others.max(1)).sum(),
        margin_square_sum=((scores[:, [chosen]] - scores) ** 2).sum(0),
    )


def test_votes_are_refuted_by_the_exact_binomial_test_against_the_selected_rival():
    claim = MajorityVote()
    for rival in range(50, 75):
        exact = stats.binom.sf(rival - 1, 100, 0.5)
        given = sample([100 - rival, rival, 900], [40, 50, 0])
        assert claim.refuted(given, 0, ALPHA) is bool(exact <= ALPHA)
    # Only the rival that other draws chose counts, and the prediction is none of its own rivals.
    assert not claim.refuted(sample([10, 5, 900], [0, 60, 40]), 0, ALPHA)
    assert claim.refuted(sample([10, 5, 900], [60, 10, 30]), 0, ALPHA)
    assert not claim.refuted(sample([1000, 0, 0], [99, 1, 0]), 0, 0.999)


@pytest.mark.parametrize("selection", [[6, 4, 0], [4, 6, 0]])
@pytest.mark.parametrize(
    ("claim", "weights"),
    [
        (LargestScore(), (1.0, 1.0, 0.5)),
        (KeptScore(0.4), (1.0, 1.0, 0.5)),
        (KeptMargin(0.1), (1.2, 1.0, 0.05)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_claims_on_scores_that_hold_just_so_are_refuted_with_probability_at_most_alpha(claim, weights, selection):
    """Scores of a Dirichlet law; the thresholds are moved to their exact expectations. Broken ones are refuted."""
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.array(weights) * 2, (200, 1000))
    if isinstance(claim, KeptMargin):
        many = random.dirichlet(np.array(weights) * 2, 300_000)
        claim = KeptMargin(float((many[:, 0] - many[:, 1:].max(1)).mean()) - 2e-3)
    wrong = np.mean([claim.refuted(sample_of_scores(rows, selection), 0, ALPHA) for rows in scores])
    assert wrong <= ALPHA
    worse = random.dirichlet(np.array(weights) * 2 + np.array([-1.2, 1.2, 0]), (10, 2000))
    assert all(claim.refuted(sample_of_scores(rows, selection), 0, ALPHA) for rows in worse)


def test_one_draw_refutes_nothing():
    for claim in (LargestScore(), KeptScore(0.5), KeptMargin(0.5), MajorityVote()):
        assert not claim.refuted(sample_of_scores(np.array([[0.0, 1.0]]), [0, 1]), 0, ALPHA)


@pytest.mark.parametrize(
    ("claim", "margin", "evidence"),
    [
        (MajorityVote(), np.log(0.45 / 0.4), 0.0),
        (LargestScore(), np.log(0.45 / 0.4), -0.05),
        (KeptScore(0.4), np.log(0.45 / 0.4), -0.05),
        (KeptMargin(0.1), -0.05, 0.05),
    ],
    ids=lambda value: type(value).__name__,
)
def test_margins_and_evidence_by_hand(claim, margin, evidence):
    """One point, two copies; all have the same sign but for votes, whose margin is that of the scores."""
    scores = torch.tensor([[[0.7, 0.2, 0.1]], [[0.2, 0.6, 0.2]]], dtype=torch.float64)
    assert float(claim.margin(scores.log(), 0)) == pytest.approx(margin)
    assert float(claim.evidence(scores.log(), 0).mean()) == pytest.approx(evidence)
    assert claim.evidence(scores.log(), 0).shape == (2, 1)


@pytest.mark.parametrize("claim", [MajorityVote(), LargestScore(), KeptScore(0.5)], ids=lambda c: type(c).__name__)
def test_what_is_needed_is_about_what_refutes(claim):
    random, n = np.random.default_rng(1), 4000
    base = np.clip(random.beta(0.5, 0.5, n), 1e-6, 1 - 1e-6)
    for factor, expected in ((0.7, False), (1.3, True)):
        low, high = 0.0, 1.0  # By how much class 0 loses, so that the mean of the evidence is what is wanted.
        for _ in range(40):
            middle = (low + high) / 2
            own = base * (1 - middle)
            scores = np.stack([own, 1 - own], axis=1)
            evidence = claim.evidence(torch.from_numpy(scores).log()[:, None], 0)
            needed = claim.needed(float(evidence.std()), n, ALPHA)
            low, high = (middle, high) if float(evidence.mean()) < factor * needed else (low, middle)
        assert claim.refuted(sample_of_scores(scores, [0, 1]), 0, ALPHA) is expected


def test_claims_of_mechanisms():
    names = ["cohen", "mohapatra_l1", "salman", "moutaouakil_soft", "kumar_score:confidence=0.7", "kumar_margin"]
    claims = [claim_of(mechanism) for mechanism in MechanismSet(names).values()]
    assert claims == [MajorityVote()] * 2 + [LargestScore()] * 2 + [KeptScore(0.7), KeptMargin(0.0)]


def test_a_claim_that_is_not_known_is_refused_with_the_mechanisms_name():
    class Own(Mechanism):
        name = "own"
        keeps = "ranking"

        def _certify(self, statistics, alpha):
            raise AssertionError

    with pytest.raises(ValueError, match="^own keeps the ranking of a hard classifier; what attacks know to break is"):
        claim_of(Own())
