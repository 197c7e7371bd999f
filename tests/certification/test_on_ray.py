import dataclasses
import os
import signal
import socket
from functools import partial
from pathlib import Path

import cases
import pytest
import ray
from cases import make_certification

from lightning_rs.certification import RayOptions, certify_on_ray, certify_together
from lightning_rs.results import RunDirectory

# Ray's processes do not know where the tests lie.
ray.cloudpickle.register_pickle_by_value(cases)


def plain(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


def load(device, limit=6, **settings):
    return cases.make_certification(limit=limit, **settings)


def load_and_die_once(mark, device):
    """A classifier whose first process is killed in the midst of an example."""
    certification = cases.make_certification()

    def kill(*_):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    certification.base_classifier.register_forward_pre_hook(kill)
    return certification


for function in (load, load_and_die_once):
    function.__module__ = "__main__"  # Sent as they are.


@pytest.fixture
def options(ray_cluster):
    return RayOptions(workers=2, address=ray_cluster.address)


def test_records_are_those_of_one_process_though_a_worker_is_killed(tmp_path, options):
    begun, out = [], tmp_path / "out"
    call = (make_certification(), partial(load_and_die_once, tmp_path / "mark"), options, out)
    run, records = certify_on_ray(*call, shown=False, begun=lambda: begun.append(list(out.iterdir())))
    assert (tmp_path / "mark").exists() and len(begun) == 1
    alone = certify_together(make_certification(), tmp_path / "alone", shown=False)
    assert (run, plain(records)) == (alone[0], plain(alone[1]))
    directory = RunDirectory(out)
    assert plain(directory.read()) == plain(records)
    assert directory.environments() == RunDirectory(tmp_path / "alone").environments()
    # Nothing is left to do: no worker is asked, and a resumed one does only what is left.
    assert certify_on_ray(call[0], None, options, out, shown=False) == (run, records)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "/no/such/folder"}, "on machine {machine}: [Errno 2] No such file or directory: '/no/such/folder'"),
        ({"alpha": 0.01}, "machine {machine} certifies something else: it differs in alpha (0.01 there, 0.001 now)"),
    ],
)
def test_a_worker_that_lacks_or_has_something_else_is_named(settings, message, tmp_path, options):
    def load(device, data=None, **settings):
        if data is not None:
            os.listdir(data)
        return cases.make_certification(**settings)

    with pytest.raises(ValueError) as raised:
        certify_on_ray(make_certification(), partial(load, **settings), options, tmp_path / "out", shown=False)
    assert str(raised.value) == message.format(machine=socket.gethostname())
    assert not list(Path(tmp_path).glob("out/run.json"))
