"""Kill Ray workers over and over while they certify, add some, and compare their records with those of one process.

python benchmarks/ray_drill.py CHECKPOINT                     six workers, 20 kills, two more workers on the way
python benchmarks/ray_drill.py CHECKPOINT --kills 5 --n 1000  and so on

The cluster runs on this machine, whatever its number of cores. A random worker, ready or still loading, is killed by
SIGKILL each time when some more examples are finished.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import torch
from ray.cluster_utils import Cluster

from lightning_rs.certification import (
    Certification,
    CertificationSettings,
    RayOptions,
    certify_on_ray,
    certify_together,
    load_subject,
)
from lightning_rs.results import Record

WORKERS, ADDED, SHARE = 6, 2, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--limit", type=int, help="certify so many images")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    load = partial(load_certification, str(Path(options.checkpoint).resolve()), options.n, options.limit)
    torch.set_num_threads(1)
    certification = load(torch.device("cpu"))
    start = time.perf_counter()
    _, alone = certify_together(certification)
    print(f"one process: {len(alone)} records in {time.perf_counter() - start:.0f} s", flush=True)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": int(WORKERS * SHARE), "include_dashboard": False}
    )
    with tempfile.TemporaryDirectory() as folder:
        ended = threading.Event()
        killing = threading.Thread(
            target=kill_workers, args=(cluster, Path(folder), options, len(certification.indices), ended)
        )
        killing.start()
        pool = RayOptions(cpus_per_worker=SHARE, address=cluster.address)
        start = time.perf_counter()
        try:
            _, found = certify_on_ray(certification, load, pool, folder)
        finally:
            ended.set()
            killing.join()
        lines = sum(is_record(line) for path in Path(folder).glob("records-*") for line in path.open())
        print(f"on Ray: {len(found)} records in {time.perf_counter() - start:.0f} s, {lines} written")
    cluster.shutdown()
    print(f"records equal but for seconds: {list(map(plain, found)) == list(map(plain, alone))}")


def load_certification(checkpoint: str, n: int, limit: int | None, device: torch.device) -> Certification:
    return load_subject(checkpoint).certification(CertificationSettings(n=n, limit=limit), device)


def kill_workers(
    cluster: Cluster, folder: Path, options: argparse.Namespace, total: int, ended: threading.Event
) -> None:
    """Kill one each time when another share of the examples is finished; add a machine for two more on the way."""
    generator = random.Random(options.seed)
    for kill in range(1, options.kills + 1):
        while sum(is_record(line) for path in folder.glob("records-*") for line in path.open()) < (
            kill * total // (options.kills + 1)
        ):
            if ended.wait(0.05):
                return
        workers = worker_processes()
        os.kill(pid := generator.choice(workers), signal.SIGKILL)
        print(f"kill {kill}: process {pid} of {len(workers)}", flush=True)
        if kill == options.kills // 3:
            cluster.add_node(num_cpus=int(ADDED * SHARE))
            print(f"room for {ADDED} more", flush=True)


def is_record(line: str) -> bool:
    return line.startswith('{"index":')


def worker_processes() -> list[int]:
    """The processes of this script's cluster that certify."""
    parents, workers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid, _, rest = (folder / "stat").read_text().partition(" ")
            parents[int(pid)] = int(rest.rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_text().startswith("ray::CertifyingWorker"):
                workers.append(int(pid))
        except OSError:  # It has just ended.
            continue

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid > 1 and ours(parents.get(pid, 0)))

    return sorted(filter(ours, workers))


def plain(record: Record) -> Record:
    return dataclasses.replace(record, seconds=0.0)


if __name__ == "__main__":
    main()
