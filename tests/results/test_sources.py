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
    assert names_of(load_runs(paths, ["a", "b"])) == ["a", "b"]
    assert names_of(load_runs(paths)) == ["x/out", "y/out"]  # Both folders are called out.
    assert load_run(write_run(tmp_path / "training" / "certification")).name == "training"
    with pytest.raises(ValueError, match="a source is given twice"):
        load_runs([paths[0], paths[0]])
    with pytest.raises(ValueError, match="names must be 2 different ones"):
        load_runs(paths, ["a", "a"])
    with pytest.raises(FileNotFoundError, match="no results at "):
        load_run(tmp_path / "nowhere")
