"""Whatever ends a certification, what was finished is kept, nothing is certified twice, and it goes on."""

import json
import signal
import subprocess
import time
from dataclasses import asdict

import pytest
from conftest import ROOT, SERVER, TIMEOUT, clean_environment, run_script

from lightning_rs.results import RunDirectory
from lightning_rs.results.environment import is_environment


def records(directory):
    return [asdict(record) | {"seconds": 0.0} for record in RunDirectory(directory).read()]


def lines(directory):
    """Of records, not those that say where they were made."""
    files = [file.read_bytes().splitlines(keepends=True) for file in directory.glob("records-*.jsonl")]
    return [line for file in files for line in file if not is_environment(line)]


def start(*arguments, before="", **options):
    """`certify.py` as a user starts it, in a shell."""
    environment = clean_environment({})
    command = " ".join(map(str, ("exec", SERVER.python(environment), ROOT / "certify.py", *arguments)))
    return subprocess.Popen(
        ["bash", "-c", before + command], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_killed_twenty_times_under_one_two_and_three_processes(tmp_path):
    done = run_script("tests/scripts/kill_drill.py", "whole", "drilled", 1, cwd=tmp_path, PYTHONPATH=str(ROOT))
    finished = [int(number) for number in done.stdout.split()]
    assert len(finished) == 20
    assert finished == sorted(finished)
    assert len(set(finished)) > 6 and finished[14] < 60  # So the kills fell within the work.
    whole, drilled = tmp_path / "whole", tmp_path / "drilled"
    assert records(drilled) == records(whole)
    assert [r["index"] for r in records(whole)] == list(range(60))
    indices = [json.loads(line)["index"] for line in lines(drilled)]
    assert sorted(indices) == list(range(60))  # Nothing was certified twice.
    assert len(list(drilled.glob("records-*.jsonl"))) == 3


def test_a_full_disk_ends_it_in_one_line_and_it_goes_on(checkpoint, tmp_path):
    out = tmp_path / "out"
    arguments = ("--checkpoint", checkpoint, "--output", out, "--n=300", "--limit=40", "--wandb_mode=disabled")
    arguments += ("--accelerator=cpu", "--devices=1")
    process = start(*arguments, before="ulimit -f 8; ")  # No file above 8 KiB: writing more fails with EFBIG.
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    message = [line for line in err.splitlines() if "error:" in line]
    assert len(message) == 1, err
    assert "records-0.jsonl cannot be written (File too large): the examples finished before are kept;" in message[0]
    assert "Traceback" not in err
    kept = lines(out)
    assert 5 < len(kept) < 40
    assert all(line.endswith(b"\n") for line in kept)
    done = run_script("certify.py", *arguments, cwd=tmp_path)
    assert "40 images" in done.stdout
    assert lines(out)[: len(kept)] == kept
    assert [r["index"] for r in records(out)] == list(range(40))


def test_of_two_that_start_at_one_moment_one_goes_on(checkpoint, tmp_path):
    out = tmp_path / "out"
    arguments = ("--checkpoint", checkpoint, "--output", out, "--n=5000", "--limit=40", "--wandb_mode=disabled")
    both = [start(*arguments, "--accelerator=cpu", "--devices=1") for _ in range(2)]
    errors = {process.returncode: err for process in both for err in [process.communicate(timeout=TIMEOUT)[1]]}
    assert sorted(errors) == [0, 2], errors
    message = [line for line in errors[2].splitlines() if line]
    assert len(message) == 1 and message[0].startswith(f"error: another certification is writing to {out}"), errors
    assert [r["index"] for r in records(out)] == list(range(40)) and len(lines(out)) == 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_says_how_to_go_on(checkpoint, tmp_path, number):
    out = tmp_path / "out"
    arguments = ("--checkpoint", checkpoint, "--output", out, "--n=20000", "--limit=60", "--wandb_mode=disabled")
    process = start(*arguments, "--accelerator=cpu", "--devices=1")
    while len(lines(out)) < 2 and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}: finished examples are kept in {out}; start the same command again" in err
    assert "Traceback" not in err
    assert 2 <= len(lines(out)) < 60
    assert [r["index"] for r in records(out)] == list(range(len(lines(out))))
