"""Whether records stay what they are, whatever they are certified beside, in which order, and after which accidents."""

from __future__ import annotations

import copy
import dataclasses
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, multiprocessing
from tqdm import tqdm

from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.nets import NOISE, digits, digits_net, rounding_share
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.certification import Certification, CertificationSettings, certify_together, recertify
from lightning_rs.results import Record, RunDirectory
from lightning_rs.results.runs import read_directory

EVERY_STATISTIC = (
    "cohen", "voracek", "salman", "moutaouakil_soft", "kumar_score", "kumar_margin:confidence=0.1", "mohapatra_l2"
)  # fmt: skip
SOME = ("cohen", "salman")
SEQUENTIAL = ("sequential_betting",)

_RELATIVE = 1e-9
"""What may differ of a number that is computed in float64 from sums of the noise, or from votes."""

_ALPHA, _ANOTHER_ALPHA = 0.01, 0.05

_TO_THE_BIT = "votes and sums the same to the bit"


class Stopped(Exception):
    """In the place of an accident."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A net and the mechanisms that certify it.

    Attributes:
        settings: those of the audit.
        exact: see `digits_net`.
        mechanisms: by name.
    """

    settings: AuditSettings
    exact: bool = True
    mechanisms: Sequence[str] = EVERY_STATISTIC

    @property
    def name(self) -> str:
        net = "exact net" if self.exact else "rounding net"
        return f"{net}, sequential" if self.mechanisms == SEQUENTIAL else net

    @property
    def images(self) -> list[int]:
        """Those that are certified, from all over the split."""
        return list(range(0, 360, 45 if self.settings.quick else 9))

    @cached_property
    def whole(self) -> list[Record]:
        """Their records: what all others are held against."""
        return self.certify()

    def certification(self, **changed: Any) -> Certification:
        """That of all images, with settings changed."""
        options = {
            "n0": 20,
            "n": 200 if self.settings.quick else 1000,
            "alpha": _ALPHA,
            "mechanisms": self.mechanisms,
            "radii": [0.0, 0.1, 0.25],
            "indices": self.images,
            "batch_size": 128,
            "seed": self.settings.seed,
            **dataclasses.asdict(self.settings.preparation),
        }
        chosen = CertificationSettings(**{**options, **changed})
        net = copy.deepcopy(digits_net(self.exact)).to(self.settings.device)
        return Certification(net, self.name, 10, NOISE, digits("test"), "Digits", "test", chosen)

    def certify(
        self, output: Path | None = None, begun: Callable[[], None] = lambda: None, **changed: Any
    ) -> list[Record]:
        """Records in the order of the images' indices, as they are read from a disk."""
        certification = self.certification(**changed)
        certification.check()
        records = certify_together(certification, output, shown=False, begun=begun)[1]
        return [Record.from_json(record.to_json()) for record in records]


def cases(settings: AuditSettings) -> list[Case]:
    """Everything that promises the same records, of an exact net and of one that rounds, drawing all and stopping."""
    exact = Subject(settings)
    sequential = Subject(settings, mechanisms=SEQUENTIAL)
    rounding = Subject(settings, exact=False, mechanisms=SOME)
    attempts = [_batch_size, _order, _company, _resumed]
    fewer = [_batch_size, _company] if settings.quick else attempts
    chosen = [(exact, attempts), (sequential, fewer), (rounding, fewer)]
    made = [(subject, attempt) for subject, some in chosen for attempt in some]
    made += [(exact, attempt) for attempt in (_mechanisms, _recertified, _divided)]
    if not settings.quick:
        made += [(exact, attempt) for attempt in (_killed, _processes)]
    return [
        Case(f"invariances: {attempt.__name__.strip('_')}, {subject.name}", partial(attempt, subject))
        for subject, attempt in made
    ]


def _batch_size(subject: Subject) -> Iterator[Finding]:
    yield _compared(subject, "another batch size", subject.certify(batch_size=77), another_batch_size=True)


def _order(subject: Subject) -> Iterator[Finding]:
    yield _compared(subject, "another order", subject.certify(indices=subject.images[::-1]))


def _company(subject: Subject) -> Iterator[Finding]:
    """Some of the images, the first beside others than before."""
    some = subject.images[1::3]
    others = [index + 1 for index in subject.images[::2]]
    records = {record.index: record for record in subject.certify(indices=[*others, *some])}
    records |= {record.index: record for record in subject.certify(indices=some[:1])}
    yield _compared(subject, "a subset, beside others", [records[index] for index in some])


def _resumed(subject: Subject) -> Iterator[Finding]:
    """Stopped after the first record, with half a line behind it on the disk, and gone on with."""

    def stop() -> None:
        raise Stopped

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        try:
            subject.certify(output, stop)
        except Stopped:
            pass
        yield _gone_on_with(subject, "stopped and resumed", output)


def _killed(subject: Subject) -> Iterator[Finding]:
    """A process of its own that gets SIGKILL after its first record, which is then gone on with."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        process = multiprocessing.get_context("spawn").Process(target=_certify_until_killed, args=(subject, output))
        process.start()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            raise ValueError(f"a process to be killed ended by itself, with status {process.exitcode}")
        yield _gone_on_with(subject, "killed and resumed", output)


def _processes(subject: Subject) -> Iterator[Finding]:
    """Two processes, on a GPU each with one of its own if there are two."""
    if subject.settings.device.type == "cuda" and torch.cuda.device_count() < 2:
        yield Finding("invariance", "two processes", _TO_THE_BIT, "left out: there is one GPU", True)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            multiprocessing.spawn(_certify_beside, (subject, Path(folder)), nprocs=2)
        except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException) as error:
            raise ValueError(f"one of two processes failed: {str(error).strip().splitlines()[-1]}") from None
        yield _compared(subject, "two processes", read_directory(Path(folder, "run"))[0])


def _mechanisms(subject: Subject) -> Iterator[Finding]:
    """What is known of every class does not depend on which mechanisms asked for it."""
    whole, differing = subject.whole, []
    parts = 2 if subject.settings.quick else len(subject.mechanisms)
    for part in (subject.mechanisms[k::parts] for k in range(parts)):
        for record, full in zip(subject.certify(mechanisms=part), whole, strict=True):
            differing += [f"{what} with {', '.join(part)}" for what in _differing(_without(full, record), record)]
    yield Finding(
        "invariance",
        f"mechanisms asked for, {subject.name}",
        "what each sees and certifies the same to the bit",
        f"{len(whole)} images the same" if not differing else f"others: {_some(differing)}",
        not differing,
        {"images": len(whole), "mechanisms": len(subject.mechanisms), "differing": len(differing)},
    )


def _recertified(subject: Subject) -> Iterator[Finding]:
    """From the records on the disk, at another alpha, as if it had been certified so."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        subject.certify(output)
        records, run, _ = read_directory(output)
    again, _ = recertify(records, run, _ANOTHER_ALPHA)
    yield _compared(subject, "recertified at another alpha", again, subject.certify(alpha=_ANOTHER_ALPHA))


def _divided(subject: Subject) -> Iterator[Finding]:
    """The best of two mechanisms, in one of two attempts: the larger radius of both at a quarter of alpha."""
    members = ("cohen", "cohen_two_sided")
    best = f"best:of={'+'.join(members)}"
    together = [record.certificates[best].radius for record in subject.certify(mechanisms=(best,), attempts=2)]
    apart = [
        max(record.certificates[member].radius for member in members)
        for record in subject.certify(mechanisms=members, alpha=_ALPHA / 4)
    ]
    largest = max(apart)
    yield Finding(
        "invariance",
        f"alpha divided, {subject.name}",
        "the radii of a quarter of alpha, not all of them 0",
        f"{len(apart)} images, {largest:.3f} at most" if _close(together, apart) else "other radii",
        largest > 0 and _close(together, apart),
        {"images": len(apart), "largest": largest},
    )


def _gone_on_with(subject: Subject, what: str, output: Path) -> Finding:
    """Certify what is missing, after a line that is cut off, and look at what lies on the disk in the end."""
    path = output / "records-0.jsonl"
    kept = path.read_bytes()
    finished = len(RunDirectory(output).read())
    if finished not in range(1, len(subject.images)):
        raise ValueError(f"{finished} of {len(subject.images)} records were kept: nothing was interrupted")
    path.write_bytes(kept + kept[: len(kept) // 2].rpartition(b"\n")[2])
    subject.certify(output)
    return _compared(subject, what, read_directory(output)[0])


def _certify_until_killed(subject: Subject, output: Path) -> None:
    tqdm.set_lock(threading.RLock())  # That of several processes would be left behind, and complained of.
    subject.certify(output, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _certify_beside(rank: int, subject: Subject, folder: Path) -> None:
    """One of two processes; they meet at a file."""
    device = subject.settings.device
    if device.type == "cuda":
        settings = dataclasses.replace(subject.settings, device=torch.device("cuda", rank))
        subject = dataclasses.replace(subject, settings=settings)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    try:
        subject.certify(folder / "run")
    finally:
        distributed.destroy_process_group()


def _compared(
    subject: Subject,
    what: str,
    records: Sequence[Record],
    whole: Sequence[Record] | None = None,
    *,
    another_batch_size: bool = False,
) -> Finding:
    """The finding that records of some of the images are those of the whole run, or others that are given."""
    known = {record.index: record for record in (subject.whole if whole is None else whole)}
    pairs = [(known[record.index], record) for record in records]
    moved = sum(_moved(*pair) for pair in pairs)
    differing = [what for pair in pairs for what in _differing(*pair)]
    votes = sum(sum(record.counts.values()) + sum(record.selection.values()) for _, record in pairs)
    share = _share_that_may_move(subject, another_batch_size)
    if share == 0:
        expected, passed = _TO_THE_BIT, not differing
    else:
        expected, passed = f"at most {share:.1%} of votes moved, by rounding", moved <= share * votes
    if not differing:
        seen = f"{len(pairs)} images the same"
    else:
        seen = f"{moved:,} of {votes:,} votes moved; others: {_some(differing)}"
    numbers = {"images": len(pairs), "votes": votes, "moved": moved, "differing": len(differing)}
    return Finding("invariance", f"{what}, {subject.name}", expected, seen, passed, numbers)


def _share_that_may_move(subject: Subject, another_batch_size: bool) -> float:
    """Of the votes, those whose two best scores are equal up to rounding.

    A net that rounds may round otherwise in other batches, and on a GPU at other places of one.
    """
    if subject.exact or (subject.settings.device.type == "cpu" and not another_batch_size):
        return 0.0
    return rounding_share(subject.settings.preparation)


def _moved(one: Record, other: Record) -> int:
    """Votes that would have to be changed to make one record's of the other's; with others drawn, all of those."""
    pairs = ((Counter(one.counts), Counter(other.counts)), (Counter(one.selection), Counter(other.selection)))
    return sum(max((a - b).total(), (b - a).total()) for a, b in pairs)


def _some(names: Sequence[str]) -> str:
    """The first few of them."""
    several = sorted(set(names))
    return ", ".join(several[:3]) + (", ..." if len(several) > 3 else "")


def _without(record: Record, like: Record) -> Record:
    """Only what the other one holds too."""
    return dataclasses.replace(
        record,
        statistics={name: value for name, value in record.statistics.items() if name in like.statistics},
        certificates={label: value for label, value in record.certificates.items() if label in like.certificates},
    )


def _differing(one: Record, other: Record) -> list[str]:
    """What two records say otherwise, time aside.

    Votes, and sums of scores, which are integers, to the bit. What is computed of them, or of the noise in float64, up
    to the order in which it was added.
    """
    names = [field.name for field in dataclasses.fields(Record) if field.name not in ("seconds", "statistics")]
    found = [name for name in names if name != "certificates" and getattr(one, name) != getattr(other, name)]
    for name in one.statistics | other.statistics:
        a, b = one.statistics.get(name), other.statistics.get(name)
        if a != b and not (name.startswith(("gradient", "region")) and _close(a, b)):
            found.append(name)
    for label in one.certificates | other.certificates:
        a, b = one.certificates.get(label), other.certificates.get(label)
        if a != b and not (a and b and a.prediction == b.prediction and _close([a.radius], [b.radius])):
            found.append(label)
    return found


def _close(one: Any, other: Any) -> bool:
    """Of numbers that lie side by side in size: relative to the largest."""
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return a.shape == b.shape and bool((np.abs(a - b) <= _RELATIVE * max(np.abs(a).max(), np.abs(b).max())).all())
