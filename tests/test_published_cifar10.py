"""benchmarks/published_cifar10.py: what is published, and whether it lies within the limits of a certification."""

import html
import runpy

import numpy as np
import pytest
from conftest import ROOT

from lightning_rs.results import Run, RunDescription

BESIDE = runpy.run_path(str(ROOT / "benchmarks" / "published_cifar10.py"))
PUBLISHED, RADII = BESIDE["PUBLISHED"], BESIDE["RADII"]
AS_PUBLISHED = {"data": "CIFAR10", "split": "test", "architecture": "cifar_resnet110", "n0": 100, "n": 100_000}


def run_with(sigma, accuracies, images=500, **said):
    """Of each 100 images so many have a radius just above r; the others are wrong."""
    radii = np.zeros(images)
    for r, accuracy in zip(RADII[sigma], accuracies, strict=True):
        radii[: round(images * accuracy / 100)] = r + 0.1
    label = np.ones(images, dtype=int)
    indices = tuple(range(0, 20 * images, 20))
    description = RunDescription(**{**AS_PUBLISHED, "sigma": sigma, "alpha": 0.001, "indices": indices, **said})
    certificates = {"cohen": (np.where(radii > 0, label, 0), radii)}
    return Run("ours", description, np.array(indices), label, certificates)


@pytest.mark.parametrize("objective", PUBLISHED)
def test_what_is_published_falls_with_the_radius_and_agrees_with_its_mean_radius(objective):
    """The mean radius is the area below the curve, of which these are some points; no radius is above 3.9 sigma."""
    for sigma, (acr, accuracies) in PUBLISHED[objective].items():
        assert list(accuracies) == sorted(accuracies, reverse=True)
        steps = np.diff([*RADII[sigma], 3.9 * sigma])
        assert (np.array([*accuracies[1:], 0.0]) @ steps) / 100 < acr < (np.array(accuracies) @ steps) / 100


def test_the_same_figures_lie_within_the_limits_and_others_do_not():
    for objective, sigma in (("gaussian", 0.25), ("macer", 1.0)):
        accuracies = PUBLISHED[objective][sigma][1]
        same = list(BESIDE["comparisons"](objective, run_with(sigma, accuracies)))[:-1]
        assert [found.name for found in same] == [f"R > {r:g}" for r in RADII[sigma]]
        assert all(found.within and abs(found.ours - found.published) < 0.2 for found in same)
        less = list(BESIDE["comparisons"](objective, run_with(sigma, [a - 6.5 for a in accuracies])))
        assert not any(found.within for found in less)


def test_limits_are_those_of_the_binomial_and_of_students_distribution():
    *accuracies, acr = BESIDE["comparisons"]("gaussian", run_with(0.25, (50.0, 40.0, 10.0, 0.0)))
    assert (accuracies[0].ours, accuracies[0].lower, accuracies[0].upper) == pytest.approx((50, 45.53, 54.47), abs=0.01)
    assert (accuracies[3].lower, accuracies[3].upper) == pytest.approx((0, 0.735), abs=0.001)
    radii = np.repeat([0.6, 0.35, 0.1, 0.0], [50, 150, 50, 250])
    half = 1.9647 * radii.std(ddof=1) / 500**0.5
    limits = radii.mean() - half, radii.mean() + half
    assert (acr.ours, acr.lower, acr.upper) == pytest.approx((radii.mean(), *limits), abs=1e-5)


def test_what_is_not_as_published_is_named_and_not_compared(tmp_path, capsys, monkeypatch):
    runs = {"a": run_with(0.25, PUBLISHED["gaussian"][0.25][1]), "b": run_with(0.5, [1] * 4, n=1000, data="Digits")}
    runs["c"] = run_with(0.25, [1] * 4)
    monkeypatch.setitem(BESIDE["compare"].__globals__, "load_run", runs.__getitem__)
    assert BESIDE["differences"](runs["a"]) == []
    BESIDE["compare"](["gaussian=a", "macer=b", "stability=c"], str(tmp_path / "beside.md"))
    text = html.unescape((tmp_path / "beside.md").read_text()).replace("\\", "")
    assert text.count("| yes |") == 5 and text.count("| no comparison |") == 5
    assert "| gaussian at σ = 0.25 | R > 0.25 | 61.2 | 61.2 (56.8 to 65.5) | 500 | yes |" in text
    assert "macer at σ = 0.5, b: not as published, data Digits, n 1000" in capsys.readouterr().out
    assert "stability at σ = 0.25: nothing is published" in text
    BESIDE["compare"](["stability=c"], str(tmp_path / "none.md"))
    assert capsys.readouterr().out == "stability at σ = 0.25: nothing is published\n"
    assert "|" not in (tmp_path / "none.md").read_text()
    with pytest.raises(ValueError, match="must read OBJECTIVE=DIRECTORY, got a"):
        BESIDE["compare"](["a"])
    del runs["a"].certificates["cohen"]
    with pytest.raises(ValueError, match="^a must hold certificates of cohen, got "):
        BESIDE["compare"](["gaussian=a"])
