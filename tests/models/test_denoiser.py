import re
import sys

import pytest
import torch
from torch import nn

from lightning_rs.models import DENOISER, DENOISERS, Denoiser, ImageFacts, denoiser_stage, load_named, set_sigma
from lightning_rs.registry import split_options

DIGITS = ImageFacts(10, (1, 8, 8), [0.5], [0.5])

MINE = """
import torch

class Blur(torch.nn.Module):
    def __init__(self, width, channels):
        super().__init__()
        self.pool = torch.nn.AvgPool2d(width, stride=1, padding=width // 2)

    def forward(self, x):
        return self.pool(x)

    def set_sigma(self, sigma):
        self.sigma = sigma

def blur(images, width=3):
    return Blur(width, images.shape[0])

number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_denoisers.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_denoisers.blur"
    sys.modules.pop("my_denoisers", None)
    DENOISERS._users.pop("my_denoisers.blur", None)


def test_an_own_one_by_its_path_with_its_options_once_it_was_named(mine):
    stage = denoiser_stage(f"{mine},width=5")
    options = split_options("stage", stage)[1]
    way = f"--denoiser {mine} to train.py, --stages '[denoiser:net={mine}]' to certify.py or --plugins my_denoisers"
    with pytest.raises(ValueError, match=rf"if it is yours, give {re.escape(way)} if it is a class$"):
        DENOISER.build(DIGITS, **options)
    assert "my_denoisers" not in sys.modules
    load_named(stages=[stage])
    module = DENOISER.build(DIGITS, **options)
    assert (module(torch.rand(2, 1, 8, 8)).shape, module.pool.kernel_size) == ((2, 1, 8, 8), 5)
    set_sigma(nn.Sequential(module, nn.Flatten()), 0.5)
    assert module.sigma == 0.5


def test_what_is_no_denoiser(mine):
    with pytest.raises(ValueError, match="number is no denoiser: it must map the facts about the images to a module"):
        load_named(stages=["denoiser:net=my_denoisers.number"])
    with pytest.raises(ValueError, match="unknown denoiser 'bm3d'; known: "):
        DENOISER.build(DIGITS, net="bm3d")


def test_a_place_that_only_a_file_names_is_not_read(diffusion_folder):
    net = f"diffusion/{diffusion_folder}/"
    with pytest.raises(ValueError, match=rf"^what only a file names is never read: if {net} is yours, give "):
        DENOISER.build(DIGITS, net=net)
    load_named(stages=[denoiser_stage(net)])
    assert isinstance(DENOISERS[net], Denoiser)
    assert DENOISER.build(DIGITS, net=net).own_config["scheduler"]["beta_schedule"] == "linear"
