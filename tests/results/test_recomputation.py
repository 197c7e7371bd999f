from dataclasses import replace

import pytest
from run_cases import DESCRIPTION, RECORDS, possible
from scipy.stats import beta, norm

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results.recomputation import chunks, held_fields, num_classes_of, recompute, statistics_of

UNKNOWN = replace(DESCRIPTION, data="mine")


def test_certificates_follow_from_the_votes_alone():
    again = list(recompute(RECORDS, DESCRIPTION, 0.2, MechanismSet(["cohen"])))
    assert [replace(a, certificates={}) for a in again] == [replace(r, certificates={}) for r in RECORDS]
    first, second = (r.certificates["cohen"] for r in again[:2])
    bound = beta.ppf(0.1, 10, 1)  # Half of alpha, as the same votes selected the class.
    assert (first.prediction, first.p_lower) == (1, pytest.approx(bound, rel=1e-12))
    assert first.radius == pytest.approx(0.25 * norm.ppf(bound), rel=1e-12)
    assert (second.prediction, second.radius) == (-1, 0.0)


def test_chunks_hold_as_many_rows_as_fit_into_memory():
    assert [len(part) for part in chunks(RECORDS * 625, 10)] == [1000, 1000, 500]
    assert [len(part) for part in chunks(iter(RECORDS * 6), 50_000)] == [10, 10, 4]
    assert [len(part) for part in chunks(RECORDS[:2], 10**9)] == [1, 1]
    summed = [replace(r, statistics={"gradient_sums": [], "input_shape": [3, 100, 100]}) for r in RECORDS]
    assert [len(part) for part in chunks(RECORDS * 2 + summed * 2 + RECORDS, 10)] == [8, 4, 4, 4]


def test_held_fields_are_those_of_all_records():
    records = possible(RECORDS, DESCRIPTION)
    assert held_fields(records, DESCRIPTION) == {"counts", "selection_counts"}
    assert held_fields([*records, RECORDS[0]], DESCRIPTION) == {"counts"}
    assert held_fields(records, replace(DESCRIPTION, input_shape=(1, 8, 8))) >= {"counts", "input_shape"}
    assert len(statistics_of(records, DESCRIPTION, 10)) == 4


def test_number_of_classes():
    """A class without a vote counts as well: `delattre` shares alpha among the buckets."""
    scored = [replace(r, statistics={"score_sum": [1.0, 2.0, 7.0]}) for r in RECORDS]
    assert num_classes_of(RECORDS, DESCRIPTION) == 10  # Of the digits.
    assert num_classes_of(scored, UNKNOWN) == 3
    assert num_classes_of(scored, replace(UNKNOWN, num_classes=12)) == 12
    with pytest.raises(ValueError, match="how many classes mine has"):
        num_classes_of(RECORDS, UNKNOWN)
