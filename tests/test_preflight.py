"""What `python train.py` refuses before it writes anything."""

import pytest
from conftest import run_script


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.sigma=-1"], "error: sigma must be positive and finite, got -1.0"),
        (["--model.sigma=abc"], "error: sigma: Expected a number, got abc"),
        (["--model.sgma=1"], "error: Option 'sgma' is not accepted"),
        (["--model.architecture=vgg"], "error: unknown model 'vgg'; known: cifar_resnet110, "),
        (
            ["--model=Macro"],
            "error: unknown objective 'Macro'; known: CATRS, Clean, Consistency, Denoising, DenoisingStability, ",
        ),
        (["--data=SVHN"], "error: unknown data set 'SVHN'; known: Arrays, CIFAR10, Digits, HuggingFace, "),
        (["--data=MNIST"], "error: digits_cnn takes 1x8x8 images, the data set has 1x28x28"),
        (["--data=MNIST", "--model.architecture=lenet"], "error: MNIST not found in datasets: set data_dir to the"),
        (
            ["--certification.n=9"],
            "error: cohen_two_sided cannot certify anything with n = 9 at alpha = 0.001: n must be >= 11",
        ),
        (["--certification.alpha=1"], "error: alpha must lie in (0, 1), got 1.0"),
        (["--certification.indices=[364]"], "error: indices must be one or more in [0, 363], got [364]"),
        (
            ["--certification.mechanisms=[coen]"],
            "error: unknown mechanism 'coen'; known: best, cohen, cohen_two_sided, cullen, ",
        ),
        (["--live_certification.output=x"], "error: output is for the test split; certification of val is logged"),
        (["--wandb.mode=online"], "error: W&B mode is online but wandb finds no API key: run wandb login"),
        (
            ["--checkpoint.monitor=certify/cohen/acr", "--checkpoint.mode=max"],
            "error: monitoring certify/cohen/acr needs --live_certification.every_n_epochs 1, got 20",
        ),
        (
            ["--checkpoint.monitor=val/los"],
            "error: nothing to monitor is logged as 'val/los'; there are train/loss, train/noisy_accuracy, val/loss, ",
        ),
        (
            ["--model=Stability", "--checkpoint.monitor=train/stabilty"],
            "error: nothing to monitor is logged as 'train/stabilty'; there are train/loss, ",
        ),
        (
            ["--checkpoint.monitor=certify/cohen/arc", "--live_certification.every_n_epochs=1"],
            "error: nothing to monitor is logged as 'certify/cohen/arc'; there are ",
        ),
        (
            ["--checkpoint.monitor=certify/cohen/acr", "--live_certification.every_n_epochs=1"],
            "error: ModelCheckpoint monitors certify/cohen/acr: its mode must be max, got min",
        ),
        (["--checkpoint.dirpath=x"], "error: a run writes to RUNS/NAME/checkpoints and RUNS/NAME/certification: leave"),
        (["--certification.output=x"], "error: a run writes to RUNS/NAME/checkpoints and RUNS/NAME/certification: "),
        (["--checkpoint.filename=../../x"], "error: checkpoint.filename must be the name of a file, without"),
        (["--trainer.val_check_interval=0"], "error: trainer.val_check_interval must be positive, got 0"),
        (["--trainer.check_val_every_n_epoch=0"], "error: trainer.check_val_every_n_epoch must be positive, got 0"),
        (["--certification.n=3000000000"], "error: "),
        (["--certification.seed=18446744073709551616"], "error: "),
        (["--model.optimizer.weight_decay=-1"], "error: weight_decay must be"),
        (["--model.optimizer.weight_decay=1e308"], "error: lr * weight_decay must be less than 2, "),
        (
            ["--model.schedule.name=step", "--model.schedule.step_size=0"],
            "error: step_size must be an integer of at least 1, got 0",
        ),
        (
            ["--certification.mechanisms=[sequential_betting]", "--certification.radii=[9]"],
            "error: sequential_betting cannot certify any of the radii [9.0] with n = 10000 draws at alpha = 0.001",
        ),
        (["--model=SmoothingModule"], "error: model: Expected an instantiatable class, but is abstract"),
        (["--model=MACER", "--model.k=0"], "error: k must be an integer of at least 1, got 0"),
        (["--model=SmoothAdv", "--model.epsilon=-1"], "error: epsilon must be positive and finite, got -1.0"),
        (["--resume=runs/none"], "error: no run to resume: there is no runs/none/config.yaml"),
        (["--name=../../x/y"], "error: name must be the name of a folder, got '../../x/y'"),
    ],
)
def test_bad_input_gets_one_line_and_nothing_is_written(arguments, message, tmp_path):
    done = run_script("train.py", *arguments, cwd=tmp_path, status=2)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Seed set to")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_net_without_weights_is_not_trained(tmp_path):
    """Such as the one in an ONNX file."""
    net = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.AdaptiveMaxPool1d(num_classes))"
    (tmp_path / "pooling.py").write_text(f"import torch\n\n\ndef net(num_classes):\n    return {net}\n")
    done = run_script("train.py", "--model.architecture=pooling.net", cwd=tmp_path, status=2)
    assert done.stderr.splitlines()[-1] == (
        "error: pooling.net has no weights to train; certify.py --arch pooling.net certifies it as it is"
    )
    assert not (tmp_path / "runs").exists()
