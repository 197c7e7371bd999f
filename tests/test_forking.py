"""A script in a copy of the server is what it is in a fresh interpreter, and none is left behind."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, run_script
from forking import ForkServer

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="scripts start in fresh interpreters here")

SCRIPT = """
import atexit, os, signal, sys, threading
atexit.register(print, "at exit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
print(__name__, __file__, sys.argv, os.getcwd(), sys.path, sys.flags, sorted(os.environ.items()))
print([(s.fileno(), s.isatty(), s.encoding, s.errors, s.line_buffering) for s in (sys.stdin, sys.stdout, sys.stderr)])
print([(s.seekable(), s.write_through, s.reconfigure(errors="replace")) for s in (sys.stdout, sys.stderr)])
print(repr(sys.stdin.read()), sorted(os.listdir("/proc/self/fd")), threading.active_count(), sys.warnoptions)
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)])
print([name for name in sys.modules if name.partition(".")[0] in ("lightning_rs", "callbacks", "wandb")], flush=True)
os.system("echo of a process that it starts: $PYTHONPATH")
"""


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('words')", 1),
        ("raise SystemExit", 0),
        ("open('nothing')", 1),
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT)", -2),
    ],
)
def test_it_sees_and_leaves_what_a_fresh_interpreter_does(ending, status, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + ending)
    (tmp_path / "in").mkdir()
    options = {"cwd": tmp_path / "in", "status": status, "PYTHONPATH": os.pathsep.join(["/nowhere", str(tmp_path)])}
    forked, fresh = (run_script(script, "--a", "b c", "ä", fresh=fresh, **options) for fresh in (False, True))
    assert forked.args == fresh.args
    assert forked.stdout == fresh.stdout
    lines = [line for line in forked.stderr.splitlines() if "forking.py" not in line and "runpy" not in line]
    assert [line for line in lines if "_main(" not in line] == fresh.stderr.splitlines()


def test_one_server_forks_them_all_and_no_two_draw_the_same_random_numbers(tmp_path):
    script = tmp_path / "script.py"
    draw = "print(os.getppid(), random.random(), numpy.random.rand(), torch.rand(1).item())"
    script.write_text(f"import os, random, numpy, torch\n{draw}")
    drawn = [run_script(script, cwd=tmp_path).stdout.split() for _ in range(2)]
    assert set(drawn[0]) & set(drawn[1]) == {drawn[0][0]} != {str(os.getpid())}


SLEEPER = "import os, time\nopen('pids', 'w').write(f'{os.getpid()} {os.getppid()}\\n')\ntime.sleep(300)"
STARTER = "import os, sys; from pathlib import Path; from forking import ForkServer; s = Path(sys.argv[1]); "
STARTER += "ForkServer((), os.environ).run(s, (), s.parent, os.environ, 300)"


@pytest.fixture
def sleeper(tmp_path) -> Path:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    return tmp_path / "sleeper.py"


def alive(folder: Path) -> list[int]:
    """The script and its server, those of them that still run."""
    running = []
    for pid in (folder / "pids").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.append(int(pid))
    return running


def test_a_script_that_takes_too_long_ends_and_the_next_one_runs(sleeper):
    server = ForkServer((), os.environ)
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(sleeper, (), sleeper.parent, os.environ, 5)
    assert alive(sleeper.parent) == []
    sleeper.write_text("print('awake')")
    assert server.run(sleeper, (), sleeper.parent, os.environ, 60).stdout == "awake\n"
    server.close()


def test_nothing_outlives_a_killed_pytest(sleeper):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, sleeper], env=os.environ | {"PYTHONPATH": ROOT / "tests"}
    ) as p:
        for _ in range(600):
            if (sleeper.parent / "pids").exists() and (sleeper.parent / "pids").read_text().endswith("\n"):
                break
            time.sleep(0.1)
        assert len(alive(sleeper.parent)) == 2
        p.kill()
    for _ in range(600):
        if not alive(sleeper.parent):
            break
        time.sleep(0.1)
    assert alive(sleeper.parent) == []


def test_another_environment_than_that_of_the_libraries_is_refused(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("print('run')")
    server = ForkServer((), os.environ)
    assert server.run(script, (), tmp_path, os.environ | {"PYTHONPATH": "/nowhere"}, 60).stdout == "run\n"
    assert server.run(script, (), tmp_path, os.environ | {"RANK": "1"}, 60) is None
    server.close()
