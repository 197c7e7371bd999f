"""Nets of libraries on the command line: trained, certified, resumed, and without their folder."""

import shutil
import sys

import pytest
import torch
from huggingface_hub import constants
from models.hf_folders import save_tiny_vit

from lightning_rs.certify import main as certify
from lightning_rs.models import ARCHITECTURES
from lightning_rs.train import main as train

SHORT = (
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--model.schedule.name=constant",
    "--live_certification.every_n_epochs=10",
    "--certification.n=20",
    "--certification.n0=10",
    "--certification.limit=1",
    "--wandb.mode=disabled",
    "--name=net",
)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """In a folder of its own, where the hub is not asked, and what one test names is unknown to the next."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(ARCHITECTURES, "_users", {})


def test_a_net_of_transformers_is_trained_certified_and_resumed_without_its_folder(tmp_path, monkeypatch, capsys):
    save_tiny_vit(tmp_path / "vit")
    train(["--model.architecture=hf/vit", *SHORT])
    assert "images of 1x8x8 are resized to 3x16x16 for the net; noise is added at 1x8x8" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "vit")
    monkeypatch.setattr(ARCHITECTURES, "_users", {})
    options = ("--n=20", "--n0=10", "--limit=1", "--wandb_mode=disabled", "--accelerator=cpu", "--devices=1")
    certify(["--checkpoint=runs/net/checkpoints/last.ckpt", *options])
    assert "Digits test, hf/vit" in capsys.readouterr().out
    shutil.copytree("runs/net", "runs/copy")  # This process still holds the run itself.
    train(["--resume=runs/copy", "--trainer.max_epochs=2"])
    assert "Certify again" in capsys.readouterr().out
    # A folder that only the run's own files name is not read.
    path = "runs/copy/checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    content["lightning_rs"]["configs"] = {}
    torch.save(content, path)
    monkeypatch.setattr(ARCHITECTURES, "_users", {})
    with pytest.raises(SystemExit):
        train(["--resume=runs/copy", "--trainer.max_epochs=3"])
    assert "does not hold what hf/vit is built from: if you trust that place, give --m" in capsys.readouterr().err


def test_a_net_of_timm_is_trained_at_the_size_that_the_user_says_and_resumed(capsys):
    stages = "--model.stages=[channels,resize:size=32,normalize,net]"
    train(["--model.architecture=timm/test_resnet.r160_in1k", stages, *SHORT])
    assert "are resized" not in capsys.readouterr().err
    shutil.copytree("runs/net", "runs/copy")  # This process still holds the run itself.
    train(["--resume=runs/copy", "--trainer.max_epochs=2"])
    assert "Certify again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("hf/owner/net", "owner/net is no folder, not in the hub's cache, and cannot be fetched: download config.json"),
        ("own_nets.features", "must return 10 scores a row, (1, 10) in all; got (1, 4, 6, 6)"),
        ("own_nets.several", "must return one tensor of scores, got tuple"),
        ("own_nets.Auxiliary", "in training own_nets.Auxiliary does not serve: the base classifier must return one"),
        ("own_nets.Cut", "in training own_nets.Cut gives scores without gradients"),
    ],
)
def test_what_gives_no_logits_is_said_before_anything_is_written(tmp_path, capsys, architecture, message):
    (tmp_path / "own_nets.py").write_text(
        "import torch\n"
        "class Several(torch.nn.Conv2d):\n    def forward(self, x):\n        return x, x\n"
        "class Cut(torch.nn.Module):\n"
        "    def __init__(self, classes):\n        super().__init__()\n"
        "        self.scores = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))\n"
        "    def forward(self, x):\n        return self.scores(x).detach()\n"
        "class Auxiliary(Cut):\n    def forward(self, x):\n"
        "        return (self.scores(x), self.scores(x)) if self.training else self.scores(x)\n"
        "features = lambda classes: torch.nn.Conv2d(1, 4, 3)\n"
        "several = lambda classes: Several(1, 4, 3)\n"
    )
    with pytest.raises(SystemExit):
        train([f"--model.architecture={architecture}", *SHORT])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "runs").exists()
