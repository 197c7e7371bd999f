"""Time and peak memory of reports and recertification of many images with many classes.

    python benchmarks/large_records.py make FOLDER --kind soft
    python benchmarks/large_records.py measure FOLDER

`make` writes a certification as it would be left by one process: real statistics of draws that were never made, with
the certificates that follow from them. `measure` runs the commands on it, each in a process of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jsonargparse import auto_cli

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import Record, RunDescription, RunDirectory
from lightning_rs.results.recomputation import recompute

CERTIFY = Path(__file__).parents[1] / "certify.py"
MECHANISMS = {
    "hard": ("cohen", "cohen_two_sided"),
    "soft": ("cohen", "salman:bound=empirical_bernstein", "lecuyer_soft:bound=empirical_bernstein"),
}
N0, N = 100, 100_000
# Ranks of the classes that get votes: probabilities fall like this power.
_DECAY = 2.0
_PART = 500


def make(folder: str, kind: Literal["hard", "soft"] = "hard", images: int = 50_000, classes: int = 1000) -> None:
    """Write a certification of so many images.

    Votes are multinomial: the first class has a share from Beta(2, 1) and the others, in an order of their own, shares
    that fall like a power of their rank, so that some hundred of them have votes. Scores have the same means.

    Args:
        folder: to be made.
        kind: votes alone, or the sums and the squares of every class's score beside them.
        images: how many.
        classes: how many.
    """
    mechanisms = MechanismSet(MECHANISMS[kind])
    run = RunDescription(
        data="synthetic", split="test", indices=tuple(range(images)), architecture="none", num_classes=classes,
        input_shape=(3, 224, 224), noise="grid_gaussian:levels=255", sigma=0.5, n0=N0, n=N, alpha=0.001,
        mechanisms=tuple(mechanisms), seed=0,
    )  # fmt: skip
    directory = RunDirectory(folder)
    with directory.locked():
        directory.create(run)
        directory.replace(recompute_in_parts(run, mechanisms, kind == "soft"))
    size = sum(path.stat().st_size for path in Path(folder).iterdir())
    print(f"{folder}: {images:,} images, {classes:,} classes, {size / 2**30:.2f} GiB")


def recompute_in_parts(run: RunDescription, mechanisms: MechanismSet, soft: bool) -> Iterator[Record]:
    """The records of the run, some at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, len(run.indices), _PART):
        part = run.indices[start : start + _PART]
        drawn = [_drawn(index, run.num_classes, soft, rng) for index in part]
        yield from recompute(drawn, run, run.spent_alpha, mechanisms)


def _drawn(index: int, classes: int, soft: bool, rng: np.random.Generator) -> Record:
    top = rng.beta(2.0, 1.0)
    rest = np.arange(1.0, classes) ** -_DECAY
    share = rng.permutation(np.append((1.0 - top) * rest / rest.sum(), top))
    votes = [rng.multinomial(draws, share) for draws in (N0, N)]
    selection, counts = ({int(c): int(v[c]) for c in np.flatnonzero(v)} for v in votes)
    statistics = {}
    if soft:
        means = np.floor(share * 2.0**32) / 2.0**32
        squares = means * (0.2 + 0.8 * means)
        statistics = {"score_sum": (N * means).tolist(), "score_square_sum": (N * squares).tolist()}
    return Record(index, int(share.argmax()), int(share.argmax()), selection, counts, {}, 12.5, statistics)


def measure(folder: str, output: str) -> None:
    """Time and peak memory of the commands on a certification, and of none: of starting alone.

    Args:
        folder: of `make`.
        output: where the commands write.
    """
    commands = {
        "start alone": ["--help"],
        "report": ["report", folder, f"--output={output}/report"],
        "recertify": ["recertify", folder, "--alpha=0.01", f"--output={output}/again"],
    }
    for name, arguments in commands.items():
        start = time.perf_counter()
        process = os.posix_spawn(sys.executable, [sys.executable, str(CERTIFY), *arguments], os.environ)
        _, status, used = os.wait4(process, 0)
        seconds, worked = time.perf_counter() - start, used.ru_utime + used.ru_stime
        told = f"{seconds:.0f} s, {worked:.0f} s of processor time, peak {used.ru_maxrss / 2**20:.2f} GiB"
        print(f"{name}: {told}, exit status {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    auto_cli([make, measure])
