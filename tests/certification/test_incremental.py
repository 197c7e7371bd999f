"""The road from one classifier's records to a changed one's: what is drawn, kept, gone on with and refused."""

import dataclasses

import numpy as np
import pytest
import torch
from cases import make_certification, make_subject

from lightning_rs.certification import (
    CertificationSettings,
    certify_examples,
    certify_together,
    incremental_certification,
    recertify,
    recorded_certification,
    recorded_subject,
)
from lightning_rs.noise import Purpose
from lightning_rs.results import RunDirectory
from lightning_rs.results.runs import read_directory

CPU = torch.device("cpu")
INDICES = [0, 4, 8, 9, 12, 15]
OLD = {"n0": 50, "n": 2000, "alpha": 0.01, "batch_size": 100, "noise": "gaussian"}
NEW = CertificationSettings(alpha=0.01, batch_size=100, noise="gaussian", precision="bfloat16")


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The directory of a certification of six images."""
    folder = tmp_path_factory.mktemp("old") / "certification"
    settings = CertificationSettings(**OLD, mechanisms=["cohen"], indices=INDICES)
    certify_together(make_subject().certification(settings, CPU), folder, shown=False)
    return folder


def changed(old, settings=NEW, subject=None, **others):
    subject = subject or make_subject()
    return incremental_certification(subject.certification(settings, CPU), old, subject, **others)


def other_weights(by=0.02):
    """The same classifier, trained on, say."""
    subject = make_subject()
    torch.manual_seed(3)
    subject.loaded.base_classifier[1].weight.data += by * torch.randn(10, 64)
    return subject


def plain(records):
    return sorted((dataclasses.replace(r, seconds=0.0) for r in records), key=lambda r: r.index)


@pytest.mark.parametrize("others", [{}, {"n": 500}, {"alpha": 0.1, "indices": [8]}])
def test_the_very_same_classifier_is_refused(old, others):
    """New draws of it would say less than its records."""
    settings = dataclasses.replace(NEW, precision="float32", **others)
    with pytest.raises(ValueError, match=f"^{old} is of this very classifier: nothing is changed"):
        changed(old, settings)


def test_a_tenth_of_the_draws_of_the_same_images(old):
    certification = changed(old)
    settings = certification.settings
    assert (settings.n0, settings.n, settings.indices) == (50, 200, INDICES)
    assert list(settings.mechanism_set) == ["ugare"] and certification.purpose is Purpose.INCREMENTAL
    for asked in (700, 3000):
        assert changed(old, dataclasses.replace(NEW, n=asked, limit=1)).settings.n == asked
    assert changed(old, dataclasses.replace(NEW, indices=[8, 0])).indices == [8, 0]
    run, before = certification.describe(), RunDirectory(old).run()
    assert run.like == before.digest and (run.n0, run.n) == (50, 200)
    # Its certificates rest on the draws of before, too.
    assert run.sampling_error == certification.noise.sampling_error(2050 + 200, (1, 8, 8))


def test_records_are_read_gone_on_with_and_certified_again(old, tmp_path):
    certification = changed(old, dataclasses.replace(NEW, mechanisms=["ugare:gamma=0.8"]))
    certification.check()
    run, records = certify_together(certification, tmp_path / "new", shown=False)
    read, described, _ = read_directory(tmp_path / "new")  # Which computes every certificate again.
    assert read == records and described == run and [r.index for r in records] == INDICES
    earlier = {record.index: record for record in read_directory(old)[0]}
    paired = {r.index: r.statistics["paired_counts"] for r in records}
    for record in records:
        before = earlier[record.index]
        assert record.selection == before.selection and sum(record.counts.values()) == 200
        votes = before.counts.get(before.selected, 0)
        assert record.statistics["prior_counts"] == [votes, 2000]
        assert paired[record.index][1] == (0 if votes >= 0.8 * 2000 else 200)
    assert {draws for _, draws in paired.values()} == {0, 200}
    radii = {r.index: r.certificates["ugare:gamma=0.8"].radius for r in records}
    assert all(radii[i] < earlier[i].certificates["cohen"].radius for i in INDICES if radii[i])
    assert sum(r > 0 for r in radii.values()) > 2
    again, about = recertify(records, run, alpha=0.05)
    assert about.like == run.like
    assert all(a.certificates["ugare:gamma=0.8"].radius >= radii[a.index] for a in again)
    with pytest.raises(ValueError, match="ugare needs draws that were made by its own gamma = 0.99: others are paired"):
        recertify(records, run, mechanisms=["ugare"])
    # Killed after two, it goes on; a directory that is like another certification is refused.
    some = plain(certify_examples(certification, INDICES[3:]))
    assert some == plain(r for r in records if r.index in INDICES[3:])
    other = dataclasses.replace(run, like="0" * 64)
    with pytest.raises(ValueError, match="holds another run; it differs in like"):
        RunDirectory(tmp_path / "new").check(other)
    # What attacks need of it.
    subject = make_subject()
    assert recorded_certification(tmp_path / "new", run, subject, CPU).prior is None
    with pytest.raises(ValueError, match="is itself like another certification: give that of which it is like"):
        changed(tmp_path / "new")
    with pytest.raises(ValueError, match="the classifier is missing"):
        recorded_subject(tmp_path / "new", run)


def test_other_weights_need_the_classifier_before(old, monkeypatch):
    """And lose votes that are counted; of a change of last bits none is lost."""
    with pytest.raises(ValueError, match="the classifier is missing: .* give it as --like_checkpoint FILE$"):
        changed(old, subject=other_weights())
    monkeypatch.setattr("lightning_rs.certification.incremental.recorded_subject", lambda *_, **__: make_subject())
    lost = []
    for subject in (other_weights(), other_weights(1e-6)):
        certification = changed(old, dataclasses.replace(NEW, precision="float32"), subject)
        records = certify_examples(certification, INDICES)
        lost.append(sum(record.statistics["paired_counts"][0] for record in records))
    assert lost[0] > 5 and lost[1] == 0
    monkeypatch.setattr("lightning_rs.certification.incremental.recorded_subject", lambda *_, **__: other_weights(0.5))
    with pytest.raises(ValueError, match="holds certificates of another classifier .* they differ in weights_sha256"):
        changed(old, subject=other_weights())


def test_a_net_of_another_architecture_is_not_the_one_before_though_it_has_its_weights(old, monkeypatch):
    """Compared with itself it would lose no vote, whatever it answers."""
    subject = make_subject()
    other = dataclasses.replace(subject, loaded=dataclasses.replace(subject.loaded, architecture="bent"))
    with pytest.raises(ValueError, match="the classifier is missing"):
        changed(old, subject=other)
    monkeypatch.setattr("lightning_rs.certification.incremental.recorded_subject", lambda *_, **__: other)
    with pytest.raises(ValueError, match=f"^{old} is of the architecture linear, and last.ckpt, .* of bent$"):
        changed(old, subject=other)
    monkeypatch.setattr("lightning_rs.certification.incremental.recorded_subject", lambda *_, **__: subject)
    assert changed(old, subject=other).prior.certification.architecture == "linear"


def test_draws_are_others_than_those_of_before(old):
    """Independent of the votes that chose between pairs and draws alone."""
    certification = changed(old)
    x = certification.image(0)[0]
    now, before = (
        certification.noise.source(0, tuple(x.shape), purpose=purpose).fill(torch.empty(100, *x.shape), 0, 1, 0)
        for purpose in (certification.purpose, Purpose.TEST)
    )
    assert abs(np.corrcoef(now.flatten(), before.flatten())[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"indices": [0, 1, 2]}, "holds no record of image 1, 2: leave them out"),
        ({"mechanisms": ["ugare", "cohen:norm=l1"]}, "like certifies with ugare alone, with options if any, got ugare"),
        ({"mechanisms": ["ugare", "ugare:share=0.2"]}, "like certifies with ugare alone"),
        ({"noise": "grid_gaussian:levels=16"}, "it differs in noise"),
        ({"noise": "grid_gaussian:levels=16", "indices": [1]}, "it differs in noise"),  # Before what is missing of it.
        ({"n": 5}, "cannot certify anything with n = 5"),
        ({"stochastic": True, "precision": "float32"}, "takes none that are stochastic"),
    ],
)
def test_bad_input(old, settings, message):
    with pytest.raises(ValueError, match=message):
        changed(old, dataclasses.replace(NEW, **settings))


def test_records_that_cannot_be_gone_on_from(tmp_path):
    settings = CertificationSettings(
        **OLD | {"n": 300}, mechanisms=["sequential_betting"], radii=[0.0, 0.1], indices=[0]
    )
    certify_together(make_subject().certification(settings, CPU), tmp_path / "looks", shown=False)
    with pytest.raises(ValueError, match="needs a number of draws that was fixed in advance"):
        changed(tmp_path / "looks")
    with pytest.raises(ValueError, match="is not the directory of a certification"):
        changed(tmp_path)


def test_the_mechanism_needs_records_of_before():
    with pytest.raises(ValueError, match="ugare certifies a changed classifier from the records of the one"):
        make_certification(mechanisms=["ugare"]).check()
