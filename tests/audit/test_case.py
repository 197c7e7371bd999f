import pytest

from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding


def test_a_case_runs_by_itself_and_as_often_as_one_likes():
    finding = Finding("coverage", "cohen", "at most 10% wrong", "none", True)
    case = Case("coverage: one", lambda: iter([finding]))
    assert list(case.run()) == list(case.run()) == [finding]
    with pytest.raises(AttributeError):
        case.name = "another"
