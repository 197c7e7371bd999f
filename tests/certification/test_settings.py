import dataclasses
import inspect
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from odd_values import ODD, odd

from lightning_rs.callbacks import CertificationCallback
from lightning_rs.certification import CertificationSettings
from lightning_rs.mechanisms import MECHANISMS, list_mechanisms
from lightning_rs.noise import Gaussian, GridGaussian, Purpose
from lightning_rs.smoothing import Preparation
from lightning_rs.smoothing.sample import Sample


def test_the_callback_takes_all_settings_with_their_help_and_a_default_of_its_own():
    """Flat options: the one list of settings is resolved through `**settings`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(CertificationCallback, "certification")
    names = {field.name for field in dataclasses.fields(CertificationSettings)}
    parsed = parser.parse_args(["--certification.alpha=0.01", "--certification.batch_size=auto"]).certification
    assert names <= set(vars(parsed))
    assert (parsed.n, parsed.n0, parsed.alpha, parsed.batch_size) == (1000, 100, 0.01, "auto")
    help_text = " ".join(parser.format_help().split())
    assert "noisy copies that select the class. (type: int, default: 100)" in help_text
    assert "default: 1000)" in help_text and "default: 100000" not in help_text
    assert not names & set(inspect.signature(CertificationCallback).parameters) - {"n"}


def test_settings_of_the_classifier_are_those_of_its_preparation():
    settings = CertificationSettings(precision="bfloat16", channels_last=True, fold_batch_norm=True)
    assert settings.preparation == Preparation("bfloat16", True, True, False)


def test_radii_suit_the_noise_unless_they_are_given():
    assert CertificationSettings().radii_for(0.25) == (0.0, 0.25, 0.5, 0.75)
    assert CertificationSettings(radii=[0.1]).radii_for(0.25) == (0.1,)


def test_attempts_share_alpha_and_n_has_to_suffice_at_the_share():
    settings = CertificationSettings(n=10, attempts=1, mechanisms=["cohen"])
    assert settings.spent_alpha == settings.alpha == 0.001
    with pytest.raises(ValueError, match="cohen cannot certify anything with n = 10 at alpha = 0.000"):
        CertificationSettings(n=10, attempts=3, mechanisms=["cohen"])
    assert 0 < 3 * Fraction(CertificationSettings(attempts=3).spent_alpha) <= Fraction(0.001)
    # Where sampling stops depends on the share too.
    sequential = {"n": 1000, "mechanisms": ["sequential_betting"], "radii": [0.1]}
    path = Sample(0, 0, (1,), None, None, np.array([25, 0]), 0, {}, [(25, 25)], 0.0)
    one, many = (CertificationSettings(attempts=k, **sequential).plan(Gaussian(0.25), (1,)) for k in (1, 10**6))
    assert one.finished(path) and not many.finished(path)


def test_the_noise_is_that_of_the_training_or_the_one_that_is_named():
    trained = Gaussian(0.5)
    assert CertificationSettings().noise_for(trained) == trained
    assert CertificationSettings().noise_for(trained, levels=255) == GridGaussian(0.5, 255)
    assert CertificationSettings(noise="gaussian").noise_for(trained, levels=255) == trained
    assert CertificationSettings(noise="grid_gaussian:levels=4").noise_for(trained, levels=255) == GridGaussian(0.5, 4)
    assert CertificationSettings(noise="grid_gaussian").noise_for(GridGaussian(0.5, 4), 16) == GridGaussian(0.5, 16)
    with pytest.raises(ValueError, match="grid_gaussian noise needs the levels of the data: say them, as in "):
        CertificationSettings(noise="grid_gaussian").noise_for(trained)


def test_plans_are_fixed_or_sequential():
    fixed = CertificationSettings(n0=7, n=300, mechanisms=["cohen"]).plan(Gaussian(0.25), (1,))
    assert (fixed.looks, fixed.n0, fixed.clean, fixed.finished) == ((300,), 7, True, None)
    settings = CertificationSettings(n=300, mechanisms=["sequential_betting"], radii=[0.1])
    sequential = settings.plan(GridGaussian(0.25, 255), (3, 32, 32), Purpose.VALIDATION)
    assert sequential.purpose is Purpose.VALIDATION
    assert sequential.looks[-1] == 300 and len(sequential.looks) > 3 and sequential.finished is not None


def test_the_first_example_alone():
    assert CertificationSettings(skip=3).only_first(10).subset(10) == [0]
    assert CertificationSettings(indices=[4, 2]).only_first(10).subset(10) == [4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mechanisms": [3]}, "mechanisms must be given by name, as in cohen_two_sided:top_share=0.5"),
        ({"mechanisms": ["cohen", "sequential_betting"]}, "cohen needs a number of draws that is fixed in advance"),
        ({"mechanisms": ["sequential_betting"], "alpha": 0.41}, "alpha must be at most 0.4 for sequential mechanisms"),
        ({"precision": "float8"}, "unknown precision 'float8'"),
        ({"noise": "poisson"}, "unknown noise 'poisson'; known: gaussian"),
        ({"noise": "no_such_module.Noise"}, "module no_such_module cannot be imported"),
        ({"indices": [1], "limit": 3}, "give either indices, or skip and limit"),
        ({"n": 3_000_000_000}, r"n must be less than 2\*\*31, so that sums fit 64 bits, got 3000000000"),
        ({"n0": 0}, "n0 must be an integer of at least 1, got 0"),
        ({"n0": 2**31}, r"n0 must be less than 2\*\*31"),
        ({"seed": 2**64}, r"seed must be less than 2\*\*64, got 18446744073709551616"),
        ({"seed": "12"}, "seed must be an integer of at least 0, got '12'"),
        ({"quantize": "false"}, "quantize must be true or false, got 'false'"),
        ({"noise": 0.5}, "noise must be given by name, as in grid_gaussian:levels=255, got 0.5"),
        ({"indices": "12"}, "indices must be a list, got '12'"),
        ({"attempts": 0}, "attempts must be an integer of at least 1, got 0"),
        ({"attempts": 10**400}, "attempts must be at most a million, got"),
        ({"alpha": "0.1"}, r"alpha must lie in \(0, 1\), got '0.1'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        CertificationSettings(**arguments)


def test_what_does_not_suit_the_images_or_the_noise_is_refused_before_any_work():
    settings = CertificationSettings(mechanisms=["mohapatra_channel:channel=3"])
    with pytest.raises(ValueError, match="must name a channel and pixels of the image"):
        settings.check(Gaussian(0.25), (3, 8, 8))
    sequential = CertificationSettings(mechanisms=["sequential_betting"], n=100, radii=[5.0])
    with pytest.raises(ValueError, match="cannot certify any of the radii"):
        sequential.check(Gaussian(0.25), (1, 8, 8))


FIELDS = [field.name for field in dataclasses.fields(CertificationSettings)]


def throw(name, value):
    """Give a setting a value: whether that ends in one line. Any other error is raised."""
    try:
        CertificationSettings(**{name: value})
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 500, error
        return True
    return False


@pytest.mark.parametrize("name", FIELDS)
def test_odd_values_end_in_one_line(name):
    assert sum(throw(name, value) for value in ODD) > len(ODD) / 2


@settings(max_examples=150)
@given(name=st.sampled_from(FIELDS), value=odd)
def test_any_value_serves_or_ends_in_one_line(name, value):
    throw(name, value)


@pytest.mark.parametrize("name", list_mechanisms())
def test_odd_options_of_mechanisms_end_in_one_line(name):
    for option in inspect.signature(MECHANISMS.get(name)).parameters:
        for word in ("a", "-1", "0", "0.5", "2", "1e308", "nan", "-inf", "True", "None", "9" * 30, "[1]"):
            try:
                CertificationSettings(mechanisms=[f"{name}:{option}={word}"]).check(Gaussian(0.25), (3, 8, 8))
            except ValueError as error:
                assert "\n" not in str(error)
