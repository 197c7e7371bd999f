"""Forecasts against half-spaces, whose certified accuracy is a binomial sum, and against certifications."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from half_spaces import RADII, SIGMA, certification_of, exact_accuracy
from scipy import stats

from lightning_rs.certification import Forecast, certify_examples, fit_draws, run_pilot
from lightning_rs.certification.planning import duration, least_draws

CLEAR = np.random.default_rng(0).permutation(stats.norm.cdf(np.linspace(-1.0, 4.0, 80)))


def forecast_of(shares, images=80, draws=1000, **settings):
    certification = certification_of(shares, **settings)
    pilot = run_pilot(certification, images, draws, shown=False)
    return Forecast(pilot, pilot.certification.settings)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("images", [20, 80])
def test_the_limits_cover_the_certified_accuracy(images, seed):
    """And the likely values of all images lie near it."""
    certified = forecast_of(CLEAR, images, draws=300, mechanisms=["cohen"], seed=seed).certified["cohen"]
    exact = exact_accuracy(CLEAR, 2000, 0.001, RADII).mean(axis=0)
    for cell, truth in zip(certified, exact, strict=True):
        assert cell.low <= cell.value <= cell.high
        assert cell.low <= truth <= cell.high
        assert images < 80 or cell.value == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize("quantile", [0.98, 1.02])
def test_they_cover_where_all_images_are_alike_and_no_posterior_knows_on_which_side_they_are(quantile):
    """All images would be certified at sigma with p > Phi(1), or none, and a posterior says half of them."""
    shares = np.full(40, stats.norm.cdf(quantile))
    cell = forecast_of(shares, 40, draws=300, mechanisms=["cohen"], n=100_000).certified["cohen"][1]
    truth = exact_accuracy(shares, 100_000, 0.001, RADII).mean(axis=0)[1]
    assert cell.low <= truth <= cell.high


def test_what_few_draws_do_not_know_is_wide():
    """Unanimous in 100 draws: whether beyond three sigma, nobody knows."""
    radii = [SIGMA, 3 * SIGMA]
    forecast = forecast_of(np.full(50, 0.9999), 50, draws=100, n=100_000, mechanisms=["cohen"], radii=radii)
    near, far = forecast.certified["cohen"]
    assert near.low > 0.9 and far.low < 0.1 and far.high == 1.0


@pytest.mark.parametrize("mechanism", ["cohen", "sequential_betting"])
def test_draws_and_certified_accuracy_are_those_of_the_certification(mechanism):
    certification = certification_of(CLEAR[:40], mechanisms=[mechanism])
    pilot = run_pilot(certification, 40, 500, shown=False)
    forecast = Forecast(pilot, pilot.certification.settings)
    records = list(certify_examples(certification, range(40)))
    draws = np.mean([sum(record.counts.values()) + 100 for record in records])
    assert forecast.draws.value == pytest.approx(draws, rel=0.1)
    assert forecast.draws.low <= draws <= forecast.draws.high
    for cell, radius in zip(forecast.certified[mechanism], RADII, strict=True):
        found = [record.certificates[mechanism] for record in records]
        seen = np.mean([one.prediction == 1 and one.radius > radius for one in found])
        assert cell.value == pytest.approx(seen, abs=0.06)
        assert cell.low <= seen <= cell.high


def test_time_is_that_of_the_rows_and_of_the_images_and_devices_wait_for_the_longest():
    forecast = forecast_of(CLEAR[:30], 10, draws=50, mechanisms=["cohen"])
    rate = forecast.pilot.rows_per_second
    assert forecast.makespan(1) >= 30 * 2101 / rate
    assert forecast.makespan(1) == pytest.approx(30 * forecast.seconds[0])
    assert forecast.makespan(8) == pytest.approx(4 * forecast.seconds[0])  # 30 images on 8 devices: 4 on the longest.
    forecast.__dict__["seconds"] = np.array([1.0, 1.0, 10.0, 1.0, 1.0])
    assert [forecast.makespan(devices) for devices in (1, 2, 8)] == [14.0, 11.0, 10.0]


def slow(pilot, rows_per_second):
    return dataclasses.replace(pilot, rows_per_second=rows_per_second, reading=0.0)


@pytest.mark.parametrize("mechanism", ["cohen", "sequential_betting"])
def test_a_budget_is_spent_on_the_largest_round_number_of_draws(mechanism, monkeypatch):
    monkeypatch.setattr(Forecast, "_overhead", 0.01)  # Busy machines would take any time.
    pilot = slow(run_pilot(certification_of(CLEAR[:40], mechanisms=[mechanism]), 6, 200, shown=False), 1000)
    settings = pilot.certification.settings
    forecast = fit_draws(pilot, settings, 100.0, devices=2, confidence=0.5)
    assert forecast.confidence == 0.5
    n = forecast.settings.n
    step = 10 ** (len(str(n)) - 2)
    assert n % step == 0 and forecast.makespan(2) <= 100.0
    more = Forecast(pilot, dataclasses.replace(settings, n=n + step))
    assert more.makespan(2) > 100.0
    if mechanism == "cohen":  # 20 images on each device, 5,000 rows each.
        assert n == 4800


def test_the_forecast_that_fits_a_budget_is_the_one_that_is_shown(monkeypatch):
    """What the mechanisms take is measured: another time it may be more."""
    measured = Counter()

    def overhead(forecast):
        measured[forecast.settings.n] += 1
        return 0.01 if measured[forecast.settings.n] == 1 else 10.0

    monkeypatch.setattr(Forecast, "_overhead", property(overhead))
    pilot = slow(run_pilot(certification_of(CLEAR[:40], mechanisms=["cohen"]), 6, 200, shown=False), 1000)
    assert fit_draws(pilot, pilot.certification.settings, 100.0).makespan(1) <= 100.0


@pytest.mark.parametrize(("mechanism", "least"), [("cohen", 10), ("cohen_two_sided", 11), ("sequential_betting", 12)])
def test_a_budget_that_is_too_small_is_told_the_least_number_of_draws_and_its_time(mechanism, least, monkeypatch):
    monkeypatch.setattr(Forecast, "_overhead", 0.05)
    pilot = slow(run_pilot(certification_of(CLEAR[:40], mechanisms=[mechanism]), 5, 20, shown=False), 100)
    settings = pilot.certification.settings
    assert least_draws(pilot, settings) == least
    settings.mechanism_set.check_trials(least, 0.001)
    with pytest.raises(ValueError, match=f"n must be >= {least}|cannot certify any"):
        dataclasses.replace(settings, n=least - 1).plan(pilot.certification.noise, (1, 1, 1))
    message = rf"^a budget of 5.0 s is too small for any certificate: .*{mechanism} needs n = {least} at least, which "
    with pytest.raises(ValueError, match=message + r"takes (\d+) s here$") as refused:
        fit_draws(pilot, settings, 5.0)
    rows = 40 * (101 + least) / 100
    said = int(str(refused.value).split()[-3])
    assert rows + 2 <= said <= rows + 3  # The mechanisms take time, too.


def test_radii_that_no_draws_certify_need_more():
    pilot = run_pilot(certification_of(CLEAR[:5], mechanisms=["sequential_betting"], radii=[3 * SIGMA], n=9999), 2, 20)
    assert least_draws(pilot, pilot.certification.settings) > 1000


def test_gradients_are_timed_and_not_guessed():
    forecast = forecast_of(CLEAR[:5], 3, draws=50, mechanisms=["cohen", "mohapatra_l2"])
    assert forecast.left_out == {"mohapatra_l2": ["gradient_counts", "gradient_moments"]}
    assert list(forecast.certified) == ["cohen"] and forecast.makespan(1) > 0
    alone = forecast_of(CLEAR[:5], 3, draws=50, mechanisms=["mohapatra_l2"])
    assert alone.certified == {} and alone.draws.value == 2100 and alone.makespan(1) > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.304, "0.31 s"), (2.05, "2.1 s"), (42, "42 s"), (90, "1.5 min"), (600, "10 min"), (12240, "3.4 h")],
)
def test_durations_are_short_and_never_too_short(seconds, text):
    assert duration(seconds) == text
