from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from run_cases import DESCRIPTION, RECORDS, possible

from lightning_rs.mechanisms import MECHANISMS, MechanismSet
from lightning_rs.results import ExampleCertificate, Record, RunDescription, RunDirectory
from lightning_rs.results.recomputation import recompute
from lightning_rs.results.verification import COSTLY_EXAMPLES, Contradiction, check_record, verify

GOOD = possible(RECORDS, DESCRIPTION)


def changed(record, **changes):
    """The record with another certificate."""
    (label,) = record.certificates
    return replace(record, certificates={label: replace(record.certificates[label], **changes)})


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_certificates_of_version_1_follow_from_what_it_stored(name):
    directory = RunDirectory(ROOT / "tests" / "golden" / name)
    run = directory.run()
    assert len(directory.read()) == len(run.indices)


@pytest.fixture(scope="module")
def fixed():
    directory = RunDirectory(ROOT / "tests" / "golden" / "fixed")
    return directory.read(), directory.run()


@pytest.mark.parametrize("label", RunDirectory(ROOT / "tests" / "golden" / "fixed").run().mechanisms)
def test_a_radius_that_does_not_follow_is_found_of_every_mechanism(label, fixed):
    records, run = fixed
    some = next(k for k, r in enumerate(records) if r.certificates[label].radius > 0)
    records = [replace(r, certificates={label: r.certificates[label]}) for r in records]
    larger = records[some].certificates[label].radius * (1 + 1e-6)
    records[some] = changed(records[some], radius=larger)
    if label == "salman:bound=betting":
        assert verify(records, run) == [
            f"certificates were not computed again of {label}, whose statistics are not stored"
        ]
        return
    with pytest.raises(Contradiction) as error:
        verify(records, run)
    assert error.value.position == some
    assert str(error.value).startswith(f"{label} of image {records[some].index} is class ")
    assert f"with radius {larger!r}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [{"prediction": 2}, {"radius": 0.5}, {"p_lower": 0.9}, {"p_lower": None}, {"p_upper": 0.1}, {"norm": "l1"}],
)
def test_any_part_of_a_certificate_is_compared(changes):
    assert verify(GOOD, DESCRIPTION) == []
    with pytest.raises(Contradiction, match="^cohen of image 0 is ") as error:
        verify([changed(GOOD[0], **changes), *GOOD[1:]], DESCRIPTION)
    assert error.value.position == 0


def test_rounding_is_no_contradiction():
    certificate = GOOD[0].certificates["cohen"]
    close = changed(GOOD[0], radius=certificate.radius * (1 + 1e-12), p_lower=certificate.p_lower * (1 - 1e-12))
    assert verify([close], DESCRIPTION) == []


def test_abstention_that_does_not_follow_is_found():
    hidden = changed(GOOD[0], prediction=-1, radius=0.0)
    with pytest.raises(Contradiction, match="cohen of image 0 is none, l2, .* follows class 1 with radius"):
        verify([hidden], DESCRIPTION)
    with pytest.raises(Contradiction, match="cohen of image 1 is class 1 with radius 0.0, l2, .* follows none"):
        verify([changed(GOOD[1], prediction=1)], DESCRIPTION)


def test_what_cannot_be_computed_again_is_said():
    own = [replace(r, certificates={"my.Own": ExampleCertificate(1, 0.5)}) for r in GOOD]
    assert verify(own, DESCRIPTION) == ["certificates were not computed again of my.Own, which is not known here"]
    (note,) = verify(GOOD, replace(DESCRIPTION, data="mine"))
    assert note.startswith("certificates were not computed again: neither run.json nor the records say how many ")
    assert verify([], DESCRIPTION) == []


def test_of_a_costly_mechanism_some_are_computed_again():
    assert [name for name, mechanism in MECHANISMS.items() if mechanism.costly] == ["moutaouakil"]
    run = replace(DESCRIPTION, indices=None, mechanisms=["moutaouakil"])
    one = replace(GOOD[0], certificates={})
    (one,) = recompute([one], run, run.alpha, MechanismSet(["moutaouakil"]))
    records = [replace(one, index=index) for index in range(1000)]
    text = f"of moutaouakil {COSTLY_EXAMPLES} of 1,000 certificates were computed again"
    assert verify(records, run) == [text]
    wrong = [changed(r, radius=0.01) for r in records]
    with pytest.raises(Contradiction):
        verify(wrong, run)
    assert verify(records[:COSTLY_EXAMPLES], run) == []


def test_statistics_that_no_draws_have_are_named():
    scored = [replace(r, statistics={"score_sum": [10.0] + [0.0] * 9}) for r in GOOD]
    assert verify(scored, DESCRIPTION) == []
    for wrong, message in (
        ([10.0], r"score_sum must have the shape \(1, 10\) like counts, got \(1, 1\)"),
        ([11.0] + [0.0] * 9, "score_sum must come from scores in"),
    ):
        bad = [*scored[:2], replace(scored[2], statistics={"score_sum": wrong}), scored[3]]
        with pytest.raises(Contradiction, match=message) as error:
            verify(bad, DESCRIPTION)
        assert error.value.position == 2
    with pytest.raises(Contradiction, match="it holds other statistics than the first record") as error:
        verify([*scored[:3], GOOD[3]], DESCRIPTION)
    assert error.value.position == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 10}, "label of class 10, of 10 classes"),
        ({"clean_prediction": 10}, "clean prediction of class 10, of 10 classes"),
        ({"counts": {1: 5, 10: 5}}, "votes of class 10, of 10 classes"),
        ({"selection": {10: 100}}, "votes of class 10, of 10 classes"),
        ({"certificates": {"cohen": ExampleCertificate(10, 0.1)}}, "prediction of class 10, of 10 classes"),
        ({"counts": {1: 9}}, "9 votes, of n = 10 draws"),
        ({"counts": {1: 11}, "statistics": {"look_counts": [[1, 1]]}}, "11 votes, of at most n = 10 draws"),
        ({"selection": {}}, "0 votes that select the class, of n0 = 100 draws"),
        ({"selection": {1: 101}}, "101 votes that select the class, of n0 = 100 draws"),
        ({"certificates": {}}, "certificates of none, and the run's mechanisms are cohen"),
    ],
)
def test_what_the_run_cannot_give(changes, message):
    run = replace(DESCRIPTION, num_classes=10)
    check_record(GOOD[0], run)
    with pytest.raises(ValueError) as error:
        check_record(replace(GOOD[0], **changes), run)
    assert str(error.value) == message


def test_what_the_run_can_give():
    check_record(replace(GOOD[0], counts={1: 7}, statistics={"look_counts": [[7, 7]]}), DESCRIPTION)
    check_record(replace(GOOD[0], selection={1: 60}), DESCRIPTION)  # 40 had NaN scores.
    check_record(replace(GOOD[0], clean_prediction=-1), DESCRIPTION)


def test_the_last_of_many_is_found():
    generator = np.random.default_rng(0)
    run = RunDescription(
        data="mine", split="test", num_classes=10, sigma=0.5, n0=100, n=100_000, alpha=0.001, mechanisms=["cohen"]
    )
    tops = generator.integers(60_000, 100_000, 3000).tolist()
    records = [Record(i, 0, 0, {0: 100}, {0: top, 3: 100_000 - top}, {}, 1.0) for i, top in enumerate(tops)]
    records = list(recompute(records, run, run.alpha, MechanismSet(["cohen"])))
    assert verify(records, run) == []
    with pytest.raises(Contradiction) as error:
        verify([*records[:-1], changed(records[-1], radius=0.1)], run)
    assert error.value.position == 2999
