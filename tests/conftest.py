"""What tests share: a small trained run, made once by the real command line, and how commands are run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite("loss_checks", "objective_checks")

# Tests run in as many processes as there are cores.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
HOME = tempfile.TemporaryDirectory()  # Without credentials, and apart from what the tests look at.
sys.path.insert(0, str(Path(__file__).resolve().parent))


def run_script(script: str | Path, *arguments: object, cwd: Path, status: int | None = 0, **environment: str):
    """Run a script as a user does, without terminal and without any W&B account; returns the finished process."""
    return run_python(ROOT / script, *arguments, cwd=cwd, status=status, **environment)


def run_python(*arguments: object, cwd: Path, status: int | None = 0, **environment: str):
    """Run Python with these arguments, as `run_script` does."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PL_", "COLUMNS"))}
    clean |= {"HOME": HOME.name, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    if status is not None:
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Working directory of a short `python train.py`; the run lies in runs/short."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_script(
        "train.py",
        "--name=short",
        "--trainer.max_epochs=12",
        "--live_certification.every_n_epochs=6",
        "--live_certification.limit=10",
        "--certification.n=500",
        "--certification.limit=40",
        cwd=folder,
    )
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


@pytest.fixture(scope="session")
def checkpoint(trained: Path) -> Path:
    return trained / "runs" / "short" / "checkpoints" / "last.ckpt"


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
