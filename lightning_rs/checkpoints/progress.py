"""What a training goes on from, as types: the counters, optimiser, schedule, callbacks and random states it had."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field
from torch import Tensor

from lightning_rs.checkpoints.schema import Count, Name, Positive
from lightning_rs.results.schema import Finite, NotNegative

Word = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class Counts(Struct, forbid_unknown_fields=True):
    ready: Count
    completed: Count
    started: Count = 0
    processed: Count = 0


class Progress(Struct, forbid_unknown_fields=True):
    total: Counts
    current: Counts


class Batches(Progress, forbid_unknown_fields=True):
    is_last_batch: bool


class OptimizerSteps(Struct, forbid_unknown_fields=True):
    step: Progress
    zero_grad: Progress


class OptimizerProgress(Struct, forbid_unknown_fields=True):
    optimizer: OptimizerSteps


class EpochLoopState(Struct):
    batches_that_stepped: Count = field(name="_batches_that_stepped")


class FitLoop(Struct):
    """Counters of Lightning's fit loop, under its names."""

    epoch_progress: Progress
    epoch_loop: EpochLoopState = field(name="epoch_loop.state_dict")
    batches: Batches = field(name="epoch_loop.batch_progress")
    schedulers: Progress = field(name="epoch_loop.scheduler_progress")
    steps: OptimizerProgress = field(name="epoch_loop.automatic_optimization.optim_progress")
    manual_steps: Progress = field(name="epoch_loop.manual_optimization.optim_step_progress")
    val_batches: Batches = field(name="epoch_loop.val_loop.batch_progress")
    state: dict[Literal["combined_loader"], list[dict[str, Any]]] = field(name="state_dict")


class Loops(Struct):
    fit_loop: FitLoop


class OptimizerState(Struct, forbid_unknown_fields=True):
    """What the optimiser keeps of each weight, by its number, and its settings."""

    state: dict[Count, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class SchedulerState(Struct):
    """The states of PyTorch's schedulers that `Schedule` builds; of a chain, those of its links."""

    last_lr: list[NotNegative] = field(name="_last_lr")
    schedulers: list[SchedulerState] | None = field(name="_schedulers", default=None)
    base_lrs: list[Positive] | None = None
    last_epoch: Count | None = None
    step_count: Count | None = field(name="_step_count", default=None)
    step_size: Annotated[int, Meta(ge=1)] | None = None
    gamma: Positive | None = None
    T_max: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    eta_min: NotNegative | None = None
    start_factor: Positive | None = None
    end_factor: Positive | None = None
    total_iters: Count | None = None


class RandomState(Struct):
    """See `lightning_rs.random_state.random_state`."""

    python: tuple[Literal[3], Annotated[tuple[Word, ...], Meta(min_length=625, max_length=625)], Finite | None]
    numpy: tuple[Literal["MT19937"], Tensor, Annotated[int, Meta(ge=0, le=624)], Literal[0, 1], Finite]
    torch: Tensor
    cuda: Tensor | None


class Trained(Struct):
    """What `train.py` says of a training, its random states included."""

    random_states: Annotated[list[RandomState], Meta(min_length=1)]


class Bests(Struct):
    """What Lightning's `ModelCheckpoint` knows of the files that it wrote."""

    best_model_path: str
    last_model_path: str
    kth_best_model_path: str
    dirpath: str | None
    monitor: str | None
    best_k_models: dict[str, Tensor]
    best_model_score: Tensor | None
    current_score: Tensor | None
    kth_value: Tensor


class Early(Struct):
    """What Lightning's `EarlyStopping` knows."""

    wait_count: Count
    stopped_epoch: Count
    patience: Count
    best_score: Tensor


class Averaging(Struct):
    """What Lightning's `WeightAveraging` knows beside the weights."""

    latest_update_step: Count


class Training(Struct):
    """A checkpoint from which a training goes on."""

    epoch: Count
    global_step: Count
    lightning_version: Annotated[str, Meta(pattern=r"^([2-9]|[1-9]\d+)\.\d+(\.\w+)*$")] = field(
        name="pytorch-lightning_version"
    )
    loops: Loops
    callbacks: dict[Name, dict[str, Any]]
    optimizer_states: Annotated[list[OptimizerState], Meta(min_length=1, max_length=1)]
    lr_schedulers: Annotated[list[SchedulerState], Meta(max_length=1)]
    lightning_rs: Trained
    current_model_state: dict[str, Any] | None = None
    averaging_state: dict[str, Any] | None = None
