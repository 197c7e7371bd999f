import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import ray

from lightning_rs.certification.ray_pool import RayOptions, RayPool

# Ray's processes do not know where this module lies.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Squares:
    """Squares numbers.

    Args:
        deadly: number at which a process ends.
        slow: seconds for each.
        ready: whether it lives to say so.
        hurry: file with which nothing is slow any more.
    """

    def __init__(self, deadly=None, slow=0.0, ready=True, hurry=None):
        self.deadly, self.slow, self.ready, self.hurry = deadly, slow, ready, hurry

    def greet(self):
        if not self.ready:
            os.kill(os.getpid(), signal.SIGKILL)
        return SimpleNamespace(machine="here", pid=os.getpid())

    def work(self, items):
        for item in items:
            if item == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            if item < 0:
                raise OSError(f"no number {item}")
            if self.hurry is None or not self.hurry.exists():
                time.sleep(self.slow)
            yield item, item**2


@pytest.fixture
def pool(ray_cluster):
    with RayPool(RayOptions(address=ray_cluster.address)) as pool:
        yield pool


@pytest.fixture
def single(ray_cluster):
    """A pool of one worker: a process takes a second to start, and who is the only one does all."""
    with RayPool(RayOptions(workers=1, address=ray_cluster.address)) as pool:
        yield pool


def admit(greeting):
    return 1, 3


def test_a_worker_that_is_killed_is_replaced_and_every_item_is_done_once(pool, tmp_path):
    numbers, ready = [], []
    hurry = tmp_path / "hurry"  # There is work until both have been there.
    for greeting, square in pool.run(Squares, (None, 0.1, True, hurry), range(2000), admit, ready.append):
        numbers.append(square)
        if len(numbers) in (5, 20):
            os.kill(greeting.pid, signal.SIGKILL)
        if len(numbers) > 20 and max(ready) == 2:
            hurry.touch()
    assert sorted(numbers) == [number**2 for number in range(2000)]
    assert max(ready) == 2 and ready.count(0) + ready.count(1) >= 3  # One begins, and two are killed.


def test_an_item_that_kills_every_worker_ends_all(single):
    numbers = []
    with pytest.raises(ValueError, match=r"^3 workers died one after another at image 7, the last on here: memory may"):
        numbers.extend(square for _, square in single.run(Squares, (7,), (5, 7, 9), admit))
    with pytest.raises(ValueError, match=r"^3 workers in a row died before they were ready, the last: "):
        list(single.run(Squares, (None, 0.0, False), range(12), admit))


def test_what_a_worker_raises_ends_all(single):
    with pytest.raises(OSError, match="^no number -1$"):
        list(single.run(Squares, (), [3, -1, 4], admit))

    def refuse(greeting):
        raise ValueError(f"not {greeting.machine}")

    with pytest.raises(ValueError, match="^not here$"):
        list(single.run(Squares, (), [3], refuse))


def test_a_program_that_is_interrupted_waits_for_no_worker(single):
    results = single.run(Squares, (None, 0.1), range(600), admit)
    next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 10.0


def test_machines_come_and_go(ray_cluster, tmp_path):
    """Workers that find no room begin when there is some, and what those of a lost machine had to do is repeated."""
    hurry = tmp_path / "hurry"  # There is work until both have been there.
    with RayPool(RayOptions(address=ray_cluster.address, cpus_per_worker=2)) as pool:
        pids, numbers = [], []
        for greeting, square in pool.run(Squares, (None, 0.1, True, hurry), range(1000), admit):
            pids.append(greeting.pid)
            numbers.append(square)
            if len(numbers) == 1:
                machine = ray_cluster.add_node(num_cpus=2)
            elif machine and len(set(pids)) == 2:
                ray_cluster.remove_node(machine)
                machine = None
                hurry.touch()
    assert sorted(numbers) == [number**2 for number in range(1000)]


def test_where_no_cluster_is_and_no_room(unused_port, monkeypatch):
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"^the Ray cluster at 127.0.0.1:\d+ cannot be used: .*refused"):
        RayPool(RayOptions(address=f"127.0.0.1:{unused_port}")).__enter__()
    assert time.monotonic() - start < 60.0  # Ray itself asks for minutes.
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="^this needs ray, which is not installed"):
        RayPool(RayOptions())
