"""The baseline of a CAT-RS training: named, refused, resumed with, and not needed afterwards."""

import pytest
import torch
from checkpoints.test_trained_classifier import FACTS, save
from checkpoints.test_trained_classifier import train as run

import train
from lightning_rs.checkpoints import load_baseline, load_checkpoint, resumable
from lightning_rs.data import Digits
from lightning_rs.objectives import CATRS, Clean, Gaussian


def module(path, **change):
    return CATRS("digits_cnn", **FACTS, sigma=0.25, baseline=path and str(path), **change)


def test_it_is_the_base_classifier_of_the_file_and_what_the_method_does_not_say_is_told(tmp_path):
    path = tmp_path / "gaussian.ckpt"
    theirs = save(path, Gaussian("digits_cnn", **FACTS, sigma=0.25))
    catrs = module(path)
    assert load_baseline(catrs, Digits()) is None
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(catrs.baseline(x), theirs(x))
    save(path, Gaussian("digits_cnn", **FACTS, sigma=0.5))
    line = load_baseline(catrs, Digits())
    assert line == f"the baseline {path} was trained under Gaussian(0.5), and is asked under Gaussian(0.25)"
    save(path, Clean("digits_cnn", **FACTS, sigma=0.25))
    line = load_baseline(catrs, Digits())
    assert line == f"the baseline {path} was trained by Clean, and the published method's by Gaussian"
    line = load_baseline(alone := module(None), Digits())
    assert line == "CATRS without a baseline is not the published method, whose is by Gaussian"
    assert alone.baseline is None


class Distilled(CATRS):
    needs_baseline = True


def test_one_that_is_needed_is_missed_before_any_work():
    with pytest.raises(ValueError, match="^Distilled needs a baseline: give --model.baseline FILE, a checkpoint of"):
        load_baseline(Distilled("digits_cnn", **FACTS), Digits())


def test_what_does_not_serve_is_refused(tmp_path):
    path = tmp_path / "three.ckpt"
    save(path, Gaussian("digits_cnn", **FACTS | {"num_classes": 3}))
    message = "baseline .*three.ckpt: the model tells 3 classes of 1x8x8 images apart; Digits has 10 classes"
    with pytest.raises(ValueError, match=message):
        load_baseline(module(path), Digits())
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"baseline .*three.ckpt: .*is empty"):
        load_baseline(module(path), Digits())
    torch.save({"net.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"baseline .*three.ckpt: .*three.ckpt is not a checkpoint of train.py$"):
        load_baseline(module(path), Digits())
    with pytest.raises(OSError, match=rf"baseline {tmp_path}: {tmp_path} is a directory, not a checkpoint"):
        load_baseline(module(tmp_path), Digits())
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"baseline: no checkpoint at .*three.ckpt; .* --model.baseline FILE"):
        load_baseline(module(path), Digits())


def test_a_run_needs_its_baseline_to_go_on_and_not_to_be_certified(tmp_path, monkeypatch, capsys):
    theirs, last = tmp_path / "theirs.ckpt", tmp_path / "runs/a/checkpoints/last.ckpt"
    net = save(theirs, Gaussian("digits_cnn", **FACTS))
    options = (f"--model.baseline={theirs}", "--model.m=2", "--model.steps=1", "--model.schedule.name=constant")
    run(tmp_path, "--model=CATRS", *options, "--trainer.max_epochs=1", "--name=a")
    theirs.rename(tmp_path / "elsewhere.ckpt")
    held = load_checkpoint(last)
    assert held.objective == "CATRS" and not torch.equal(held.base_classifier[1][0].weight, net[1][0].weight)
    names = {f"base_classifier.{name}" for name in net.state_dict()}
    assert {name for name in torch.load(last, weights_only=True)["state_dict"] if "accuracy" not in name} == names

    more = ("--resume=runs/a", "--trainer.max_epochs=2")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        train.main(more)
    assert f"error: baseline: no checkpoint at {theirs}; " in capsys.readouterr().err
    again = CATRS(**torch.load(last, weights_only=True)["hyper_parameters"])
    again.take_baseline(net)
    assert resumable(last, again, Digits()).epochs == 1
    again.take_baseline(Gaussian("digits_cnn", **FACTS).base_classifier)
    with pytest.raises(ValueError, match="last.ckpt cannot be resumed with another baseline: it has '?[0-9a-f]+"):
        resumable(last, again, Digits())
    again = CATRS(**torch.load(last, weights_only=True)["hyper_parameters"] | {"baseline": None})
    with pytest.raises(ValueError, match="last.ckpt cannot be resumed with another baseline: .*, got None"):
        resumable(last, again, Digits())
    run(tmp_path, *more, f"--model.baseline={tmp_path / 'elsewhere.ckpt'}")
    assert torch.load(last, weights_only=True)["epoch"] == 1


OWN = """
from torch import nn
from torch.nn import functional as F

from lightning_rs.models import get_architecture
from lightning_rs.objectives import BaselineObjective


class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(*get_architecture("digits_cnn").build(num_classes))


class Distillation(BaselineObjective):
    def loss(self, x, y):
        noisy = x + self.noise(x)
        logits = self(noisy)
        distance = F.mse_loss(logits, self.baseline_logits(noisy))
        return {"distance": distance, "cross_entropy": F.cross_entropy(logits, y)}, logits
"""


def test_its_net_and_the_objective_may_be_the_users_own(tmp_path):
    (tmp_path / "teaching.py").write_text(OWN)
    path, last = tmp_path / "theirs.ckpt", tmp_path / "runs/a/checkpoints/last.ckpt"
    theirs = module(None)
    save(path, theirs)
    content = torch.load(path, weights_only=True)
    torch.save(content | {"hyper_parameters": content["hyper_parameters"] | {"architecture": "teaching.Net"}}, path)
    way = "--model.architecture teaching.Net to train.py or --plugins teaching if it is a class$"
    with pytest.raises(ValueError, match=f"^baseline {path}: .* if it is yours, give --arch .*{way}"):
        load_baseline(module(path), Digits())
    options = ("--model=teaching.Distillation", "--plugins=teaching", "--trainer.max_epochs=1", "--name=a")
    run(tmp_path, *options, f"--model.baseline={path}", "--checkpoint.monitor=train/distance")
    held = torch.load(last, weights_only=True)
    theirs.take_baseline(theirs.base_classifier)
    assert held["hyper_parameters"]["architecture"] == "digits_cnn"
    assert held["lightning_rs"]["baseline"] == theirs.baseline_digest
