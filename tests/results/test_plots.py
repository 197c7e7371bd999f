import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from run_cases import DESCRIPTION, RECORDS

from lightning_rs.results import plots
from lightning_rs.results.runs import run_of_records


def test_curve_is_exact():
    run = run_of_records(RECORDS, DESCRIPTION, "run")
    x, y = plots.curve(run.certified_radius("cohen"))
    assert np.array_equal(x, [0.0, 0.1, 0.5])
    assert np.array_equal(y, [0.5, 0.25, 0.0])


@pytest.mark.parametrize("curves", [1, 3, 9])
def test_png_and_svg_are_drawn(tmp_path, curves):
    run = run_of_records(RECORDS, DESCRIPTION, "run")
    radii = {f"σ = {i}": run.certified_radius("cohen") * i for i in range(1, curves + 1)}
    plots.certified_accuracy(radii, "Title", tmp_path / "accuracy.png", "noise", envelope=curves > 1)
    plots.share_ecdf([run] * curves, "Title", tmp_path / "share.png")
    plots.radius_confidence(run, ["cohen"], "Title", tmp_path / "radius.png")
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            assert image.width >= 1000
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
        text = "".join(ET.parse(path.with_suffix(".svg")).getroot().itertext())
        assert "Title" in text
    text = "".join(ET.parse(tmp_path / "accuracy.svg").getroot().itertext())
    assert ("envelope" in text) == (curves > 1)
    assert "certified accuracy (%)" in text


def test_the_envelope_is_the_largest_of_all_curves():
    narrow, wide = np.array([0.2, 0.2, 0.2, 0.2]), np.array([0.0, 0.0, 0.9, 0.9])
    x, y = plots.largest([plots.curve(narrow), plots.curve(wide)])
    assert x.tolist() == [0.0, 0.2, 0.9]
    assert y.tolist() == [1.0, 0.5, 0.0]
