"""Exact resumption."""

import random

import pytest
import torch
from objective_checks import fit
from pytorch_lightning import Callback

from lightning_rs.objectives import Engine, Schedule


class Interrupt(Callback):
    """Ends the training without warning in the middle of an epoch, as a killed process would."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("interrupted")


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize(
    ("name", "schedule", "channels_last"),
    [(name, schedule, False) for name in ("Gaussian", "MACER") for schedule in ("cosine", "step")]
    + [("Gaussian", "step", True), ("CATRS", "step", False)],
)
def test_a_run_that_was_interrupted_and_resumed_ends_like_one_that_was_not(name, schedule, channels_last, tmp_path):
    change = {"schedule": Schedule(schedule, step_size=1, warmup=2), "engine": Engine(channels_last=channels_last)}
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
