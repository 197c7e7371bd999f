"""The mechanisms of one certification."""

import sys

import numpy as np
import pytest

from lightning_rs import Statistics
from lightning_rs.mechanisms import MECHANISMS, MechanismSet, get_mechanism, parse_mechanism

OWN = """
import numpy as np
from lightning_rs.mechanisms import Mechanism
from lightning_rs.mechanisms.base import certificate_of_selected

class Cautious(Mechanism):
    name = "cautious"
    source = "a user"

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor

    def _certify(self, statistics, alpha):
        return certificate_of_selected(statistics, np.full(len(statistics), self.factor * statistics.sigma))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a module of the user's that defines a mechanism."""
    name = "package_with_a_mechanism"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(MECHANISMS, "_users", {})  # What is loaded here is not there for other tests.
    yield name
    sys.modules.pop(name, None)


def test_names_and_objects_resolve_in_order():
    half = get_mechanism("cohen_two_sided", top_share=0.5)
    resolved = MechanismSet([half, "cohen"])
    assert list(resolved) == ["cohen_two_sided:top_share=0.5", "cohen"]
    assert resolved["cohen_two_sided:top_share=0.5"] is half
    spelled = MechanismSet(["cohen_two_sided:top_share=0.5", "salman:bound=betting,top_share=0.7"])
    assert [m.top_share for m in spelled.values()] == [0.5, 0.7]
    assert spelled.fields == {"counts", "selection_counts", "score_sum", "scores"}
    assert list(MechanismSet("cohen")) == ["cohen"]


def test_all_certify_the_same_statistics():
    statistics = Statistics.from_counts([[900, 100]], 0.5, [[90, 10]])
    chosen = MechanismSet(["cohen", "cohen_two_sided", "li"])
    for label, certificate in chosen.certify(statistics, 0.001).items():
        assert certificate.radius[0] == get_mechanism(label).certify(statistics, 0.001).radius[0] > 0


def test_least_number_of_draws_is_that_of_the_most_demanding():
    MechanismSet(["cohen"]).check_trials(np.int64(10), 0.001)
    with pytest.raises(ValueError, match=r"cohen cannot certify anything with n = 9 at alpha = 0.001: n must be >= 10"):
        MechanismSet(["cohen"]).check_trials(9, 0.001)
    with pytest.raises(ValueError, match=r"cohen_two_sided cannot certify anything with n = 9 at alpha = 0.001"):
        MechanismSet(["cohen", "cohen_two_sided"]).check_trials(9, 0.001)
    with pytest.raises(ValueError, match=r"kumar_score:confidence=0.9999999 cannot certify anything"):
        MechanismSet(["kumar_score:confidence=0.9999999"]).check_trials(100, 0.001)
    with pytest.raises(ValueError, match=r"alpha must be at most 0.4 for sequential mechanisms, got 0.5"):
        MechanismSet(["sequential_betting"]).check_trials(100, 0.5)


def test_bad_input():
    with pytest.raises(ValueError, match="one or more different ones"):
        MechanismSet([])
    with pytest.raises(ValueError, match="one or more different ones"):
        MechanismSet(["cohen", "cohen"])
    with pytest.raises(ValueError, match="must read name or name:option=value,option=value, got 'salman:betting'"):
        MechanismSet(["salman:betting"])
    with pytest.raises(ValueError, match="cohen needs a number of draws that is fixed in advance"):
        MechanismSet(["sequential_betting", "cohen"])


def test_noise_that_one_of_them_is_not_made_for_is_refused():
    chosen = MechanismSet(["cohen", "cohen_two_sided:top_share=0.5"])
    chosen.check_noise("gaussian")
    with pytest.raises(ValueError, match="^cohen certifies under gaussian or grid_gaussian noise, got rain$"):
        chosen.check_noise("rain")
    rain = Statistics(0.5, [[900, 100]], [[90, 10]], noise="rain")
    with pytest.raises(ValueError, match="^cohen certifies under gaussian or grid_gaussian noise, got rain$"):
        chosen.certify(rain, 0.001)


def test_inputs_that_one_of_them_cannot_certify_are_refused():
    MechanismSet(["cohen"]).check_input((48,), 0.001)
    with pytest.raises(ValueError, match="mohapatra_channel must name a channel and pixels of the image"):
        MechanismSet(["cohen", "mohapatra_channel"]).check_input([48], 0.001)


def test_one_look_at_a_fixed_number_of_draws():
    schedule = MechanismSet(["cohen"]).schedule(0.5, 0, 1000, 0.001)
    assert schedule.looks == (1000,) and schedule.finished is None


def test_looks_of_all_sequential_mechanisms_until_all_know():
    chosen = MechanismSet(["sequential_betting", "sequential_union"])
    schedule = chosen.schedule(0.5, 10, 1000, 0.001, [0.0])
    rules = [m.stopping_rule([0.0], 0.5, 1000, 0.001) for m in chosen.values()]
    assert schedule.looks == tuple(sorted({*rules[0].looks.tolist(), *rules[1].looks.tolist()}))
    assert schedule.looks[-1] == 1000
    path, stops = [], []
    for look in schedule.looks:  # Unanimous votes.
        path.append((look, look))
        stops.append((schedule.finished(path), *(rule.finished(path) for rule in rules)))
    assert all(together == (one and other) for together, one, other in stops)
    assert stops[-1][0] and not stops[0][0] and any(one != other for _, one, other in stops)


def test_who_needs_selection_draws_says_so_before_any_draw():
    assert MechanismSet(["cohen", "cohen_two_sided"]).schedule(0.5, 0, 100, 0.001).looks == (100,)
    with pytest.raises(ValueError, match="n0 must be at least 1 for ensemble, which certifies the class that other dr"):
        MechanismSet(["cohen", "ensemble"]).schedule(0.5, 0, 100, 0.001)


@pytest.mark.parametrize(
    ("n0", "radii", "message"),
    [
        (0, [0.0], "n0 must be at least 1 for sequential_betting, which certifies the class that other draws selected"),
        (10, None, "sequential_betting needs radii: it draws until it is known which of them are certified"),
        (10, [0.5, 0.25], r"radii must be strictly increasing, got \[0.5, 0.25\]"),
        (10, [-1.0], r"radii must be one or more finite numbers >= 0, got \[-1.0\]"),
    ],
)
def test_sequential_mechanisms_need_a_selected_class_and_radii(n0, radii, message):
    with pytest.raises(ValueError, match=message):
        MechanismSet(["sequential_betting"]).schedule(0.5, n0, 1000, 0.001, radii)


def test_a_users_own_mechanism_by_its_path(package):
    """What the user names is imported; afterwards a file may name it too."""
    path = f"{package}.Cautious"
    with pytest.raises(ValueError, match=f"unknown mechanism '{path}'; known: .*; what only a file names is"):
        parse_mechanism(path)
    assert package not in sys.modules
    chosen = MechanismSet([f"{path}:factor=0.25", "cohen"])
    assert package in sys.modules
    radius = chosen.certify(Statistics.from_counts([[900, 100]], 0.5, [[9, 1]]), 0.001)[f"{path}:factor=0.25"].radius
    assert radius.tolist() == [0.125]
    assert parse_mechanism(f"{path}:factor=0.75").factor == 0.75
    with pytest.raises(ValueError, match="does not take the options {'speed': 1}"):
        MechanismSet([f"{path}:speed=1"])


def test_paths_that_lead_nowhere(package):
    for path, message in (
        ("no_such_package.Mechanism", "module no_such_package cannot be imported: ModuleNotFoundError"),
        (f"{package}.Missing", f"module {package} has no Missing"),
        (f"{package}.np", f"{package}.np is no mechanism"),
    ):
        with pytest.raises(ValueError, match=message):
            MechanismSet([path])
