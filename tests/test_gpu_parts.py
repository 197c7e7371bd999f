"""benchmarks/gpu.sh: every part in miniature; and whatever ends it ends what it runs, and what that said stays."""

import os
import signal
import subprocess

import pytest
from conftest import ROOT, SERVER, TIMEOUT, clean_environment

SCRIPT = ROOT / "benchmarks" / "gpu.sh"
PARTS = ("tests", "sampling", "noise", "loops", "training", "published", "sequential")


def test_every_part_ends_well_in_miniature(tmp_path):
    # Programs start where the libraries are imported already, so that the script needs no such process of its own.
    start = {"FORKING": "true", "PYTHON": SERVER.python(clean_environment({})), "OUTPUT": str(tmp_path)}
    done = subprocess.run(
        [SCRIPT, "--smoke"], env=clean_environment(start), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [line[3:] for line in done.stdout.splitlines() if line.startswith("== ")] == list(PARTS)
    said = {path.stem: path.read_text().splitlines() for path in tmp_path.glob("*.md")}
    ended = {name for name, lines in said.items() if lines[-1] == "finished"}
    assert ended == said.keys() - {"about", "published"} and len(ended) == 10
    for name in ("fixed", "sequential", "incremental"):
        assert (tmp_path / "runs" / "gaussian-0.25" / name / "table.csv").is_file()


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
        [SCRIPT, "noise"],
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
