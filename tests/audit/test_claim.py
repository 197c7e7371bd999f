import numpy as np
import pytest

from lightning_rs.audit.claim import Claim
from lightning_rs.mechanisms import parse_mechanism
from lightning_rs.mechanisms.cohen import Cohen

SHAPE = (2, 2, 1)


@pytest.mark.parametrize(
    ("mechanism", "kind", "norm", "least", "share"),
    [
        ("cohen", "vote", "l2", 0.0, 0.5),
        ("cohen:norm=linf", "vote", "linf", 0.0, 0.5),
        ("mohapatra_l1", "vote", "l1", 0.0, 0.5),
        ("salman", "score", "l2", 0.0, 0.5),
        ("kumar_score:confidence=0.7", "confidence", "l2", 0.7, 0.7),
        ("kumar_margin:confidence=0.2", "margin", "l2", 0.2, 0.6),
    ],
)
def test_what_mechanisms_claim(mechanism, kind, norm, least, share):
    claim = Claim.of(parse_mechanism(mechanism), SHAPE)
    assert (claim.kind, claim.norm, claim.least, claim.share) == (kind, norm, least, share)
    assert claim.free.shape == SHAPE and claim.free.all()


def test_pixels_that_may_change():
    claim = Claim.of(parse_mechanism("mohapatra_channel:channel=1,height=1"), SHAPE)
    assert np.argwhere(claim.free).tolist() == [[1, 0, 0]] and claim.norm == "l2_subspace"


def test_a_claim_that_nobody_knows_the_truth_of():
    class Odd(Cohen):
        name, keeps = "odd", "ranking"

    with pytest.raises(ValueError, match="odd claims what no truth is known of"):
        Claim.of(Odd(), SHAPE)
