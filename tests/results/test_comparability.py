"""What is compared, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from run_cases import BETTER, DESCRIPTION, RECORDS, possible, record, write_log, write_run

from lightning_rs.results.comparability import comparable_groups, differences, merged, remarks, with_common_images
from lightning_rs.results.figures import figures
from lightning_rs.results.runs import run_of_records
from lightning_rs.results.sources import load_runs


@pytest.mark.parametrize(
    ("records", "changes", "difference"),
    [
        (RECORDS, {"n": 1000}, "n: 10 in a, 1,000 in b"),
        (RECORDS, {"alpha": 0.001}, "alpha: 0.01 in a, 0.001 in b"),
        (RECORDS, {"data": "MNIST"}, "data: Digits in a, MNIST in b"),
        (RECORDS, {"split": "val"}, "split: test in a, val in b"),
        (RECORDS[:3], {}, "images: 4 in a, 3 in b, 3 in both"),
        ([*RECORDS[:3], record(9, 2, 2, {2: 1}, 2, 0.1)], {}, "images: 4 in a, 4 in b, 3 in both"),
        ([*RECORDS[:3], record(3, 7, 2, {2: 1}, 2, 0.1)], {}, "labels: 1 of 4 differ between a and b"),
    ],
)
def test_what_cannot_be_compared(records, changes, difference):
    a, b = run_of_records(RECORDS, DESCRIPTION, "a"), run_of_records(records, replace(DESCRIPTION, **changes), "b")
    assert differences(a, b) == [difference]
    assert comparable_groups([a, b, a]) == [[a, a], [b]]
    assert remarks([a, b]) == [f"not comparable, so in tables of their own: {difference}"]


def test_other_shares_of_alpha_are_not_compared():
    one, many = (run_of_records(RECORDS, replace(DESCRIPTION, attempts=k), f"{k}") for k in (1, 3))
    assert differences(one, many) == ["attempts: 1 in 1, 3 in 3"]
    assert not differences(many, many)


def test_sigma_weights_and_seeds_may_differ():
    a = run_of_records(RECORDS, DESCRIPTION, "a")
    other = replace(DESCRIPTION, sigma=0.5, weights_sha256="x", seed=7, device="cuda")
    b = run_of_records(BETTER, other, "b")
    assert differences(a, b) == remarks([a, b]) == []


def test_a_results_file_beside_a_run(tmp_path):
    write_log(tmp_path / "theirs.tsv", possible(RECORDS, DESCRIPTION))
    (ours, theirs), _ = load_runs([write_run(tmp_path / "ours"), tmp_path / "theirs.tsv"])
    assert (ours.name, theirs.name) == ("ours", "theirs")
    assert comparable_groups([ours, theirs]) == [[ours, theirs]]
    unsaid = "sigma, data, split, n0, n, alpha, pixel_range not said, so whether they agree is not checked"
    assert remarks([ours, theirs]) == [f"theirs: {unsaid}"]
    assert "if its radii were rounded to nearest" in theirs.notes[0]
    mine, published = (figures(run, [0.0, 0.25])[0] for run in (ours, theirs))
    assert mine.certified == published.certified
    assert published.acr <= mine.acr
    assert np.isnan(published.clean) and np.isnan(published.limit[0]) and np.isnan(published.sigma)


def test_what_is_stated_is_compared(tmp_path):
    write_log(tmp_path / "theirs.tsv")
    sources = [write_run(tmp_path / "ours"), tmp_path / "theirs.tsv"]
    (ours, theirs), _ = load_runs(sources, stated={"n": [None, 1000], "alpha": 0.01})
    assert differences(ours, theirs) == ["n: 10 in ours, 1,000 in theirs"]
    assert remarks([ours, theirs])[1].startswith("theirs: sigma, data, split, n0, pixel_range not said")
    (limited,) = figures(theirs, [0.0])  # Alpha is known.
    assert 0 < limited.limit[0] < limited.certified[0]


def test_images_common_to_all():
    runs = [run_of_records(RECORDS[i:], DESCRIPTION, f"run{i}") for i in range(3)]
    common, notes = with_common_images(runs)
    assert [run.index.tolist() for run in common] == [[2, 3]] * 3
    assert comparable_groups(common) == [common]
    assert notes == [
        "run0: 2 of 4 images, those that all have",
        "run1: 2 of 3 images, those that all have",
        "run2: 2 of 2 images, those that all have",
    ]
    with pytest.raises(ValueError, match="no image is common to all 2 sources"):
        with_common_images([run_of_records(RECORDS[:1], DESCRIPTION, "a"), runs[1]])


def test_remarks_are_merged():
    assert merged([("a", "x"), ("b", "y"), ("c", "x")]) == ["a, c: x", "b: y"]
    assert merged((f"run{i}", "x") for i in range(30)) == ["30 runs (run0, run1, ...): x"]


def test_thirty_runs_that_differ_take_a_line_each():
    runs = [run_of_records(RECORDS, replace(DESCRIPTION, n=10 + i), f"run{i}") for i in range(30)]
    assert len(remarks(runs)) == 29
