"""Where runs come from: what is stated of files that do not say it, what is guessed, left out and refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_cases import RECORDS, write_log, write_run

from lightning_rs.results.sources import UNNAMED, column_names, guessed_sigma, load_run, load_runs
from lightning_rs.results.tsv import NoResultsError

PREDICTIONS = "idx\tlabel\tpredict\tcorrect\ttime\n0\t1\t1\t1\t0:00:01\n"


def names_of(loaded):
    return [run.name for run in loaded[0]]


def test_of_a_results_file_nothing_else_is_known(tmp_path):
    header, *rows = write_log(tmp_path / "theirs.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "theirs.tsv").write_text("".join([header, *rows[::-1]]))
    run = load_run(tmp_path / "theirs.tsv")
    assert run.description is run.sigma is run.clean is run.share is None
    assert run.finished and not run.sequential
    assert run.index.tolist() == [0, 1, 2, 3]
    prediction, radius = run.certificates[UNNAMED]
    assert prediction.tolist() == [1, -1, 2, 2]
    assert np.all(radius <= [0.5, 0.0, 0.3, 0.1])


def test_names(tmp_path):
    paths = [write_run(tmp_path / folder / "out") for folder in "xy"]
    assert names_of(load_runs(paths, ["a", "b"])) == ["a", "b"]
    assert names_of(load_runs(paths)) == ["x/out", "y/out"]  # Both folders are called out.
    assert load_run(write_run(tmp_path / "training" / "certification")).name == "training"
    with pytest.raises(ValueError, match="a source is given twice"):
        load_runs([paths[0], paths[0]])
    with pytest.raises(ValueError, match="names must be 2 different ones"):
        load_runs(paths, ["a", "a"])
    with pytest.raises(FileNotFoundError, match="no results at "):
        load_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="give one or more"):
        load_runs([])


def test_what_is_stated_of_all_or_of_each(tmp_path):
    paths = [write_log(tmp_path / f"{name}.tsv") for name in "ab"]
    stated = {"sigma": [0.25, 0.5], "n": 1000, "n0": 100, "alpha": 0.001, "data": "CIFAR10", "norm": [None, "l1"]}
    a, b = load_runs(paths, stated=stated)[0]
    assert (a.sigma, b.sigma, a.guessed) == (0.25, 0.5, False)
    for run in (a, b):
        said = [run.said(key) for key in ("n", "n0", "alpha", "data")]
        assert said == [1000, 100, 0.001, "CIFAR10"]
    assert list(a.certificates) == [UNNAMED] and a.norm(UNNAMED) == "l2"
    (mechanism,) = b.certificates
    assert mechanism == f"{UNNAMED}, l1" and b.norm(mechanism) == "l1"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"sigma": [0.25]}, "sigma must be one value, or 2, one for each source in order, got 1"),
        ({"sigma": -1.0}, "sigma must be positive and finite, got -1.0"),
        ({"sigma": float("nan")}, "sigma must be positive"),
        ({"alpha": 1.0}, "alpha must lie in"),
        ({"n": 0}, "n must be an integer of at least 1, got 0"),
        ({"n0": -1}, "n0 must be an integer of at least 0, got -1"),
        ({"norm": "l3"}, "unknown norm 'l3'; known: l1, l2"),
        ({"colour": 1}, "unknown statement 'colour'"),
    ],
)
def test_statements_that_cannot_be_are_refused(tmp_path, stated, message):
    paths = [write_log(tmp_path / f"{name}.tsv") for name in "ab"]
    with pytest.raises(ValueError, match=message):
        load_runs(paths, stated=stated)


def test_a_directory_says_it_itself(tmp_path):
    path = write_run(tmp_path / "ours")
    theirs = write_log(tmp_path / "theirs.tsv")
    same = {"sigma": 0.25, "alpha": 0.01, "norm": "l2", "data": "Digits"}
    assert load_runs([path, theirs], stated=same)[0][0].stated == {}
    assert load_runs([path, theirs], stated={"sigma": [None, 0.5]})[0][1].sigma == 0.5
    with pytest.raises(ValueError, match=r"says its sigma itself, 0.25: give 0.5 only to the sources that do not"):
        load_runs([path, theirs], stated={"sigma": 0.5})
    with pytest.raises(ValueError, match="says its norm itself, l2: give l1"):
        load_run(path, stated={"norm": "l1"})


@pytest.mark.parametrize(
    ("path", "sigma"),
    [
        ("cifar10/noise_0.25/test/sigma_0.50", 0.5),
        ("noise_0.25/test/N_1000", 0.25),
        ("sigma0.25.tsv", 0.25),
        ("a/noise_sd=.12/x.txt", 0.12),
        ("sigma-1", 1.0),
        ("Sigma_1.00/log", 1.0),
        ("sigma_25", None),  # In hundredths, or in levels?
        ("sigma_0/x", None),
        ("enigma_0.5", None),
        ("results/ours.tsv", None),
    ],
)
def test_what_a_path_suggests(path, sigma):
    assert guessed_sigma(Path(path)) == sigma


def test_a_guess_is_said_to_be_one_and_gives_way(tmp_path):
    path = write_log(tmp_path / "noise_0.25" / "sigma_0.50")
    run = load_run(path)
    assert (run.sigma, run.guessed, run.said("sigma")) == (0.5, True, None)
    assert "σ = 0.5 is a guess from its path; --sigma says it" in run.notes
    told = load_run(path, stated={"sigma": 0.25})
    assert (told.sigma, told.guessed) == (0.25, False)
    assert not [note for note in told.notes if "guess" in note]


def test_a_folder_of_logs(tmp_path):
    """In folders by sigma as they are published, among files that are none, a report, and a certification."""
    logs = tmp_path / "logs"
    for sigma in ("0.25", "0.50"):
        write_log(logs / f"noise_{sigma}" / f"sigma_{sigma}")
    (logs / "README.txt").write_text("Results\n")
    (logs / "plot.png").write_bytes(b"\x89PNG\x00")
    write_log(logs / ".hidden" / "sigma_1.00")
    write_log(logs / "report" / "tsv" / "cohen.tsv")
    (logs / "report" / "report.json").write_text("{}")
    write_log(write_run(logs / "run") / "tsv" / "cohen.tsv")
    runs, notes = load_runs([logs])
    assert [run.name for run in runs] == ["sigma_0.25", "sigma_0.50"] and notes == []
    assert [run.sigma for run in runs] == [0.25, 0.5]
    assert names_of(load_runs([logs], ["a", "b"])) == ["a", "b"]
    broken = write_run(tmp_path / "broken")
    write_log(broken / "tsv" / "cohen.tsv")
    (broken / "run.json").unlink()  # Its files are not published ones.
    for path in (broken, tmp_path / "logs" / "report" / "none"):
        path.mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="is not the directory of a certification: it holds no run.json"):
            load_runs([path])


def test_what_holds_no_results_is_left_out_among_others(tmp_path):
    good = write_log(tmp_path / "good.tsv")
    for name in ("empty", "nothing"):
        (tmp_path / name).touch()
    (tmp_path / "predictions").write_text(PREDICTIONS)
    paths = [tmp_path / name for name in ("empty", "predictions", "nothing")]
    runs, notes = load_runs([paths[0], good, *paths[1:]], ["a", "b", "c", "d"], {"sigma": [1.0, 0.25, 1.0, 1.0]})
    assert [(run.name, run.sigma) for run in runs] == [("b", 0.25)]
    assert notes == [
        "a, d: left out, holds no examples",
        "c: left out, is a log of predictions, without radii",
    ]
    for path, reason in zip(paths, ("holds no examples", "is a log of predictions, without radii"), strict=False):
        with pytest.raises(NoResultsError, match=f"{path} {reason}"):
            load_runs([path])
    with pytest.raises(ValueError, match="none of 3 sources has results; empty, nothing: left out, holds no"):
        load_runs(paths)


def test_a_damaged_file_among_others_is_not_left_out(tmp_path):
    (tmp_path / "damaged").write_text("idx\tlabel\tpredict\tradius\n0\t1\t1\tx\n")
    with pytest.raises(ValueError, match="damaged, line 2: radius must be a number"):
        load_runs([write_log(tmp_path / "good.tsv"), tmp_path / "damaged"])


def test_columns_by_other_names(tmp_path):
    assert column_names(["r"]) == {"radius": "r"}
    assert column_names(["idx=original_idx", "radius=l1=x"]) == {"idx": "original_idx", "radius": "l1=x"}
    with pytest.raises(ValueError, match="unknown column 'id'; known: correct, idx,"):
        column_names(["id=x"])
    with pytest.raises(ValueError, match="the name of the column radius is given twice"):
        column_names(["a", "radius=b"])
    path = tmp_path / "file"
    path.write_text("number\tlabel\tpredict\tradius\tradius_l1\n7\t1\t1\t0.5\t0.75\n")
    run = load_run(path, columns={"idx": "number", "radius": "radius_l1"})
    assert run.index.tolist() == [7] and run.certified_radius(UNNAMED).tolist() == [0.75]
    with pytest.raises(ValueError, match="line 1: no column r in 'number label predict radius radius_l1'"):
        load_run(path, columns={"radius": "r"})
    with pytest.raises(ValueError, match="idx missing: 'number label.*say column, as in idx=NAME"):
        load_run(path)


def test_variants_are_noted(tmp_path):
    path = tmp_path / "file"
    path.write_text("0\t1\t1\t-1\t1\t0:00:01\n1\t1\t1\t0.5\t0\t0:00:01\n")
    run = load_run(path)
    assert run.certificates[UNNAMED][0].tolist() == [-1, 1]
    assert run.certified_radius(UNNAMED).tolist() == [0.0, 0.5]
    assert [note.split(",")[0] for note in run.notes[2:]] == [
        "no line names its columns",
        "it has radii of -1",
        "some entries of its column correct are wrong",
    ]


def test_labels_and_radii_survive_the_loading_of_a_shuffled_file(tmp_path):
    shuffled = [replace(r, index=index) for r, index in zip(RECORDS, (7, 3, 5, 1), strict=True)]
    run = load_run(write_log(tmp_path / "file", shuffled))
    assert run.index.tolist() == [1, 3, 5, 7] and run.label.tolist() == [2, 1, 0, 1]
