import torch

from lightning_rs.models.normalize import Normalize


def test_normalize_is_per_channel():
    x = torch.rand(2, 3, 4, 4)
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    y = Normalize(mean, std)(x)
    for c in range(3):
        assert torch.equal(y[:, c], (x[:, c] - torch.tensor(mean[c])) / torch.tensor(std[c]))
