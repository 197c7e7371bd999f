"""Runs many Python programs with one import of the large libraries.

Nearly all the time of a short command goes into importing torch, Lightning and their like. A server, one for every
process of pytest, imports them once and forks for every program. What stands in for the interpreter is a small one
(`forked_python.py`) that asks for a copy and is to others what the copy would be: it ends as it does, and hands on the
signals to end. The copy takes over environment, streams, limits and arguments, runs the program, and ends as an
interpreter ends. Processes that it starts with `sys.executable`, such as its ranks, are copies too. The modules beside
our scripts are kept by copies that run one of these scripts; others find or miss them for themselves.

What differs from a fresh interpreter: nobody sees what the libraries say while they are imported, all programs share
one seed of string hashes, a traceback begins with lines of this file, files that are never closed are not flushed, and
a copy is a child of the server, so that it does not see the end of who asked for it: it is killed then.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Those that train.py and certify.py always import, and that of Digits. wandb is not among them: few commands use it.
LIBRARIES = ("torch", "torchvision", "pytorch_lightning.cli", "scipy.stats", "matplotlib.figure", "sklearn.datasets")
# That of pytest's start: what its libraries and tests change later is none of a program's affair.
ENVIRONMENT = dict(os.environ)
_CLIENT = Path(__file__).with_name("forked_python.py")


class ForkServer:
    """A process that runs programs in copies of itself; started when it is first needed.

    It ends with the process that made it, however that ends, and the programs that are running end with it.

    Args:
        libraries: that it imports; one that is not installed is left to the programs.
        environment: in which it imports them, but for PYTHONPATH, which the copies obey.
        scripts: folder of programs, and the modules in it that they import.
    """

    def __init__(
        self, libraries: Sequence[str], environment: Mapping[str, str], *scripts: str | os.PathLike[str]
    ) -> None:
        self._libraries, self._environment = libraries, _without_path(environment)
        self._scripts = [os.fspath(part) for part in scripts]
        # Linux, and a path that may stand in the first line of a script.
        self._usable = hasattr(os, "pidfd_open") and " " not in sys.executable
        self._server: subprocess.Popen[bytes] | None = None

    def python(self, environment: Mapping[str, str]) -> str:
        """What to start programs with in this environment: the server's stand-in for the interpreter.

        It is the interpreter where only that will do: in another environment than that in which the libraries were
        imported, and on a system without what a server needs.
        """
        if not self._usable or _without_path(environment) != self._environment:
            return sys.executable
        if self._server is None:
            self._start()
        return os.path.join(self._folder.name, "python") if self._usable else sys.executable

    def close(self) -> None:
        """End the server, and the programs that it runs."""
        if self._server is not None:
            self._server.communicate()
            self._server = None

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        python, address = (os.path.join(self._folder.name, name) for name in ("python", "socket"))
        with open(python, "w") as file:
            file.write(f"#!{sys.executable} -IS\n{_CLIENT.read_text()}")
        os.chmod(python, 0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(address)
            listener.listen()
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno()), python, *self._libraries, "", *self._scripts],
                env=self._environment,
                stdin=subprocess.PIPE,  # Whose end is that of this process.
                stdout=subprocess.PIPE,  # Of the programs' kind: Python remembers what it can do with a stream.
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)
        assert self._server.stdout is not None
        if (said := self._server.stdout.readline()) != b"ready\n":
            self._usable = False
            said += self._server.stdout.read()
            warnings.warn(f"programs start in fresh interpreters: {said.decode()}", stacklevel=3)


def _without_path(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "PYTHONPATH"}


def _serve(listener: socket.socket, python: str, libraries: Sequence[str], scripts: Sequence[str]) -> list[str]:
    """Fork for every request until nobody is there to make one; returns, in a copy, the arguments of its program."""
    sys.path.pop(0)  # The folder of this file.
    for name in libraries:
        with suppress(ImportError):
            importlib.import_module(name)
    folder, ours = _import_beside(*scripts) if scripts else (None, [])
    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit("no server for the tests: a library has started a thread, and a copy would not have it")
    gc.collect()
    gc.freeze()  # Collections in the copies leave the memory that they share alone.
    print("ready", flush=True)
    sys.executable = python
    maker, running = sys.stdin.fileno(), dict[int, tuple[int, socket.socket]]()
    while True:
        asking = [connection for _, connection in running.values()]
        ready = select.select([maker, listener, *running, *asking], [], [])[0]
        if maker in ready:
            for copy, _ in running.values():
                os.killpg(copy, signal.SIGKILL)
            sys.exit()
        for ended, (copy, connection) in list(running.items()):
            if ended in ready:
                status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
                with connection, suppress(BrokenPipeError):
                    connection.send(str(status).encode())
                os.close(ended)
                del running[ended]
            elif connection in ready:  # Who asked is no longer there.
                os.killpg(copy, signal.SIGKILL)
        if listener in ready:
            connection = listener.accept()[0]
            request, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            copy = os.fork()
            if not copy:
                for each in (listener, connection, *asking):
                    each.close()
                for ended in running:
                    os.close(ended)
                argv = _take_over(streams, **json.loads(request))
                if sys.path[0] != folder:
                    for name in ours:
                        del sys.modules[name]
                return argv
            os.setpgid(copy, copy)
            for stream in streams:
                os.close(stream)
            running[os.pidfd_open(copy)] = copy, connection
            with suppress(BrokenPipeError):
                connection.send(str(copy).encode())


def _import_beside(folder: str, *modules: str) -> tuple[str, list[str]]:
    """Import modules of a folder as its scripts do; returns the folder, and the names of all that came from it."""
    sys.path.insert(0, folder)
    for name in modules:
        importlib.import_module(name)
    sys.path.pop(0)
    held = {entry.partition(".")[0] for entry in os.listdir(folder)}
    return folder, [name for name in sys.modules if name.partition(".")[0] in held]


def _take_over(
    streams: Sequence[int], argv: list[str], cwd: str, environment: dict[str, str], file_size: list[int]
) -> list[str]:
    """Become the process that `python *argv` would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size[0], file_size[1]))
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    argv = argv[argv[0] == "-u" :]
    further = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    folder = {"-c": "", "-m": cwd}.get(argv[0], os.path.dirname(os.path.realpath(argv[0])))
    sys.path[:0] = [folder, *map(os.path.abspath, further)]
    if "torch" in sys.modules:  # Every new process draws its seeds; `random` sees to it by itself.
        sys.modules["numpy"].random.seed()
        sys.modules["torch"].default_generator.seed()
    if "lightning_fabric" in sys.modules:  # It reads this from the environment as it is imported.
        rank_zero = sys.modules["lightning_fabric.utilities.rank_zero"]
        rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0
    return argv


def _run(argv: list[str]) -> None:
    """Do what `python *argv` does."""
    if argv[0] == "-c":
        sys.argv[:] = ["-c", *argv[2:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(argv[1], "<string>", "exec"), main.__dict__)
    elif argv[0] == "-m":
        sys.argv[:] = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = argv
        runpy.run_path(argv[0], run_name="__main__")


def _main(listener: socket.socket, python: str, libraries: Sequence[str], scripts: Sequence[str]) -> None:
    """Serve; in a copy, run the program and end as an interpreter does, but for what takes longer than most programs.

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
    argv = _serve(listener, python, libraries, scripts)
    try:
        _run(argv)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except KeyboardInterrupt:
        status = None  # Ends by the signal.
        raise


if __name__ == "__main__":
    end = sys.argv.index("")
    _main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3:end], sys.argv[end + 1 :])
