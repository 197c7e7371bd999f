import pytest
import torch

from lightning_rs.audit import places
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.smoothing import Preparation, PreparedClassifier

QUICK = AuditSettings(quick=True)


def found(settings=QUICK):
    (case,) = places.cases(settings)
    return {finding.subject.removesuffix(", rounding net"): finding for finding in case.run()}


def test_on_this_machine_no_vote_moves():
    findings = found()
    assert list(findings) == [
        "asked again", "beside other rows", "at other places", "one row at all places", "batches of 1, 7, 128"
    ]  # fmt: skip
    assert all(finding.passed and finding.numbers["moved"] == 0 for finding in findings.values())


def test_half_precision_is_tried_too():
    findings = found(AuditSettings(quick=True, preparation=Preparation("bfloat16", channels_last=True)))
    assert all(finding.passed for finding in findings.values())
    assert findings["batches of 1, 7, 128"].expected == "at most 10.0% of votes moved, by rounding"


def by_neighbour(scores):
    return scores + 1e-6 * scores.roll(1, 0)


def by_place(scores):
    return scores + 3.0 * torch.linspace(0, 1, len(scores))[:, None] * torch.linspace(-1, 1, 10)


calls = iter(range(10**6))


def by_call(scores):
    return scores + 1e-6 * next(calls)


@pytest.mark.parametrize(
    ("leak", "fails"),
    [
        (by_neighbour, {"beside other rows"}),
        (by_place, {"at other places", "one row at all places", "batches of 1, 7, 128"}),
        (by_call, {"asked again", "beside other rows"}),
    ],
)
def test_an_answer_that_is_not_the_rows_own_is_found(leak, fails, monkeypatch):
    honest = PreparedClassifier._call
    monkeypatch.setattr(PreparedClassifier, "_call", lambda self, rows: leak(honest(self, rows)))
    assert {subject for subject, finding in found().items() if not finding.passed} == fails
