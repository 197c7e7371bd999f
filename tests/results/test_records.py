from dataclasses import replace

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import ExampleCertificate, Record, RunDescription
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


def test_a_certificate_says_whether_it_fell_back_only_where_it_may():
    assert "fallback" not in record(0).to_json()
    for fallback in (False, True):
        certificates = {"mohapatra_l1": ExampleCertificate(1, 0.5, norm="l1", fallback=fallback)}
        line = replace(record(0), certificates=certificates).to_json()
        assert f'"norm":"l1","fallback":{str(fallback).lower()}' in line
        assert Record.from_json(line).certificates == certificates
