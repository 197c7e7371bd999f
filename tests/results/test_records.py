import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import ExampleCertificate, Record, RunDescription
from lightning_rs.results.records import certificates_in, certificates_of
from lightning_rs.smoothing import Statistics
from lightning_rs.statistics import FIELDS

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


COUNTS = st.dictionaries(st.integers(0, 2**40), st.integers(1, 2**40), min_size=1, max_size=3)
SHARES = st.none() | st.floats(0, 1)
CERTIFICATES = st.builds(
    ExampleCertificate,
    st.integers(0, 2**40),
    st.floats(0, allow_infinity=False),
    SHARES,
    SHARES,
    st.sampled_from(["l2", "l1", "linf", "l2_subspace"]),
    st.none() | st.booleans(),
)
STATISTICS = st.fixed_dictionaries(
    {},
    optional={
        "score_sum": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
        "margin_sum": st.floats(allow_nan=False, allow_infinity=False),
        "score_histogram": COUNTS,
        "uniform": st.floats(0, 1),
        "gradient_counts": st.just([[3, 1], [2, 0]]),
        "input_shape": st.lists(st.integers(1, 300), max_size=3),
    },
)
RECORDS = st.builds(
    Record,
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(-1, 2**40),
    st.just({}) | COUNTS,
    COUNTS,
    st.dictionaries(st.sampled_from(["cohen", "salman:bound=hoeffding", "my.Own"]), CERTIFICATES),
    st.floats(0, allow_infinity=False),
    STATISTICS.map(lambda held: {name: held[name] for name in (*FIELDS, "input_shape") if name in held}),
)


@given(RECORDS)
def test_every_record_reads_back_and_writes_the_same_bytes(record):
    line = record.to_json()
    assert Record.from_json(line) == record
    assert Record.from_json(line).to_json() == line


@given(RECORDS, st.data())
def test_another_value_anywhere_is_the_same_record_or_none_or_another_one_of_the_same_types(record, data):
    values = json.loads(record.to_json())
    at = values
    while True:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else list(range(len(at)))))
        if not (isinstance(at[key], (dict, list)) and at[key] and data.draw(st.booleans())):
            break
        at = at[key]
    at[key] = data.draw(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({}))
    try:
        read = Record.from_json(json.dumps(values))
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert Record.from_json(read.to_json()) == read
