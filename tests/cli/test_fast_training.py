"""`train.py --fast`: what is chosen where, what the user says stays, and a real training that records it."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from lightning_rs.cli import ResumeParser
from lightning_rs.cli.fast_training import fastest_training
from lightning_rs.data import ImageDataModule
from lightning_rs.objectives import SmoothingModule
from lightning_rs.train import DEFAULT_CONFIG, TrainCLI, main

SHORT = [
    "--trainer.max_epochs=1",
    "--wandb.mode=disabled",
    "--certification.n=50",
    "--certification.limit=2",
    "--live_certification.every_n_epochs=0",
    "--data.batch_size=500",
    "--trainer.accelerator=cpu",
]


class Parsed(TrainCLI):
    """What the command line comes to, without a data set, a net or a trainer."""

    def instantiate_classes(self):
        pass


def parsed(*arguments):
    options = {"subclass_mode_model": True, "subclass_mode_data": True, "run": False, "parser_class": ResumeParser}
    options |= {"auto_configure_optimizers": False, "load_from_checkpoint_support": False}
    kwargs = {"default_config_files": [str(DEFAULT_CONFIG)]}
    return Parsed(
        SmoothingModule, ImageDataModule, args=list(arguments), base={}, parser_kwargs=kwargs, **options
    ).config


@pytest.fixture
def processor(monkeypatch):
    def has(bfloat16, cuda):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))

    return has


def test_what_the_user_says_stays_and_other_defaults_give_way(processor, capsys):
    processor(bfloat16=True, cuda=False)
    config = parsed("--fast", "--model=MACER", "--model.k=2", "--model.engine.channels_last=false", "--data=CIFAR10")
    assert (config.trainer.precision, config.certification.precision) == ("bf16-mixed", "bfloat16")
    model = config.model.init_args
    assert (model.engine.channels_last, model.engine.compile, model.k) == (False, False, 2)
    assert model.optimizer.lr == 0.05  # Of the digits job.
    assert config.data.class_path.endswith("CIFAR10") and config.data.init_args.on_device
    said = "model.engine.channels_last false, model.engine.compile false, data.on_device true"
    assert said in capsys.readouterr().err
    assert not parsed("--model=MACER").model.init_args.engine.channels_last


def test_what_is_chosen_depends_on_the_device_and_on_what_can_use_it(processor):
    processor(bfloat16=False, cuda=True)
    chosen = fastest_training(parsed())
    assert chosen["trainer"] == {"precision": "bf16-mixed"}
    assert chosen["model"]["init_args"]["engine"] == {"channels_last": True, "compile": True}
    assert chosen["certification"] == {"precision": "bfloat16", "channels_last": True}
    denoising = parsed()
    denoising.model.class_path = "lightning_rs.objectives.Denoising"
    assert not fastest_training(denoising)["model"]["init_args"]["engine"]["compile"]
    on_cpu = fastest_training(parsed("--trainer.accelerator=cpu", "--data=ImageFolder", "--data.root=photos"))
    assert on_cpu["trainer"] == {"precision": "32-true"}
    assert not on_cpu["model"]["init_args"]["engine"]["compile"]
    assert "data" not in on_cpu  # It may not fit.
    with pytest.raises(ValueError, match="goes on as it was begun: leave --fast out"):
        parsed("--fast", "--resume=runs/fast")


def test_a_real_training_records_what_it_ran_with_and_is_resumed_as_it_was_begun(
    tmp_path, monkeypatch, capsys, processor
):
    """On a machine that has learnt bfloat16 meanwhile, to the weights of a training that was not interrupted."""
    monkeypatch.chdir(tmp_path)
    processor(bfloat16=False, cuda=False)
    main([*SHORT, "--fast", "--name=whole", "--trainer.max_epochs=2", "--checkpoint.save_top_k=-1"])
    assert "fast: trainer.precision 32-true, " in capsys.readouterr().err
    begun = Path(shutil.copytree("runs/whole", "runs/begun")) / "checkpoints"
    (begun / "last.ckpt").unlink()
    processor(bfloat16=True, cuda=False)
    main([f"--resume={next(begun.glob('epoch=0-*.ckpt'))}"])
    assert "fast:" not in capsys.readouterr().err
    weights = []
    for run in (tmp_path / "runs" / name for name in ("whole", "begun")):
        saved = yaml.safe_load((run / "config.yaml").read_text())
        assert saved["model"]["init_args"]["engine"] == {"channels_last": True, "compile": False}
        assert (saved["data"]["init_args"]["on_device"], saved["fast"]) == (True, False)
        assert (saved["trainer"]["precision"], saved["certification"]["precision"]) == ("32-true", "float32")
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        assert checkpoint["hyper_parameters"]["engine"] == {"channels_last": True, "compile": False}
        weights.append(checkpoint["state_dict"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert (tmp_path / "runs/begun/certification-2/table.csv").exists()
