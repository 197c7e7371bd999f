"""Runs many Python scripts with one import of the large libraries.

Nearly all the time of a short command goes into importing torch, Lightning and their like. A server, one for every
process of pytest, imports them once and forks for every script: the copy takes over the script's environment, streams
and arguments, runs it, and ends as an interpreter ends. Our own modules are imported by the copy, never by the server.

What differs from a fresh interpreter: nobody sees what the libraries say while they are imported, all scripts share
one seed of string hashes, a traceback begins with lines of this file, and files that are never closed are not flushed.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

# Those that train.py and certify.py always import, and that of Digits. wandb is not among them: few commands use it.
LIBRARIES = ("torch", "torchvision", "pytorch_lightning.cli", "scipy.stats", "matplotlib.figure", "sklearn.datasets")
# That of pytest's start: what its libraries and tests change later is none of a script's affair.
ENVIRONMENT = dict(os.environ)


class ForkServer:
    """A process that runs scripts in copies of itself; started when it is first needed.

    It ends with the process that made it, however that ends, and the script that is running ends with it.

    Args:
        libraries: that it imports; one that is not installed is left to the scripts.
        environment: in which it imports them, but for PYTHONPATH, which the copies obey.
    """

    def __init__(self, libraries: Sequence[str], environment: Mapping[str, str]) -> None:
        self._libraries, self._environment = libraries, _without_path(environment)
        self._usable = hasattr(os, "pidfd_open")  # Linux.
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def run(
        self, script: Path, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str] | None:
        """Run a script as `subprocess.run` does that captures its output.

        Returns None, and runs nothing, where only a fresh interpreter will do: in another environment than that in
        which the libraries were imported, and on a system without what a server needs.
        """
        if not self._usable or _without_path(environment) != self._environment:
            return None
        connection = self._socket or self._start()
        if connection is None:
            return None
        command = [sys.executable, str(script), *arguments]
        request = {"argv": command[1:], "cwd": str(cwd), "environment": dict(environment)}
        with ThreadPoolExecutor(2) as readers, ExitStack() as ours:
            streams = [ours.enter_context(open(os.devnull))]
            texts = []
            for _ in range(2):
                end, write = os.pipe()
                texts.append(readers.submit(_read, end))
                streams.append(ours.enter_context(open(write, "w")))
            try:
                socket.send_fds(connection, [json.dumps(request).encode()], [stream.fileno() for stream in streams])
                ours.close()
                connection.settimeout(timeout)
                status = int(connection.recv(100))
            except BaseException as error:  # An interrupted test too leaves no script behind.
                self.close()
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(command, timeout) from None
                raise
            stdout, stderr = (text.result() for text in texts)  # Whoever still writes is waited for.
        return subprocess.CompletedProcess(command, status, stdout, stderr)

    def close(self) -> None:
        """End the server, and the script that it runs."""
        if self._server is not None and self._socket is not None:
            self._socket.close()
            self._socket = None
            self._server.wait()

    def _start(self) -> socket.socket | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *self._libraries],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # Of the scripts' kind: Python remembers what it can do with a stream.
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        atexit.register(self.close)
        if ours.recv(100):
            return ours
        self._usable = False
        said = self._server.communicate()[0].decode()
        warnings.warn(f"scripts start in fresh interpreters: {said}", stacklevel=2)
        self.close()
        return None


def _without_path(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "PYTHONPATH"}


def _read(end: int) -> str:
    with open(end) as stream:
        return stream.read()


def _serve(connection: socket.socket, libraries: Sequence[str]) -> str:
    """Fork for every request until nobody is there to make one; returns, in the copy, the script that it is to run."""
    sys.path.pop(0)  # The folder of this file.
    for name in libraries:
        with suppress(ImportError):
            importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit("no server for the tests: a library has started a thread, and a copy would not have it")
    gc.collect()
    gc.freeze()  # Collections in the copies leave the memory that they share alone.
    connection.send(b"ready")
    while True:
        request, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not request:
            sys.exit()
        copy = os.fork()
        if not copy:
            connection.close()
            return _take_over(streams, **json.loads(request))
        os.setpgid(copy, copy)
        for stream in streams:
            os.close(stream)
        ended = os.pidfd_open(copy)
        if ended not in select.select([connection, ended], [], [])[0]:
            os.killpg(copy, signal.SIGKILL)  # Who asked is no longer there.
        os.close(ended)
        status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
        with suppress(BrokenPipeError):
            connection.send(str(status).encode())


def _take_over(streams: Sequence[int], argv: list[str], cwd: str, environment: dict[str, str]) -> str:
    """Become the process that `python *argv` would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = argv
    further = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [os.path.dirname(os.path.realpath(argv[0])), *map(os.path.abspath, further)]
    if "torch" in sys.modules:  # Every new process draws its seeds; `random` sees to it by itself.
        sys.modules["numpy"].random.seed()
        sys.modules["torch"].default_generator.seed()
    return argv[0]


def _main(connection: socket.socket, libraries: Sequence[str]) -> None:
    """Serve; in a copy, run the script and end as an interpreter does, but for what takes longer than most scripts.

    That is clearing the libraries away object by object. Threads are waited for and exit handlers called before: the
    handler that is registered first runs last.
    """
    status: int | None = 1

    def leave() -> None:
        gc.unfreeze()
        if status is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    atexit.register(leave)
    script = _serve(connection, libraries)
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except KeyboardInterrupt:
        status = None  # Ends by the signal.
        raise


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
