from collections import Counter
from pathlib import Path

import pytest

from lightning_rs.audit import running
from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.settings import AuditSettings


@pytest.mark.parametrize("quick", [True, False])
def test_every_part_has_its_cases_under_names_of_their_own(quick):
    names = [case.name for case in running.list_cases(AuditSettings(quick=quick))]
    assert max(Counter(names).values()) == 1
    assert {name.partition(":")[0] for name in names} == {
        "coverage", "noise", "float attack", "places", "invariances"
    }  # fmt: skip


def test_every_module_with_cases_is_a_part():
    files = Path(running.__file__).parent.glob("*.py")
    with_cases = [path.stem for path in files if "\ndef cases(" in path.read_text()]
    assert sorted(part.__name__.rpartition(".")[2] for part in running.PARTS) == sorted(with_cases)


def fine(name):
    yield Finding("a", name, "x", "x", True)


def wrong():
    yield Finding("a", "first", "x", "x", True)
    raise ValueError("the base classifier returned NaN")


def test_an_error_is_a_finding_and_the_others_go_on(capsys):
    cases = [Case("a: wrong", wrong), Case("a: fine", lambda: fine("second"))]
    first, failed, second = running.run_cases(cases, shown=False)
    assert (first.subject, second.subject) == ("first", "second") and first.passed and second.passed
    assert failed == Finding("a", "wrong", "to end without an error", "error: the base classifier returned NaN", False)
    assert capsys.readouterr() == ("", "")


def test_an_error_of_pytorch_is_a_finding(capsys):
    def unsupported():
        yield from fine("x")
        raise RuntimeError("not implemented for 'BFloat16'")

    assert [finding.passed for finding in running.run_cases([Case("a: b", unsupported)], shown=False)] == [True, False]


def test_the_bar_goes_by_what_cases_cost(capsys):
    """After the dear one of two it is nearly at its end, whatever the other one is called."""
    cases = [Case("a: dear", lambda: fine("dear"), 9.0), Case("a: cheap", lambda: fine("cheap"), 1.0)]
    seen = []
    for _ in running.run_cases(cases):
        seen.append(capsys.readouterr().err.rpartition("\r")[2])
    assert "0%" in seen[0] and "a: dear" in seen[0] and " 90%" in seen[1] and "a: cheap" in seen[1]
    assert "<" in seen[1] and "9.0" not in seen[1]


def test_costs_are_those_of_cases():
    """Long ones stand out, so that the time left is not that of equal cases."""
    cost = {case.name: case.cost for case in running.list_cases(AuditSettings(quick=True))}
    assert cost["coverage: a half-space near its truth"] > 5 * cost["invariances: order, exact net"] > 0


def test_what_is_no_bad_value_is_not_hidden():
    def broken():
        yield from fine("x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(running.run_cases([Case("a: broken", broken)], shown=False))
