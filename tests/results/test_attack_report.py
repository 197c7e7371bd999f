import csv

from attack_cases import RADII, RUN, broken

from lightning_rs.results.attack_figures import attack_figures
from lightning_rs.results.attack_report import attack_table, verdict, violated_lines, write_attack


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_plots_and_files_are_written_and_printed(tmp_path, capsys):
    figures = write_attack(RUN, RADII, tmp_path)
    names = {"table.md", "table.csv", "images.csv"}
    plots = {f"{plot}.{kind}" for plot in ("robust_accuracy", "radius_distance") for kind in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == names | plots
    out, markdown = capsys.readouterr().out, (tmp_path / "table.md").read_text()
    for text in (out, markdown):
        assert "60.0 – 60.0" in text and "5 images attacked" in text
        assert "image 11: cohen claims class 5 up to 0.2, broken at 0.1" in text
        assert "1 violations of 8 certificates" in text
    assert "a\\_b\\|c" in markdown or "a_b\\|c" in markdown
    assert figures == attack_figures(RUN, RADII)


def test_the_first_share_is_rounded_down_and_the_second_up():
    third = broken(0, 3)
    third.certificates["cohen"].radius[:] = (0.5, 0.1, 0.1)
    third.certificates["cohen"].distance[:] = (0.9, 0.9, 0.2)
    (row,) = attack_table(attack_figures(third, (0.3,)), (0.3,), "a").rows
    assert row[4] == "33.3 – 66.7"


def test_the_csv_files_are_unrounded_and_empty_where_nothing_was_found(tmp_path):
    write_attack(RUN, RADII, tmp_path)
    first, _ = rows(tmp_path / "table.csv")
    assert first["not_broken@0.6"] == "0.4" and first["median_ratio"] == "0.625" and first["unbroken"] == "1"
    images = rows(tmp_path / "images.csv")
    assert len(images) == 8
    assert images[0] | {"prediction": "1", "distance": "0.8", "violated": "0"} == images[0]
    assert (images[2]["distance"], images[-2]["violated"]) == ("", "1")


def test_the_last_line_says_whether_there_are_too_many():
    assert violated_lines(broken(0, 50)) == []
    assert len(violated_lines(broken(2, 50))) == 2
    assert verdict(attack_figures(broken(4, 50), RADII)) == (
        "4 violations of 50 certificates: no more than alpha allows of any mechanism"
    )
    assert verdict(attack_figures(broken(5, 50), RADII)) == (
        "MORE VIOLATIONS THAN ALPHA ALLOWS: cohen: 5 of 50, 4 allowed"
    )
