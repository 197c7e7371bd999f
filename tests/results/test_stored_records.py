import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from run_cases import DESCRIPTION, RECORDS, possible, write_run

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import Record, RunDirectory, load_run, recomputation, run_of_records, stored_records
from lightning_rs.results.recomputation import recompute

CLASSES, IMAGES = 300, 150
SOFT = replace(
    DESCRIPTION, data="mine", num_classes=CLASSES, indices=tuple(range(IMAGES)), n=1000, mechanisms=("salman",)
)


def scored(count=IMAGES):
    """Records with the sums of all classes' scores."""
    rng = np.random.default_rng(0)
    for index in range(count):
        sums = rng.dirichlet(np.ones(CLASSES)) * 200
        sums[index] += 800
        statistics = {"score_sum": (sums * 1000 / sums.sum()).tolist()}
        yield Record(index, index, index, {index: 100}, {index: 990, index + 1: 10}, {}, 1.0, statistics)


def certified(records, run):
    return recompute(records, run, run.spent_alpha, MechanismSet(run.mechanisms))


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    directory = RunDirectory(tmp_path_factory.mktemp("soft"))
    directory.create(SOFT)
    with directory.locked():
        directory.replace(certified(list(scored()), SOFT))
    return directory


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(recomputation, "_ROWS", 7)
    monkeypatch.setattr(stored_records, "_PART", 5)


def peak(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_records(soft, tmp_path, small_parts):
    every = soft.read()
    held = peak(soft.read)
    assert peak(lambda: load_run(soft.path)) < held / 5
    again = RunDirectory(tmp_path)
    again.create(SOFT)
    with again.locked():
        assert peak(lambda: again.replace(certified(soft.stored(), SOFT))) < held / 3
    assert again.read() == every


def test_parts_of_any_size_say_the_same(soft, monkeypatch):
    whole = load_run(soft.path)
    for rows, lines in ((1, 1), (7, 3), (75, 100), (149, 7)):
        monkeypatch.setattr(recomputation, "_ROWS", rows)
        monkeypatch.setattr(stored_records, "_PART", lines)
        run = load_run(soft.path)
        assert run.index.tolist() == list(range(IMAGES)) and run.notes == whole.notes
        assert np.array_equal(run.certificates["salman"], whole.certificates["salman"])


def test_what_streams_is_what_is_read(soft):
    records, stored = soft.read(), soft.stored()
    assert list(stored) == list(stored) == records and len(stored) == IMAGES  # Again and again.
    assert (stored[0], stored[-1], stored[5:9]) == (records[0], records[-1], records[5:9])
    assert stored.indices == tuple(range(IMAGES)) and stored.notes == []
    one, other = run_of_records(records, SOFT, "a"), run_of_records(stored, SOFT, "a")
    for name in ("index", "label", "clean", "noisy", "share", "votes", "rival", "seconds"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_lines_stand_in_any_order_in_any_number_of_files(tmp_path, name):
    golden = ROOT / "tests" / "golden" / name
    lines = (golden / "records-0.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "run.json").write_bytes((golden / "run.json").read_bytes())
    for process in range(3):
        content = b"".join(lines[::-1][process::3]) + b'{"index"'  # And each a torn one.
        (tmp_path / f"records-{process}.jsonl").write_bytes(content)
    assert RunDirectory(tmp_path).read() == RunDirectory(golden).read()


def changed(folder, process, line, **changes):
    """A record of the run in another file, with changes; without a check sum, as older versions wrote it."""
    records = possible(RECORDS, DESCRIPTION)
    values = json.loads(replace(records[line], **changes).to_json())
    path = folder / f"records-{process}.jsonl"
    path.write_text(json.dumps(values) + "\n")
    return path


def unsealed(folder):
    """As older versions wrote it."""
    text = json.dumps(DESCRIPTION.to_dict())
    (folder / "run.json").write_text(text)
    (folder / "records-0.jsonl").write_text("".join(r.to_json() + "\n" for r in possible(RECORDS, DESCRIPTION)))
    return folder


def test_another_record_of_an_image_is_found_across_files(tmp_path):
    folder = unsealed(write_run(tmp_path / "a"))
    changed(folder, 1, 2, seconds=7.0)
    assert [r.seconds for r in RunDirectory(folder).read()] == [1.0] * 4  # The time may differ; the first line counts.
    path = changed(folder, 1, 2, clean_prediction=1)
    with pytest.raises(ValueError) as error:
        RunDirectory(folder).stored()
    assert str(error.value) == f"{path}, line 1: another record of image 2 than {folder}/records-0.jsonl, line 3"


def test_a_contradiction_is_named_with_its_line_in_a_later_part(tmp_path, small_parts):
    directory = RunDirectory(tmp_path)
    directory.create(replace(SOFT, indices=None))
    (tmp_path / "run.json").write_text(json.dumps(replace(SOFT, indices=None).to_dict()))
    records = list(certified(list(scored(20)), SOFT))
    wrong = replace(records[17].certificates["salman"], radius=0.01)
    records[17] = replace(records[17], certificates={"salman": wrong})
    lines = [record.to_json() + "\n" for record in records[::-1]]
    (tmp_path / "records-0.jsonl").write_text("".join(lines))
    stored = directory.stored()
    passed = []
    with pytest.raises(ValueError, match=r"records-0.jsonl, line 3: salman of image 17 is class 17 with radius 0.01, "):
        passed.extend(record.index for record in stored)
    assert passed == list(range(14))  # No record of its part.
    (tmp_path / "records-1.jsonl").write_text(lines[0].replace('"label":19', '"label":500').replace(":19,", ":20,", 1))
    with pytest.raises(ValueError, match="records-1.jsonl, line 1: label of class 500, of 300 classes"):
        directory.stored()[-1]
