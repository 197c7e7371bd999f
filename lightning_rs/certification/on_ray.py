"""Certify on Ray: workers that each load the classifier by themselves, and one program that writes what they find."""

from __future__ import annotations

import dataclasses
import os
import secrets
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from lightning_rs.certification.examples import Certification, Certifier
from lightning_rs.certification.ray_pool import RayOptions, RayPool
from lightning_rs.certification.sharding import alone, nothing_left_behind, with_seed_of
from lightning_rs.progress import progress
from lightning_rs.results import Environment, Record, RunDescription, RunDirectory
from lightning_rs.results.description import told
from lightning_rs.results.directory import RecordAppender
from lightning_rs.results.environment import change_of

# Batches that a worker fills with the examples it gets at a time: a few, as the last one is not full, and not so many
# that others wait for it at the end.
_LEAST, _MOST = 5, 100


def certify_on_ray(
    certification: Certification,
    load: Callable[[torch.device], Certification],
    options: RayOptions,
    output: str | Path,
    *,
    shown: bool = True,
    begun: Callable[[], None] = lambda: None,
) -> tuple[RunDescription, list[Record]]:
    """Certify on the workers of a Ray cluster; returns the run and all its records.

    Every worker loads the classifier and the data on its own machine, and what it describes has to be what is described
    here. Records are on this machine's disk as soon as they are finished, in a file for each environment. A worker that
    dies is replaced and its examples are repeated; a record does not depend on who made it.

    Args:
        certification: what is certified, as this program loads it.
        load: gives the same on a worker, on a device of its own; it is pickled, the classifier is not.
        options: how many workers there are, and where.
        output: directory for the records, which goes on where it stopped.
        shown: whether to show a bar.
        begun: called once the first example is finished, or none is left: see `certify_together`.

    Raises:
        ValueError: see `RayPool` and `certify_examples`; a worker lacks a file or certifies something else, with its
            machine; or a directory that holds another run, or to which another program writes.
    """
    directory = RunDirectory(output)
    certification = with_seed_of(certification, directory.run())
    if certification.seed == "random":
        certification = dataclasses.replace(certification, drawn_seed=secrets.randbits(64))
    run = certification.describe()
    with alone(directory, run), nothing_left_behind(directory):
        finished = directory.read()
        known = {record.index for record in finished}
        left = [index for index in run.asked if index not in known]
        new = []
        with (
            appending(directory) as append,
            progress(len(left), f"Certifying {run.split}", "img", shown, leave=False) as bar,
        ):
            for greeting, record in _found(left, certification, run, load, options, bar):
                append(record, greeting.environment)
                if not new:
                    begun()
                new.append(record)
                bar.update()
        if not new:
            begun()
    return run, sorted(finished + new, key=lambda record: record.index)


@dataclass(frozen=True)
class Greeting:
    """What a worker says when it is ready.

    Attributes:
        machine: that it is on.
        run: what it certifies.
        environment: where and with what.
    """

    machine: str
    run: RunDescription
    environment: Environment


class CertifyingWorker:
    """A process that certifies: see `lightning_rs.certification.ray_pool.Worker`.

    Args:
        load: gives the certification on a device.
        drawn_seed: see `Certification`.
        cores: of the processor, for torch.
        device: where the classifier runs, cpu or cuda.
        folder: that relative paths begin at, where this machine has it.
    """

    def __init__(
        self,
        load: Callable[[torch.device], Certification],
        drawn_seed: int | None,
        cores: int,
        device: str,
        folder: str,
    ) -> None:
        self._load, self._seed, self._device = load, drawn_seed, torch.device(device)
        torch.set_num_threads(cores)
        if Path(folder).is_dir():
            os.chdir(folder)

    def greet(self) -> Greeting:
        """Load and prepare the classifier."""
        with _named_machine():
            if self._device.type == "cuda" and not torch.cuda.is_available():
                raise ValueError("torch finds no CUDA device")
            certification = dataclasses.replace(self._load(self._device), drawn_seed=self._seed).settled()
            self._certifier = Certifier(certification)
            return Greeting(socket.gethostname(), certification.describe(), certification.environment())

    def work(self, indices: list[int]) -> Iterator[tuple[int, Record]]:
        """The records of these examples, each as soon as it is finished."""
        with _named_machine():
            for record in self._certifier.records(indices):
                yield record.index, record


def admit(run: RunDescription, fewest: int, greeting: Greeting) -> tuple[int, int]:
    """How many examples of a run a worker gets at a time, at least and at most.

    Those that may end early get company at once: one alone would leave most of its batches empty.

    Args:
        run: what is certified.
        fewest: rows of an example that ends as early as it can.
        greeting: of the worker.

    Raises:
        ValueError: it certifies something else.
    """
    if differing := greeting.run.differences(run.whole):
        raise ValueError(f"machine {greeting.machine} certifies something else: it differs in {told(differing)}")
    batch = greeting.environment.batch_size
    return -(-_LEAST * batch // (run.n0 + run.n)), -(-_MOST * batch // fewest)


def _found(
    indices: list[int],
    certification: Certification,
    run: RunDescription,
    load: Callable[[torch.device], Certification],
    options: RayOptions,
    bar: tqdm,
) -> Iterator[tuple[Greeting, Record]]:
    """The records of these examples, each with what its worker said; the bar counts the workers."""

    def watch(ready: int) -> None:
        if ready and not bar.n:
            bar.reset()  # The time that loading took says nothing of the examples.
        bar.set_postfix_str(f"{ready} worker{'s' * (ready != 1)}")

    if not indices:
        return
    device = "cuda" if options.gpus_per_worker else "cpu"
    cores = max(1, int(options.cpus_per_worker))
    plan = certification.plan(run.input_shape)
    ready = partial(admit, run, plan.before + plan.looks[0])
    arguments = (load, certification.drawn_seed, cores, device, os.getcwd())
    with RayPool(options) as pool:
        watch(0)  # A cluster may have no room for long.
        yield from pool.run(CertifyingWorker, arguments, indices, ready, watch)


@contextmanager
def appending(directory: RunDirectory) -> Iterator[Callable[[Record, Environment], None]]:
    """What keeps a record, in a file of its environment; on resuming, one that is new is told."""
    before = directory.environments()
    numbers = {environment: number for number, environment in enumerate(before)}
    files: dict[Environment, RecordAppender] = {}
    with ExitStack() as stack:

        def append(record: Record, environment: Environment) -> None:
            if environment not in files:
                if before and environment not in before:
                    warnings.warn(f"{directory.path} {change_of(before, environment)}", stacklevel=2)
                number = numbers.setdefault(environment, len(numbers))
                files[environment] = stack.enter_context(directory.appender(number, environment))
            files[environment].append(record)

        yield append


@contextmanager
def _named_machine() -> Iterator[None]:
    """What a user can mend is said with the machine it is to be mended on."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"on machine {socket.gethostname()}: {error}") from None
