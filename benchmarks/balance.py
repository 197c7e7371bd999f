"""Certify with a sequential mechanism on several processes: how long the slowest takes, in fixed shares and by claims.

python benchmarks/balance.py --checkpoint runs/NAME/checkpoints/last.ckpt

Makespan over ideal: the most that a process did over the mean of all, in drawn rows and in seconds. Both ways are run,
one after the other, on the same images; `--limit`, `--n`, `--radii`, `--processes` and `--batch_size` say on what.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli
from rich.table import Table
from torch import distributed, multiprocessing

from lightning_rs.certification import Certification, CertificationSettings, certify_examples, load_subject
from lightning_rs.certification.claims import Claims
from lightning_rs.results.report import console_for


def balance(
    checkpoint: str,
    processes: int = 2,
    n: int = 100_000,
    radii: list[float] = [0.0, 0.25, 0.5, 0.75, 1.0],  # noqa: B006
    mechanism: str = "sequential_betting",
    batch_size: int = 1000,
    limit: int | None = None,
) -> None:
    """Makespan over ideal of fixed shares, where rank r takes every W-th image, and of claims."""
    settings = CertificationSettings(n=n, mechanisms=[mechanism], radii=radii, batch_size=batch_size, limit=limit)
    what = load_subject(checkpoint).certification(settings, torch.device("cpu"))
    table = Table(title=f"{len(what.indices)} images, {mechanism}, n = {n:,}, {processes} processes")
    for column in ("", "images", "rows", "seconds", "makespan / ideal, rows", "seconds"):
        table.add_column(column, justify="right" if column else "left")
    for way in ("fixed", "claims"):
        with tempfile.TemporaryDirectory() as folder:
            arguments = (way, processes, what, Path(folder))
            multiprocessing.start_processes(_certify, arguments, nprocs=processes, start_method="fork")
            images, rows, seconds = torch.load(Path(folder) / "done").T
        ratios = (f"{done.max() / done.mean():.3f}" for done in (rows, seconds))
        shown = (" + ".join(f"{x:,.0f}" for x in done.tolist()) for done in (images, rows, seconds))
        table.add_row(way, *shown, *ratios)
    console_for(table).print(table)


def _certify(rank: int, way: str, world: int, what: Certification, folder: Path) -> None:
    """One process: its images, rows and seconds until it finds nothing more to do."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    claims = Claims(what.indices, "benchmark", unequal=True)
    images = rows = 0
    distributed.barrier()
    start = time.perf_counter()
    for record in certify_examples(what, claims if way == "claims" else what.indices[rank::world]):
        images += 1
        rows += 1 + sum(record.selection.values()) + sum(record.counts.values())
        if way == "claims":
            claims.finish()
    done = torch.tensor([images, rows, time.perf_counter() - start], dtype=torch.float64)
    everyone = [torch.empty_like(done) for _ in range(world)]
    distributed.all_gather(everyone, done)
    if not rank:
        torch.save(torch.stack(everyone), folder / "done")
    distributed.destroy_process_group()


if __name__ == "__main__":
    auto_cli(balance, as_positional=False)
