"""Each test breaks one place of the real code, and asks which checks see it."""

import dataclasses
from functools import partial

import pytest
import torch
from torch import multiprocessing

from lightning_rs.audit import invariances
from lightning_rs.audit.invariances import SEQUENTIAL, Subject
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.certification import settings as certification_settings
from lightning_rs.certification import sharding
from lightning_rs.mechanisms import best
from lightning_rs.noise import NoiseSource
from lightning_rs.noise.base import philox
from lightning_rs.smoothing import PreparedClassifier
from lightning_rs.smoothing.tally import Tally

QUICK = AuditSettings(quick=True)


def failed(*attempts, subject=None):
    """What was tried and did not pass."""
    subject = subject or Subject(QUICK, mechanisms=("cohen",))
    return {
        finding.subject.removesuffix(f", {subject.name}")
        for attempt in attempts
        for finding in attempt(subject)
        if not finding.passed
    }


def test_on_this_machine_everything_stays_the_same():
    findings = [finding for case in invariances.cases(QUICK) for finding in case.run()]
    assert len(findings) == 11 and all(finding.passed for finding in findings)
    assert all(finding.numbers.get("differing", 0) == 0 for finding in findings if "rounding" not in finding.subject)


def test_the_whole_audit_also_kills_a_process_and_takes_two(monkeypatch):
    """In copies of this process, which need not import anything again."""
    names = [case.name for case in invariances.cases(AuditSettings())]
    assert names[-2:] == ["invariances: killed, exact net", "invariances: processes, exact net"]
    forking = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: forking)
    monkeypatch.setattr(multiprocessing, "spawn", partial(multiprocessing.start_processes, start_method="fork"))
    assert failed(invariances._killed, invariances._processes) == set()


def test_a_tally_that_depends_on_the_batch_is_found(monkeypatch):
    honest = Tally.update

    def update(self, logits, *places):
        logits = logits.clone()
        logits[-1] = logits[-1].flip(0)
        return honest(self, logits, *places)

    monkeypatch.setattr(Tally, "update", update)
    seen = failed(invariances._batch_size, invariances._order, invariances._company)
    assert seen == {"another batch size", "another order", "a subset, beside others"}


def test_noise_that_goes_by_the_order_of_images_is_found(monkeypatch):
    def generator(self, index, stage, block):
        met = self.__dict__.setdefault("met", [])
        if index not in met:
            met.append(index)
        return philox(self.seed, met.index(index), stage, block, self.purpose)

    monkeypatch.setattr(NoiseSource, "generator", generator)
    attempts = (invariances._order, invariances._company, invariances._resumed)
    assert failed(*attempts) == {"another order", "a subset, beside others", "stopped and resumed"}
    assert failed(invariances._order, subject=Subject(QUICK, mechanisms=SEQUENTIAL)) == {"another order"}


def test_a_resumption_that_draws_other_noise_is_found(monkeypatch):
    honest = sharding.certify_examples

    def certify_examples(certification, indices):
        indices = list(indices)
        seed = certification.seed + (len(indices) < len(certification.indices))
        settings = dataclasses.replace(certification.settings, seed=seed)
        return honest(dataclasses.replace(certification, settings=settings), indices)

    monkeypatch.setattr(sharding, "certify_examples", certify_examples)
    assert failed(invariances._batch_size, invariances._order, invariances._resumed) == {"stopped and resumed"}


@pytest.mark.parametrize("exact", [True, False])
def test_an_answer_that_depends_on_the_row_beside_is_found(exact, monkeypatch):
    """By so little that the first batch does not show it."""
    honest = PreparedClassifier._call

    def call(self, rows):
        scores = honest(self, rows)
        return scores + 2e-4 * scores.roll(1, 0)

    monkeypatch.setattr(PreparedClassifier, "_call", call)
    subject = Subject(QUICK, exact, mechanisms=("salman",))
    assert failed(invariances._order, invariances._company, subject=subject)


def test_statistics_that_depend_on_who_asks_are_found(monkeypatch):
    honest = Tally._sum

    def add(self, name, slot, units):
        honest(self, name, slot, lambda: units() + ("margin_square_sum" in self._fields))

    monkeypatch.setattr(Tally, "_sum", add)
    subject = Subject(QUICK, mechanisms=("salman", "moutaouakil_soft"))
    assert failed(invariances._mechanisms, subject=subject) == {"mechanisms asked for"}


def test_other_certificates_from_the_records_are_found(monkeypatch):
    honest = invariances.recertify
    monkeypatch.setattr(invariances, "recertify", lambda records, run, alpha: honest(records, run, alpha / 2))
    assert failed(invariances._recertified) == {"recertified at another alpha"}


@pytest.mark.parametrize("module", [best, certification_settings])
def test_alpha_that_is_not_divided_is_found(module, monkeypatch):
    monkeypatch.setattr(module, "alpha_share", lambda alpha, parts: alpha)
    assert failed(invariances._divided) == {"alpha divided"}


def test_on_another_device_rounding_may_move_a_few_votes_of_a_net_that_rounds():
    elsewhere = dataclasses.replace(QUICK, device=torch.device("meta"))
    assert invariances._share_that_may_move(Subject(elsewhere, exact=False), False) > 0
    assert invariances._share_that_may_move(Subject(elsewhere), True) == 0
    assert invariances._share_that_may_move(Subject(QUICK, exact=False), False) == 0


def test_votes_that_moved_are_counted():
    subject = Subject(QUICK, mechanisms=("cohen",))
    record = subject.whole[0]
    first, second = list(record.counts)[:2]
    counts = record.counts | {first: record.counts[first] - 1, second: record.counts[second] + 1}
    other = dataclasses.replace(record, counts=counts, seconds=0.0)
    finding = invariances._compared(subject, "changed", [other])
    assert not finding.passed and finding.numbers["moved"] == 1
    assert finding.seen == "1 of 220 votes moved; others: counts"
