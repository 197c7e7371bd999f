"""What holds on every device that is there: on the CPU everywhere, and on a GPU where there is one."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import DEVICES
from processes import certify_on, certify_together_on, exact_linear_net
from pytorch_lightning import Callback, Trainer
from torch import nn

from lightning_rs.data import Digits
from lightning_rs.noise import Stage, make_noise
from lightning_rs.objectives import Engine, Gaussian
from lightning_rs.smoothing import Preparation, find_batch_size, prepare
from lightning_rs.smoothing.execution import tf32
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler

NOISES = ["gaussian", "grid_gaussian:levels=16"]
N, N0 = 450, 60


@pytest.fixture(params=DEVICES)
def device(request):
    return torch.device(request.param)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(17, (4, 1, 8, 8), generator=generator).float().div(16)


@pytest.fixture
def exact_net():
    return exact_linear_net()


def sampled(net, images, device, batch_size=100, seed=7):
    noise = make_noise("grid_gaussian:levels=16", 0.25)
    sampler = Sampler(net, 10, noise, batch_size, seed, device)
    return list(sampler.run(enumerate(images), Plan((N,), N0)))


def votes(samples):
    return [(s.selection_counts.tolist(), s.counts.tolist()) for s in samples]


@pytest.mark.parametrize("noise", NOISES)
def test_a_draw_depends_on_its_address_alone(device, images, noise):
    def rows(first, last, index, buffer=None):
        source = make_noise(noise, 0.5).source(3, (1, 8, 8), device=device)
        out = torch.empty((last - first, 1, 8, 8), device=device) if buffer is None else buffer
        source.perturb(out, images[0].to(device), index, Stage.ESTIMATION, first)
        return out

    whole = rows(0, 250, index=5)
    again = torch.cat([rows(0, 1, 5), rows(1, 130, 5), rows(130, 250, 5)])
    assert torch.equal(whole, again)
    source = make_noise(noise, 0.5).source(3, (1, 8, 8), device=device)
    parts = {}
    for first in (200, 50, 150, 0, 100):  # In another order, with another image's draws between them.
        other, parts[first] = torch.empty_like(whole[:50]), torch.empty_like(whole[:50])
        source.perturb(other, images[1].to(device), 6, Stage.ESTIMATION, first)
        source.perturb(parts[first], images[0].to(device), 5, Stage.ESTIMATION, first)
    assert torch.equal(whole, torch.cat([parts[first] for first in sorted(parts)]))
    assert not torch.equal(whole, rows(0, 250, index=6) - images[0].to(device) + images[0].to(device))
    assert (whole - images[0].to(device)).std().item() == pytest.approx(0.5, rel=0.05)


def test_votes_are_those_that_the_cpu_counts_of_the_same_noisy_copies(device, images, exact_net):
    samples = sampled(exact_net.to(device), images, device)
    net = exact_net.to("cpu")
    source = make_noise("grid_gaussian:levels=16", 0.25).source(7, (1, 8, 8), device=device)
    for index, (selection, counts) in enumerate(votes(samples)):
        for stage, expected, draws in ((Stage.SELECTION, selection, N0), (Stage.ESTIMATION, counts, N)):
            rows = torch.empty((draws, 1, 8, 8), device=device)
            source.perturb(rows, images[index].to(device), index, stage, 0)
            with torch.no_grad():
                seen = net(rows.cpu()).argmax(dim=1)
            assert np.bincount(seen.numpy(), minlength=10).tolist() == expected[:10]


def test_order_company_and_batches_change_no_vote(device, images, exact_net):
    net = exact_net.to(device)
    expected = votes(sampled(net, images, device))
    assert votes(sampled(net, images, device, batch_size=37)) == expected
    assert votes(sampled(net, images[:2], device)) == expected[:2]


class Narrow(nn.Module):
    """A net whose activations no memory holds, of more rows than these."""

    def __init__(self, net, rows):
        super().__init__()
        self.net, self.rows = net, rows

    def forward(self, x):
        if len(x) > self.rows:
            torch.empty(2**50, dtype=torch.uint8, device=x.device)
        return self.net(x)


def test_calls_are_halved_until_memory_is_enough_and_the_votes_stay(device, images, exact_net):
    net = exact_net.to(device)
    expected = votes(sampled(net, images, device))
    with pytest.warns(UserWarning, match="not enough memory for 100 rows a call; going on with 25"):
        assert votes(sampled(Narrow(net, 30), images, device)) == expected
    with pytest.raises(ValueError, match="not enough memory to classify one noisy copy"):
        sampled(Narrow(net, 0), images, device)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_compiled_classifier_gives_the_same_votes(device, images, exact_net, channels_last):
    """With CUDA graphs on a GPU; on a CPU traced alone, for to generate code would take a minute."""
    net = exact_net.to(device)
    torch.compiler.reset()
    stance = torch.compiler.set_stance(force_backend="eager") if device.type == "cpu" else nullcontext()
    with stance:
        preparation = Preparation(compile=True, channels_last=channels_last)
        prepared = prepare(net, preparation, images.repeat(25, 1, 1, 1).to(device))
        assert votes(sampled(prepared, images, device)) == votes(sampled(net, images, device))


def test_tf32_is_chosen_by_the_precision_alone_and_refused_elsewhere(device):
    torch.manual_seed(0)
    net, rows = nn.Linear(256, 64).to(device), torch.rand(512, 256, device=device)
    if device.type == "cpu":
        with pytest.raises(ValueError, match="precision tf32 needs a CUDA device, got cpu"):
            prepare(net, Preparation("tf32"), rows)
        return
    exact = net.double()(rows.double())
    net = net.float()
    with torch.no_grad(), tf32(True, device):  # Whatever holds outside.
        full = (prepare(net, Preparation(), rows)(rows) - exact).abs().max().item()
        rounded = (prepare(net, Preparation("tf32"), rows)(rows) - exact).abs().max().item()
    assert full < 1e-5 < rounded < 1e-2


def test_a_batch_size_is_found(device, images, exact_net):
    assert find_batch_size(exact_net.to(device), images[0].to(device), longest=1e-4) >= 50


def test_two_processes_on_one_device_find_what_one_finds(device, tmp_path, unused_port):
    """Each claims the next image; none is certified twice."""
    expected = certify_on(device, tmp_path / "alone")
    assert certify_together_on(device, 2, unused_port, tmp_path) == [expected, expected]
    files = [path.read_text().splitlines() for path in (tmp_path / "out").glob("records-*.jsonl")]
    assert len(expected) == 12 == sum(len(lines) - 1 for lines in files if lines)


class Poison(Callback):
    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step == 1:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(float("nan"))


def test_a_training_ends_before_spoiled_weights_are_saved(device, tmp_path):
    net = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}
    module = Gaussian(**net, engine=Engine(channels_last=True))
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2}
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    trainer = Trainer(accelerator=accelerator, devices=1, callbacks=[Poison()], default_root_dir=tmp_path, **options)
    with warnings.catch_warnings(), pytest.raises(FloatingPointError, match=r"not finite at step 1 \(epoch 0\)"):
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=Digits(batch_size=200, on_device=True))
    assert not list(tmp_path.rglob("*.ckpt"))
