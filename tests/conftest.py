"""What tests share: a small trained run, made once by the real command line, and how commands are run."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

# Tests run in as many processes as there are cores. Said before libraries are imported, which read it then.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from filelock import FileLock
from forking import ENVIRONMENT, LIBRARIES, ForkServer
from hypothesis import settings

from lightning_rs.random_state import OwnRandomness, random_state, set_random_state

pytest.register_assert_rewrite("loss_checks", "objective_checks")

# Examples are the same in every run, up to numbers from imported modules, and take the time they need.
settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent
HOME = tempfile.TemporaryDirectory()  # Without credentials, and apart from what the tests look at.
TIMEOUT = 600  # Seconds.
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])  # Nothing is left out where there is no GPU.
sys.path.insert(0, str(Path(__file__).resolve().parent))


def run_script(script: str | Path, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script of this project with `run_python`."""
    return run_python(ROOT / script, *arguments, **options)


def run_python(
    *arguments: object, cwd: Path, status: int | None = 0, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments as a user does, without terminal and without any W&B account.

    It starts as a copy of a process that has imported the libraries; with `fresh`, as an interpreter of its own.
    """
    environment = clean_environment(environment)
    done = subprocess.run(
        [sys.executable if fresh else SERVER.python(environment), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if status is not None:
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    # Hundreds of commands import our modules: compiled once, as where nobody forbids it, they start in half the time.
    others = ("WANDB", "PL_", "COLUMNS", "PYTHONDONTWRITEBYTECODE")
    ours = {key: value for key, value in ENVIRONMENT.items() if not key.startswith(others)}
    # PyArrow, which pandas imports where it is installed, would start a thread that the fork server cannot copy.
    single = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    return ours | {"HOME": HOME.name, **single, **environment}


SERVER = ForkServer(LIBRARIES, clean_environment({}), ROOT, "lightning_rs.train", "lightning_rs.certify")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests start programs take longest: they come first, so that no process is left with one alone."""
    items.sort(key=lambda item: not {"run_script", "run_python"} & vars(getattr(item, "module", item)).keys())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Draws from global generators are the same whatever ran before."""
    seed_generators(0)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # What Lightning remembers of the last seed.
        os.environ.pop(name, None)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Generator[None, Any, Any]:
    """What tests share is the same whichever of them asks for it first, and takes no draws from that one."""
    if fixturedef.scope == "function":
        return (yield)
    outside = random_state()
    seed_generators(1)  # Not the draws of the tests themselves.
    try:
        return (yield)
    finally:
        set_random_state(outside)


def seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)


@pytest.fixture
def known_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of a classifier's own begin at known seeds instead of the system's entropy: chance fails no test."""
    begin, seeds = OwnRandomness.__init__, itertools.count()

    def begin_known(stream: OwnRandomness, device: torch.device) -> None:
        begin(stream, device)
        outside = random_state()
        seed_generators(next(seeds))
        stream.state = random_state()
        set_random_state(outside)

    monkeypatch.setattr(OwnRandomness, "__init__", begin_known)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Working directory of a short `python train.py`; the run lies in runs/short. Each process of pytest has a copy."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            _train(folder := tmp_path_factory.mktemp("training"))
            folder.rename(shared)
    return shutil.copytree(shared, base / "trained", symlinks=True)


def _train(folder: Path) -> None:
    done = run_script(
        "train.py",
        "--name=short",
        "--trainer.max_epochs=12",
        "--live_certification.every_n_epochs=6",
        "--live_certification.limit=10",
        "--certification.n=500",
        "--certification.limit=40",
        cwd=folder,
        fresh=True,
    )
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)


@pytest.fixture(scope="session")
def checkpoint(trained: Path) -> Path:
    return trained / "runs" / "short" / "checkpoints" / "last.ckpt"


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port of this machine that nobody listens to, kept for the test: who asks for any free one gets another."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # The test itself may listen to it.
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A Ray cluster of one machine with two cores, without those of its services that no program here asks."""
    from ray.cluster_utils import Cluster

    least = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **least})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="session")
def diffusion_folder(tmp_path_factory) -> Path:
    """A tiny diffusion model of grey images with random weights, saved by diffusers."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            in_channels=1,
            out_channels=1,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
        )
    folder = tmp_path_factory.mktemp("diffusion")
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return folder
