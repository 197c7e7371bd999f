"""benchmarks/gpu.sh: whatever ends it ends what it runs, and what that said stays."""

import os
import signal
import subprocess

import pytest
from conftest import ROOT

# In the place of the interpreter: it starts a child that hears nothing, and has something to say when it is ended.
PROGRAM = """#!/bin/bash
[[ $1 == *machine.py ]] && { echo "about it" >"$2/about.md"; exit; }
trap '' HUP INT TERM
sleep 1000 &
child=$!
trap "trap '' HUP INT TERM; sleep 0.2; echo last words; exit 3" HUP INT TERM
sleep 0.5 # What watches over it has to be there, too.
echo "child $child"
wait
"""


@pytest.mark.parametrize(
    ("number", "of_terminal", "limit", "status"),
    [
        (signal.SIGINT, True, 500, 130),  # As Ctrl-C comes.
        (signal.SIGTERM, True, 500, 143),
        (signal.SIGTERM, False, 500, 143),
        (None, False, 3, 75),
    ],
)
def test_whatever_ends_it_ends_what_runs_and_keeps_what_that_said(number, of_terminal, limit, status, tmp_path):
    (tmp_path / "python").write_text(PROGRAM)
    (tmp_path / "python").chmod(0o700)
    environment = {"PYTHON": str(tmp_path / "python"), "OUTPUT": str(tmp_path), "LIMIT": str(limit)}
    with subprocess.Popen(
        [ROOT / "benchmarks" / "gpu.sh", "noise"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as script:
        assert script.stdout.readline() == "== noise\n"
        child = int(script.stdout.readline().removeprefix("child "))
        if number is not None:
            (os.killpg if of_terminal else os.kill)(script.pid, number)
        try:
            said = script.communicate(timeout=30)[0]
        finally:
            script.kill()
        assert script.returncode == status
    # The child holds the stream that was read to its end.
    assert said.startswith("last words\n")
    kept = (tmp_path / "shares-cifar_resnet110.md").read_text().splitlines()
    assert kept[0] == "about it" and kept[2:4] == [f"child {child}", "last words"]
