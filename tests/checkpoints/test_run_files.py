import signal
import subprocess

import pytest
import torch
from conftest import ROOT, SERVER, clean_environment

from lightning_rs.checkpoints import RunCheckpoints

CONTENT = {"epoch": 3, "weights": torch.arange(4.0)}
SAVING = """
import os, sys, torch
from lightning_rs.checkpoints import RunCheckpoints
{before}
RunCheckpoints(sys.argv[1]).save_checkpoint({{"weights": torch.zeros(10**6)}}, sys.argv[2])
"""


def save_in_a_process(path, before="", shell="exec"):
    """Overwrite a checkpoint in a process of its own, in which something is done before."""
    environment = clean_environment({"PYTHONPATH": str(ROOT)})
    command = f'{shell} {SERVER.python(environment)} -c "$0" {path.parent} {path}'
    return subprocess.run(["bash", "-c", command, SAVING.format(before=before)], env=environment, stderr=-1)


def test_a_checkpoint_is_whole_and_loads(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    files = RunCheckpoints(path.parent)
    files.save_checkpoint(CONTENT, path)
    files.save_checkpoint({**CONTENT, "epoch": 4}, str(path))
    assert torch.load(path, weights_only=True)["epoch"] == 4
    with pytest.raises(ValueError, match=r"last.ckpt is not what the training goes on from"):
        files.load_checkpoint(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_full_keeps_the_former_one(tmp_path):
    """No file above 64 KiB can be written."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    RunCheckpoints(tmp_path).save_checkpoint(CONTENT, path)
    done = save_in_a_process(path, shell="trap '' XFSZ; ulimit -f 64; exec")
    assert done.returncode == 1
    assert b"last.ckpt cannot be written" in done.stderr
    assert list(path.parent.iterdir()) == [path]
    assert torch.load(path, weights_only=True)["epoch"] == 3


def test_a_kill_in_the_middle_of_writing_keeps_the_former_one(tmp_path):
    """The process is killed when the file that takes the place is written, and not yet renamed."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    RunCheckpoints(tmp_path).save_checkpoint(CONTENT, path)
    done = save_in_a_process(path, before="os.replace = lambda *_: os.kill(os.getpid(), 9)")
    assert done.returncode == -signal.SIGKILL
    assert any(".part" in file.name for file in path.parent.iterdir())
    assert torch.load(path, weights_only=True)["epoch"] == 3


@pytest.mark.parametrize("link", [False, True])
def test_nothing_outside_the_folder_is_removed(link, tmp_path):
    victim = tmp_path / "victim"
    (victim / "inner").mkdir(parents=True)
    (victim / "file").touch()
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    if link:
        (run / "checkpoints" / "link").symlink_to(victim)
    files = RunCheckpoints(run / "checkpoints")
    places = ["checkpoints/../../victim", "../victim", "checkpoints/../../victim/file", "checkpoints/link/file"]
    for path in [victim, victim / "file", run, run / "checkpoints", *(run / place for place in places)]:
        files.remove_checkpoint(path)
    assert (victim / "inner").is_dir() and (victim / "file").is_file()
    own = run / "checkpoints" / "epoch=1.ckpt"
    own.touch()
    files.remove_checkpoint(str(own))
    assert not own.exists()
    files.remove_checkpoint(own)
    elsewhere = tmp_path / "other" / "best.ckpt"
    files.save_checkpoint(CONTENT, elsewhere)
    RunCheckpoints(run / "checkpoints").remove_checkpoint(elsewhere)
    assert elsewhere.exists()
    files.remove_checkpoint(elsewhere)
    assert not elsewhere.exists()
