from dataclasses import replace

import pytest
from conftest import ROOT
from run_cases import RECORDS, write_run

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import ExampleCertificate, Record, RunDescription, RunDirectory
from lightning_rs.results.records import certificates_in, certificates_of
from lightning_rs.smoothing import Statistics

RUN = RunDescription(data="Digits", split="test", indices=(0, 1, 2), sigma=0.25, n0=10, n=100, alpha=0.001)


def record(index, label=1):
    statistics = Statistics.from_counts([[2, 95 - index, 3 + index]], 0.25, [[0, 9, 1]])
    certificates = certificates_in(MechanismSet(["cohen", "cohen_two_sided"]).certify(statistics, 0.001))
    votes = statistics.to_plain()
    return Record(index, label, 1, votes["selection_counts"], votes["counts"], certificates, 0.1 * index)


def test_a_record_reads_back_to_the_bit():
    original = record(3)
    line = original.to_json()
    assert "\n" not in line
    assert Record.from_json(line) == original
    assert original.counts == {0: 2, 1: 92, 2: 6}
    assert original.selected == 1
    prediction, radius, label = certificates_of([original], "cohen")
    assert (prediction[0], label[0]) == (1, 1)
    assert radius[0] == original.certificates["cohen"].radius > 0


def test_selected_class_of_ties_is_the_lowest():
    assert replace(record(0), selection={2: 5, 1: 5}).selected == 1
    assert replace(record(0), selection={}).selected == 1


def test_directory_keeps_what_every_process_appends(tmp_path):
    directory = RunDirectory(tmp_path / "a" / "b")
    directory.check(RUN)
    assert not directory.path.exists()
    directory.create(RUN)
    assert directory.run() == RUN
    for process, indices in ((0, (2, 0)), (1, (1,))):
        with directory.appender(process) as file:
            for index in indices:
                file.append(record(index))
    assert [r.index for r in directory.read()] == [0, 1, 2]
    directory.check(RUN)


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_last_line_is_dropped_and_appending_goes_on(tmp_path, cut):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    with directory.appender(0) as file:
        file.append(record(0))
        file.append(record(1))
    path = tmp_path / "records-0.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [r.index for r in directory.read()] == [0]
    with directory.appender(0) as file:
        file.append(record(1))
    assert path.read_bytes() == content


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    with pytest.raises(ValueError, match=r"holds another run; it differs in n \(100 there, 200 now\)"):
        directory.check(replace(RUN, n=200))
    with pytest.raises(ValueError, match=r"differs in seed \(null there, 1 now\), sigma \(0.25 there, 0.5 now\)"):
        directory.check(replace(RUN, sigma=0.5, seed=1))


def test_bad_directories(tmp_path):
    (tmp_path / "records-0.jsonl").write_text('{"index": 0}\n')
    with pytest.raises(ValueError, match="holds records but no run.json"):
        RunDirectory(tmp_path).check(RUN)
    with pytest.raises(ValueError, match=r"records-0.jsonl, line 1: not a record"):
        RunDirectory(tmp_path).read()
    with pytest.raises(ValueError, match="is not a directory"):
        RunDirectory(tmp_path / "records-0.jsonl").check(RUN)


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_records_of_version_1_are_written_as_they_were(tmp_path, name):
    golden = RunDirectory(ROOT / "tests" / "golden" / name)
    again = RunDirectory(tmp_path)
    again.create(golden.run())
    records = {r.index: r for r in golden.read()}
    lines = (golden.path / "records-0.jsonl").read_text().splitlines()
    with again.appender(0) as file:
        for line in lines:  # In the order in which they finished.
            file.append(records[int(line.split(",")[0].removeprefix('{"index":'))])
    assert again.run() == golden.run()
    assert (again.path / "records-0.jsonl").read_bytes() == (golden.path / "records-0.jsonl").read_bytes()


def test_a_certificate_says_whether_it_fell_back_only_where_it_may():
    assert "fallback" not in record(0).to_json()
    for fallback in (False, True):
        certificates = {"mohapatra_l1": ExampleCertificate(1, 0.5, norm="l1", fallback=fallback)}
        line = replace(record(0), certificates=certificates).to_json()
        assert f'"norm":"l1","fallback":{str(fallback).lower()}' in line
        assert Record.from_json(line).certificates == certificates


def test_two_programs_do_not_write_to_one_file(tmp_path):
    directory = RunDirectory(write_run(tmp_path / "a"))
    with directory.appender(0), pytest.raises(ValueError, match="another certification is writing to "):
        directory.appender(0)
    assert len(directory.read()) == len(RECORDS)
