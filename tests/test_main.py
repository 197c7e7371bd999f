"""The command of an installation without a checkout."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, run_python

from lightning_rs.__main__ import main

PARTS = ("lightning_rs", "callbacks", "configs", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
QUICK = ("--certification.limit=2", "--certification.n=100", "--live_certification.every_n_epochs=0")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which the package was installed from its wheel."""
    folder = tmp_path_factory.mktemp("installed")
    source, wheels, target = (folder / name for name in ("source", "wheels", "target"))
    source.mkdir()
    for part in PARTS:  # The build leaves its own files beside them.
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part, **({"symlinks": True} if copy is shutil.copytree else {}))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    offline = ["--no-index", "--no-deps"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", wheels, source], check=True, cwd=folder)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", target, wheel], check=True, cwd=folder)
    return target


@pytest.fixture
def elsewhere(tmp_path):
    """A user's folder, with a folder of callbacks of its own and files called like modules of ours."""
    (tmp_path / "callbacks").mkdir()
    for name in ("callbacks/__init__.py", "files.py", "train.py", "certify.py"):
        (tmp_path / name).write_text("raise RuntimeError('the user\\'s own')\n")
    return tmp_path


def run(installed, folder, *arguments, **options):
    return run_python(*arguments, cwd=folder, PYTHONPATH=str(installed), **options)


def test_train_and_certify_are_commands(installed, elsewhere):
    command = installed / "bin" / "lightning-rs"
    arguments = ("--trainer.max_epochs=1", "--wandb.mode=disabled", "--name=run", *QUICK)
    done = run(installed, elsewhere, command, "train", *arguments)
    checkpoint = os.path.join("runs", "run", "checkpoints", "last.ckpt")
    assert f"Certify again, or otherwise: lightning-rs certify --checkpoint {checkpoint}" in done.stdout
    certify = ("certify", "--checkpoint", checkpoint, "--limit=2", "--n=100", "--wandb_mode=disabled", "--output=out")
    # The package itself can be run too, and finds its own modules before those of the working directory.
    assert "2 images" in run(installed, elsewhere, "-m", "lightning_rs", *certify).stdout


def test_the_callback_is_found_beside_a_folder_of_the_same_name(installed, elsewhere):
    code = "import lightning_rs; print(lightning_rs.CertificationCallback.__module__, lightning_rs.__file__)"
    done = run(installed, elsewhere, "-c", code)
    assert done.stdout.split() == ["lightning_rs.callbacks.certification", str(installed / "lightning_rs/__init__.py")]


@pytest.mark.parametrize("arguments", [[], ["retrain"]])
def test_other_commands_are_refused_in_one_line(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lightning-rs", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "usage: lightning-rs {train,certify} ... (--help after either says more)\n"
