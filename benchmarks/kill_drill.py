"""Kill a training over and over, move its folder, resume it, and compare its weights with those of one left alone.

python benchmarks/kill_drill.py                        20 kills; temporary files on another file system
python benchmarks/kill_drill.py --kills 5 --tmp /tmp   and so on

Every other kill comes when a checkpoint is just being written, the others at random. After each the last checkpoint is
read, the run's folder gets another name, and the training goes on from there. With `--max_steps` the training ends by
steps, and what has to be said of that is looked for.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

TRAIN = Path(__file__).resolve().parent.parent / "train.py"
JOB = (
    "--model.schedule.name=constant",
    "--live_certification.every_n_epochs=0",
    "--certification.n=100",
    "--certification.limit=3",
    "--wandb.mode=disabled",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tmp", default="/dev/shm", help="where temporary files go")
    parser.add_argument("--max_steps", action="store_true", help="end by steps rather than by epochs")
    options = parser.parse_args()
    epochs = 3 * options.kills + 3
    steps = 16 * epochs - 8
    end = ("--trainer.max_epochs=-1", f"--trainer.max_steps={steps}") if options.max_steps else (
        f"--trainer.max_epochs={epochs}",
    )  # fmt: skip
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        runs = Path(folder)
        job = (*JOB, *end, f"--runs={runs}")
        subprocess.run([sys.executable, TRAIN, *job, "--name=whole"], check=True, stdout=-3, stderr=-3)
        run, torn, writing, epoch = runs / "part0", 0, 0, -1
        arguments = (*job, "--name=part0")
        for kill in range(options.kills):
            amid_writing = train_and_kill(arguments, run, options.tmp, generator, at_writing=kill % 2 == 0)
            before, epoch = epoch, epoch_of(run)
            writing, torn = writing + amid_writing, torn + (epoch is None)
            print(f"kill {kill + 1}: {'while writing' if amid_writing else 'at random'}, epoch {before} -> {epoch}")
            run = run.rename(runs / f"part{kill + 1}")
            arguments = (f"--resume={run}",)
        done = subprocess.run([sys.executable, TRAIN, *arguments], check=True, capture_output=True, text=True)
        whole, part = (weights(path) for path in (runs / "whole", run))
        equal = all(torch.equal(value, part[key]) for key, value in whole.items())
        files = sorted(path.name for path in (run / "checkpoints").iterdir())
        said = "not exactly resumed" in done.stderr
    print(f"{options.kills} kills, {writing} while a checkpoint was written; torn checkpoints: {torn}")
    print(f"weights equal to those of the run left alone: {equal}; inexact, it says: {said}; files: {', '.join(files)}")


def train_and_kill(
    arguments: tuple[str, ...], run: Path, tmp: str, generator: random.Random, at_writing: bool
) -> bool:
    """Train until one epoch at least is done, then kill all of it; returns whether a checkpoint was being written."""
    last = run / "checkpoints" / "last.ckpt"
    before = last.stat().st_mtime_ns if last.exists() else 0
    command = [sys.executable, TRAIN, *arguments]
    process = subprocess.Popen(
        command, env={**os.environ, "TMPDIR": tmp}, stdout=-3, stderr=-3, start_new_session=True
    )
    while not last.exists() or last.stat().st_mtime_ns == before:
        if process.poll() is not None:
            raise SystemExit(f"the training ended by itself with status {process.returncode}: {command}")
        time.sleep(0.001)
    until = time.monotonic() + generator.uniform(0.0, 0.5)
    while process.poll() is None:
        written = being_written(run)
        if written if at_writing else time.monotonic() > until:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return being_written(run)


def being_written(run: Path) -> bool:
    return any(".part" in entry.name for entry in os.scandir(run / "checkpoints"))


def epoch_of(run: Path) -> int | None:
    """The epoch of the last checkpoint; None if it cannot be read."""
    try:
        return int(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"])
    except Exception:  # torch names no common class for what a torn file raises.
        return None


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


if __name__ == "__main__":
    main()
