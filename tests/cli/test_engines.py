import sys

import pytest
import torch

from lightning_rs.certification.ray_pool import RayOptions
from lightning_rs.cli.engines import ray_options


def asked(engine="ray", accelerator="cpu", devices="auto", num_nodes=1, **given):
    nothing = dict.fromkeys(("workers", "cpus_per_worker", "gpus_per_worker", "address"))
    return ray_options(engine, accelerator, devices, num_nodes, **nothing | given)


def test_lightning_needs_none_and_ray_has_defaults():
    assert asked("lightning", devices=2, num_nodes=2) is None
    assert asked() == RayOptions(workers="auto", cpus_per_worker=1.0, gpus_per_worker=0.0, address=None)
    assert asked(accelerator="gpu", address="auto").gpus_per_worker == 1.0
    assert asked(accelerator="auto", gpus_per_worker=0.5, address="auto").gpus_per_worker == 0.5
    assert asked(workers=3, address="head:6379") == RayOptions(workers=3, address="head:6379")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"engine": "lightning", "workers": 2}, "^workers: only with --engine ray; Lightning's processes"),
        ({"devices": 2}, "^--engine ray takes --workers in the place of --devices and --num_nodes$"),
        ({"num_nodes": 2}, "in the place of --devices and --num_nodes$"),
        ({"gpus_per_worker": 0.5}, "^gpus_per_worker is 0.5, and the accelerator cpu: leave one out$"),
        ({"workers": 0}, "^workers must be an integer of at least 1, got 0$"),
        ({"cpus_per_worker": 0.0}, "^cpus_per_worker must be positive and finite, got 0.0$"),
        ({"cpus_per_worker": 1.5}, "^cpus_per_worker must be at most 1, or whole, got 1.5$"),
        ({"address": "ray://head:10001"}, "^address must be HOST:PORT of a Ray cluster, or auto, got ray://head:10001$"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        asked(**given)


@pytest.mark.parametrize("given", [{"accelerator": "gpu"}, {"accelerator": "auto", "gpus_per_worker": 0.5}])
def test_gpus_that_this_machine_does_not_have_are_refused_before_ray_is_started(given, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="^this machine has no GPU for a worker: torch finds no CUDA device; "):
        asked(**given)


def test_ray_has_to_be_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"^this needs ray, which is not installed: pip install 'lightning_rs\[ray\]"):
        asked()
