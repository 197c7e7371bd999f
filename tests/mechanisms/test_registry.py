import pytest

from lightning_rs.mechanisms import Mechanism, MechanismSet, get_mechanism, list_mechanisms, parse_mechanism


def test_every_mechanism_says_what_it_is():
    assert list_mechanisms() == sorted(list_mechanisms())
    for name in list_mechanisms():
        mechanism = get_mechanism(name)
        assert isinstance(mechanism, Mechanism)
        assert mechanism.name == name
        assert mechanism.norm in ("l2", "l1", "linf", "l2_subspace")
        assert mechanism.source
        assert mechanism.requires
        assert mechanism.sound or mechanism.unsound_because
        assert mechanism.__doc__


def test_label_has_the_options_that_were_given():
    assert get_mechanism("cohen").label == "cohen"
    assert get_mechanism("salman", bound="betting", top_share=0.7).label == "salman:bound=betting,top_share=0.7"
    assert parse_mechanism("salman:bound=betting,top_share=0.7").label == "salman:bound=betting,top_share=0.7"


def test_bad_input():
    with pytest.raises(ValueError, match=r"unknown mechanism 'coen'; known: best, cohen, cohen_two_sided, cullen, "):
        get_mechanism("coen")
    with pytest.raises(ValueError, match="'cohen' does not take the options {'top_share': 0.5}"):
        get_mechanism("cohen", top_share=0.5)
    with pytest.raises(ValueError, match="unknown bound '3'"):
        get_mechanism("salman", bound="3")


@pytest.mark.parametrize("name", list_mechanisms())
def test_least_number_of_draws(name):
    """The least n is small for every mechanism, and one draw less is refused."""
    mechanism = get_mechanism(name)
    least = mechanism.minimum_trials(0.001)
    assert 5 <= least <= 3000
    with pytest.raises(ValueError, match=f"{name} cannot certify anything with n = {least - 1} "):
        MechanismSet([mechanism]).check_trials(least - 1, 0.001)
