"""Damaged and hostile files through the readers: each is read as it was, or refused in one line of a documented kind.

    python benchmarks/fuzz.py records --inputs 100000 --seed 0     one reader
    python benchmarks/fuzz.py all --inputs 1000000 --processes 2   all, in shares that fit to their speeds
    python benchmarks/fuzz.py config --seed 3 --first 417 --inputs 1   one input again

While an input is read, any write outside of its folder, any program that is started and any import of what a hostile
file names is a failure too, and so is an answer that takes seconds. Prints how many inputs ended how; what failed is
saved with its traceback, and the exit status is then 1. Another reader is one more `Reader` in `READERS`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from fuzzing import checkpoints, configs, records, tables
from fuzzing.reader import Outcomes, Reader, fuzz

READERS: dict[str, Reader] = {
    "records": records.READER,
    "results": tables.RESULTS,
    "metrics": tables.METRICS,
    "config": configs.READER,
    "resume": configs.RESUME,
    "checkpoint": checkpoints.CERTIFY,
    "resumable": checkpoints.RESUMABLE,
    "training": checkpoints.TRAINING,
}
_PARTS, _LEAST = 40, 50  # Parts of each reader's inputs, and the least inputs of one.


def run(name: str, seed: int, numbers: range, failures: Path) -> Outcomes:
    """A part of a reader's inputs, in this process."""
    torch.set_num_threads(1)
    return fuzz(name, READERS[name], seed, numbers, failures)


def parts_of(names: list[str], inputs: int, first: int) -> list[tuple[str, range]]:
    """Reader and numbers of inputs of each part, the readers taking turns."""
    whole = sum(READERS[name].share for name in names)
    parts = []
    for name in names:
        mine = max(1, round(inputs * READERS[name].share / whole))
        size = max(_LEAST, -(-mine // _PARTS))
        starts = range(first, first + mine, size)
        parts += [((at - first) / mine, name, range(at, min(at + size, first + mine))) for at in starts]
    return [(name, numbers) for _, name, numbers in sorted(parts, key=lambda part: part[0])]


def report(outcomes: dict[str, Outcomes], seed: int) -> str:
    """The table of all that was read."""
    columns = ("accepted, equal", "accepted, no other answer", "refused in one line", "failures")
    lines = ["| reader | inputs | " + " | ".join(columns) + " | slowest, s | a second |", "|---" * 8 + "|"]
    for name, found in outcomes.items():
        counts = [found.counts[column] for column in columns[:3]] + [len(found.failed)]
        cells = [f"{n:,}" for n in (found.counts.total(), *counts)]
        rate = found.counts.total() / found.seconds
        lines.append(f"| {' | '.join([name, *cells, f'{found.slowest:.2f}', f'{rate:,.0f}'])} |")
    lines.append(f"{sum(found.counts.total() for found in outcomes.values()):,} inputs, seed {seed}")
    for name, found in outcomes.items():
        kinds = {outcome: number for outcome, number in found.counts.items() if outcome.startswith("FAILURE")}
        lines += [f"{name}: {number:,} x {outcome}" for outcome, number in sorted(kinds.items())]
        lines += [f"{name}: first inputs that failed: {sorted(found.failed)[:20]}"] * bool(kinds)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=[*READERS, "all"])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the inputs; each depends on it and its number alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no part after so many")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="Folder of what failed.")
    options = parser.parse_args()
    names = list(READERS) if options.reader == "all" else [options.reader]
    outcomes = {name: Outcomes() for name in names}
    parts = parts_of(names, options.inputs, options.first)
    start, failures = time.perf_counter(), options.failures.absolute()
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run, name, options.seed, numbers, failures): name for name, numbers in parts}
        for future in as_completed(futures):
            if future.cancelled():
                continue
            outcomes[futures[future]].add(future.result())
            done = sum(found.counts.total() for found in outcomes.values())
            failed = sum(len(found.failed) for found in outcomes.values())
            seconds = time.perf_counter() - start
            print(f"{seconds:6.0f} s: {done:,} inputs, {failed} failures", file=sys.stderr, flush=True)
            if seconds > 60 * options.minutes:
                for other in futures:
                    other.cancel()
    print(report(outcomes, options.seed))
    if failed:
        print(f"inputs and details of failures are in {failures}")
        sys.exit(1)


if __name__ == "__main__":
    main()
