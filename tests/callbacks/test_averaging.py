import pytest
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_rs.callbacks import EMA, CertificationCallback
from lightning_rs.checkpoints import load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import CATRS, Gaussian, Optimizer, Schedule

ARGUMENTS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}


class Watch(Callback):
    """The average recomputed beside, and the weights that others see at the end of each validation epoch."""

    def __init__(self, decay):
        self.decay, self.average, self.seen, self.trained = decay, None, [], []

    def weights(self, module):
        return torch.cat([p.detach().flatten().double() for p in module.parameters()])

    def on_train_batch_end(self, trainer, pl_module, *_):
        now = self.weights(pl_module)
        self.average = now if self.average is None else self.decay * self.average + (1 - self.decay) * now

    def on_train_epoch_end(self, trainer, pl_module):
        self.trained.append(self.weights(pl_module))

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.seen.append((self.weights(pl_module), self.average))


def fit(folder, callbacks, ckpt_path=None, epochs=2, objective=Gaussian, **options):
    seed_everything(0, verbose=False)
    options |= {"optimizer": Optimizer(lr=0.05), "schedule": Schedule("constant")}
    module = objective(**ARGUMENTS, sigma=0.5, **options)
    if objective is CATRS:
        module.take_baseline(build_base_classifier(*ARGUMENTS.values()))
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[*callbacks, ModelCheckpoint(folder, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_train_batches=3,
        limit_val_batches=1,
    )
    trainer.fit(module, datamodule=Digits(batch_size=200), ckpt_path=ckpt_path, weights_only=True)
    return module, trainer


def test_the_average_is_what_is_evaluated_certified_saved_and_tested(tmp_path):
    watch, certify = Watch(0.9), CertificationCallback(limit=2, n=100)
    module, trainer = fit(tmp_path, [EMA(decay=0.9), watch, certify])
    for seen, average in watch.seen:
        assert torch.allclose(seen, average, atol=1e-6)
    assert not torch.allclose(watch.trained[-1], watch.average, atol=1e-4)
    assert torch.allclose(watch.weights(module), watch.average, atol=1e-6)
    saved = load_checkpoint(tmp_path / "last.ckpt").base_classifier
    assert torch.equal(watch.weights(saved).float(), watch.weights(module).float())
    from lightning_rs.certification import weights_digest

    assert weights_digest(saved) == weights_digest(module.base_classifier)
    trainer.test(module, datamodule=Digits(), ckpt_path=str(tmp_path / "last.ckpt"), verbose=False)
    assert torch.allclose(watch.weights(module), watch.average, atol=1e-6)


def test_resumption_goes_on_with_the_weights_and_the_average(tmp_path):
    options = {"objective": CATRS, "m": 2, "steps": 1}  # Its baseline has no average.
    whole, _ = fit(tmp_path / "whole", [EMA(decay=0.9)], **options)
    fit(tmp_path / "part", [EMA(decay=0.9)], epochs=1, **options)
    last = {"ckpt_path": tmp_path / "part" / "last.ckpt", **options}
    resumed, _ = fit(tmp_path / "part", [EMA(decay=0.9)], **last)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    # With nothing left to train, the average still is what the module ends with.
    again, _ = fit(tmp_path / "part", [EMA(decay=0.9)], **last)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_the_average_lies_where_the_training_runs(monkeypatch):
    """Callbacks are set up before the module is brought there."""
    module, ema = Gaussian(**ARGUMENTS, sigma=0.5), EMA()
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    monkeypatch.setattr(type(trainer.strategy), "root_device", torch.device("meta"))
    ema.setup(trainer, module, "fit")
    assert {weight.device.type for weight in ema._average_model.parameters()} == {"meta"}


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_bad_input(decay):
    with pytest.raises(ValueError, match=r"decay must lie in \(0, 1\), got"):
        EMA(decay)
