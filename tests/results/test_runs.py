from dataclasses import replace

import numpy as np
import pytest
from run_cases import DESCRIPTION, RECORDS, write_run

from lightning_rs.results.runs import REAL_ARITHMETIC, UNNAMED, load_run, load_runs, run_of_records
from lightning_rs.results.tsv import write_tsv


def test_by_hand():
    run = run_of_records(RECORDS[::-1], DESCRIPTION, "a")
    assert (run.name, run.sigma, len(run), run.finished, run.sequential) == ("a", 0.25, 4, True, False)
    assert run.index.tolist() == [0, 1, 2, 3]
    assert run.label.tolist() == [1, 1, 0, 2]
    assert run.clean.tolist() == [True, False, True, True]
    assert run.noisy.tolist() == [1.0, 0.6, 0.1, 0.8]
    assert run.share.tolist() == [1.0, 0.6, 0.9, 0.8]
    assert run.certified_radius("cohen").tolist() == [0.5, 0.0, 0.0, 0.1]  # Abstained, and wrong.
    assert run.norm("cohen") == "l2" and run.notes == (f"a: {REAL_ARITHMETIC}",)


def test_what_the_noise_promises_is_noted():
    grid = replace(DESCRIPTION, noise="grid_gaussian:levels=16")
    assert run_of_records(RECORDS, grid, "a").notes == ()
    assert "rounded to the grid" in run_of_records(RECORDS, replace(grid, quantized=True), "a").notes[0]


def test_an_unfinished_run_is_said_to_be_one(tmp_path):
    run = load_run(write_run(tmp_path / "a", RECORDS[:3]))
    assert run.notes[-1] == "a is not finished: 1 of 4 examples are missing"
    assert load_run(write_run(tmp_path / "training" / "certification")).name == "training"


def test_of_a_results_file_nothing_else_is_known(tmp_path):
    write_tsv(RECORDS[::-1], "cohen", tmp_path / "theirs.tsv")
    run = load_run(tmp_path / "theirs.tsv")
    assert run.description is run.sigma is run.clean is run.share is None
    assert run.finished and not run.sequential
    assert run.index.tolist() == [0, 1, 2, 3]
    prediction, radius = run.certificates[UNNAMED]
    assert prediction.tolist() == [1, -1, 2, 2]
    assert np.all(radius <= [0.5, 0.0, 0.3, 0.1])


def test_names(tmp_path):
    paths = [write_run(tmp_path / folder / "out") for folder in "xy"]
    assert [run.name for run in load_runs(paths, ["a", "b"])] == ["a", "b"]
    assert [run.name for run in load_runs(paths)] == list(map(str, paths))  # Both folders are called out.
    with pytest.raises(ValueError, match="a source is given twice"):
        load_runs([paths[0], paths[0]])
    with pytest.raises(ValueError, match="names must be 2 different ones"):
        load_runs(paths, ["a", "a"])
    with pytest.raises(FileNotFoundError, match="no results at "):
        load_run(tmp_path / "nowhere")
