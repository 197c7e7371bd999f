import numpy as np
import pytest
import torch

from lightning_rs.objectives.copies import (
    is_top,
    log_mean,
    log_probabilities,
    repeat_copies,
    split_copies,
    with_noise,
)


def test_first_copies_come_first():
    x = torch.arange(6.0).view(2, 3)
    copies = repeat_copies(x, 3)
    assert copies.shape == (6, 3)
    assert torch.equal(copies[:2], x)
    assert torch.equal(copies[2:4], x)
    assert torch.equal(split_copies(copies, 3), x.expand(3, 2, 3))


def test_rows_that_the_copies_do_not_divide():
    with pytest.raises(ValueError, match="3 copies of every image make a multiple of 3 rows, got 8"):
        split_copies(torch.zeros(8, 4), 3)


def test_the_mean_of_probabilities_in_logarithms_never_takes_that_of_0():
    u = np.random.default_rng(0).normal(size=(3, 5, 4))
    p = np.exp(u) / np.exp(u).sum(axis=2, keepdims=True)
    log_f = log_mean(log_probabilities(torch.from_numpy(u)))
    assert np.allclose(log_f.numpy(), np.log(p.mean(axis=0)), rtol=1e-12)
    extreme = log_mean(log_probabilities(torch.tensor([[[0.0, 1e6]], [[0.0, 1e6]]])))
    assert extreme.tolist() == [[-1e6, 0.0]]


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_probabilities_are_computed_in_single_precision_at_least(given, computed):
    assert log_probabilities(torch.zeros(2, 3, dtype=given)).dtype == computed


def test_a_tied_class_is_at_the_top():
    scores = torch.tensor([[1.0, 3.0, 2.0], [2.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
    assert is_top(scores, torch.tensor([1, 2, 1])).tolist() == [True, True, False]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("copies", [1, 3])
def test_images_under_noise_are_those_of_repeated_ones_in_the_noises_layout(copies, layout):
    x, noise = torch.rand(2, 3, 4, 4), torch.randn(copies * 2, 3, 4, 4)
    noisy = with_noise(x.contiguous(memory_format=layout), noise.contiguous(memory_format=layout))
    assert torch.equal(noisy, repeat_copies(x, copies) + noise)
    assert noisy.is_contiguous(memory_format=layout)
