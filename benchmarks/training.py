"""Time training beside the loops of the papers' repositories: images a second, and seconds to a certified accuracy.

python benchmarks/training.py speed                                       ResNet-20, every objective
python benchmarks/training.py speed --models '[digits_cnn]' --objectives '[Gaussian, MACER]' --batch 256
python benchmarks/training.py time                                        digits
python benchmarks/training.py time --data_dir FOLDER --accuracy 0.5       CIFAR-10

The loops are those of `published_loops.py`, on the same net, batch, objective and device. Contenders take turns, each
in a process of its own. A turn's first step is not timed. On a CPU compare seconds of the processor: other programs do
not count in them. The share of the ceiling is that of a step's passes, by the speeds that `machine.py` measures.

CAT-RS takes its targets from the net's own predictions on both sides: those of a baseline are counted in advance by the
published script, and are m more passes forward here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

import torch
from contenders import MODELS, OBJECTIVES, Case, Contender, Seconds, new_module, new_process, turn
from jsonargparse import auto_cli
from machine import Speed, Work, ceiling, described, speed_of, work_of
from rich.table import Table
from time_to_accuracy import Goal, Reached, ours, published

from lightning_rs.checks import check_at_least
from lightning_rs.cli import clean_exit
from lightning_rs.objectives import Engine
from lightning_rs.results.report import console_for
from lightning_rs.smoothing.execution import has_bfloat16

PUBLISHED = "published loop"
TYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


def contenders(device: torch.device, compiled: bool) -> dict[str, Contender]:
    """By their name in the table, the published loop first."""
    last = Engine(channels_last=True)
    on_cuda = device.type == "cuda"
    chosen = {PUBLISHED: Contender(published=True)}
    if not on_cuda:
        chosen["ours, memory returned"] = Contender(keep_memory=False)
    chosen |= {"ours": Contender(), "ours, channels last": Contender(engine=last, on_device=on_cuda)}
    if has_bfloat16(device):
        chosen["ours, channels last, bf16"] = Contender(engine=last, precision="bf16-mixed", on_device=on_cuda)
    if compiled:
        fastest = list(chosen.values())[-1]
        engine = Engine(channels_last=True, compile=True)
        chosen["the last, compiled"] = Contender(engine=engine, precision=fastest.precision, on_device=on_cuda)
    return chosen


def speed(
    models: list[str] = ["cifar_resnet20"],  # noqa: B006
    objectives: list[str] = list(OBJECTIVES),  # noqa: B006
    batch: int = 64,
    steps: int = 8,
    turns: int = 5,
    compiled: bool = False,
) -> None:
    """Images a second of every objective, beside the published loop's.

    Args:
        models: architectures, with random weights.
        objectives: names of classes.
        batch: images a step.
        steps: timed in a turn, of Gaussian; of others as many as make as many passes, but at least one.
        turns: of each contender; their median counts.
        compiled: time a compiled net, too.
    """
    unknown = [name for name in models if name not in MODELS] + [name for name in objectives if name not in OBJECTIVES]
    check_at_least("turns", turns, 1)
    if unknown:
        raise ValueError(f"known are {', '.join([*MODELS, *OBJECTIVES])}, got {', '.join(unknown)}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(described(device))
    chosen = contenders(device, compiled)
    if not has_bfloat16(device):
        print("no bf16: this device has no instructions for it")
    speeds = {name: speed_of(device, TYPES[name]) for name in {one.precision for one in chosen.values()}}
    for model in models:
        for objective in objectives:
            passes = OBJECTIVES[objective][2]
            case = Case(objective, model, batch, max(1, round(steps / passes)), device.type)
            seconds = take_turns(case, chosen, turns)
            print_table(case, chosen, seconds, _work(case), speeds)


def take_turns(case: Case, chosen: dict[str, Contender], turns: int) -> dict[str, list[Seconds]]:
    """Seconds of every contender's turns; one after the other, so that what else the machine does meets all alike."""
    seconds: dict[str, list[Seconds]] = {label: [] for label in chosen}
    with ExitStack() as stack:
        workers = {label: stack.enter_context(new_process()) for label in chosen}
        for _ in range(turns):
            for label, contender in chosen.items():
                seconds[label].append(workers[label].submit(turn, case, contender).result())
    return seconds


def print_table(
    case: Case,
    chosen: dict[str, Contender],
    seconds: dict[str, list[Seconds]],
    work: Work,
    speeds: dict[str, Speed],
) -> None:
    """Medians of the turns, and of the ratios within a turn."""
    table = Table(title=f"{case.objective}, {case.model}, batches of {case.batch}, {case.steps} steps a turn")
    for column in ("", "images/s", "ratio", "images/s of processor", "ratio", "of the ceiling"):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    images = case.batch * case.steps
    for label, taken in seconds.items():
        cells = []
        for clock in ("wall", "processor"):
            mine, theirs = ([getattr(s, clock) for s in turns] for turns in (taken, seconds[PUBLISHED]))
            ratio = median(b / a for a, b in zip(mine, theirs, strict=True))
            cells += [f"{images / median(mine):,.0f}", f"{ratio:.2f}"]
        precision = chosen[label].precision
        limit, binding = ceiling(work, speeds[precision], TYPES[precision])
        reached = images / median(s.wall for s in taken) / limit
        table.add_row(label, *cells, f"{reached:.0%} ({binding})")
    console_for(table).print(table)


def _work(case: Case, rows: int = 8) -> Work:
    """What an image takes in a step."""
    module = new_module(case.objective, case.model, MODELS[case.model])
    x, y = torch.rand(rows, *MODELS[case.model]), torch.randint(10, (rows,))
    work = work_of(module.base_classifier, lambda: sum(module.loss(x, y)[0].values()).backward())
    return Work(work.operations / rows, work.numbers / rows)


def seconds_to(
    data_dir: str | None = None,
    model: str | None = None,
    objective: str = "Gaussian",
    accuracy: float = 0.85,
    radius: float = 0.25,
    every: int = 5,
    limit: int = 200,
    max_epochs: int = 150,
    seeds: int = 3,
) -> None:
    """Seconds until the certified accuracy on validation images reaches a value, by ours and by the published loop.

    Both certify alike, and what that takes is told apart. When a value is reached is chance: medians over seeds count.

    Args:
        data_dir: folder of CIFAR-10; digits when left out.
        model: architecture; `digits_cnn`, of CIFAR-10 `cifar_resnet20`, when left out.
        objective: name of the class.
        accuracy: certified accuracy to reach.
        radius: l2 radius of it.
        every: epochs between certifications.
        limit: validation images that are certified.
        max_epochs: when to give up.
        seeds: trainings of each, from seeds 0, 1, ...
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(described(torch.device(device)))
    goal = Goal(data_dir, model, objective, accuracy, radius, every, limit, max_epochs, device)
    title = f"{objective}, {goal.model} on {goal.data().name}, to {accuracy:.0%} certified at r = {radius:g}"
    table = Table(title=title)
    for column in ("", "epochs", "accuracy", "training, s", "of processor", "an epoch", "certification, s"):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    rows: dict[str, tuple[Callable[..., Reached], tuple[object, ...]]] = {
        PUBLISHED: (published, ()),
        "ours": (ours, (Engine(), False)),
        "ours, channels last, on the device": (ours, (Engine(channels_last=True), True)),
    }
    reached: dict[str, list[Reached]] = {label: [] for label in rows}
    for seed in range(seeds):
        for label, (train, options) in rows.items():
            with new_process() as worker:
                reached[label].append(worker.submit(train, replace(goal, seed=seed), *options).result())
    for label, runs in reached.items():
        epochs = ", ".join(str(run.epochs) for run in runs)
        figures = (
            median(run.training.wall for run in runs),
            median(run.training.processor for run in runs),
            median(run.training.processor / run.epochs for run in runs),
            median(run.certifying.wall for run in runs),
        )
        cells = [f"{figure:.{digits}f}" for figure, digits in zip(figures, (1, 1, 2, 1), strict=True)]
        table.add_row(label, epochs, f"{median(run.accuracy for run in runs):.1%}", *cells)
    console_for(table).print(table)


if __name__ == "__main__":
    with clean_exit():
        auto_cli({"speed": speed, "time": seconds_to}, as_positional=False)
