"""What the base class adds to a loss: schedules, stopping at a loss that is not finite, and exact resumption."""

import random

import numpy as np
import pytest
import torch
from loss_cases import ARGUMENTS
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_rs.data import Digits
from lightning_rs.objectives import MACER, Gaussian
from lightning_rs.objectives.random_state import random_state, set_random_state

OPTIONS = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False} | {
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
MODULES = {"Gaussian": (Gaussian, {}), "MACER": (MACER, {"k": 2, "lbd": 1.0})}


def test_random_state_is_restored_to_the_bit_and_loads_safely(tmp_path):
    def draw():
        return random.random(), np.random.random(), torch.rand(3).tolist(), np.random.normal()  # noqa: NPY002

    seed_everything(5, verbose=False)
    np.random.normal()  # noqa: NPY002 (leaves the second normal draw of a pair in store)
    torch.save(random_state(), tmp_path / "state.pt")
    expected = draw()
    draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected


class Interrupt(Callback):
    """Ends the training without warning in the middle of an epoch, as a killed process would."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("interrupted")


def fit(name, folder, callbacks=(), ckpt_path=None, epochs=4, **change):
    seed_everything(3, verbose=False)
    cls, options = MODULES[name]
    module = cls(**ARGUMENTS, sigma=0.5, lr=0.05, **options, **change)
    saver = ModelCheckpoint(folder, save_last=True)
    # Batches of 200 leave the order of the data to matter, and steps short.
    trainer = Trainer(max_epochs=epochs, callbacks=[saver, *callbacks], limit_val_batches=1, **OPTIONS)
    trainer.fit(module, datamodule=Digits(batch_size=200), ckpt_path=ckpt_path, weights_only=True)
    return torch.load(folder / "last.ckpt", weights_only=True)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("schedule", ["cosine", "step"])
@pytest.mark.parametrize("name", MODULES)
def test_a_run_that_was_interrupted_and_resumed_ends_like_one_that_was_not(name, schedule, tmp_path):
    change = {"schedule": schedule, "step_size": 1, "lr_warmup": 2}
    whole = fit(name, tmp_path / "whole", **change)
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(name, tmp_path / "part", [Interrupt(12)], **change)
    before = torch.load(tmp_path / "part" / "last.ckpt", weights_only=True)
    assert before["epoch"] == 1  # Five batches an epoch: the third was under way.
    random.random(), torch.rand(7)
    resumed = fit(name, tmp_path / "part", ckpt_path=tmp_path / "part" / "last.ckpt", **change)
    assert not same(before["state_dict"], whole["state_dict"])
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert same(whole[key], resumed[key]), key
    assert same(whole["lightning_rs"]["random_states"], resumed["lightning_rs"]["random_states"])


class Poison(Callback):
    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step == 7:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(float("nan"))


def test_a_loss_that_is_not_finite_stops_the_training_and_the_last_good_checkpoint_stands(tmp_path):
    with pytest.raises(
        FloatingPointError,
        match=r"the loss of MACER is not finite at step 7 \(epoch 1\): classification nan, robustness ",
    ):
        fit("MACER", tmp_path, [Poison()])
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (0, 5)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


class Rates(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_start(self, trainer, *_):
        self.values.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_learning_rates(schedule, tmp_path):
    """Four epochs of five steps, two epochs of warm-up."""
    rates = Rates()
    fit("Gaussian", tmp_path, [rates], schedule=schedule, step_size=3, lr_warmup=2)
    step = np.arange(20)
    epoch = step // 5
    expected = {
        "constant": np.minimum(1, (epoch + 1) / 2),
        "step": np.minimum(1, (epoch + 1) / 2) * 0.1 ** (epoch // 3),
        "cosine": np.minimum(1, (step + 1) / 10) * (1 + np.cos(np.pi * step / 20)) / 2,
    }[schedule]
    assert np.allclose(rates.values, 0.05 * expected, rtol=1e-6)


def test_gradient_clipping_and_mixed_precision_train(tmp_path):
    seed_everything(0, verbose=False)
    module = MACER(**ARGUMENTS, sigma=0.5, k=2)
    norms = []

    class Norms(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if grads:
                norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))

    trainer = Trainer(
        max_steps=4, precision="bf16-mixed", gradient_clip_val=1e-3, callbacks=[Norms()], limit_val_batches=0, **OPTIONS
    )
    trainer.fit(module, datamodule=Digits())
    assert len(norms) >= 3
    assert max(norms) <= 1e-3 * (1 + 1e-4)
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in module.parameters())


def test_parts_are_logged_and_sum_to_the_loss(tmp_path):
    module = MACER(**ARGUMENTS, sigma=0.5, k=2)
    trainer = Trainer(max_epochs=1, limit_val_batches=0, enable_checkpointing=False, **OPTIONS)
    trainer.fit(module, datamodule=Digits(batch_size=200))
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert logged["train/loss"] == pytest.approx(logged["train/classification"] + logged["train/robustness"], rel=1e-5)
    assert 0 <= logged["train/noisy_accuracy"] <= 1
