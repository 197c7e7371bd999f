import json
from dataclasses import replace

import pytest
from run_cases import DESCRIPTION, RECORDS, possible, write_run

from lightning_rs.cli import run_command
from lightning_rs.results import RunDirectory

POSSIBLE = possible(RECORDS, DESCRIPTION)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Working directory with a run's folder, in which its shards lie."""
    monkeypatch.chdir(tmp_path)
    for i in (1, 2):
        write_run(tmp_path / "run" / f"shard-{i}-of-2", RECORDS[i - 1 :: 2], shard=f"{i}/2")
    return tmp_path


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        run_command(["merge", *arguments])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    return err


def test_shards_are_merged_beside_themselves_and_reported(work, capsys):
    shards = ["run/shard-1-of-2", "run/shard-2-of-2"]
    run_command(["merge", *shards, "--output=run"])
    said = capsys.readouterr()
    assert "4 images; base classifier: " in said.out and said.err == ""
    merged = RunDirectory("run")
    assert merged.read() == POSSIBLE and merged.run() == DESCRIPTION
    merged.check(DESCRIPTION)  # It goes on as any other.
    assert (work / "run" / "table.csv").exists()
    assert sorted(json.loads((work / shard / "run.json").read_text())["shard"] for shard in shards) == ["1/2", "2/2"]
    run_command(["merge", *shards, "--output=run"])
    assert RunDirectory("run").read() == POSSIBLE


def test_what_is_missing_is_said_and_added_later(work, capsys):
    first, second = (work / "run" / f"shard-{i}-of-2" for i in (1, 2))
    run_command(["merge", str(first), "--output=out"])
    said = capsys.readouterr()
    assert said.err == (
        "warning: missing 2 of 4 images: shard 2/2 (all 2); certify.py with --output out goes on with them\n"
    )
    assert "out: not finished, 2 of 4 examples are missing" in said.out
    run_command(["merge", str(second), "--output=out"])  # What is there counts too.
    assert capsys.readouterr().err == "" and RunDirectory("out").read() == POSSIBLE
    run_command(["merge", "out", str(second), "--output=out"])
    assert RunDirectory("out").read() == POSSIBLE


def test_bad_input_is_one_line_and_writes_nothing(work, capsys):
    write_run(work / "foreign", n=20)
    write_run(work / "empty", [])
    (work / "others").mkdir()
    (work / "others" / "mine.txt").write_text("mine")
    before = sorted(work.rglob("*"))
    shards = ("run/shard-1-of-2", "run/shard-2-of-2")
    for arguments, message in (
        (shards, "merge writes into a directory that is named: give --output DIR"),
        ((*shards, "foreign", "--output=new"), "run/shard-1-of-2 and foreign are of different runs; they differ in n"),
        ((*shards, shards[0], "--output=new"), "run/shard-1-of-2 stands there twice: name every directory once"),
        ((*shards, "none", "--output=new"), "none is not the directory of a certification: it holds no run.json"),
        ((*shards, "--output=foreign"), "foreign holds another run; it differs in n (20 there, 10 now)"),
        ((*shards, "--output=others"), "others is not the directory of a certification: it holds mine.txt and no run"),
        ((*shards, f"--output={shards[0]}"), 'run/shard-1-of-2 holds another run; it differs in shard ("1/2" there'),
        (("empty", "--output=new"), "empty: no examples are finished in any of them"),
        ((*shards, "--output=new", "--radii=[-1]"), "radii must "),
    ):
        assert refused(capsys, *arguments).startswith(f"error: {message}")
    assert sorted(work.rglob("*")) == before


def test_a_damaged_shard_or_one_that_is_written_to_is_named(work, capsys):
    target = RunDirectory("out")
    with target.locked():
        assert refused(capsys, "run/shard-1-of-2", "--output=out").startswith("error: another certification is writing")
    path = work / "run" / "shard-2-of-2" / "records-0.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"label":1', b'"label":2', 1))
    err = refused(capsys, "run/shard-1-of-2", "run/shard-2-of-2", "--output=out")
    assert err.startswith("error: run/shard-2-of-2/records-0.jsonl, line 1: its check sum does not fit")
    assert not (work / "out").exists()


def test_two_records_of_an_image_leave_what_was_there(work, capsys):
    write_run(work / "other", [replace(RECORDS[3], clean_prediction=5)])
    shards = ("run/shard-1-of-2", "run/shard-2-of-2")
    there = "run/shard-2-of-2/records-0.jsonl, line 2"
    message = f"error: other/records-0.jsonl, line 1: another record of image 3 than {there}\n"
    before = sorted(work.rglob("*"))
    assert refused(capsys, *shards, "other", "--output=run") == message
    assert refused(capsys, *shards, "other", "--output=new") == message
    assert sorted(work.rglob("*")) == before
