import json
from dataclasses import asdict

import pytest

from lightning_rs.audit.finding import Finding


def test_a_finding_is_a_line_of_a_table_and_plain_values_for_programs():
    finding = Finding("coverage", "cohen", "at most 10% wrong", "3 of 100 wrong", True, {"wrong": 3})
    assert json.loads(json.dumps(asdict(finding)))["numbers"] == {"wrong": 3}
    assert Finding("coverage", "cohen", "", "", False).numbers == {}
    with pytest.raises(AttributeError):
        finding.passed = False
