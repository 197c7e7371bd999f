"""Scores and margins, tallied again draw by draw straight from the definitions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from draws import Draws
from scipy.special import softmax
from torch import nn

from lightning_rs import SmoothedClassifier
from lightning_rs.noise import Stage, uniform
from lightning_rs.smoothing.classifier import FIELDS
from lightning_rs.smoothing.plan import RowKind
from lightning_rs.smoothing.tally import SCORE_FIELDS, UNIT, Tally, scores_of
from lightning_rs.statistics import MARGIN_THRESHOLDS, SCORE_THRESHOLDS

ALL = FIELDS - {"counts"}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).eval()


def test_every_field_equals_its_definition(net):
    x, sigma, n, index = torch.rand(1, 3, 2, 2), 0.7, 530, 11
    statistics = SmoothedClassifier(net, 5, sigma, batch_size=64, seed=3).sample(x, [index], n0=50, n=n, fields=ALL)
    noise = Draws(3, index, Stage.ESTIMATION, (3, 2, 2)).fill(torch.empty(n, 3, 2, 2), 0)
    with torch.no_grad():
        scores = softmax(net(x + sigma * noise).double().numpy(), axis=1)
    a = statistics.selected[0]
    margin = scores[:, a] - np.delete(scores, a, axis=1).max(axis=1)
    expected = {
        "score_sum": scores.sum(0),
        "score_square_sum": (scores**2).sum(0),
        "margin_sum": margin.sum(),
        "margin_square_sum": ((scores[:, [a]] - scores) ** 2).sum(0),
        "scores": scores[:, a],
    }
    for name, values in expected.items():
        assert np.allclose(getattr(statistics, name)[0], values, rtol=1e-5, atol=1e-5), name
    for name, values, thresholds in (
        ("score_histogram", statistics.scores[0].astype(float), SCORE_THRESHOLDS),
        ("margin_histogram", margin, MARGIN_THRESHOLDS),
    ):
        histogram = getattr(statistics, name)[0]
        reached = np.array([(values >= t).sum() for t in thresholds])
        # Draws that reach at least j of the thresholds are those that reach threshold j. float32 may differ at one.
        assert np.abs(np.cumsum(histogram[::-1])[::-1][1:] - reached).max() <= (0 if name == "score_histogram" else 2)
        assert histogram.sum() == n
    assert statistics.uniform[0] == uniform(3, index)


def tally_of(logits):
    """(scores, fields) of rows that are one draw each of an example of its own, whose selection chose class 0."""
    rows, classes = logits.shape
    tally = Tally(rows, classes, SCORE_FIELDS, 1, torch.device("cpu"))
    chosen = torch.zeros(rows, classes)
    chosen[:, 0] = 1.0
    slot, first = torch.arange(rows), torch.zeros(rows, dtype=torch.int64)
    tally.update(chosen, slot, first + int(RowKind.SELECTION), first)
    tally.update(logits, slot, first + int(RowKind.MAIN), first)
    table, scores = tally.read(slot)
    return scores_of(logits), [tally.result(*pair) for pair in zip(table.numpy(), scores.numpy(), strict=True)]


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_scores_of_a_draw_add_up_to_at_most_one(classes):
    """The softmax's in float32 do not; nor do they once they are rounded down."""
    logits = torch.randn(300, classes, generator=torch.Generator().manual_seed(classes)) * 3
    plain = torch.softmax(logits, dim=1).double()
    assert ((plain / UNIT).floor().long().sum(1) > 2**32).any()
    units = scores_of(logits) / UNIT
    assert torch.equal(units, units.floor()) and (units >= 0).all() and (units.long().sum(1) <= 2**32).all()
    assert torch.allclose(units * UNIT, plain, rtol=1e-5, atol=2 * UNIT)


def test_all_fields_are_of_the_same_scores():
    """Sums of squares are no less than those of the scores as they are summed, exactly."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(300, 3, generator=generator)
    # Scores of one, of zero, and below one unit, which are rounded to zero.
    extreme = torch.tensor([[0.0, -200.0, -23.0], [0.0, 0.0, -22.5], [-23.0, 0.0, -40.0], [0.0, 60.0, 0.0]])
    scores, results = tally_of(torch.cat([spread, extreme]))
    for row, result in zip(scores.tolist(), results, strict=True):
        exact = [Fraction(score) for score in row]
        assert [Fraction(s) for s in result["score_sum"].tolist()] == exact
        assert Fraction(float(result["margin_sum"])) == exact[0] - max(exact[1:])
        for name, terms in (("score_square_sum", exact), ("margin_square_sum", [exact[0] - s for s in exact])):
            for total, term in zip(result[name].tolist(), terms, strict=True):
                assert term**2 - Fraction(2) ** -52 <= Fraction(total) <= term**2 + Fraction(UNIT)
        below = Fraction(float(result["scores"][0]))
        assert exact[0] * (1 - Fraction(1, 2**22)) <= below <= exact[0]
        reached = [(row[0] >= SCORE_THRESHOLDS).sum(), (row[0] - max(row[1:]) >= MARGIN_THRESHOLDS).sum()]
        assert [result[f"{kind}_histogram"].argmax() for kind in ("score", "margin")] == reached


def test_only_what_is_asked_for_is_held(net):
    g = SmoothedClassifier(net, 5, 0.5)
    x = torch.rand(2, 3, 2, 2)
    assert g.sample(x, n0=10, n=50).held == ("counts", "selection_counts")
    assert set(g.sample(x, n0=10, n=50, fields=["scores", "uniform"]).held) == {
        "counts",
        "selection_counts",
        "scores",
        "uniform",
    }
    assert g.sample(x, n0=0, n=50, fields=["uniform"]).held == ("counts", "uniform")


def test_statistics_are_the_same_whatever_is_collected_beside_them(net):
    g = SmoothedClassifier(net, 5, 0.5, batch_size=100)
    x = torch.rand(2, 3, 2, 2)
    everything = g.sample(x, [0, 1], n0=10, n=350, fields=ALL)
    for name in ALL - {"selection_counts"}:
        alone = g.sample(x, [0, 1], n0=10, n=350, fields=[name])
        assert np.array_equal(getattr(alone, name), getattr(everything, name))
        assert np.array_equal(alone.counts, everything.counts)


def test_nan_scores_count_against_the_example():
    def classifier(x):
        logits = torch.tensor([3.0, 0.0, 0.0]).repeat(len(x), 1)
        logits[x[:, 0] > 1.0] = torch.nan
        return logits

    s = SmoothedClassifier(classifier, 3, 1.0).sample(torch.zeros(1, 1), n0=50, n=4000, fields=ALL)
    bad = int((Draws(0, 0, Stage.ESTIMATION, (1,)).fill(torch.empty(4000, 1), 0) > 1.0).sum())
    own, other = softmax([3.0, 0.0, 0.0])[:2]
    assert bad > 500
    assert np.allclose(s.score_sum[0], [(4000 - bad) * own, *([(4000 - bad) * other + bad] * 2)], rtol=1e-6)
    assert s.margin_sum[0] == pytest.approx((4000 - bad) * (own - other) - bad, rel=1e-6)
    assert s.score_histogram[0, 0] == s.margin_histogram[0, 0] == bad


def test_infinite_logits_count_against_the_example():
    def classifier(x):
        logits = torch.tensor([3.0, 0.0, 0.0]).repeat(len(x), 1)
        logits[x[:, 0] > 0.5, 1] = torch.inf
        return logits

    g = SmoothedClassifier(classifier, 3, 1.0)
    s = g.sample(torch.zeros(1, 1), n0=100, n=4000, fields=ALL)
    other = int((Draws(0, 0, Stage.ESTIMATION, (1,)).fill(torch.empty(4000, 1), 0) > 0.5).sum())
    assert s.score_histogram[0, 0] == s.margin_histogram[0, 0] == other > 1000
    assert s.score_sum[0, 0] == pytest.approx((4000 - other) * softmax([3.0, 0.0, 0.0])[0], rel=1e-6)


def test_bad_input(net):
    g = SmoothedClassifier(net, 5, 0.5)
    with pytest.raises(ValueError, match="unknown field of Statistics 'score'; known: "):
        g.sample(torch.rand(1, 3, 2, 2), fields=["score"])
    with pytest.raises(ValueError, match="n0 must be at least 1 to collect scores, got 0"):
        g.sample(torch.rand(1, 3, 2, 2), n0=0, n=10, fields=["scores"])
