"""From records alone the same comes out as from certifying anew."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_rs.certification import Certification, CertificationSettings, certify_examples, recertify
from lightning_rs.data import Digits
from lightning_rs.mechanisms import list_mechanisms
from lightning_rs.noise import Gaussian
from lightning_rs.results import ExampleCertificate, Record, RunDescription, RunDirectory
from lightning_rs.results.check_sums import LINE
from lightning_rs.results.recomputation import held_fields
from lightning_rs.results.records import certificates_of
from lightning_rs.results.verification import Contradiction, verify

SEQUENTIAL = ["sequential_betting", "sequential_union"]
ALL = [
    *sorted({*list_mechanisms()} - {*SEQUENTIAL, "ugare"}),
    "salman:bound=empirical_bernstein",
    "kumar_score:confidence=0.7,band=dkw",
]
HARD = ["cohen", "cohen_two_sided", "delattre", "li", "ensemble"]


def certify(alpha, mechanisms, seed=3, indices=range(5)):
    """A linear net on digits; sharp and dull answers both occur."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    net[1].weight.data *= 6
    settings = CertificationSettings(
        n0=50,
        n=400,
        alpha=alpha,
        mechanisms=mechanisms,
        batch_size=200,
        seed=seed,
        radii=[0.0, 0.1, 0.3],
        indices=list(indices),
    )
    dataset = Digits().dataset("test")
    certification = Certification(net, "linear", 10, Gaussian(0.25), dataset, "Digits", "test", settings)
    return list(certify_examples(certification, indices)), certification.describe()


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run with the statistics of all mechanisms, read back from its directory."""
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    records, run = certify(0.001, ALL)
    directory.create(run)
    with directory.appender(0) as file:
        for record in records:
            file.append(record)
    return directory.read(), run


def assert_same(records, others):
    """Predictions equal; numbers too, up to the last bits of functions that work on other numbers of rows."""
    assert len(records) == len(others)
    for a, b in zip(records, others, strict=True):
        assert list(a.certificates) == list(b.certificates)
        for name, certificate in a.certificates.items():
            other = b.certificates[name]
            assert certificate.prediction == other.prediction
            for key in ("radius", "p_lower", "p_upper"):
                value, expected = getattr(certificate, key), getattr(other, key)
                if expected is None:
                    assert value is None
                else:
                    assert value == pytest.approx(expected, rel=1e-12, abs=0), (name, key)


@pytest.mark.parametrize(("alpha", "mechanisms"), [(0.05, ALL), (0.001, ["voracek"]), (0.2, ["kumar_margin", "cohen"])])
def test_equal_to_certifying_anew(stored, alpha, mechanisms):
    records, run = stored
    again, about = recertify(records, run, alpha, mechanisms)
    anew, run_anew = certify(alpha, mechanisms)
    assert about == run_anew
    assert_same(again, anew)
    for a, b, original in zip(again, anew, records, strict=True):
        assert (a.index, a.label, a.selection, a.counts) == (b.index, b.label, b.selection, b.counts)
        assert a.statistics == original.statistics and a.seconds == original.seconds
    _, radius, _ = certificates_of(again, mechanisms[-1])
    assert (radius > 0).any()  # So that there was something to compare.


def test_left_out_it_is_what_the_run_had(stored):
    records, run = stored
    again, about = recertify(records, run)
    assert about == run
    assert_same(again, records)


def test_votes_alone_allow_the_hard_mechanisms(tmp_path):
    records, run = certify(0.001, ["cohen"])
    assert held_fields(records, run) == {"counts", "selection_counts", "input_shape"}
    again, _ = recertify(records, run, 0.01, HARD)
    assert [r.certificates for r in again] == [r.certificates for r in certify(0.01, HARD)[0]]
    with pytest.raises(ValueError) as error:
        recertify(records, run, mechanisms=["cohen", "salman", "voracek"])
    message = str(error.value)
    assert message.startswith("the records do not hold what is needed: salman needs score_sum; voracek needs uniform;")
    assert "\n" not in message


def test_linf_from_votes_alone_of_a_run_that_says_the_shape():
    records, run = certify(0.01, ["cohen"])
    assert run.input_shape == (1, 8, 8) and "input_shape" not in records[0].statistics
    again, about = recertify(records, run, mechanisms=["cohen:norm=linf"])
    assert [r.certificates for r in again] == [r.certificates for r in certify(0.01, ["cohen:norm=linf"])[0]]
    assert verify(again, about) == [] and certificates_of(again, "cohen:norm=linf")[1].max() > 0
    # Runs of before do not say it; their records do if it was asked for.
    with pytest.raises(ValueError, match="cohen:norm=linf needs input_shape; certify anew"):
        recertify(records, replace(run, input_shape=None), mechanisms=["cohen:norm=linf"])
    stored, old = certify(0.01, ["cohen:norm=linf"])
    assert verify(stored, replace(old, input_shape=None)) == []
    assert_same(recertify(stored, replace(old, input_shape=None))[0], stored)


ROWS = "mohapatra_channel:channel=all,top=2,height=3"


def test_a_rectangle_is_certified_again_from_what_is_kept_of_it_and_from_all_sums():
    kept, run = certify(0.001, [ROWS])
    assert {"region_moments", "regions"} <= kept[0].statistics.keys() and "gradient_sums" not in kept[0].statistics
    assert verify(kept, run) == []
    anew = certify(0.05, [ROWS])[0]
    assert_same(recertify(kept, run, 0.05)[0], anew)
    other = ROWS.replace("top=2", "top=1")
    with pytest.raises(ValueError, match=r"top=1,height=3 needs gradient_sums \(which keep=all keeps\); certify anew"):
        recertify(kept, run, mechanisms=[other])
    whole, of_all = certify(0.001, [f"{ROWS},keep=all"])
    assert "gradient_sums" in whole[0].statistics and verify(whole, of_all) == []
    assert_same(recertify(whole, of_all, 0.05, [ROWS])[0], anew)
    assert_same(recertify(whole, of_all, 0.05, [other])[0], certify(0.05, [other])[0])


def test_a_run_of_before_that_went_on_holds_sums_and_regions():
    """Older versions kept the sums of every pixel."""
    kept, run = certify(0.001, [ROWS])
    whole = certify(0.001, [f"{ROWS},keep=all"])[0]
    old = [replace(r, certificates=k.certificates) for r, k in zip(whole, kept, strict=True)]
    mixed = [*old[:2], kept[2], old[3], kept[4]]
    assert verify(mixed, run) == []
    assert_same(recertify(mixed, run, 0.05)[0], certify(0.05, [ROWS])[0])
    wrong = {ROWS: replace(kept[2].certificates[ROWS], radius=9.0, prediction=1)}
    with pytest.raises(Contradiction) as error:
        verify([*mixed[:2], replace(kept[2], certificates=wrong), *mixed[3:]], run)
    assert error.value.position == 2


def test_each_of_several_attempts_has_its_share_of_alpha(stored):
    records, run = stored
    again, about = recertify(records, run, 0.03, HARD, attempts=3)
    assert (about.alpha, about.attempts) == (0.03, 3) and about.spent_alpha == pytest.approx(0.01)
    assert_same(again, recertify(records, run, about.spent_alpha, HARD)[0])
    assert recertify(again, about)[1] == about and verify(again, about) == []
    with pytest.raises(Contradiction):
        verify(again, replace(about, attempts=1))
    with pytest.raises(ValueError, match="attempts must be an integer of at least 1, got 0"):
        recertify(records, run, attempts=0)
    with pytest.raises(ValueError, match="cannot certify anything with n = 400"):
        recertify(records, run, 1e-200, ["cohen"], attempts=10)


def test_the_error_of_random_bits_is_taken_from_alpha(stored):
    records, run = stored
    inexact, _ = recertify(records, replace(run, sampling_error=0.05 / 200), 0.05, HARD)
    assert_same(inexact, recertify(records, run, 0.05 - 0.05 / 200, HARD)[0])
    with pytest.raises(ValueError, match="more than a hundredth of alpha = 0.01: take fewer draws"):
        recertify(records, replace(run, sampling_error=0.05 / 200), 0.01, HARD)


def test_single_scores_are_never_stored(stored):
    with pytest.raises(ValueError, match="salman:bound=betting needs scores; certify anew"):
        recertify(*stored, mechanisms=["salman:bound=betting"])


def test_bad_input(stored):
    records, run = stored
    with pytest.raises(ValueError, match="there are no records"):
        recertify([], run)
    with pytest.raises(ValueError, match="alpha must lie in"):
        recertify(records, run, alpha=1.5)
    with pytest.raises(ValueError, match="unknown mechanism 'coen'"):
        recertify(records, run, mechanisms=["coen"])
    with pytest.raises(ValueError, match="cohen cannot certify anything with n = 400 at alpha = 1e-200: n must be >="):
        recertify(records, run, alpha=1e-200, mechanisms=["cohen"])
    with pytest.raises(ValueError, match="hold votes for class 9, of 5 classes"):
        recertify([replace(records[0], counts={9: 400})], replace(run, num_classes=5), mechanisms=["cohen"])


def test_ten_thousand_examples(tmp_path):
    """Their records are read and certified again by mechanisms of votes in seconds; 1,000 classes, stored sparsely."""
    generator = np.random.default_rng(0)
    run = RunDescription(
        data="mine",
        split="test",
        num_classes=1000,
        sigma=0.5,
        n0=100,
        n=100_000,
        alpha=0.001,
        mechanisms=["mine"],
    )
    directory = RunDirectory(tmp_path)
    directory.create(run)
    with open(tmp_path / "records-0.jsonl", "wb") as file:
        for index in range(10_000):
            top, rival = generator.integers(60_000, 100_000), int(generator.integers(1, 1000))
            counts = {0: int(top), rival: int(100_000 - top)}
            none = {"mine": ExampleCertificate(-1, 0.0)}
            line = Record(index, 0, 0, {0: 90, rival: 10}, counts, none, 1.0).to_json().encode()
            file.write(LINE.add(line, run.number) + b"\n")
    assert (tmp_path / "records-0.jsonl").stat().st_size < 2_700_000
    start = time.process_time()
    again, _ = recertify(directory.read(), run, 0.01, HARD)
    assert time.process_time() - start < 60  # About 4 s.
    assert len(again) == 10_000
    _, radius, _ = certificates_of(again, "cohen")
    assert (radius > 0).all()


def test_sequential_records_serve_sequential_mechanisms_alone(tmp_path):
    """Each mechanism gets the looks at which the draws really stopped, whatever their number."""
    records, run = certify(0.001, SEQUENTIAL, indices=range(20))
    directory = RunDirectory(tmp_path)
    directory.create(run)
    with directory.appender(0) as file:
        for record in records:
            file.append(record)
    stored = directory.read()
    assert len({len(record.statistics["look_counts"]) for record in stored}) > 1
    again, _ = recertify(stored, run)
    assert_same(again, stored)
    looser, _ = recertify(stored, run, alpha=0.1)
    radii = [[r.certificates["sequential_betting"].radius for r in rows] for rows in (looser, stored)]
    assert np.all(np.array(radii[0]) >= np.array(radii[1]))
    with pytest.raises(ValueError, match="cohen needs a number of draws that is fixed in advance"):
        recertify(stored, run, mechanisms=["cohen"])
