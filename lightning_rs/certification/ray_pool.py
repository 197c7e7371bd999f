"""A pool of Ray actors that share work: who dies is replaced, its items are repeated; workers may join and leave."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import queue
import secrets
import signal
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Protocol

from lightning_rs.checks import check_at_least, check_not_negative, check_positive
from lightning_rs.optional import optional_import

# Workers that may die one after another at the same item, or before any of them is ready.
_TRIES = 3
# A worker gets such a part of what would be its share of the items that wait.
_PARTS = 4
# Seconds between looks at how many workers the cluster holds, and at whether there is work again.
_LOOK, _IDLE = 2.0, 0.1
# Some of it Ray reads when it is imported.
_SILENCE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # What the cluster says of workers that died, in paragraphs.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # A warning of another default in the future.
}


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """How many workers there are, what each of them gets, and where.

    Args:
        workers: their number; auto is as many as the machines hold, which may come and go.
        cpus_per_worker: cores of each.
        gpus_per_worker: GPUs of each, or the share of one.
        address: HOST:PORT of a cluster, or auto for the one that this machine is of; none starts Ray on this machine.

    Raises:
        ValueError: a number out of range, or an address of another form.
    """

    workers: int | Literal["auto"] = "auto"
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers != "auto":
            check_at_least("workers", self.workers, 1)
        check_positive("cpus_per_worker", self.cpus_per_worker)
        check_not_negative("gpus_per_worker", self.gpus_per_worker)
        for name in ("cpus_per_worker", "gpus_per_worker"):
            value = getattr(self, name)
            if value > 1 and value != int(value):
                raise ValueError(f"{name} must be at most 1, or whole, got {value:g}")
        host, _, port = (self.address or "host:1").rpartition(":")
        if self.address != "auto" and (not host or "/" in host or not port.isdecimal()):
            raise ValueError(f"address must be HOST:PORT of a Ray cluster, or auto, got {self.address}")

    @property
    def needs(self) -> dict[str, float]:
        """Ray's name of each resource to what of it a worker gets."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": self.gpus_per_worker} if self.gpus_per_worker else {})


class Greeting(Protocol):
    """What a worker says of itself when it is ready."""

    machine: str


class Worker(Protocol):
    """What a process of the pool does; an exception of it ends all."""

    def greet(self) -> Greeting:
        """Get ready."""
        ...

    def work(self, items: list[int]) -> Iterator[tuple[int, Any]]:
        """Every item with its result, in any order, each as soon as it is there."""
        ...


class RayPool:
    """Workers on a Ray cluster, or on a local one that ends with this context manager.

    Args:
        options: how many, and where.

    Raises:
        ValueError: Ray is not installed, the cluster does not answer, or this machine does not hold a worker.
    """

    def __init__(self, options: RayOptions) -> None:
        self.options = options
        self.ray = import_ray()

    def __enter__(self) -> RayPool:
        _connect(self.ray, self.options)
        if self.options.address is None and not self.room():
            self.ray.shutdown()
            needs = " and ".join(f"{share:g} {kind}" for kind, share in self.options.needs.items())
            raise ValueError(f"this machine does not hold a worker with {needs}")
        return self

    def __exit__(self, *exception: object) -> None:
        self.ray.shutdown()

    def room(self) -> int:
        """How many workers all machines hold that are there now."""
        return sum(
            # Shares are sums of what has no exact binary form.
            min(int(node["Resources"].get(kind, 0.0) / share + 1e-6) for kind, share in self.options.needs.items())
            for node in self.ray.nodes()
            if node["Alive"]
        )

    def wanted(self) -> int:
        """How many workers there should be now."""
        return self.room() if self.options.workers == "auto" else self.options.workers

    def start(self, worker: type, arguments: tuple[Any, ...]) -> Any:
        """Ask for a worker; it begins when there is room for it."""
        cpus, gpus = self.options.cpus_per_worker, self.options.gpus_per_worker
        actor = self.ray.remote(worker).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")
        return actor.remote(*arguments)

    def run(
        self,
        worker: type[Worker],
        arguments: tuple[Any, ...],
        items: Iterable[int],
        admit: Callable[[Any], tuple[int, int]],
        watch: Callable[[int], None] = lambda ready: None,
    ) -> Iterator[tuple[Any, Any]]:
        """Every item's result with the greeting of the worker that found it, each once, as soon as it is there.

        Args:
            worker: what is started in each process.
            arguments: its arguments.
            items: the work.
            admit: given a greeting, how many items such a worker gets at a time, at least and at most; it raises to
                refuse the worker, which ends all.
            watch: called with the number of workers that are ready whenever it changes, on another thread.

        Raises:
            ValueError: workers die one after another, all at the same item or all before they are ready.
            Exception: what a worker, or `admit`, raised.
        """
        found: queue.SimpleQueue[tuple[Any, Any] | None] = queue.SimpleQueue()
        failed: list[BaseException] = []
        shift = _Shift(self, lambda: self.start(worker, arguments), items, admit, watch, found.put)

        def supervise() -> None:
            try:
                asyncio.run(shift.supervise())
            except BaseException as error:  # The other thread raises it.
                failed.append(error)
            found.put(None)

        # A signal may come at any time. What it raises would be lost in Ray's own calls, which this thread only waits
        # for.
        thread = threading.Thread(target=supervise, name="ray pool", daemon=True)
        thread.start()
        try:
            while (result := found.get()) is not None:
                yield result
        finally:
            shift.stop()
            thread.join(10.0)
        if failed:
            raise failed[0]


class _Shift:
    """One run of a pool: what is to be done, and by whom; all but `stop` on one thread."""

    def __init__(
        self,
        pool: RayPool,
        start: Callable[[], Any],
        items: Iterable[int],
        admit: Callable[[Any], tuple[int, int]],
        watch: Callable[[int], None],
        put: Callable[[tuple[Any, Any]], None],
    ) -> None:
        self._pool, self._start, self._admit, self._watch, self._put = pool, start, admit, watch, put
        self._errors = pool.ray.exceptions
        self._waiting = deque(items)
        self._left = set(self._waiting)
        # What was under way when a worker died is given out alone, so that it is known which item it is that kills.
        self._suspects: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._unready = self._ready = 0
        self._stopped = False

    def stop(self) -> None:
        """End soon, with work left."""
        self._stopped = True

    async def supervise(self) -> None:
        """Keep as many workers as there should be until all is done."""
        workers: set[asyncio.Task[None]] = set()
        while self._left and not self._stopped:
            lacking = min(self._pool.wanted(), len(self._left)) - len(workers)
            workers |= {asyncio.create_task(self._employ()) for _ in range(lacking)}
            if not workers:
                await asyncio.sleep(_LOOK)
                continue
            done, workers = await asyncio.wait(workers, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # Raises what the worker did.

    async def _employ(self) -> None:
        """Give one worker items until there are none left, or it dies."""
        worker = self._start()
        greeting, items = None, []
        try:
            greeting = await worker.greet.remote()
            self._unready = 0
            least, most = self._admit(greeting)
            with self._counted():
                while self._left:
                    if items := self._next(least, most):
                        await self._finish(worker, greeting, items)
                    else:  # Those of others come back if they die.
                        await asyncio.sleep(_IDLE)
        except self._errors.RayTaskError as error:
            raise error.cause from error
        except self._errors.RayError as error:  # Its process or its machine is gone, or with them a result.
            self._bury(greeting, items, error)
        finally:
            self._pool.ray.kill(worker)

    async def _finish(self, worker: Any, greeting: Greeting, items: list[int]) -> None:
        async for found in worker.work.options(num_returns="streaming").remote(items):
            item, result = await found
            if item in self._left:  # Nobody else was faster.
                self._left.remove(item)
                self._put((greeting, result))

    def _next(self, least: int, most: int) -> list[int]:
        """The next items for a worker: fewer towards the end, so that all end together."""
        if self._suspects:
            return [self._suspects.popleft()]
        share = len(self._waiting) // (_PARTS * self._ready)
        return [self._waiting.popleft() for _ in range(min(max(least, min(share, most)), len(self._waiting)))]

    def _bury(self, greeting: Greeting | None, items: list[int], error: Exception) -> None:
        """Take back what a worker that died had to do; end all if that is hopeless."""
        reason = str(error).strip().splitlines()[-1][:200]
        if greeting is None:
            self._unready += 1
            if self._unready >= _TRIES and not self._ready:
                raise ValueError(f"{self._unready} workers in a row died before they were ready, the last: {reason}")
            return
        left = [item for item in items if item in self._left]
        self._suspects.extend(left)
        if left and len(items) == 1:
            self._deaths[items[0]] += 1
            if self._deaths[items[0]] == _TRIES:
                raise ValueError(
                    f"{_TRIES} workers died one after another at image {items[0]}, the last on {greeting.machine}: "
                    f"memory may be short there ({reason})"
                )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """While a worker is ready, it is one of those that are."""
        try:
            self._ready += 1
            self._watch(self._ready)
            yield
        finally:
            self._ready -= 1
            if self._left and not self._stopped:
                self._watch(self._ready)


def import_ray() -> ModuleType:
    """Ray, told beforehand to keep its remarks to itself and its usage at home.

    Raises:
        ValueError: it is not installed.
    """
    for name, value in _SILENCE.items():
        os.environ.setdefault(name, value)
    return optional_import("ray", "ray")


def _connect(ray: ModuleType, options: RayOptions) -> None:
    """Be a program of the cluster, or start one on this machine, without a word; handlers of signals stay."""
    quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if options.address is None:
            cores = os.cpu_count() or 1
            if options.workers != "auto":  # More workers than cores are their owner's wish.
                cores = max(cores, math.ceil(options.workers * options.cpus_per_worker))
            # Ray would write one into the home, and every cluster that this user starts from then on asks for it.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
        else:
            _check_answer(options.address)
            ray.init(options.address, **quiet)
    except SystemExit:  # Ray's own answer to a SIGTERM meanwhile, which is the caller's to answer.
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])
        signal.raise_signal(signal.SIGTERM)
        raise
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        where = f"the Ray cluster at {options.address}" if options.address else "Ray"
        raise ValueError(f"{where} cannot be used: {' '.join(str(error).split())[:300]}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_answer(address: str) -> None:
    """Ray itself would ask for minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=5.0).close()
