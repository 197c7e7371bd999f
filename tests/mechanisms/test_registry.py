import numpy as np
import pytest

from lightning_rs.mechanisms import Mechanism, check_trials, get_mechanism, list_mechanisms, resolve_mechanisms


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
    assert list(resolved) == ["cohen_two_sided", "cohen"]
    assert resolved["cohen_two_sided"] is half
    assert list(resolve_mechanisms("cohen")) == ["cohen"]


def test_bad_input():
    with pytest.raises(ValueError, match=r"unknown mechanism 'coen'; known: cohen, cohen_two_sided"):
        get_mechanism("coen")
    with pytest.raises(ValueError, match="'cohen' does not take the options {'top_share': 0.5}"):
        get_mechanism("cohen", top_share=0.5)
    with pytest.raises(ValueError, match="one or more different names"):
        resolve_mechanisms([])
    with pytest.raises(ValueError, match="one or more different names"):
        resolve_mechanisms(["cohen", "cohen"])
    with pytest.raises(ValueError, match=r"cohen cannot certify anything with n = 9 at alpha = 0.001: n must be >= 10"):
        check_trials(resolve_mechanisms(["cohen"]), 9, 0.001)
    check_trials(resolve_mechanisms(["cohen"]), np.int64(10), 0.001)
