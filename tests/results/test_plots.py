import numpy as np
from PIL import Image
from test_summary import RECORDS

from lightning_rs.results.plots import certified_accuracy, curve, vote_shares


def test_curve_is_exact():
    x, y = curve(RECORDS, "cohen")
    assert np.array_equal(x, [0.0, 0.1, 0.5])
    assert np.array_equal(y, [0.5, 0.25, 0.0])


def test_png_files_are_drawn(tmp_path):
    for plot in (certified_accuracy, vote_shares):
        path = tmp_path / f"{plot.__name__}.png"
        plot(RECORDS, "Title", path)
        with Image.open(path) as image:
            assert image.width >= 800
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
