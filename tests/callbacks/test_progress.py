import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_rs.callbacks import TrainingProgress
from lightning_rs.objectives import Gaussian


def fit(callback, capsys, further=0):
    data = DataLoader(TensorDataset(torch.rand(20, 1, 8, 8), torch.arange(20) % 10), batch_size=5)
    module = Gaussian("digits_cnn", 10, [1, 8, 8], [0.3], [0.4])
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=[callback],
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    if further:
        capsys.readouterr()
        trainer.fit_loop.max_epochs += further
        trainer.fit(module, data)
    return capsys.readouterr().err


def test_one_bar_counts_the_steps_of_the_whole_training(capsys):
    shown = fit(TrainingProgress(), capsys)
    assert "Training: 100%" in shown and "12/12" in shown
    assert "epoch=3" in shown and "train/loss=" in shown


def test_what_was_done_before_counts_and_took_none_of_the_time(capsys):
    shown = fit(TrainingProgress(), capsys, further=1)
    assert "12/16 [00:00<?, ?step/s]" in shown and "16/16" in shown


def test_it_can_be_switched_off(capsys):
    callback = TrainingProgress()
    callback.disable()
    assert "Training" not in fit(callback, capsys)
