"""The types of what a training goes on from; what a whole checkpoint holds of them is tested with `resumable`."""

import random
from pathlib import Path

import pytest
import torch

from lightning_rs.checkpoints.progress import Batches, Bests, Counts, OptimizerState, RandomState, SchedulerState
from lightning_rs.checkpoints.schema import typed
from lightning_rs.random_state import random_state

COUNTS = {"ready": 2, "completed": 1, "started": 2, "processed": 2}
SCORES = {"best_model_score": None, "current_score": None, "kth_value": torch.tensor(float("inf"))}
PATHS = {"best_model_path": "", "last_model_path": "", "kth_best_model_path": "", "dirpath": None, "monitor": None}
STEP = {"_last_lr": [0.1], "base_lrs": [0.1], "last_epoch": 2, "_step_count": 3, "step_size": 30, "gamma": 0.1}


@pytest.mark.parametrize(
    ("kind", "whole"),
    [
        (Counts, COUNTS),
        (Counts, {"ready": 0, "completed": 0}),
        (Batches, {"total": COUNTS, "current": COUNTS, "is_last_batch": True}),
        (OptimizerState, {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}),
        (SchedulerState, STEP | {"_is_initial": False}),
        (SchedulerState, {"_last_lr": [0.1], "_schedulers": [STEP, STEP]}),
        (RandomState, random_state()),
        (Bests, SCORES | PATHS | {"best_k_models": {"a.ckpt": torch.tensor(0.5)}}),
    ],
)
def test_whole_ones(kind, whole):
    typed(Path("file"), whole, kind)


python, numpy = random.getstate(), random_state()["numpy"]


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Counts, COUNTS | {"ready": -1}),
        (Counts, COUNTS | {"ready": True}),
        (Counts, COUNTS | {"ready": 2**60}),
        (Counts, COUNTS | {"reset": 1}),
        (Batches, {"total": COUNTS, "current": COUNTS}),
        (Batches, {"total": COUNTS, "current": torch.zeros(4), "is_last_batch": True}),
        (OptimizerState, {"state": {-1: {}}, "param_groups": []}),
        (OptimizerState, {"state": {"0": {}}, "param_groups": []}),
        (OptimizerState, {"state": [], "param_groups": []}),
        (SchedulerState, STEP | {"last_epoch": -1}),
        (SchedulerState, STEP | {"step_size": 0}),
        (SchedulerState, STEP | {"T_max": 0}),
        (SchedulerState, STEP | {"base_lrs": [float("nan")]}),
        (SchedulerState, {"_last_lr": [0.1], "_schedulers": [STEP | {"gamma": -1.0}]}),
        (RandomState, random_state() | {"python": (3, python[1][:-1], None)}),
        (RandomState, random_state() | {"python": (3, (*python[1][:-1], 2**32), None)}),
        (RandomState, random_state() | {"python": (2, python[1], None)}),
        (RandomState, random_state() | {"numpy": ("PCG64", *numpy[1:])}),
        (RandomState, random_state() | {"numpy": (*numpy[:2], 625, *numpy[3:])}),
        (RandomState, random_state() | {"torch": [1]}),
        (Bests, SCORES | PATHS | {"best_k_models": {"a.ckpt": 0.5}}),
        (Bests, SCORES | PATHS | {"best_k_models": {}, "last_model_path": 3}),
    ],
)
def test_broken_ones_are_one_line(kind, broken):
    with pytest.raises(ValueError, match=r"^file is no whole checkpoint of train.py: ") as caught:
        typed(Path("file"), broken, kind)
    assert str(caught.value).isprintable()
