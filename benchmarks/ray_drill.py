"""Kill Ray workers over and over while they certify, add some, and compare their records with those of one process.

python benchmarks/ray_drill.py CHECKPOINT                     six workers, 20 kills, two more workers on the way
python benchmarks/ray_drill.py CHECKPOINT --kills 5 --n 1000  and so on

The cluster runs on this machine, whatever its number of cores. A random worker is killed by SIGKILL each time when some
more examples are finished.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from lightning_rs.results import Record, RunDirectory

CERTIFY = Path(__file__).resolve().parent.parent / "certify.py"
WORKERS, ADDED, SHARE = 6, 2, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    job = (f"--checkpoint={options.checkpoint}", f"--n={options.n}", "--accelerator=cpu", "--wandb_mode=disabled")
    with tempfile.TemporaryDirectory() as folder:
        alone, pool = Path(folder) / "alone", Path(folder) / "pool"
        seconds = Certifying(*job, "--devices=1", f"--output={alone}").wait_well()
        expected = records(alone)
        print(f"one process: {len(expected)} records in {seconds:.0f} s", flush=True)
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": int(WORKERS * SHARE), "include_dashboard": False}
        )
        ray = ("--engine=ray", f"--cpus_per_worker={SHARE}", f"--address={cluster.address}")
        certifying = Certifying(*job, *ray, f"--output={pool}")
        kill_workers(cluster, certifying, pool, len(expected), options)
        seconds = certifying.wait_well()
        found = records(pool)
        print(f"on Ray: {len(found)} records in {seconds:.0f} s, {lines(pool)} lines of records")
        cluster.shutdown()
    print(f"records equal but for seconds: {found == expected}")


class Certifying(subprocess.Popen):
    """A certification by the command line."""

    def __init__(self, *arguments: str) -> None:
        self.start = time.perf_counter()
        super().__init__([sys.executable, CERTIFY, *arguments], stdout=subprocess.DEVNULL)

    def wait_well(self) -> float:
        """Wait for its end; returns the seconds that it took."""
        if status := self.wait():
            raise SystemExit(f"the certification ended with status {status}")
        return time.perf_counter() - self.start


def kill_workers(
    cluster: Cluster, certifying: Certifying, folder: Path, total: int, options: argparse.Namespace
) -> None:
    """Kill one each time when another share of the examples is finished; add a machine for two more on the way."""
    generator = random.Random(options.seed)
    for kill in range(1, options.kills + 1):
        while lines(folder) < kill * total // (options.kills + 1) or not (workers := worker_processes()):
            if certifying.poll() is not None:
                return
            time.sleep(0.05)
        os.kill(pid := generator.choice(workers), signal.SIGKILL)
        print(f"kill {kill}: process {pid} of {len(workers)}", flush=True)
        if kill == options.kills // 3:
            cluster.add_node(num_cpus=int(ADDED * SHARE))
            print(f"room for {ADDED} more", flush=True)


def lines(folder: Path) -> int:
    return sum(is_record(line) for path in folder.glob("records-*") for line in path.open())


def records(folder: Path) -> list[Record]:
    return [dataclasses.replace(record, seconds=0.0) for record in RunDirectory(folder).read()]


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


if __name__ == "__main__":
    main()
