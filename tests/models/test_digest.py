import torch
from torch import nn

from lightning_rs.models import build_base_classifier, weights_digest


def test_the_digest_is_of_names_shapes_and_values_but_not_of_what_stages_are_called():
    torch.manual_seed(1)
    named = build_base_classifier("digits_cnn", 10, (1, 8, 8), (0.3,), (0.4,))
    numbered = nn.Sequential(*named)
    assert weights_digest(named) == weights_digest(numbered)
    assert len(weights_digest(named)) == 64
    with torch.no_grad():
        named.net[0].bias[0] += 1e-6
    assert weights_digest(named) != (before := weights_digest(nn.Sequential(named[1], named[0])))
    assert before != weights_digest(named[1])
