import numpy
import scipy
import torch
from conftest import ROOT

import lightning_rs
from lightning_rs.certification.environment import commit, device_name, driver, environment_of

CPU = torch.device("cpu")


class Foreign(torch.nn.Module):
    """Runs in another library than torch."""

    runtime = ("onnxruntime", "1.2.3")


def test_it_says_device_versions_and_commit():
    made = environment_of(torch.nn.Sequential(torch.nn.Linear(2, 2), Foreign()), CPU, 70)
    assert (made.device, made.driver, made.batch_size) == ("cpu", None, 70)
    named = {m.__name__: m.__version__ for m in (lightning_rs, torch, numpy, scipy)}
    assert made.versions == named | {"onnxruntime": "1.2.3"}
    assert made.commit == commit() and environment_of(Foreign(), CPU, None).batch_size is None


def test_the_commit_is_that_of_the_checkout_and_of_nothing_around_it(monkeypatch, tmp_path):
    if (ROOT / ".git").exists():
        assert len(commit()) == 40
    monkeypatch.setattr(lightning_rs, "__file__", str(tmp_path / "site" / "lightning_rs" / "__init__.py"))
    assert commit() is None


def test_the_driver_is_what_nvidia_smi_says(monkeypatch, tmp_path):
    assert driver(CPU) is None and device_name(CPU) == "cpu"
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 570.124.06\necho 570.124.06\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert driver(torch.device("cuda", 1)) == "570.124.06"
    program.write_text("#!/bin/sh\nexit 9\n")
    assert driver(torch.device("cuda")) is None
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver(torch.device("cuda")) is None
