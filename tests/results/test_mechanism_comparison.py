import numpy as np
import pytest
from PIL import Image
from run_cases import DESCRIPTION, record

from lightning_rs.mechanisms import PAIR_RADII
from lightning_rs.results import ExampleCertificate, run_of_records
from lightning_rs.results.mechanism_comparison import draw_simplex, leads, leads_on_run, leads_on_simplex


def test_leads_by_hand():
    radii = {"a": [1.0, 0.5, 0.3, 0.0, 0.2], "b": [0.5, 0.5, 0.4, 0.0, 0.0], "c": [0.0, 0.1, 0.1, 0.0, 0.0]}
    rows = {row.mechanism: row for row in leads(radii)}
    # The fourth example is certified by none and does not count.
    assert (rows["a"].share, rows["a"].alone) == (0.75, 0.5)
    assert (rows["b"].share, rows["b"].alone) == (0.5, 0.25)
    assert (rows["c"].share, rows["c"].alone) == (0.0, 0.0)
    assert rows["a"].gain == np.inf  # Alone to certify the last example.
    assert rows["b"].gain == pytest.approx(0.4 / 0.3 - 1)
    assert np.isnan(rows["c"].gain)


def test_two_sided_leads_on_all_pairs():
    rows = {row.mechanism: row for row in leads_on_simplex(points=60)}
    assert set(rows) == set(PAIR_RADII)
    assert rows["cohen_two_sided"].share == 1.0
    assert rows["cohen_two_sided"].alone > 0.9
    assert all(row.alone == 0.0 for name, row in rows.items() if name != "cohen_two_sided")


def test_over_the_simplex_cullen_beats_the_one_sided_radius_in_places():
    """The published comparison, without the two-sided radius: a gain over one-sided Cohen where the rival is weak."""
    rows = {row.mechanism: row for row in leads_on_simplex(["cohen", "cullen", "li"], points=60)}
    assert rows["cullen"].alone > 0.1
    assert rows["cohen"].alone > 0.05


def run_of(records):
    return run_of_records(records, DESCRIPTION, "a")


def test_hard_and_soft_are_never_compared():
    records = [record(0, 1, 1, {1: 10}, 1, 0.5), record(1, 1, 1, {1: 8, 2: 2}, 1, 0.2)]
    for r in records:
        for label, radius in (("cohen_two_sided", 0.6), ("salman", 0.9), ("kumar_score:confidence=0.7", 2.0)):
            r.certificates[label] = ExampleCertificate(1, radius)
    assert [row.mechanism for row in leads_on_run(run_of(records))] == ["cohen", "cohen_two_sided"]
    assert leads_on_run(run_of(records), "soft") == []
    assert leads_on_run(run_of([])) == []


@pytest.mark.parametrize("label", ["mine", "my_package.Mine:top=2", "cohen:top=2"])
def test_labels_of_no_registered_mechanism_are_left_out(label):
    r = record(0, 1, 1, {1: 10}, 1, 0.5)
    r.certificates.update({label: ExampleCertificate(1, 9.0)})
    assert leads_on_run(run_of([r])) == []
    r.certificates.update({"cohen_two_sided": ExampleCertificate(1, 0.4)})
    rows = {row.mechanism: row for row in leads_on_run(run_of([r]))}
    assert set(rows) == {"cohen", "cohen_two_sided"}
    assert rows["cohen"].alone == 1.0


@pytest.mark.parametrize("examples", [None, ([0.9, 0.5], [0.05, 0.3])])
def test_drawing(tmp_path, examples):
    path = tmp_path / "simplex.png"
    draw_simplex(path, ["cohen", "li"], examples=examples, points=40)
    with Image.open(path) as image:
        assert image.width > 900
        assert len(np.unique(np.asarray(image.convert("L")))) > 50


def test_bad_input():
    with pytest.raises(ValueError, match=r"two or more mechanisms with radii of the same examples are compared"):
        leads({"a": [1.0]})
