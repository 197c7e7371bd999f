"""Several processes certify one data set: where they left off, and what all have found."""

from __future__ import annotations

import copy
import dataclasses
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch import distributed, nn

from lightning_rs.certification.claims import Claims
from lightning_rs.certification.environment import device_name
from lightning_rs.certification.examples import Certification, certify_examples
from lightning_rs.progress import progress
from lightning_rs.results import Record, RunDescription, RunDirectory
from lightning_rs.results.description import told
from lightning_rs.results.environment import change_of


def certify_together(
    certification: Certification,
    output: str | Path | None = None,
    *,
    shown: bool = True,
    begun: Callable[[], None] = lambda: None,
) -> tuple[RunDescription, list[Record]]:
    """Certify on all processes of this one's group; returns the run and the records of all of them, on every process.

    Each process claims the next of the examples that are not finished yet when it has room for one, see `Claims`; none
    is padded or repeated, and a process may have none. The first process's classifier is what is certified.

    Args:
        certification: what is certified, the same on all processes.
        output: directory for the records, which goes on where it stopped; the first process's counts. None keeps none.
        shown: whether the first process shows a bar, of what all have finished.
        begun: called on every process once its first example is finished, or none is left: the directory is the run's
            from then on, and others may write to it what belongs to it.

    Raises:
        ValueError: see `certify_examples`; processes that certify different things; or a directory that holds another
            run, or to which another program writes.
    """
    certification = dataclasses.replace(certification, base_classifier=_of_first_process(certification.base_classifier))
    directory = RunDirectory(path) if (path := _broadcast(output)) else None
    certification = _settled_together(certification, directory)
    run = certification.describe()
    _check_agreement(run)
    environment = certification.environment()
    shown = shown and rank() == 0
    new = []
    with alone(directory, run), nothing_left_behind(directory):
        stored = None if directory is None else directory.stored()
        finished = list(stored or ())
        if stored and rank() == 0 and (change := change_of(stored.environments, environment)):
            warnings.warn(f"{directory.path} {change}", stacklevel=2)
        key = _broadcast(secrets.token_hex(8))  # And all have read before any appends.
        known = {record.index for record in finished}
        missing = [index for index in run.asked if index not in known]
        # Some images are asked of two classifiers where there was one before, and others of one.
        unequal = certification.settings.mechanism_set.sequential or certification.prior is not None
        claims = Claims(missing, key, unequal)
        with (
            nullcontext() if directory is None else directory.appender(rank(), environment) as file,
            progress(len(missing), f"Certifying {certification.split}", "img", shown, leave=False) as bar,
        ):
            for record in certify_examples(certification, claims):
                if file is not None:
                    file.append(record)
                if not new:
                    begun()
                new.append(record)
                bar.update(claims.finish() - bar.n)
        if not new:
            begun()
        records = [record for part in _gather(new) for record in part]
    return run, sorted(finished + records, key=lambda record: record.index)


def rank() -> int:
    """Number of this process in its group."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes in this one's group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _of_first_process(classifier: nn.Module) -> nn.Module:
    """The first process's classifier. Under data parallelism the processes' batch-norm statistics differ, and only the
    first one's are saved, so all must certify those."""
    if world_size() == 1:
        return classifier
    classifier = copy.deepcopy(classifier)
    for tensor in classifier.state_dict().values():
        distributed.broadcast(tensor, src=0)
    return classifier


def _settled_together(certification: Certification, directory: RunDirectory | None) -> Certification:
    """With one batch size and seed for all processes: on resuming those of before, else what the first one finds."""
    if certification.settings.batch_size != "auto" and certification.seed != "random":
        return certification
    if directory and (known := directory.run()):
        directory.check(certification.describe())
        certification = _as_before(certification, known, directory)
    found = certification.settled() if rank() == 0 else certification
    size, seed = _broadcast((found.settings.batch_size, found.seed))
    if certification.seed == "random":
        certification = dataclasses.replace(certification, drawn_seed=seed)
    return _with_batches(certification, size)


def _as_before(certification: Certification, known: RunDescription, directory: RunDirectory) -> Certification:
    """With the seed that was drawn when the run began, and the batch size of the last records of such a device."""
    certification = with_seed_of(certification, known)
    if certification.settings.batch_size == "auto":
        device = device_name(certification.device)
        sizes = [made.batch_size for made in directory.origins().values() if made.device == device and made.batch_size]
        certification = _with_batches(certification, sizes[-1] if sizes else "auto")
    return certification


def with_seed_of(certification: Certification, known: RunDescription | None) -> Certification:
    """With the seed that was drawn when the run began in the place of `random`, if it was."""
    if certification.seed == "random" and known is not None and isinstance(known.seed, int):
        return dataclasses.replace(certification, drawn_seed=known.seed)
    return certification


def _with_batches(certification: Certification, size: int | str) -> Certification:
    return dataclasses.replace(certification, settings=dataclasses.replace(certification.settings, batch_size=size))


@contextmanager
def alone(directory: RunDirectory | None, run: RunDescription) -> Iterator[None]:
    """The directory is this run's, and no other program writes to it meanwhile."""
    with ExitStack() as stack:
        refused = None
        if directory is not None and rank() == 0:
            try:
                directory.check(run)
                stack.enter_context(directory.locked())
                directory.check(run)  # Another program may just have made it its own.
                directory.create(run)
            except (ValueError, OSError) as error:
                refused = error
        if refused := _broadcast(refused):
            raise refused
        yield


@contextmanager
def nothing_left_behind(directory: RunDirectory | None) -> Iterator[None]:
    """Without a single record, a failed certification leaves no directory that would refuse a corrected one."""
    try:
        yield
    except ValueError:
        if directory and world_size() == 1:  # Others may just be writing theirs.
            directory.discard_if_empty()
        raise


def _check_agreement(run: RunDescription) -> None:
    """Refuse, on all processes, that they certify different things: say, files that change between their readings.

    Raises:
        ValueError: names what differs.
    """
    first, *others = _gather(run)
    for other in others:
        if differing := first.differences(other):
            raise ValueError(f"the processes certify different things; they differ in {told(differing)}")


def _broadcast(value: Any) -> Any:
    """The first process's value."""
    return _gather(value)[0]


def _gather(value: Any) -> list[Any]:
    """The values of all processes, on every one."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    distributed.all_gather_object(gathered, value)
    return gathered
