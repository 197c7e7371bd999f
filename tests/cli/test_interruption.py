import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightning_rs.cli import ending_together, stopping_cleanly
from lightning_rs.cli.interruption import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


def send(number):
    """Ask this process to end."""
    os.kill(os.getpid(), number)


@pytest.fixture
def other():
    """A process that sleeps until it is ended."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def strategy(other):
    """Lightning's for several processes, with the one that it started."""
    strategy = DDPStrategy()
    strategy._launcher = _SubprocessScriptLauncher(strategy.cluster_environment, num_processes=2, num_nodes=1)
    strategy.launcher.procs.append(other)
    return strategy


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_this_process_and_those_that_it_started(number, status, strategy, other, capfd):
    before = handlers()
    with pytest.raises(SystemExit) as left, ending_together(strategy), stopping_cleanly(lambda: "kept", say=True):
        send(number)
    assert left.value.code == status
    assert other.wait(timeout=30) == -signal.SIGTERM
    assert handlers() == before
    assert capfd.readouterr().err == f"\nstopped by {number.name}: kept\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "records-0.jsonl"), "[Errno 28] No space left on device: 'records-0.j"),
        (ValueError("no draws"), "no draws"),
        (ValueError("Caught OSError in DataLoader worker process 0.\nTraceback\nOSError: image 3"), "OSError: image 3"),
        (MisconfigurationException("no such\nmonitor"), "no such monitor"),
        (MemoryError("a net"), "there is not enough memory: give a smaller batch_size (a net)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "there is not enough memory: "),
        (RuntimeError("CUDA error: out of memory"), "there is not enough memory: "),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "a process that loads data ended: "),
        (RuntimeError("[gloo/transport/tcp/pair.cc:545] Connection reset"), "another process of this program ended"),
    ],
)
def test_a_failure_ends_all_in_one_line(error, line, strategy, other, capfd):
    before = handlers()
    with pytest.raises(SystemExit) as left, ending_together(strategy), stopping_cleanly(lambda: "kept", say=True):
        raise error
    assert left.value.code == 2
    assert other.wait(timeout=30) == -signal.SIGTERM
    assert handlers() == before
    said = capfd.readouterr().err
    assert said.startswith(f"\nerror: {line}") and len(said.splitlines()) == 2


def test_a_failure_ends_processes_of_multiprocessing_too(strategy, capfd):
    """As `ddp_spawn` starts them."""
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
    other.start()
    strategy.launcher.procs.append(other)
    with pytest.raises(SystemExit), ending_together(strategy):
        raise ValueError("no")
    other.join(30)
    assert other.exitcode == -signal.SIGTERM
    assert "error: no" in capfd.readouterr().err


def test_who_asks_again_is_not_held_up_and_only_the_first_process_speaks(capfd):
    before = handlers()
    with stopping_cleanly(lambda: "kept", say=False):
        with pytest.raises(Interrupted, match="^SIGTERM$") as interrupted:
            send(signal.SIGTERM)
        assert interrupted.value.signal == signal.SIGTERM
        assert handlers() == [signal.SIG_DFL, signal.SIG_DFL]
    assert handlers() == before
    assert capfd.readouterr().err == ""


def test_what_fails_as_it_is_interrupted_and_forked_processes_do_not_speak(strategy, capfd):
    with pytest.raises(SystemExit) as left, ending_together(strategy), stopping_cleanly(lambda: "kept", say=True):
        child = os.fork()
        if not child:
            send(signal.SIGINT)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
        try:
            send(signal.SIGINT)
        finally:
            raise RuntimeError("DataLoader worker (pid 7) exited unexpectedly")
    assert left.value.code == 130
    assert capfd.readouterr().err == "\nstopped by SIGINT: kept\n"


def test_other_errors_and_good_ends_pass_and_end_nobody(strategy, other):
    with pytest.raises(KeyError), ending_together(strategy):
        raise KeyError("a")
    with ending_together(strategy), stopping_cleanly(lambda: "kept", say=True):
        pass
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=0.5)


def test_one_process_has_no_others_to_end():
    strategy = SingleDeviceStrategy()
    with pytest.raises(SystemExit) as left, ending_together(strategy), stopping_cleanly(lambda: "kept", say=False):
        send(signal.SIGTERM)
    assert left.value.code == 143
