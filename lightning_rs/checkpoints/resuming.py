"""A training that goes on from a checkpoint: only from the one that it was, and never by a path that a file names."""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from lightning_rs.checkpoints.archive import read_checkpoint
from lightning_rs.checkpoints.fitting import misfit_of
from lightning_rs.checkpoints.progress import (
    Averaging,
    Bests,
    Early,
    OptimizerState,
    RandomState,
    SchedulerState,
    Training,
)
from lightning_rs.checkpoints.schema import one_line, our_content, shown, typed
from lightning_rs.data import ImageDataModule
from lightning_rs.objectives import BaselineObjective, SmoothingModule

_SOURCES = ("weights", "classifier")  # Files that a new run started from.
# What may differ without changing a batch.
_FREE = {"data_dir", "root", "path", "num_workers", "download", "check_files", *_SOURCES}
_PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")
_SCHEDULER = [field.encode_name for field in msgspec.structs.fields(SchedulerState)]


@dataclass(frozen=True)
class Resumable:
    """A checkpoint that a training goes on from.

    Attributes:
        content: all that it holds, checked, for Lightning.
        epochs: done.
        steps: done.
        at_end_of_epoch: whether it was saved at the very end of one, from where alone a training goes on exactly.
    """

    content: dict[str, Any]
    epochs: int
    steps: int
    at_end_of_epoch: bool


def resumable(path: str | Path, module: SmoothingModule, data: ImageDataModule) -> Resumable:
    """The checkpoint at `path`, read once, if training `module` on `data` continues it.

    Raises:
        OSError: no such file, or one that cannot be read or does not fit into memory.
        ValueError: not a checkpoint of ours, a damaged one, one of version 0.1 or with the weights alone, or one of
            another objective, data set or recipe.
    """
    path = Path(path)
    content = read_checkpoint(path)
    if not isinstance(content, dict) or "lightning_rs" not in content:
        raise ValueError(f"{path} is not a checkpoint of train.py: its training cannot be resumed")
    held = our_content(path, content)
    h, about = content["hyper_parameters"], held.lightning_rs
    if "stages" not in h:
        raise ValueError(f"{path} is of version 0.1: it can be certified, but its training cannot be resumed")
    if "optimizer_states" not in content:
        raise ValueError(f"{path} holds the weights alone: it can be certified, but its training cannot be resumed")
    name, init_args = (about.data.name, about.data.init_args) if about.data else (None, {})
    now = {"objective": type(module).__name__, "data": data.description()["name"], **module.hparams}
    then = {"objective": about.objective, "data": name, **h}
    now |= {key: value for key, value in data.hparams.items() if key not in _FREE}
    then |= {key: value for key, value in init_args.items() if key not in _FREE}
    if isinstance(module, BaselineObjective):  # What it is counts, not where.
        now["baseline"], then["baseline"] = module.baseline_digest, about.baseline
    if about.data and about.data.facts:  # Mean, std and shape are the model's too.
        for key in ("classes", "levels"):
            now[key], then[key] = data.facts.plain()[key], getattr(about.data.facts, key)
    for key in sorted((now.keys() & then.keys()) - _FREE, key=lambda key: (key not in ("objective", "data"), key)):
        if now[key] != then[key]:
            raise ValueError(
                f"{path} cannot be resumed with another {key}: it has {shown(then[key])}, got {shown(now[key])}"
            )
    training = typed(path, content, Training)
    bests = [typed(path, state, Bests) for key, state in training.callbacks.items() if _is_of_files(key, state)]
    for key, state in training.callbacks.items():
        if key.startswith("EarlyStopping"):
            typed(path, state, Early)
    if training.callbacks.get("EMA"):
        typed(path, training.callbacks["EMA"], Averaging)
    try:
        _check_weights(module, content)
        for best in bests:
            _check_scores(best)
        for state in training.lightning_rs.random_states:
            _check_random_state(state)
        # Both are of one recipe, unless a user's module has its own.
        if type(module).configure_optimizers is SmoothingModule.configure_optimizers:
            _check_optimizer(training.optimizer_states[0], module)
            _check_schedulers(training.lr_schedulers, module)
            content["lr_schedulers"] = [_known(state) for state in content["lr_schedulers"]]
        steps = training.loops.fit_loop.steps.optimizer.step.total.completed
        if steps != training.global_step:
            raise ValueError(f"global_step is {training.global_step}, and its optimiser made {steps} steps")
    except ValueError as error:
        raise ValueError(f"{path} cannot be resumed: {error}") from None
    loop = training.loops.fit_loop
    epoch = loop.epoch_progress.current
    # Lightning counts an epoch as processed when its last hooks are about to run, after the validation.
    ended = epoch.processed == epoch.ready and loop.batches.is_last_batch
    return Resumable(content, training.epoch + ended, training.global_step, ended)


def sources_of(module: SmoothingModule) -> list[str]:
    """Those arguments of a module that name files which a new training starts from, and one that goes on does not."""
    return [name for name in _SOURCES if name in module.hparams]


def weights_for(module: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint of this training.

    Args:
        module: whose weights they are to be.
        path: the file.

    Raises:
        OSError: no such file, or one that cannot be read or does not fit into memory.
        ValueError: not a checkpoint, a damaged one, or one whose weights do not fit the module or hold NaN.
    """
    path = Path(path)
    content = read_checkpoint(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{path} is not a checkpoint of train.py")
    try:
        _check_weights(module, {"state_dict": content["state_dict"]})
    except ValueError as error:
        raise ValueError(f"{path} is not of this training: {error}") from None
    return content["state_dict"]


def without_paths(content: dict[str, Any], folder: str | Path) -> dict[str, Any]:
    """The content with the paths of `ModelCheckpoint` replaced by those in the run's own folder.

    Lightning removes and overwrites files by these paths. Here they are the names of checkpoints that lie in `folder`,
    or empty; so a run that was moved or renamed goes on, and what a file says of other folders has no effect.

    Args:
        content: of a `Resumable`.
        folder: of the run's checkpoints.
    """
    root = os.fspath(folder)  # As Lightning is given it, which compares the texts.

    def own(path: str) -> str:
        name = re.split(r"[/\\]", path)[-1]
        place = os.path.join(root, name)
        there = name.endswith(".ckpt") and os.path.isfile(place) and not os.path.islink(place)
        return place if there else ""

    def relocated(state: dict[str, Any]) -> dict[str, Any]:
        models = {own(path): score for path, score in state["best_k_models"].items() if own(path)}
        # If another than the last is gone on from, the last is still what the next one replaces.
        moved = {key: own(state[key]) for key in _PATHS} | {"dirpath": root, "best_k_models": models}
        moved["last_model_path"] = own("last.ckpt") or moved["last_model_path"]
        if moved["kth_best_model_path"] not in models:
            # The worst of them, which is the next to go: the furthest from the best.
            best = state["best_model_score"]
            worst = max(models, key=lambda path: float(abs(models[path] - best)), default="")
            moved |= {"kth_best_model_path": worst, "kth_value": models.get(worst, state["kth_value"])}
        return state | moved

    states = content["callbacks"].items()
    moved = {key: relocated(state) if _is_of_files(key, state) else state for key, state in states}
    return content | {"callbacks": moved}


def _is_of_files(key: str, state: dict[str, Any]) -> bool:
    """Whether a callback's state is one of `ModelCheckpoint`, or of a class that goes by the same paths."""
    named = key.split("{")[0].endswith("ModelCheckpoint")
    return bool(state) and (named or any(key in state for key in (*_PATHS, "dirpath", "best_k_models")))


def _check_weights(module: nn.Module, content: dict[str, Any]) -> None:
    expected = module.state_dict()
    averages = {"n_averaged": torch.tensor(0)}
    for place, like in (("state_dict", expected), ("current_model_state", expected), ("averaging_state", averages)):
        state = content.get(place)
        if state is None:
            continue
        if (misfit := misfit_of(like, state)) is not None:
            raise ValueError(f"its {place} does not fit the model: {misfit}")
        for key, value in state.items():
            if isinstance(value, Tensor) and value.isnan().any():
                raise ValueError(f"{key} of {place} holds NaN")


def _check_scores(bests: Bests) -> None:
    for score in (*bests.best_k_models.values(), bests.best_model_score, bests.current_score, bests.kth_value):
        if score is not None and (misfit := misfit_of({"a score": torch.tensor(0.0)}, {"a score": score})):
            raise ValueError(f"among its best models, {misfit}")
    if bests.best_k_models and bests.best_model_score is None:
        raise ValueError("it has best models and no best score")


def _check_random_state(state: RandomState) -> None:
    """Set generators that nobody uses to the states, as those in use would be set."""
    kind, keys, *rest = state.numpy
    cuda = state.cuda
    try:
        random.Random().setstate(state.python)
        if misfit_of({"keys": torch.zeros(624, dtype=torch.int64)}, {"keys": keys}) or not _words(keys):
            raise ValueError("NumPy's must have 624 words")
        np.random.RandomState().set_state((kind, keys.numpy().astype(np.uint32), *rest))
        torch.Generator().set_state(state.torch)
        if cuda is not None and (cuda.dtype != torch.uint8 or cuda.shape != (16,) or cuda[8] % 4):
            raise ValueError("that of the GPU must have 16 bytes, and an offset that is a multiple of 4")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"its random_states are none: {one_line(error, 100)}") from None


def _words(keys: Tensor) -> bool:
    return keys.dtype == torch.int64 and bool(((keys >= 0) & (keys < 2**32)).all())


def _check_optimizer(state: OptimizerState, module: SmoothingModule) -> None:
    """Compare it with that of a first step: names and shapes of what it keeps, and the settings but for the rate."""
    groups = module.parameter_groups()
    parameters = [weight for group in groups for weight in group["params"]]
    probe = nn.Parameter(torch.zeros(2, 1))
    probe.grad = torch.zeros(2, 1)
    optimizer = module.optimizer.build([probe])
    optimizer.step()
    like = optimizer.state_dict()
    if len(state.param_groups) != len(groups):
        raise ValueError(f"the optimiser has {len(state.param_groups)} groups of weights, the model {len(groups)}")
    first = 0
    for group, held in zip(groups, state.param_groups, strict=True):
        numbers = list(range(first, first + len(group["params"])))
        first += len(numbers)
        _check_group(held, like["param_groups"][0] | {"params": numbers, "initial_lr": group["lr"]})
    for number, kept in state.state.items():
        if number >= len(parameters):
            raise ValueError(f"the optimiser knows a weight {number}, the model has {len(parameters)}")
        expected = {
            key: parameters[number] if isinstance(value, Tensor) and value.shape == probe.shape else value
            for key, value in like["state"].get(0, {}).items()
        }
        if (misfit := misfit_of(expected, kept)) is not None:
            raise ValueError(f"what the optimiser knows of weight {number} does not fit: {misfit}")
        for key, value in kept.items():
            if isinstance(value, Tensor) and not (value.isfinite().all() and (value.ndim or value >= 0)):
                raise ValueError(f"what the optimiser knows of weight {number} is no number: {key}")


def _check_group(group: dict[str, Any], settings: dict[str, Any]) -> None:
    lr = group.get("lr")
    if type(lr) is not float or not 0.0 <= lr < float("inf"):
        raise ValueError("the optimiser's lr must be a number of at least 0")
    for key in sorted(settings.keys() | group.keys(), key=str):
        optional = key == "initial_lr" or settings.get(key) is None or isinstance(settings[key], bool)
        same = key in settings and key in group and _same(group[key], settings[key])
        if key != "lr" and not (same or (optional and key in settings and key not in group)):
            raise ValueError(f"the optimiser's {shown(key)} must be {shown(settings.get(key))}")


def _same(a: Any, b: Any) -> bool:
    """Whether plain values are the same, True not being 1."""
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and a == b


def _check_schedulers(states: list[SchedulerState], module: SmoothingModule) -> None:
    schedule, rates = module.schedule, [group["lr"] for group in module.parameter_groups()]
    expected = [name for name in (schedule.name, "warmup" if schedule.warmup else "constant") if name != "constant"]
    links = [link for state in states for link in (state.schedulers or [state])]
    kinds = [_kind(link) for link in links]
    if kinds != expected or (len(kinds) > 1) != any(state.schedulers is not None for state in states):
        raise ValueError(f"its schedule must be {' and '.join(expected) or 'constant'}, and holds {len(kinds)} others")
    for link in links:
        complete = link.last_epoch is not None and link.step_count is not None
        if not complete or link.base_lrs != rates or len(link.last_lr) != len(rates):
            raise ValueError("its schedule is not whole, or of another learning rate")
        if link.step_size not in (None, schedule.step_size) or link.gamma not in (None, schedule.factor):
            raise ValueError("its schedule has other steps")


def _kind(state: SchedulerState) -> str | None:
    kinds = {
        "step": (state.step_size, state.gamma),
        "cosine": (state.T_max, state.eta_min),
        "warmup": (state.start_factor, state.end_factor, state.total_iters),
    }
    return next((kind for kind, fields in kinds.items() if None not in fields), None)


def _known(state: dict[str, Any]) -> dict[str, Any]:
    """The state without what PyTorch would set as attributes of that name, whatever it is."""
    known = {key: state[key] for key in _SCHEDULER if key in state}
    return known | ({"_schedulers": [_known(link) for link in known["_schedulers"]]} if "_schedulers" in known else {})
