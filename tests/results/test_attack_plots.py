import numpy as np
import pytest
from attack_cases import RUN

from lightning_rs.results import attack_plots


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a plot and returns its figure; the files are written as always."""
    figures = []
    finish = attack_plots.finish
    monkeypatch.setattr(attack_plots, "finish", lambda figure, *rest: (figures.append(figure), finish(figure, *rest)))

    def draw(plot):
        plot(RUN, tmp_path / "plot.png")
        assert all((tmp_path / f"plot.{kind}").stat().st_size for kind in ("png", "svg"))
        return figures[-1].axes

    return draw


def test_two_curves_a_mechanism_the_second_never_below_the_first_where_nothing_is_violated(drawn):
    axes = drawn(attack_plots.robust_accuracy)
    assert [panel.get_xlabel().split()[0] for panel in axes] == [r"$\ell_2$", r"$\ell_\infty$"]
    certified, robust = (dict(zip(*line.get_data(), strict=True)) for line in axes[0].lines)
    assert certified[0.5] == 0 and certified[0.4] == pytest.approx(20)
    # The image that was never broken stays to the right end.
    assert list(robust.values())[-1] == pytest.approx(20) and robust[0.1] == pytest.approx(40)


def test_a_mark_for_each_certificate(drawn):
    axes = drawn(attack_plots.radius_distance)
    held, violated, none = (np.array(marks.get_offsets()) for marks in axes[0].collections)
    assert held.tolist() == [[0.8, 0.5], [0.6, 0.3]]
    assert violated.tolist() == [[0.1, 0.2]]
    assert none.tolist() == [[pytest.approx(1.1 * 0.8), 0.4]]
    assert len(axes[1].collections[1].get_offsets()) == 0
