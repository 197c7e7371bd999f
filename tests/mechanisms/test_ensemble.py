import pytest
from hypothesis import given, settings
from vote_cases import ALPHAS, COUNTS, PROBABILITIES, VOTES, check_coverage, exact_pair, of_first, radius

from lightning_rs.mechanisms import PAIR_RADII, get_mechanism


@settings(max_examples=60)
@given(VOTES, ALPHAS)
def test_order_relations(counts, alpha):
    of = {name: of_first(name, counts, alpha) for name in ("cohen_two_sided", "li", "cullen")}
    everything = of_first("ensemble", counts, alpha, members="cohen+cohen_two_sided+lecuyer+li+cullen")
    assert everything == pytest.approx(of["cohen_two_sided"], rel=1e-9)
    published = of_first("ensemble", counts, alpha)
    assert max(of["li"], of["cullen"]) <= published <= everything * (1 + 1e-9)


def test_is_the_largest_of_its_members_on_one_pair():
    got = radius("ensemble", COUNTS, selection=[[1, 0, 0]] * len(COUNTS), sigma=0.5, members="cohen+lecuyer")
    for counts, value in zip(COUNTS, got, strict=True):
        pair = exact_pair(counts, 0.001)
        expected = max(PAIR_RADII[member](*pair, 0.5) for member in ("cohen", "lecuyer"))
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_coverage_by_enumeration(p):
    check_coverage("ensemble", p)


def test_bad_input():
    with pytest.raises(ValueError, match="unknown member of a hard ensemble 'salman'; known: "):
        get_mechanism("ensemble", members="cohen+salman")
