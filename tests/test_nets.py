"""Nets of libraries on the real command line: trained, certified, resumed, and without their folder."""

import shutil

import pytest
from conftest import run_script
from models.hf_folders import save_tiny_vit

OFFLINE = {"HF_HUB_OFFLINE": "1"}
SHORT = (
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--model.schedule.name=constant",
    "--live_certification.every_n_epochs=10",
    "--certification.n=20",
    "--certification.n0=10",
    "--certification.limit=1",
    "--wandb.mode=disabled",
    "--name=net",
)


def test_a_net_of_transformers_is_trained_certified_and_resumed_without_its_folder(tmp_path):
    save_tiny_vit(tmp_path / "vit")
    done = run_script(
        "train.py", "--model.architecture=hf/vit", "--trainer.max_epochs=1", *SHORT, cwd=tmp_path, **OFFLINE
    )
    assert "images of 1x8x8 are resized to 3x16x16 for the net; noise is added at 1x8x8" in done.stderr
    shutil.rmtree(tmp_path / "vit")
    checkpoint = "runs/net/checkpoints/last.ckpt"
    options = ("--n=20", "--n0=10", "--limit=1", "--wandb_mode=disabled")
    done = run_script("certify.py", f"--checkpoint={checkpoint}", *options, cwd=tmp_path, **OFFLINE)
    assert "Digits test, hf/vit" in done.stdout
    done = run_script("train.py", "--resume=runs/net", "--trainer.max_epochs=2", cwd=tmp_path, **OFFLINE)
    assert "Certify again" in done.stdout


@pytest.mark.parametrize("name", ["timm/test_resnet.r160_in1k", "torchvision/squeezenet1_1"])
def test_a_net_of_a_library_is_trained_at_the_size_that_the_user_says_and_resumed(tmp_path, name):
    chosen = (f"--model.architecture={name}", "--model.stages=[channels,resize:size=32,normalize,net]")
    done = run_script("train.py", *chosen, "--trainer.max_epochs=1", *SHORT, cwd=tmp_path)
    assert "are resized" not in done.stderr
    run_script("train.py", "--resume=runs/net", "--trainer.max_epochs=2", cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.architecture=hf/owner/net"], "owner/net is no folder, not in the hub's cache, and cannot be f"),
        (["--model.architecture=nets.features"], "must return 10 scores a row, (1, 10) in all; got (1, 4, 6, 6)"),
        (["--model.architecture=nets.several"], "must return one tensor of scores, got tuple"),
    ],
)
def test_what_gives_no_logits_is_said_before_anything_is_written(tmp_path, arguments, message):
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "class Several(torch.nn.Conv2d):\n    def forward(self, x):\n        return x, x\n"
        "features = lambda classes: torch.nn.Conv2d(1, 4, 3)\n"
        "several = lambda classes: Several(1, 4, 3)\n"
    )
    done = run_script("train.py", *arguments, *SHORT, cwd=tmp_path, status=2, **OFFLINE)
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "runs").exists()
