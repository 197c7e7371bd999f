from dataclasses import replace

import numpy as np
import pytest
from run_cases import BETTER, DESCRIPTION, RECORDS

from lightning_rs.results.figures import default_radii, envelopes, figures, logged
from lightning_rs.results.runs import run_of_records


def test_by_hand():
    (row,) = figures(run_of_records(RECORDS, DESCRIPTION, "a"), [0.0, 0.25], confidence=0.9)
    assert (row.run, row.mechanism, row.sigma, row.examples) == ("a", "cohen", 0.25, 4)
    assert row.certified == (0.5, 0.25)
    # One of four: the lower limit p solves 1 - (1 - p)^4 = .1.
    assert row.limit[1] == pytest.approx(1 - 0.9**0.25 - 0.01, rel=1e-9)
    assert row.sample_limit == (0.5, 0.25)  # Of 4 certificates at .01 none is wrong with probability .96.
    assert row.acr == pytest.approx(0.15)
    assert row.median == pytest.approx(0.05)  # Radii .5, 0 (abstained), 0 (wrong), .1.
    assert (row.abstained, row.smoothed, row.clean) == (0.25, 0.5, 0.75)
    assert row.noisy == pytest.approx((1 + 0.6 + 0.1 + 0.8) / 4)


def test_what_is_logged():
    run = run_of_records(RECORDS, DESCRIPTION, "a")
    (row,) = figures(run, [0.0, 0.25])
    assert row.acr == pytest.approx(0.6 / 4)
    assert row.noisy == pytest.approx((1 + 0.6 + 0.1 + 0.8) / 4)
    assert logged(run, [0.0, 0.25], "certify") == {
        "certify/clean_accuracy": 0.75,
        "certify/noisy_accuracy": row.noisy,
        "certify/cohen/accuracy@0": 0.5,
        "certify/cohen/accuracy@0.25": 0.25,
        "certify/cohen/acr": row.acr,
        "certify/cohen/abstention_rate": 0.25,
        "certify/cohen/smoothed_accuracy": 0.5,
    }


def test_two_radii_have_two_names():
    named = logged(run_of_records(RECORDS, DESCRIPTION, "a"), [0.1234561, 0.1234567], "c")
    assert {"c/cohen/accuracy@0.1234561", "c/cohen/accuracy@0.1234567"} < set(named)


def test_images_that_stand_exactly_at_a_radius():
    (row,) = figures(run_of_records(RECORDS, DESCRIPTION, "a"), [0.0, 0.1, 0.3, 0.5])
    assert row.certified == (0.5, 0.25, 0.25, 0.0)
    assert row.standing == (0, 1, 0, 1)  # .3 is of a wrong answer, and whoever abstains stands nowhere.


def test_limits_of_one_of_several_attempts_hold_for_the_chosen_one():
    """Each attempt has a share of alpha, and of what the limit may miss."""
    run = run_of_records(RECORDS, replace(DESCRIPTION, alpha=0.03, attempts=3), "a")
    (row,) = figures(run, [0.25], confidence=0.7)
    assert row.limit[0] == pytest.approx(1 - 0.9**0.25 - 0.01, rel=1e-9)
    assert row.sample_limit[0] == 0.25
    assert run.description.title.endswith("α = 0.03 over 3 attempts")


def test_order_does_not_matter():
    runs = [run_of_records(records, DESCRIPTION, "a") for records in (RECORDS, RECORDS[::-1])]
    assert logged(runs[0], [0.0], "c") == logged(runs[1], [0.0], "c")


def test_nothing_certified():
    run = run_of_records([], DESCRIPTION, "a")
    assert figures(run, [0.0]) == []
    named = logged(run, [0.0], "c")
    assert list(named) == ["c/clean_accuracy", "c/noisy_accuracy"]
    assert np.isnan(list(named.values())).all()


def test_easy_images_of_an_unfinished_sequential_run_are_no_sample():
    votes = [replace(r, counts={0: 10 * (k + 1)}) for k, r in enumerate(RECORDS)]
    (row,) = figures(run_of_records(votes, DESCRIPTION, "whole"), [0.0])
    assert row.limit[0] == row.limit[0]
    (row,) = figures(run_of_records(votes, replace(DESCRIPTION, indices=(0, 1, 2, 3, 9)), "part"), [0.0])
    assert np.isnan(row.limit[0])


@pytest.mark.parametrize("sigma", [0.05, 0.12, 0.25, 0.5, 1.0, 2.0])
def test_default_radii_can_be_certified(sigma):
    radii = default_radii(sigma)
    assert radii[0] == 0.0
    assert len(radii) == 4
    assert np.all(np.diff(radii) > 0)
    assert radii[-1] < 3.81 * sigma


def test_default_radii_are_the_literatures():
    assert default_radii(0.12) == (0.0, 0.12, 0.24, 0.36)
    assert default_radii(0.25) == (0.0, 0.25, 0.5, 0.75)
    assert default_radii(0.5) == (0.0, 0.5, 1.0, 1.5)


def test_the_envelope_takes_the_largest_of_all_sigmas():
    records = {0.25: BETTER, 0.5: RECORDS}
    runs = [run_of_records(records[sigma], replace(DESCRIPTION, sigma=sigma), f"{sigma}") for sigma in records]
    rows = [row for run in runs for row in figures(run, [0.0, 0.2, 0.45])]
    (envelope,) = envelopes(rows)
    assert (envelope.mechanism, envelope.norm, envelope.runs) == ("cohen", "l2", 2)
    assert envelope.sigmas == ((0.25, False), (0.5, False))
    assert envelope.certified == (1.0, 1.0, 0.25)  # The second alone reaches 0.45, at one image of four.
    assert envelopes(rows[:1]) == envelopes([rows[0], rows[0]]) == []  # One sigma has none.
