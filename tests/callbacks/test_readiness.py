"""What the callback refuses, or says, before the first step of a training of a user's own."""

import random

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import Normalize

from lightning_rs.callbacks import CertificationCallback
from lightning_rs.data import Digits

IMAGES = TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8))


class Own(LightningModule):
    """A user's module; `steps` counts what was trained."""

    def __init__(self, *layers, without=(), **attributes):
        super().__init__()
        self.base_classifier = nn.Sequential(*(layers or (nn.Flatten(), nn.Linear(64, 10))))
        self.num_classes, self.sigma, self.steps = 10, 0.5, 0
        for name, value in attributes.items():
            setattr(self, name, value)
        for name in without:
            delattr(self, name)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return next(self.parameters()).square().sum()

    def validation_step(self, batch, batch_idx):
        self.validated = True

    def test_step(self, batch, batch_idx):
        self.tested = True


class Late(Own):
    """What is certified is made in a hook."""

    def configure_model(self):
        self.base_classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


class Unvalidated(Own):
    validation_step = LightningModule.validation_step


def fit(module, *callbacks, data=None, **options):
    options = {"max_epochs": 1, "logger": False, "enable_checkpointing": False} | options
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks) or [CertificationCallback(n=100, limit=2)],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    if data is None:
        trainer.fit(module, datamodule=Digits(batch_size=500))
    else:
        trainer.fit(module, DataLoader(IMAGES), DataLoader(data))
    return trainer


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: Own(without=["base_classifier"]), "Own needs base_classifier, a module that .*; got nothing"),
        (lambda: Own(base_classifier=None), "Own needs base_classifier, a module that .*; got nothing"),
        (lambda: Own(without=["num_classes"]), "Own needs num_classes: num_classes must be an integer .* got None"),
        (lambda: Own(without=["sigma"]), "Own needs sigma, the standard deviation .* got None"),
        (lambda: Own(sigma="wide"), "Own needs sigma, .* got 'wide'"),
        (lambda: Own(sigma=-1.0), "Own needs sigma, .* positive and finite; got -1.0"),
        (lambda: Own(sigma=float("nan")), "Own needs sigma, .* got nan"),
        (lambda: Own(noise_distribution="gaussian"), "Own needs noise_distribution, a Noise, .* got a str"),
        (lambda: Own(num_classes=7), r"must return 7 scores a row, \(1, 7\) in all; got \(1, 10\)"),
        (lambda: Own(nn.Flatten(), nn.Linear(63, 10)), "the base classifier .*mat1 and mat2 shapes cannot be"),
        (lambda: Own(nn.Flatten(), nn.LSTM(64, 10)), "must return one tensor of scores, got tuple"),
    ],
)
def test_a_module_that_cannot_be_certified(module, message):
    module = module()
    with pytest.raises(ValueError, match=message):
        fit(module)
    assert module.steps == 0 and not hasattr(module, "validated")


class Dictionaries(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"image": IMAGES[index][0], "label": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Dictionaries(), "Dictionaries, val: an example must be an image and its label, got a dict"),
        (TensorDataset(torch.rand(8, 1, 8, 8)), "an example must be an image and its label, got a tuple"),
        (TensorDataset(torch.rand(8, 1, 8, 8) * 255, torch.arange(8)), r"pixels must lie in \[0, 1\], got"),
        (TensorDataset(torch.ones(8, 1, 8, 8).byte(), torch.arange(8)), "images must be floating-point tensors"),
    ],
)
@pytest.mark.parametrize("sanity", [0, 2])
def test_loaders_whose_data_cannot_be_certified(data, message, sanity):
    module = Own()
    with pytest.raises(ValueError, match=message):
        fit(module, data=data, num_sanity_val_steps=sanity)
    assert module.steps == 0 and not hasattr(module, "validated")


def test_settings_that_suit_no_image_of_the_data_set_are_found_for_both_splits():
    for split in ("val", "test"):
        module = Own()
        callback = CertificationCallback(split, indices=[10_000], n=100)
        with pytest.raises(ValueError, match=r"indices must be one or more in \[0, \d+\], got \[10000\]"):
            fit(module, callback)
        assert module.steps == 0


def test_images_that_do_not_fit_the_classifier_are_found_whatever_is_done_to_it():
    module = Own(nn.Flatten(), nn.Linear(63, 10))
    with pytest.raises(ValueError, match="the base classifier failed on 1 rows of shape .*mat1 and mat2 shapes"):
        fit(module, CertificationCallback(n=100, limit=2, fold_batch_norm=True))
    assert module.steps == 0


def test_what_hooks_make_of_the_module_is_waited_for():
    fit(Late(without=["base_classifier"]), callback := CertificationCallback(n=100, limit=2))
    assert len(callback.records) == 2


def test_torchvisions_normalization_within_the_classifier_is_described():
    module = Own(Normalize([0.25], (0.5,)), nn.Flatten(), nn.Linear(64, 10))
    fit(module, callback := CertificationCallback(n=100, limit=2))
    assert callback._run.to_dict()["normalization"] == {"mean": [0.25], "std": [0.5]}


class Trace(nn.Module):
    """Random numbers, running statistics and modes in the forward pass."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(), nn.Linear(64, 10))

    def forward(self, x):
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        return self.layers(x)


def test_the_checks_leave_no_trace():
    module, seen = Own(Trace()), []

    class Watch(CertificationCallback):
        def on_fit_start(self, trainer, pl_module):
            for _ in range(2):
                state = {name: value.clone() for name, value in pl_module.state_dict().items()}
                modes = [m.training for m in pl_module.modules()]
                seen.append((state, modes, torch.get_rng_state(), np.random.get_state()[1], random.getstate()))  # noqa: NPY002
                super().on_fit_start(trainer, pl_module)

    module.base_classifier[0].layers[2].eval()
    fit(module, Watch(n=100, limit=2), limit_train_batches=1)
    before, after = seen
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert before[1] == after[1] and not all(before[1])
    assert torch.equal(before[2], after[2]) and (before[3] == after[3]).all() and before[4] == after[4]


@pytest.mark.parametrize("watching", [EarlyStopping, ModelCheckpoint])
@pytest.mark.parametrize(
    ("monitor", "mode", "better"),
    [
        ("certify/cohen/acr", "min", "max"),
        ("certify/cohen/accuracy@0.5", "min", "max"),
        ("certify/clean_accuracy", "min", "max"),
        ("certify/cohen/abstention_rate", "max", "min"),
    ],
)
def test_a_monitor_of_the_wrong_mode(watching, monitor, mode, better, tmp_path):
    module = Own()
    watch = watching(monitor=monitor, mode=mode)
    message = f"{watching.__name__} monitors {monitor}: its mode must be {better}, got {mode}"
    with pytest.raises(ValueError, match=message):
        fit(module, CertificationCallback(n=100, limit=2), watch, enable_checkpointing=True, default_root_dir=tmp_path)
    assert module.steps == 0


def test_a_test_that_leaves_the_certification_out_says_so_once(capsys):
    trainer = fit(Own(), CertificationCallback("test", n=100), limit_test_batches=0)
    trainer.test(trainer.lightning_module, DataLoader(IMAGES), verbose=False)
    assert capsys.readouterr().err.count("warning: limit_test_batches is 0, which leaves out the certification") == 1


@pytest.mark.parametrize(
    ("module", "options", "reason"),
    [
        (Own, {"limit_val_batches": 0}, "limit_val_batches is 0"),
        (Unvalidated, {}, "there is no validation"),
        (
            Own,
            {"check_val_every_n_epoch": 3, "max_epochs": 2},
            "with check_val_every_n_epoch 3 its first epoch is 3, of 2",
        ),
        (
            Own,
            {"check_val_every_n_epoch": None, "val_check_interval": 9, "max_epochs": 2},
            "val_check_interval is 9, of 4 batches",
        ),
        (
            Own,
            {"check_val_every_n_epoch": None, "val_check_interval": 3, "max_epochs": -1, "max_steps": 2},
            "val_check_interval is 3, of 2 batches",
        ),
    ],
)
def test_a_live_certification_that_never_comes_is_said(module, options, reason, capsys):
    callback = CertificationCallback(n=100, limit=2)
    fit(module(), callback, **options)
    assert callback.records == []
    assert f"warning: the live certification never runs: {reason}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("every", "options"),
    [
        (1, {}),
        (0, {"limit_val_batches": 0}),
        (3, {"max_epochs": 1}),
        (1, {"check_val_every_n_epoch": 2, "max_epochs": 2}),
        (1, {"check_val_every_n_epoch": None, "val_check_interval": 2, "max_epochs": 1}),
        (1, {"fast_dev_run": True}),
    ],
)
def test_nothing_is_said_of_one_that_comes_or_is_not_wanted(every, options, capsys):
    callback = CertificationCallback(every_n_epochs=every, n=100, limit=2)
    fit(Own(), callback, **options)
    assert bool(callback.records) == (every == 1)
    assert "warning" not in capsys.readouterr().err
