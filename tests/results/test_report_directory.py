import json

import pytest

from lightning_rs.results.report_directory import ReportDirectory


def test_the_mark_comes_first_and_says_when_all_is_written(tmp_path):
    path = tmp_path / "deep" / "report"
    report = ReportDirectory(path, {"sources": ["a"]})
    assert not path.parent.exists()  # Nothing is made before there is something to write.
    report.begin()
    mark = json.loads((path / "report.json").read_text())
    assert (mark["finished"], mark["sources"]) == (False, ["a"])
    (path / "table.csv").touch()
    again = ReportDirectory(path, {"sources": ["b"]})  # As after a kill.
    again.begin()
    again.finish()
    mark = json.loads((path / "report.json").read_text())
    assert (mark["finished"], mark["sources"]) == (True, ["b"])
    assert mark["version"]


def test_what_is_no_report_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="is not the directory of a report: it holds thesis.tex and no report.json"):
        ReportDirectory(tmp_path, {})
    with pytest.raises(ValueError, match=r"thesis.tex is not a directory"):
        ReportDirectory(tmp_path / "thesis.tex", {})
