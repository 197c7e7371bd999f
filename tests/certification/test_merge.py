import re
from dataclasses import replace

import pytest
from run_cases import DESCRIPTION, RECORDS, possible, write_run

from lightning_rs.certification.merge import merge_directories, run_of_all
from lightning_rs.results import Environment, RunDirectory, recomputation, stored_records

POSSIBLE = possible(RECORDS, DESCRIPTION)


@pytest.fixture
def parts(tmp_path):
    """The two shards of four images."""
    return [write_run(tmp_path / f"{i}", RECORDS[i - 1 :: 2], shard=f"{i}/2") for i in (1, 2)]


def test_shards_are_the_whole_run(parts):
    merged = merge_directories(parts)
    assert merged.run == DESCRIPTION and [*merged] == POSSIBLE
    assert merged.missing is None and merged.notes == ()
    assert [*merge_directories(parts[::-1])] == POSSIBLE


def test_what_is_held_twice_has_to_be_equal_but_for_seconds(parts, tmp_path):
    slower = [replace(record, seconds=9.0) for record in RECORDS[:3]]
    assert [*merge_directories([*parts, write_run(tmp_path / "slower", slower)])] == POSSIBLE
    other = write_run(tmp_path / "other", [replace(RECORDS[1], clean_prediction=5)])
    message = f"{other}/records-0.jsonl, line 1: another record of image 1 than {parts[1]}/records-0.jsonl, line 1"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        list(merge_directories([*parts, other]))


def test_a_part_of_the_records_is_read_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_records, "_PART", 2)
    monkeypatch.setattr(recomputation, "_ROWS", 2)
    read, records = [], [replace(RECORDS[0], index=index) for index in range(100)]
    asked = {"indices": tuple(range(100))}
    paths = [write_run(tmp_path / f"{i}", records[i - 1 :: 2], shard=f"{i}/2", **asked) for i in (1, 2)]
    check = stored_records.check_record
    monkeypatch.setattr(stored_records, "check_record", lambda *one: (read.append(one), check(*one)))
    merged = merge_directories(paths)
    read.clear()
    for count, record in enumerate(merged):
        assert record.index == count
        assert len(read) <= count + 10
    assert len(read) == 100


def test_what_is_missing_is_told_by_shard(parts, tmp_path):
    third = write_run(tmp_path / "third", [], shard="2/2")
    assert merge_directories([parts[0], third]).missing == "missing 2 of 4 images: shard 2/2 (all 2)"
    torn = parts[1] / "records-0.jsonl"
    torn.write_bytes(torn.read_bytes()[:-5])
    assert merge_directories(parts).missing == "missing 1 of 4 images: shard 2/2 (1 of 2: 3)"
    # Without shards, or divided in several ways, by image.
    some = write_run(tmp_path / "some", RECORDS[3:])
    assert merge_directories([some]).missing == "missing 3 of 4 images: 3 of 4: 0, 1, 2"
    quarter = write_run(tmp_path / "quarter", RECORDS[:1], shard="1/4")
    assert merge_directories([quarter, third]).missing == "missing 3 of 4 images: 3 of 4: 1, 2, 3"
    many = write_run(tmp_path / "many", RECORDS[:1], indices=tuple(range(3000)))
    assert merge_directories([many]).missing == "missing 2,999 of 3,000 images: 2,999 of 3,000: 1, 2, 3, 4, 5, ..."


def test_environments_stay_with_their_records(tmp_path):
    old = write_run(tmp_path / "old", RECORDS[:2], device="cpu", versions={"torch": "1"}, batch_size=7, commit=None)
    new = RunDirectory(tmp_path / "new")
    new.create(DESCRIPTION)
    with new.appender(0, gpu := Environment(device="NVIDIA H200")) as file:
        file.append(POSSIBLE[2])
    merged = merge_directories([old, new.path])
    cpu = Environment(device="cpu", versions={"torch": "1"}, batch_size=7)
    assert merged.origins == {0: cpu, 1: cpu, 2: gpu}
    assert merged.run == DESCRIPTION  # Which an environment is no part of.


def test_the_order_of_the_images_makes_no_difference(parts, tmp_path):
    backwards = write_run(tmp_path / "backwards", RECORDS, indices=(3, 2, 1, 0))
    assert merge_directories([*parts, backwards]).run.indices == (0, 1, 2, 3)
    assert merge_directories([backwards, *parts]).run.indices == (3, 2, 1, 0)


def test_other_runs_are_refused_and_the_difference_named(parts, tmp_path):
    with pytest.raises(ValueError, match=r"they differ in alpha \(0.01 in the first, 0.05 in the second\)$"):
        run_of_all([*parts, write_run(tmp_path / "alpha", alpha=0.05)])
    with pytest.raises(ValueError, match=r"1 and .*seed are of different runs; they differ in seed \(null in"):
        run_of_all([*parts, write_run(tmp_path / "seed", seed=3)])
    with pytest.raises(ValueError, match=r"they differ in indices \(\[0, 1, 2, 3\] in the first, \[0, 1\] in the"):
        run_of_all([*parts, write_run(tmp_path / "fewer", RECORDS[:2], indices=(0, 1))])


def test_other_directories_are_refused(parts, tmp_path):
    (tmp_path / "link").symlink_to(parts[0])
    with pytest.raises(ValueError, match=f"^{tmp_path}/link stands there twice: name every directory once$"):
        run_of_all([*parts, tmp_path / "link"])
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ValueError, match=f"^{path} is not the directory of a certification: it holds no run.json$"):
            run_of_all([*parts, path])
