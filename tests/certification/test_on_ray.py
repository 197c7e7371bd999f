import dataclasses
import os
import signal
import socket
import sys
from functools import partial

import cases
import pytest
import ray
import torch
from cases import make_certification

from lightning_rs.certification import RayOptions, certify_on_ray, certify_together
from lightning_rs.certification.on_ray import CertifyingWorker
from lightning_rs.results import RunDirectory

# Ray's processes do not know where the tests lie.
for module in (cases, sys.modules[__name__]):
    ray.cloudpickle.register_pickle_by_value(module)


def plain(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


def load_and_die_once(mark, device):
    """A classifier whose first process is killed in the midst of an example."""
    certification = cases.make_certification()

    def kill(*_):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    certification.base_classifier.register_forward_pre_hook(kill)
    return certification


def load_another(device):
    return cases.make_certification(alpha=0.01)


def test_records_are_those_of_one_process_though_a_worker_is_killed(tmp_path, ray_cluster):
    begun, out = [], tmp_path / "out"
    options = RayOptions(workers=2, address=ray_cluster.address)
    call = (make_certification(), partial(load_and_die_once, tmp_path / "mark"), options, out)
    run, records = certify_on_ray(*call, shown=False, begun=lambda: begun.append(list(out.iterdir())))
    assert (tmp_path / "mark").exists() and len(begun) == 1
    alone = certify_together(make_certification(), tmp_path / "alone", shown=False)
    assert (run, plain(records)) == (alone[0], plain(alone[1]))
    directory = RunDirectory(out)
    assert plain(directory.read()) == plain(records)
    assert directory.environments() == RunDirectory(tmp_path / "alone").environments()
    # Nothing is left to do, and no worker is asked.
    assert certify_on_ray(call[0], None, options, out, shown=False) == (run, records)


def test_a_worker_that_has_something_else_is_named(tmp_path, ray_cluster):
    options = RayOptions(workers=1, address=ray_cluster.address)
    with pytest.raises(ValueError) as raised:
        certify_on_ray(make_certification(), load_another, options, tmp_path / "out", shown=False)
    machine = f"machine {socket.gethostname()} certifies something else"
    assert str(raised.value) == f"{machine}: it differs in alpha (0.01 there, 0.001 now)"
    assert not (tmp_path / "out").exists()


def test_what_a_worker_lacks_is_said_with_its_machine(tmp_path):
    def load(device):
        (tmp_path / "data").stat()

    def make(load, device="cpu"):
        return CertifyingWorker(load, drawn_seed=None, cores=1, device=device, folder=tmp_path / "none")

    machine = f"^on machine {socket.gethostname()}: "
    with pytest.raises(ValueError, match=rf"{machine}\[Errno 2\] No such file or directory: '{tmp_path}/data'$"):
        make(load).greet()
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=f"{machine}torch finds no CUDA device$"):
            make(load, "cuda").greet()
