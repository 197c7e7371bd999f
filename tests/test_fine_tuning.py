"""Trainings that start from weights: by one command, killed and resumed, and certified."""

import signal

import pytest
import torch
import yaml
from conftest import ROOT, run_script

SHORT = (
    "--live_certification.every_n_epochs=0",
    "--trainer.limit_train_batches=4",
    "--trainer.limit_val_batches=1",
    "--certification.n=100",
    "--certification.limit=2",
    "--wandb.mode=disabled",
)
SCRIPTS = {"PYTHONPATH": str(ROOT / "tests" / "scripts")}


def train(cwd, *arguments, status=0):
    return run_script("train.py", *arguments, cwd=cwd, status=status, **SCRIPTS)


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_killed_one_ends_with_the_same_weights_and_its_frozen_ones_are_those_it_started_from(checkpoint, tmp_path):
    options = (
        *SHORT,
        "--trainer.max_epochs=3",
        f"--model.weights={checkpoint}",
        "--model.freeze=net.0.*",
        "--model.optimizer.layer_decay=0.5",
        "--model.mixup=0.3",
        "--model.label_smoothing=0.1",
    )
    callback = "--trainer.callbacks"
    kill = (f"{callback}+=killer.Killer", f"{callback}.step=10", f"{callback}.number={int(signal.SIGKILL)}")
    done = train(tmp_path, *options, "--name=whole")
    assert f"the training starts from the weights of {checkpoint}\n" in done.stderr
    train(tmp_path, *options, "--name=part", *kill, status=-9)
    done = train(tmp_path, "--resume=runs/part", "--trainer.callbacks=[]", f"--model.weights={checkpoint}", status=2)
    assert done.stderr.splitlines()[-1] == (
        "error: a run that is resumed goes on from its own weights: leave --model.weights out"
    )
    # What it started from is not looked for.
    config = tmp_path / "runs" / "part" / "config.yaml"
    done = train(tmp_path, "--resume=runs/part", "--trainer.callbacks=[]")
    assert "starts from" not in done.stderr
    assert yaml.safe_load(config.read_text())["model"]["init_args"]["weights"] == str(checkpoint)
    whole, part = (weights(tmp_path / "runs" / name) for name in ("whole", "part"))
    before = weights(checkpoint.parent.parent)
    assert all(torch.equal(value, part[key]) for key, value in whole.items())
    same = {key.removeprefix("base_classifier.") for key in before if torch.equal(before[key], whole[key])}
    assert same == {"normalize.mean", "normalize.std", "net.0.weight", "net.0.bias"}


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A folder with a tiny vision transformer of three classes."""
    import transformers  # Slow, and of this test alone.

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=3)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "vit")
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder / "vit")
    return folder


def test_a_transformer_is_tuned_by_adapters_and_certified_without_its_folder(vit):
    import transformers

    done = train(vit, *SHORT, "--trainer.max_epochs=1", "--model.architecture=hf/vit", "--model.lora=2", "--name=lora")
    assert (
        "the training starts from the weights of hf/vit; new for 10 classes: net.model.classifier.bias, "
        "net.model.classifier.weight; not among them: adapters\n"
    ) in done.stderr
    held = weights(vit / "runs" / "lora")
    # The file has names of its own, which transformers translates.
    given = transformers.ViTForImageClassification.from_pretrained(vit / "vit").state_dict()
    names = {key: key.removeprefix("base_classifier.net.model.").replace(".base_layer.", ".") for key in held}
    taken = {key: name for key, name in names.items() if name in given and not name.startswith("classifier.")}
    assert len(taken) == len(given) - 2
    assert all(torch.equal(held[key], given[name]) for key, name in taken.items())
    adapters = [value for key, value in held.items() if ".lora_B." in key]
    assert len(adapters) == 2 * 6 and all(value.abs().sum() > 0 for value in adapters)
    (vit / "vit").rename(vit / "away")
    arguments = ("--checkpoint=runs/lora/checkpoints/last.ckpt", "--n=100", "--limit=2", "--wandb_mode=disabled")
    assert "Certified accuracy" in run_script("certify.py", *arguments, cwd=vit).stdout
    (vit / "away").rename(vit / "vit")


def test_bad_input_is_one_line_before_anything_is_written(tmp_path):
    for options, line in (
        (["--model.weights=none.ckpt"], "error: no weights at none.ckpt"),
        (["--model.weights=pretrained"], "error: weights must be a file, a directory or none, as digits_cnn has none"),
        (["--model.freeze=[net.9]"], "error: freeze: no weight or module is called 'net.9'; the first weights are"),
        (["--model.lora=0"], "error: lora must be an integer of at least 1, got 0"),
    ):
        done = train(tmp_path, *options, "--wandb.mode=disabled", status=2)
        assert done.stderr.splitlines()[-1].startswith(line), done.stderr
    assert not list(tmp_path.iterdir())
