import numpy as np
import pytest

from lightning_rs.mechanisms import (
    Mechanism,
    check_trials,
    get_mechanism,
    list_mechanisms,
    required_fields,
    resolve_mechanisms,
)


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


def test_names_and_objects_resolve_in_order():
    half = get_mechanism("cohen_two_sided", top_share=0.5)
    resolved = resolve_mechanisms([half, "cohen"])
    assert list(resolved) == ["cohen_two_sided:top_share=0.5", "cohen"]
    assert resolved["cohen_two_sided:top_share=0.5"] is half
    spelled = resolve_mechanisms(["cohen_two_sided:top_share=0.5", "salman:bound=betting,top_share=0.7"])
    assert [m.top_share for m in spelled.values()] == [0.5, 0.7]
    assert required_fields(spelled) == {"counts", "selection_counts", "score_sum", "scores"}
    assert list(resolve_mechanisms("cohen")) == ["cohen"]


def test_bad_input():
    with pytest.raises(ValueError, match=r"unknown mechanism 'coen'; known: cohen, cohen_two_sided, cullen, "):
        get_mechanism("coen")
    with pytest.raises(ValueError, match="'cohen' does not take the options {'top_share': 0.5}"):
        get_mechanism("cohen", top_share=0.5)
    with pytest.raises(ValueError, match="one or more different ones"):
        resolve_mechanisms([])
    with pytest.raises(ValueError, match="one or more different ones"):
        resolve_mechanisms(["cohen", "cohen"])
    with pytest.raises(ValueError, match=r"cohen cannot certify anything with n = 9 at alpha = 0.001: n must be >= 10"):
        check_trials(resolve_mechanisms(["cohen"]), 9, 0.001)
    check_trials(resolve_mechanisms(["cohen"]), np.int64(10), 0.001)
    with pytest.raises(ValueError, match="must read name or name:option=value,option=value, got 'salman:betting'"):
        resolve_mechanisms(["salman:betting"])
    with pytest.raises(ValueError, match="unknown bound '3'"):
        get_mechanism("salman", bound="3")
    with pytest.raises(ValueError, match=r"kumar_score:confidence=0.9999999 cannot certify anything"):
        check_trials(resolve_mechanisms(["kumar_score:confidence=0.9999999"]), 100, 0.001)


@pytest.mark.parametrize("name", list_mechanisms())
def test_least_number_of_draws(name):
    """The least n is small for every mechanism, and one draw less is refused."""
    mechanism = get_mechanism(name)
    least = mechanism.minimum_trials(0.001)
    assert 5 <= least <= 3000
    with pytest.raises(ValueError, match=f"{name} cannot certify anything with n = {least - 1} "):
        check_trials({name: mechanism}, least - 1, 0.001)
