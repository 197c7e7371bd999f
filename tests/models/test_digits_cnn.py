import torch

from lightning_rs.models import ARCHITECTURES
from lightning_rs.models.digits_cnn import digits_cnn


def test_size():
    net = ARCHITECTURES["digits_cnn"].build(10)
    assert sum(p.numel() for p in net.parameters()) == 151_306


def test_it_takes_digits_alone_and_looks_at_every_pixel():
    assert [ARCHITECTURES["digits_cnn"].takes(shape) for shape in ((1, 8, 8), (3, 8, 8), (1, 28, 28))] == [
        True,
        False,
        False,
    ]
    torch.manual_seed(0)
    x = torch.rand(4, 1, 8, 8, requires_grad=True)
    scores = digits_cnn(3)(x)
    assert scores.shape == (4, 3)
    scores.square().sum().backward()
    assert (x.grad != 0).all()
