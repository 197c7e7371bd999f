"""Optimisers, learning rates under every schedule, and their plain form."""

import numpy as np
import pytest
import torch
from objective_checks import ARGUMENTS, fit
from pytorch_lightning import Callback, Trainer

from lightning_rs.data import Digits
from lightning_rs.objectives import Gaussian, Optimizer, Schedule
from lightning_rs.objectives.optimization import settings_of

CONSTANT = Schedule("constant")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimizers_without_schedule(optimizer):
    module = Gaussian(**ARGUMENTS, optimizer=Optimizer(optimizer, lr=0.02), schedule=CONSTANT)
    configured = module.configure_optimizers()
    assert set(configured) == {"optimizer"}
    assert configured["optimizer"].defaults["lr"] == 0.02


def test_an_optimizer_has_its_name_and_settings():
    weights = [torch.nn.Parameter(torch.zeros(2))]
    for name, cls in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        optimizer = Optimizer(name, lr=0.3, momentum=0.8, weight_decay=0.01).build(weights)
        assert type(optimizer) is cls
        assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.3, 0.01)
        assert optimizer.defaults.get("momentum") == (0.8 if name == "sgd" else None)


def test_step_schedule_decays_on_time():
    module = Gaussian(**ARGUMENTS, optimizer=Optimizer(lr=1.0), schedule=Schedule("step", step_size=2))
    configured = module.configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(5):
        rates.append(scheduler.get_last_lr()[0])
        configured["optimizer"].step()
        scheduler.step()
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert configured["lr_scheduler"]["interval"] == "epoch"


class Rates(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_start(self, trainer, *_):
        self.values.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_learning_rates(schedule, tmp_path):
    """Four epochs of five steps, two epochs of warm-up."""
    rates = Rates()
    fit("Gaussian", tmp_path, [rates], schedule=Schedule(schedule, step_size=3, warmup=2))
    step = np.arange(20)
    epoch = step // 5
    expected = {
        "constant": np.minimum(1, (epoch + 1) / 2),
        "step": np.minimum(1, (epoch + 1) / 2) * 0.1 ** (epoch // 3),
        "cosine": np.minimum(1, (step + 1) / 10) * (1 + np.cos(np.pi * step / 20)) / 2,
    }[schedule]
    assert np.allclose(rates.values, 0.05 * expected, rtol=1e-6)


def test_a_cosine_needs_an_end():
    trainer = Trainer(
        accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with pytest.raises(ValueError, match="schedule cosine needs a number of epochs: set trainer.max_epochs"):
        trainer.fit(Gaussian(**ARGUMENTS), datamodule=Digits())


@pytest.mark.parametrize(("kind", "given"), [(Optimizer, {"lr": 0.2}), (Schedule, {"name": "step", "factor": 0.5})])
def test_a_mapping_of_fields_serves_as_well(kind, given):
    assert settings_of(kind, given) == settings_of(kind, kind(**given)) == kind(**given)
    with pytest.raises(ValueError, match=f"{kind.__name__.lower()} must have the fields name, .*, got {{'speed': 1}}"):
        settings_of(kind, {"speed": 1})
    with pytest.raises(ValueError, match=f"{kind.__name__.lower()} must have the fields name, .*, got 'step'"):
        settings_of(kind, "step")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (Optimizer, {"name": "lion"}, "unknown optimizer 'lion'; known: adam, adamw, sgd"),
        (Optimizer, {"lr": 0.0}, "lr must be positive and finite, got 0.0"),
        (Optimizer, {"momentum": -0.1}, "momentum must be at least 0 and finite, got -0.1"),
        (Optimizer, {"layer_decay": 0.0}, "layer_decay must be positive and finite, got 0.0"),
        (Optimizer, {"layer_decay": 1.5}, "layer_decay must be at most 1, got 1.5"),
        (Optimizer, {"weight_decay": -1.0}, "weight_decay must be at least 0 and finite, got -1.0"),
        (Schedule, {"name": "linear"}, "unknown schedule 'linear'; known: constant, cosine, step"),
        (Schedule, {"step_size": 0}, "step_size must be an integer of at least 1, got 0"),
        (Schedule, {"factor": 0.0}, "factor must be positive and finite, got 0.0"),
        (Schedule, {"warmup": -1}, "warmup must be an integer of at least 0, got -1"),
    ],
)
def test_bad_input(kind, change, message):
    with pytest.raises(ValueError, match=message):
        kind(**change)
    with pytest.raises(ValueError, match=message):
        Gaussian(**ARGUMENTS, **{kind.__name__.lower(): change})
