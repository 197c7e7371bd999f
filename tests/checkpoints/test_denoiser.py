"""A denoiser in front of the classifier of a checkpoint, by the real commands and by hand.

Commands after the first run in this process, which has imported diffusers: that takes longer than they do.
"""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import run_script

from lightning_rs.certify import main as certify_main
from lightning_rs.checkpoints import load_checkpoint, with_denoiser
from lightning_rs.models import set_sigma
from lightning_rs.train import main as train_main

FEW = ("--wandb.mode=disabled", "--live_certification.every_n_epochs=0", "--certification.n=100")


@pytest.fixture(scope="module")
def behind(diffusion_folder, tmp_path_factory):
    """Checkpoint of a classifier that was trained behind a diffusion model whose folder is no longer there."""
    folder = tmp_path_factory.mktemp("behind")
    shutil.copytree(diffusion_folder, folder / "model")
    options = ("--denoiser=diffusion/model", "--trainer.max_epochs=1", "--trainer.limit_train_batches=3")
    done = run_script("train.py", "--name=a", *options, *FEW, "--certification.limit=2", cwd=folder)
    assert "digits_cnn behind a denoiser" in done.stdout
    assert "eval mode" not in done.stderr
    (folder / "model").rename(folder / "moved")
    return folder / "runs" / "a" / "checkpoints" / "last.ckpt"


def certify(folder, *options):
    certify_main(["--n=100", "--limit=2", "--wandb_mode=disabled", f"--output={folder / 'out'}", *options])
    return json.loads((folder / "out" / "run.json").read_text().partition("\n}")[0] + "}")


@pytest.fixture
def refused(capsys):
    """What a command says that ends with status 2."""

    def refused(command, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            command(*arguments)
        assert left.value.code == 2
        return capsys.readouterr().err

    return refused


def test_a_classifier_trained_behind_a_diffusion_model(behind, diffusion_folder, tmp_path, refused):
    run = certify(tmp_path, f"--checkpoint={behind}", "--sigma=0.5")
    assert (run["denoiser"], run["sigma"]) == ("diffusion at t = 259 of 1000, epsilon", 0.5)
    # The denoiser is as its folder has it, and only the classifier was trained.
    content = torch.load(behind, weights_only=True)
    assert content["hyper_parameters"]["stages"] == ["denoiser:net=diffusion/model", "normalize", "net"]
    loaded = load_checkpoint(behind)
    again = with_denoiser(replace(loaded, base_classifier=loaded.base_classifier[1:]), f"diffusion/{diffusion_folder}")
    own, folders = loaded.base_classifier.denoiser, again.base_classifier.denoiser
    assert all(torch.equal(own.state_dict()[key], value) for key, value in folders.state_dict().items())
    message = "error: the checkpoint has a denoiser in front already: leave denoiser out"
    twice = (f"--checkpoint={behind}", f"--denoiser=diffusion/{diffusion_folder}")
    assert refused(certify, tmp_path, *twice).strip() == message


def test_its_training_is_resumed_by_those_who_name_the_model(behind, refused, monkeypatch):
    monkeypatch.chdir(behind.parent.parent.parent.parent)
    place = "denoiser is 'diffusion/model', which is no part of this project"
    assert place in refused(train_main, ["--resume=runs/a"])
    gone = ["--resume=runs/a", "--denoiser=diffusion/./gone"]
    assert "there is no folder ./gone" in refused(train_main, gone)


def test_it_stands_before_a_classifier_that_never_saw_it(behind, checkpoint, tmp_path, refused):
    plain = certify(tmp_path, f"--checkpoint={checkpoint}")
    assert "denoiser" not in plain
    assert "denoiser" in refused(certify, tmp_path, f"--checkpoint={checkpoint}", f"--denoiser={behind}")
    shutil.rmtree(tmp_path / "out")
    run = certify(tmp_path, f"--checkpoint={checkpoint}", f"--denoiser={behind}")
    assert run["denoiser"] == "diffusion at t = 145 of 1000, epsilon"
    assert run["weights_sha256"] != plain["weights_sha256"]
    assert run["normalization"] == plain["normalization"]


def test_the_two_are_asked_one_after_the_other(behind, checkpoint):
    loaded = load_checkpoint(checkpoint)
    both = with_denoiser(loaded, str(behind)).base_classifier
    set_sigma(both, 0.5)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(both(x), loaded.base_classifier(both.denoiser(x)))
    assert int(both.denoiser.step) == 259


def test_what_cannot_stand_in_front(behind, checkpoint, diffusion_folder, tmp_path):
    loaded = load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match=r"last\.ckpt has no denoiser in front of its classifier$"):
        with_denoiser(loaded, str(checkpoint))
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        with_denoiser(loaded, str(tmp_path / "no.ckpt"))
    colour = replace(loaded, input_shape=(3, 32, 32))
    with pytest.raises(ValueError, match=r"is for 1x8x8 images, the classifier for 3x32x32: Given groups=1"):
        with_denoiser(colour, str(behind))
    odd = replace(loaded, input_shape=(1, 7, 7))
    with pytest.raises(ValueError, match="is for 1x8x8 images, the classifier for 1x7x7: "):
        with_denoiser(odd, str(behind))
    with pytest.raises(ValueError, match="stage 'denoiser' does not take the options"):
        with_denoiser(loaded, f"diffusion/{diffusion_folder},colour=red")


def test_a_file_cannot_name_what_is_built_or_read(behind, diffusion_folder, tmp_path):
    content = torch.load(behind, weights_only=True)
    about = content["lightning_rs"]
    config = about["configs"]["denoiser"]
    for part, key, value in (
        ("unet", "_class_name", "os.system"),
        ("unet", "pretrained_model_name_or_path", "theirs/model"),
        ("scheduler", "_name_or_path", "theirs"),
        ("unet", "act_fn", "os.path"),
    ):
        changed = {**config, part: {**config[part], key: value}}
        torch.save(content | {"lightning_rs": about | {"configs": {"denoiser": changed}}}, tmp_path / "a")
        with pytest.raises(ValueError, match=rf"does not fit the model that it names: the diffusion.*{key}"):
            load_checkpoint(tmp_path / "a")
    stages = [f"denoiser:net=diffusion/model,weights={diffusion_folder / 'unet'}", "normalize", "net"]
    torch.save(content | {"hyper_parameters": content["hyper_parameters"] | {"stages": stages}}, tmp_path / "a")
    with pytest.raises(ValueError, match="stage 'denoiser' does not take the options"):
        load_checkpoint(tmp_path / "a")
    torch.save(content | {"lightning_rs": about | {"configs": {}}}, tmp_path / "a")
    with pytest.raises(ValueError, match="what only a file names is never read: if diffusion/model is yours, give"):
        load_checkpoint(tmp_path / "a")
