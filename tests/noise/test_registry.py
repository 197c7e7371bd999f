import sys

import pytest

from lightning_rs.noise import NOISES, Gaussian, Noise, as_noise, make_noise

OWN = """
from lightning_rs.noise import Gaussian

class Loud(Gaussian):
    name = "loud"

    def __init__(self, scale: float, factor: float = 1.0) -> None:
        super().__init__(scale)
        self.factor = factor
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a module of the user's that defines a noise."""
    name = "package_with_a_noise"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(NOISES, "_users", {})  # What is loaded here is not there for other tests.
    yield name
    sys.modules.pop(name, None)


def test_every_noise_is_found_by_its_name():
    assert NOISES["gaussian"] is Gaussian
    for name, cls in NOISES.items():
        assert issubclass(cls, Noise) and cls.name == name and cls.__doc__


def test_a_number_is_short_for_gaussian_noise():
    assert as_noise(0.25) == Gaussian(0.25) == make_noise("gaussian", 0.25)
    noise = Gaussian(0.5)
    assert as_noise(noise) is noise


def test_a_users_own_noise_by_its_path(package):
    """What only a file names is never imported; once the user has named it, a file may."""
    path = f"{package}.Loud"
    with pytest.raises(
        ValueError, match=f"unknown noise '{path}'; known: .*; what only a file names is never"
    ):
        make_noise(path, 0.5)
    assert package not in sys.modules
    assert NOISES.load(path).name == "loud"
    noise = make_noise(f"{path}:factor=2.5", 0.5)
    assert (noise.name, noise.scale, noise.factor) == ("loud", 0.5, 2.5)
    assert make_noise(noise.label, noise.scale) == noise  # As a certification makes it, of a training's.


@pytest.mark.parametrize(
    ("text", "scale", "message"),
    [
        ("gausian", 0.5, "unknown noise 'gausian'; known: .*gaussian"),
        ("gaussian:speed=3", 0.5, "noise 'gaussian' does not take speed; it takes no options"),
        ("gaussian:speed", 0.5, "a noise must read name or name:option=value,option=value, got 'gaussian:speed'"),
        ("gaussian", 0.0, "sigma must be positive and finite, got 0.0"),
    ],
)
def test_bad_input(text, scale, message):
    with pytest.raises(ValueError, match=message):
        make_noise(text, scale)
