import numpy as np
import pytest

from lightning_rs.results.records import Record
from lightning_rs.results.figures import clean_accuracy, default_radii, figures, noisy_accuracy, summarize
from lightning_rs.results.tables import decimals, percent


def record(index, label, clean, counts, prediction, radius):
    certificates = {"cohen": {"prediction": prediction, "radius": radius, "p_lower": None, "p_upper": None}}
    return Record(index, label, clean, {}, counts, certificates, 1.0)


RECORDS = [
    record(0, 1, 1, {1: 10}, 1, 0.5),
    record(1, 1, 0, {1: 6, 0: 4}, -1, 0.0),
    record(2, 0, 0, {2: 9, 0: 1}, 2, 0.3),
    record(3, 2, 2, {2: 8, 1: 2}, 2, 0.1),
]


def test_by_hand():
    summary = summarize(RECORDS, [0.0, 0.25])["cohen"]
    assert summary.certified_accuracy == {0.0: 0.5, 0.25: 0.25}
    assert summary.acr == pytest.approx(0.6 / 4)
    assert summary.abstention_rate == 0.25
    assert summary.smoothed_accuracy == 0.5
    assert clean_accuracy(RECORDS) == 0.75
    assert noisy_accuracy(RECORDS) == pytest.approx((1 + 0.6 + 0.1 + 0.8) / 4)
    assert figures(RECORDS, [0.0, 0.25], "certify") == {
        "certify/clean_accuracy": 0.75,
        "certify/noisy_accuracy": noisy_accuracy(RECORDS),
        "certify/cohen/accuracy@0": 0.5,
        "certify/cohen/accuracy@0.25": 0.25,
        "certify/cohen/acr": summary.acr,
        "certify/cohen/abstention_rate": 0.25,
        "certify/cohen/smoothed_accuracy": 0.5,
    }


def test_order_does_not_matter():
    assert figures(RECORDS, [0.0], "c") == figures(RECORDS[::-1], [0.0], "c")


def test_nothing_certified():
    assert summarize([], [0.0]) == {}
    assert np.isnan(clean_accuracy([])) and np.isnan(noisy_accuracy([]))


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


def test_nothing_printed_is_rounded_up():
    assert percent(0.98999) == "98.9"
    assert percent(0.29) == "29.0"  # 0.29 * 1000 is 290.00000000000006 or 289.99999999999994, depending on the order.
    assert percent(1 / 364, up=True) == "0.3"
    assert percent(1.0) == "100.0"
    assert decimals(0.57599) == "0.5759"
