from dataclasses import replace

import numpy as np
import pytest
from run_cases import DESCRIPTION, RECORDS, write_run

from lightning_rs.results.runs import REAL_ARITHMETIC, read_directory, run_of_records


def test_by_hand():
    run = run_of_records(RECORDS[::-1], DESCRIPTION, "a")
    assert (run.name, run.sigma, len(run), run.finished, run.sequential) == ("a", 0.25, 4, True, False)
    assert run.index.tolist() == [0, 1, 2, 3]
    assert run.label.tolist() == [1, 1, 0, 2]
    assert run.clean.tolist() == [True, False, True, True]
    assert run.noisy.tolist() == [1.0, 0.6, 0.1, 0.8]
    assert run.share.tolist() == [1.0, 0.6, 0.9, 0.8]
    assert run.rival.tolist() == [0.0, 0.4, 0.1, 0.2] and run.seconds.tolist() == [1.0] * 4
    assert run.certified_radius("cohen").tolist() == [0.5, 0.0, 0.0, 0.1]  # Abstained, and wrong.
    assert run.norm("cohen") == "l2" and run.notes == (REAL_ARITHMETIC,)


def test_what_the_noise_promises_is_noted():
    grid = replace(DESCRIPTION, noise="grid_gaussian:levels=16")
    assert run_of_records(RECORDS, grid, "a").notes == ()
    assert "rounded to the grid" in run_of_records(RECORDS, replace(grid, quantized=True), "a").notes[0]


def test_an_unfinished_run_is_said_to_be_one():
    run = run_of_records(RECORDS[:3], DESCRIPTION, "a")
    assert run.notes[-1] == "not finished, 1 of 4 examples are missing"
    assert (run.finished, run.missing) == (False, 1)


def test_an_empty_directory_and_one_without_a_run_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is not the directory of a certification: it holds no run.json"):
        read_directory(tmp_path)
    with pytest.raises(ValueError, match="holds no finished examples"):
        read_directory(write_run(tmp_path / "a", []))


def test_restricted_to_some_images():
    part = run_of_records(RECORDS, DESCRIPTION, "a").restricted(np.array([3, 1, 9]))
    assert part.index.tolist() == [1, 3] and part.label.tolist() == [1, 2]
    assert part.certified_radius("cohen").tolist() == [0.0, 0.1]
    assert part.share.tolist() == [0.6, 0.8] and part.votes.tolist() == [10, 10]
    assert part.clean.tolist() == [False, True]


def test_what_is_stated_stands_in_for_a_description():
    run = run_of_records(RECORDS, DESCRIPTION, "a")
    assert (run.said("alpha"), run.said("n"), run.guessed) == (0.01, 10, False)
    silent = replace(run, description=None, guess=0.5)
    assert (silent.said("alpha"), silent.said("sigma"), silent.sigma, silent.guessed) == (None, None, 0.5, True)
    told = replace(silent, stated={"sigma": 0.25, "alpha": 0.1})
    assert (told.said("alpha"), told.sigma, told.guessed) == (0.1, 0.25, False)
