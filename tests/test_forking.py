"""A script in a copy of the server is what it is in a fresh interpreter, and none is left behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, run_python, run_script
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
    assert forked.stdout == fresh.stdout
    lines = [line for line in forked.stderr.splitlines() if "forking.py" not in line and "runpy" not in line]
    assert [line for line in lines if "_main(" not in line and "_run(" not in line] == fresh.stderr.splitlines()


def test_one_server_forks_them_all_and_no_two_draw_the_same_random_numbers(tmp_path):
    script = tmp_path / "script.py"
    draw = "print(os.getppid(), random.random(), numpy.random.rand(), torch.rand(1).item())"
    script.write_text(f"import os, random, numpy, torch\n{draw}")
    drawn = [run_script(script, cwd=tmp_path).stdout.split() for _ in range(2)]
    assert set(drawn[0]) & set(drawn[1]) == {drawn[0][0]} != {str(os.getpid())}


SLEEPER = "import os, time\nopen('pids', 'w').write(f'{os.getpid()} {os.getppid()}\\n')\ntime.sleep(300)"
STARTER = "import os, subprocess, sys; from forking import ForkServer; "
STARTER += "subprocess.run([ForkServer((), os.environ).python(os.environ), sys.argv[1]])"


@pytest.fixture
def sleeper(tmp_path) -> Path:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    return tmp_path / "sleeper.py"


def wait_for(folder: Path) -> None:
    """Until the script runs."""
    end = time.monotonic() + 300
    while not ((folder / "pids").exists() and (folder / "pids").read_text().endswith("\n")):
        assert time.monotonic() < end, "the script does not run"
        time.sleep(0.05)


def alive(folder: Path) -> list[int]:
    """The script and its server, those of them that still run."""
    running = []
    for pid in (folder / "pids").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.append(int(pid))
    return running


def left_alive(folder: Path, number: int) -> list[int]:
    """Those that still run when only that number does, or after a while."""
    for _ in range(600):
        if len(alive(folder)) <= number:
            break
        time.sleep(0.1)
    return alive(folder)


def test_a_script_that_takes_too_long_ends_and_the_next_one_runs(sleeper):
    """`subprocess.run` kills what it waits for no longer."""
    server = ForkServer((), os.environ)
    command = [server.python(os.environ), sleeper]
    with subprocess.Popen(command, cwd=sleeper.parent) as process:
        wait_for(sleeper.parent)
        process.kill()
    assert len(left_alive(sleeper.parent, 1)) == 1  # The server.
    sleeper.write_text("print('awake')")
    assert subprocess.run(command, capture_output=True, timeout=60).stdout == b"awake\n"
    server.close()
    assert alive(sleeper.parent) == []


def test_nothing_outlives_a_killed_pytest(sleeper, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, sleeper], cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT / "tests"}
    ) as p:
        wait_for(sleeper.parent)
        assert len(alive(sleeper.parent)) == 2
        p.kill()
    assert left_alive(sleeper.parent, 0) == []


def test_another_environment_than_that_of_the_libraries_takes_an_interpreter():
    server = ForkServer((), os.environ)
    assert server.python({**os.environ, "RANK": "1"}) == sys.executable
    assert server.python({**os.environ, "PYTHONPATH": "/nowhere"}) != sys.executable
    server.close()


def test_modules_beside_its_scripts_are_imported_once_and_others_find_their_own(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text("open(__file__ + '.imported', 'a').write('x')")
        (tmp_path / name / "script.py").write_text("import mine; print(mine.__file__)")
    server = ForkServer((), os.environ, tmp_path / "here", "mine")
    for name in ("here", "there", "here"):
        command = [server.python(os.environ), tmp_path / name / "script.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == [str(tmp_path / name / "mine.py")], done.stderr
    server.close()
    assert [path.read_text() for path in tmp_path.glob("*/*.imported")] == ["x", "x"]  # "here" ran twice.


STARTING = """
import os, signal, subprocess, sys
where = "import sys; print(sys.argv, repr(sys.path[0]), __name__, flush=True);"
rank = "from lightning_fabric.utilities.rank_zero import rank_zero_only; print(rank_zero_only.rank, flush=True)"
subprocess.run([sys.executable, "-c", where, "-a"])
subprocess.run([sys.executable, "-u", "-m", "module", "-a"])
for number in "02":
    subprocess.run([sys.executable, "-c", rank], env=os.environ | {"LOCAL_RANK": number})
sleeping = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); import time; time.sleep(300)"], stdout=-1)
sleeping.stdout.readline()
sleeping.send_signal(signal.SIGTERM)
limited = 'ulimit -f 1; exec "$0" -c "import os; os.truncate(chr(97), 3000)"'
print(sleeping.wait(), subprocess.run(["bash", "-c", limited, sys.executable]).returncode)
"""


def test_processes_that_a_script_starts_are_copies_too(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "module.py").write_text("import sys\nprint(sys.argv[1:], sys.path[0], __name__)")
    done = run_python("-c", STARTING, cwd=tmp_path)
    lines = ["['-c', '-a'] '' __main__", f"['-a'] {tmp_path} __main__", "0", "2", f"{-signal.SIGTERM} 1"]
    assert done.stdout.splitlines() == lines
    assert done.stderr.splitlines()[-1] == "OSError: [Errno 27] File too large: 'a'"
