"""The baseline of a CAT-RS training: named, refused, resumed with, and not needed afterwards."""

import shutil

import pytest
import torch
from checkpoints.test_trained_classifier import FACTS, save, train
from conftest import run_script

from lightning_rs.checkpoints import load_baseline, load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.objectives import CATRS, Gaussian


def module(path, **change):
    return CATRS("digits_cnn", **FACTS, sigma=0.25, baseline=path and str(path), **change)


def test_it_is_the_base_classifier_of_the_file_and_other_noise_is_said(tmp_path):
    path = tmp_path / "gaussian.ckpt"
    theirs = save(path, Gaussian("digits_cnn", **FACTS, sigma=0.25))
    catrs = module(path)
    assert load_baseline(catrs, Digits()) is None
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(catrs.baseline(x), theirs(x))
    save(path, Gaussian("digits_cnn", **FACTS, sigma=0.5))
    line = load_baseline(catrs, Digits())
    assert line == f"the baseline {path} was trained under Gaussian(0.5), and is asked under Gaussian(0.25)"
    assert load_baseline(alone := module(None), Digits()) is None and alone.baseline is None


def test_what_does_not_serve_is_refused(tmp_path):
    path = tmp_path / "three.ckpt"
    save(path, Gaussian("digits_cnn", **FACTS | {"num_classes": 3}))
    message = "baseline .*three.ckpt: the model tells 3 classes of 1x8x8 images apart; Digits has 10 classes"
    with pytest.raises(ValueError, match=message):
        load_baseline(module(path), Digits())
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"baseline .*three.ckpt: .*is empty"):
        load_baseline(module(path), Digits())
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"baseline: no checkpoint at .*three.ckpt; .* --model.baseline FILE"):
        load_baseline(module(path), Digits())


def test_a_run_from_its_beginning_to_its_certificates_needs_it_until_it_is_trained(checkpoint, tmp_path):
    theirs, last = tmp_path / "theirs.ckpt", tmp_path / "runs/a/checkpoints/last.ckpt"
    shutil.copy(checkpoint, theirs)
    options = (f"--model.baseline={theirs}", "--model.m=2", "--model.steps=1", "--trainer.max_epochs=1")
    train(tmp_path, "--model=CATRS", *options, "--model.schedule.name=constant", "--name=a")
    content = torch.load(last, weights_only=True)
    plain = {f"base_classifier.{name}" for name in load_checkpoint(checkpoint).base_classifier.state_dict()}
    assert set(content["state_dict"]) - plain == {name for name in content["state_dict"] if "accuracy" in name}
    theirs.rename(tmp_path / "elsewhere.ckpt")
    run_script("certify.py", f"--checkpoint={last}", "--n=100", "--limit=2", cwd=tmp_path)

    more = ("--resume=runs/a", "--trainer.max_epochs=2")
    done = train(tmp_path, *more, status=2)
    assert f"error: baseline: no checkpoint at {theirs}; " in done.stderr
    changed = torch.load(checkpoint, weights_only=True)
    changed["state_dict"]["base_classifier.net.0.bias"] += 1.0
    torch.save(changed, theirs)
    done = train(tmp_path, *more, status=2)
    assert "last.ckpt cannot be resumed with another baseline: it has " in done.stderr
    train(tmp_path, *more, f"--model.baseline={tmp_path / 'elsewhere.ckpt'}")
    assert torch.load(last, weights_only=True)["epoch"] == 1
