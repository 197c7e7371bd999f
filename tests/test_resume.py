"""`python train.py --resume`, of runs that were interrupted, moved, damaged, or come from elsewhere."""

import shutil
import signal

import pytest
import torch
import yaml
from conftest import ROOT, run_script

from lightning_rs.cli.saved_config import sealed

SCRIPTS = {"PYTHONPATH": str(ROOT / "tests" / "scripts")}
SHORT = (
    "--live_certification.every_n_epochs=0",
    "--certification.n=100",
    "--certification.limit=3",
    "--wandb.mode=disabled",
    "--model.schedule.name=constant",
)
RESUMED = ("--resume=runs/part", "--trainer.callbacks=[]")


def train(cwd, *arguments, status=0):
    return run_script("train.py", *arguments, cwd=cwd, status=status, **SCRIPTS)


def stopped(number):
    """Options with which a run gets a signal in its third epoch."""
    callback = "--trainer.callbacks"
    return f"{callback}+=killer.Killer", f"{callback}.step=37", f"{callback}.number={int(number)}"


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def equal(a, b):
    return all(torch.equal(value, b[key]) for key, value in a.items())


def errors(done):
    assert "Traceback" not in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder with a run of three epochs that was killed in the third, and the same without the kill."""
    folder = tmp_path_factory.mktemp("killed")
    train(folder, *SHORT, "--trainer.max_epochs=3", "--name=whole")
    train(folder, *SHORT, "--trainer.max_epochs=3", "--name=part", *stopped(signal.SIGKILL), status=-9)
    return folder


@pytest.fixture
def runs(killed, tmp_path):
    """A copy to work on."""
    shutil.copytree(killed / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def changed(run, change):
    """Change what the run's last checkpoint holds."""
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_a_run_that_was_moved_goes_on_under_its_new_name(runs):
    (runs / "part").rename(runs / "moved")
    train(runs.parent, "--resume=runs/moved", "--trainer.callbacks=[]")
    names = sorted(path.name for path in (runs / "moved" / "checkpoints").iterdir())
    assert names == ["epoch=2-step=48.ckpt", "last.ckpt"]
    assert equal(weights(runs / "whole"), weights(runs / "moved"))
    assert not (runs / "part").exists()


def test_paths_that_a_checkpoint_names_are_not_touched(runs):
    victim = runs.parent / "victim"
    (victim / "inner").mkdir(parents=True)
    (victim / "last.ckpt").write_text("mine")

    def evil(content):
        for state in content["callbacks"].values():
            for key in ("last_model_path", "best_model_path", "kth_best_model_path"):
                state[key] = "runs/part/checkpoints/../../../victim"
            state["dirpath"] = str(victim)
            paths = (str(victim), "runs/part/../../victim/last.ckpt")
            state["best_k_models"] = dict.fromkeys(paths, torch.tensor(0.5))
            state["best_model_score"] = torch.tensor(0.5)

    changed(runs / "part", evil)
    train(runs.parent, *RESUMED)
    assert (victim / "inner").is_dir()
    assert (victim / "last.ckpt").read_text() == "mine"
    assert sorted(path.name for path in victim.iterdir()) == ["inner", "last.ckpt"]
    assert equal(weights(runs / "whole"), weights(runs / "part"))


def test_a_configuration_that_names_code_is_not_run(runs):
    (runs / "evil.py").write_text("open('ran', 'w').close()\nclass C:\n    pass\n")
    path = runs / "part" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["trainer"]["callbacks"] = [{"class_path": "runs.evil.C"}]
    path.write_text(sealed(yaml.safe_dump(config)))
    before = path.read_bytes()
    (line,) = errors(train(runs.parent, "--resume=runs/part", status=2))
    assert line == (
        "error: runs/part/config.yaml: trainer.callbacks[0].class_path is 'runs.evil.C', which is no part of this "
        "project: if you trust whoever wrote this folder, resume with --trust"
    )
    assert not (runs.parent / "ran").exists()
    assert path.read_bytes() == before
    train(runs.parent, "--resume=runs/part", "--trust", status=2)  # Imported, it turns out to be no callback.
    assert (runs.parent / "ran").exists()


def test_a_torn_checkpoint_is_named_beside_one_that_is_whole(runs):
    last = runs / "part" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    (line,) = errors(train(runs.parent, *RESUMED, status=2))
    whole = "runs/part/checkpoints/epoch=1-step=32.ckpt"
    assert line.startswith("error: runs/part/checkpoints/last.ckpt ")
    assert line.endswith(f"; this one is whole, to go on from it: --resume {whole}")
    train(runs.parent, f"--resume={whole}", "--trainer.callbacks=[]")
    names = sorted(path.name for path in (runs / "part" / "checkpoints").iterdir())
    # What a training was resumed from is never removed.
    assert names == ["epoch=1-step=32.ckpt", "epoch=2-step=48.ckpt", "last.ckpt"]
    assert equal(weights(runs / "whole"), weights(runs / "part"))


def test_what_cannot_be_resumed_is_refused_in_one_line(runs):
    def refused(*arguments):
        (line,) = errors(train(runs.parent, *arguments, status=2))
        return line

    assert refused(*RESUMED, "--trainer.max_epochs=1") == (
        "error: runs/part has done 2 epochs, got --trainer.max_epochs 1"
    )
    assert refused(*RESUMED, "--name=x").startswith("error: a run that is resumed keeps its name")
    assert refused("--resume=runs") == "error: no run to resume: there is no runs/config.yaml"
    (runs / "resume.yaml").write_text("resume: runs/part\n")
    assert refused("--config=runs/resume.yaml").startswith("error: resume is an option of the command line")
    config = runs / "part" / "config.yaml"
    config.write_text("".join(config.read_text().splitlines(keepends=True)[:-20]))
    assert "config.yaml has no check sum: it is cut off, or was written before" in refused(*RESUMED)
    changed(runs / "whole", lambda content: [content.pop(key) for key in ("loops", "optimizer_states", "callbacks")])
    # Another one serves, unless the user named the one that does not.
    line = refused("--resume=runs/whole")
    assert "holds the weights alone" in line and line.endswith("--resume runs/whole/checkpoints/epoch=2-step=48.ckpt")
    assert "this one is whole" not in refused("--resume=runs/whole/checkpoints/last.ckpt")
    (runs / "whole" / "checkpoints" / "last.ckpt").unlink()
    assert "; this one is whole" in refused("--resume=runs/whole")
    shutil.rmtree(runs / "whole" / "checkpoints")
    assert refused("--resume=runs/whole") == "error: no checkpoint at runs/whole/checkpoints/last.ckpt"


def test_what_is_not_resumed_exactly_is_said(tmp_path):
    steps = (*SHORT, "--trainer.max_epochs=-1", "--trainer.max_steps=40")
    train(tmp_path, *steps, "--name=part", *stopped(signal.SIGKILL), status=-9)
    done = train(tmp_path, *RESUMED)
    line = "not exactly resumed: with max_steps Lightning takes the images in another order, so the run will end"
    assert line in done.stderr
    # That run ended amid an epoch; trained further, it says so.
    done = train(tmp_path, *RESUMED, "--trainer.max_steps=44")
    assert "not exactly resumed: runs/part/checkpoints/last.ckpt is from the middle of epoch 2, so" in done.stderr
    last = tmp_path / "runs" / "part" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 44
    # What is trained to its end is not said to be inexact.
    assert "not exactly" not in train(tmp_path, *RESUMED, "--trainer.max_steps=44").stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_a_training_says_how_to_go_on(number, killed, tmp_path):
    done = train(tmp_path, *SHORT, "--trainer.max_epochs=3", "--name=part", *stopped(number), status=128 + number)
    assert "Traceback" not in done.stderr
    hint = "what was finished is kept; go on with: python train.py --resume runs/part"
    assert f"stopped by {number.name}: {hint}" in done.stderr
    train(tmp_path, *RESUMED)
    assert equal(weights(killed / "runs" / "whole"), weights(tmp_path / "runs" / "part"))
