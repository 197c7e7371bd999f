import dataclasses
import os
import re
import signal
import socket
import sys
from functools import partial

import cases
import pytest
import ray
import torch
from cases import make_certification

from lightning_rs.certification import RayOptions, certify_examples, certify_on_ray, certify_together
from lightning_rs.certification.on_ray import CertifyingWorker, Greeting, admit, appending
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


def test_every_environment_has_a_file_and_a_new_one_is_told(tmp_path):
    certification = make_certification(limit=4)
    directory, here = RunDirectory(tmp_path), certification.environment()
    directory.create(certification.describe())
    records = list(certify_examples(certification, range(4)))
    elsewhere, nowhere = (dataclasses.replace(here, device=device) for device in ("elsewhere", "nowhere"))
    with appending(directory) as append:  # Of a new run all are.
        append(records[0], here)
        append(records[1], elsewhere)
    with appending(directory) as append:
        append(records[2], elsewhere)
        with pytest.warns(UserWarning, match="goes on with device nowhere; 1 records were made with device cpu; 1 rec"):
            append(records[3], nowhere)
    assert directory.origins() == {0: here, 1: elsewhere, 2: elsewhere, 3: nowhere}
    assert len(list(tmp_path.glob("records-*.jsonl"))) == 3


def worker(load, device="cpu"):
    """A worker in this process."""
    return CertifyingWorker(load, drawn_seed=None, cores=1, device=device, folder="/no/such/folder")


def test_a_worker_says_what_it_certifies_and_with_what():
    ours = make_certification()
    one = worker(lambda device: make_certification())
    greeting = one.greet()
    assert greeting == Greeting(socket.gethostname(), ours.describe(), ours.environment())
    # Batches of 100 noisy copies, of 350 for each image: two images fill five.
    assert admit(ours.describe(), 350, greeting) == (2, 29)
    assert admit(ours.describe(), 50, greeting) == (2, 200)  # Sequential draws may end that early.
    records = dict(one.work([4, 2]))
    assert [plain([records[2]]), plain([records[4]])] == [plain(certify_examples(ours, [i])) for i in (2, 4)]
    greeting = worker(lambda device: make_certification(alpha=0.01)).greet()
    message = "certifies something else: it differs in alpha (0.01 there, 0.001 now)"
    with pytest.raises(ValueError, match=re.escape(f"machine {socket.gethostname()} {message}")):
        admit(ours.describe(), 350, greeting)


def test_what_a_worker_lacks_is_said_with_its_machine(tmp_path):
    machine = f"^on machine {socket.gethostname()}: "
    missing = tmp_path / "data"
    with pytest.raises(ValueError, match=rf"{machine}\[Errno 2\] No such file or directory: '{missing}'$"):
        worker(lambda device: missing.stat()).greet()
    one = worker(lambda device: dataclasses.replace(make_certification(), num_classes=11))
    one.greet()
    with pytest.raises(ValueError, match=f"{machine}.* must return 11 scores a row"):
        list(one.work([0]))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=f"{machine}torch finds no CUDA device$"):
            worker(lambda device: make_certification(), "cuda").greet()
