import multiprocessing
import resource
import time

import numpy as np
import pytest
import torch
import yaml

from lightning_rs.cli.csv_log import CsvLog

KEPT = "epoch,loss,step\n0,1.5,15\n1,0.5,31\n"


def log(directory, *rows, resumed_at=None):
    logger = CsvLog(directory, resumed_at)
    for step, row in rows:
        logger.log_metrics(row, step=step)
        logger.save()
    return logger


def lines(directory):
    return (directory / "metrics.csv").read_text().splitlines()


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_rows_are_appended_and_new_names_make_new_columns(run):
    logger = log(run, (0, {"b": torch.tensor(0.5)}), (1, {"b": float("nan")}))
    assert lines(run) == ["b,step", "0.5,0", "nan,1"]
    before = (run / "metrics.csv").stat().st_ino
    logger.log_metrics({"b": 2.0}, step=2)
    logger.finalize("success")
    assert (run / "metrics.csv").stat().st_ino == before, "it was written anew"
    logger.log_metrics({"a": 1.0}, step=3)
    logger.save()
    assert lines(run) == ["a,b,step", ",0.5,0", ",nan,1", ",2.0,2", "1.0,,3"]
    logger.log_hyperparams({"sigma": 0.25})
    assert yaml.safe_load((run / "hparams.yaml").read_text()) == {"sigma": 0.25}


def log_new_names(directory, ready):
    logger = CsvLog(directory, resumed_at=10**9)
    for step in range(1000, 10**6):
        logger.log_metrics({f"name{step % 300}": float(step)}, step=step)
        logger.save()
        if step == 1020:
            ready.set()


def test_the_file_is_whole_whenever_the_process_is_killed(run):
    """New names come all the time: Lightning's logger rewrites the file in its place, and deletes it at the start."""
    (run / "metrics.csv").write_text("loss,step\n" + "".join(f"0.5,{step}\n" for step in range(1000)))
    processes = multiprocessing.get_context("fork")
    for delay in np.linspace(0.0, 0.02, 10):
        ready = processes.Event()
        process = processes.Process(target=log_new_names, args=(run, ready))
        process.start()
        ready.wait()
        time.sleep(delay)
        process.kill()
        process.join()
        text = (run / "metrics.csv").read_text()
        header, *rows = text[: text.rfind("\n")].splitlines()
        assert len(rows) >= 1020
        assert {row.count(",") for row in rows} == {header.count(",")}


def test_rows_that_are_logged_again_take_the_place_of_those_that_were_kept(run):
    """A run is killed after the live certification and the first step after it: both are computed again."""
    first = [(31, {"epoch": 1, "loss": 0.5}), (32, {"epoch": 1, "certify/cohen/acr": 0.25})]
    again = [(32, {"epoch": 2, "loss": 0.25}), (48, {"epoch": 2, "loss": 0.125})]
    log(run, *first, again[0])
    log(run, *first[1:], *again, resumed_at=32)
    log(run.parent / "whole", *first, *again)
    assert lines(run) == lines(run.parent / "whole")


def test_what_other_steps_and_other_names_say_stays_beside_it(run):
    log(run, (32, {"epoch": 1, "loss": 0.5}))
    log(run, (32, {"epoch": 1, "val/loss": 0.25}), (32, {"epoch": 2, "loss": 0.125}), resumed_at=32)
    assert lines(run) == ["epoch,loss,step,val/loss", "1,0.5,32,", "1,,32,0.25", "2,0.125,32,"]


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_row_that_was_cut_off_is_left_out(run, cut, capsys):
    (run / "metrics.csv").write_text(KEPT[:-cut])
    log(run, (31, {"epoch": 1, "loss": 0.25}), resumed_at=31)
    assert lines(run) == ["epoch,loss,step", "0,1.5,15", "1,0.25,31"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"epoch,loss,step\n0,\xff,15\n", "'utf-8' codec can't decode byte 0xff"),
        (b"epoch,loss,step\n\0\0\0\0\0", "it holds NUL bytes"),
        (b"0,1.5,15\n", "line 1: expected names, each once, and a step among them"),
        (b"step,step\n1,1\n", "line 1: expected names, each once, and a step among them"),
        (b"\n\n", "line 1: expected names, each once, and a step among them"),
        (b"epoch,loss,step\n0,1.5,15\n0,15\n", "line 3: expected 3 cells, got 2"),
        (b"epoch,loss,step\n0,1.5,15,7\n", "line 2: expected 3 cells, got 4"),
        (b"epoch,loss,step\n0,1.5,\n", "line 2: Expected `int`, got `null`"),
        ("epoch,loss,step\n0,1.5,²\n".encode(), "line 2: Expected `int`, got `str`"),
        (b"epoch,loss,step\n0,1.5,-1\n", "line 2: Expected `int` >= 0"),
        (b"epoch,loss,step\n0,1.5," + b"9" * 5000 + b"\n", "line 2: Integer value out of range"),
        (b'epoch,loss,step\n0,"1.5,15\n', "line 2: unexpected end of data"),
        (b"epoch,loss,step\n" + b"1" * 200_000 + b",1,1\n", "line 2: field larger than field limit"),
        (None, "Is a directory"),
    ],
)
def test_a_damaged_file_is_put_aside_and_said(run, content, reason, capsys):
    path = run / "metrics.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    (run / "metrics-damaged-1.csv").touch()
    log(run, (31, {"epoch": 1, "loss": 0.25}), resumed_at=31)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} is damaged (") and reason in line
    assert line.endswith(f"): it is now {run / 'metrics-damaged-2.csv'}, and a new one begins")
    assert lines(run) == ["epoch,loss,step", "1,0.25,31"]
    assert content is None or (run / "metrics-damaged-2.csv").read_bytes() == content


@pytest.mark.parametrize("resumed_at", [None, -1])
def test_nothing_is_kept_of_what_is_not_resumed(run, resumed_at):
    (run / "metrics.csv").write_text(KEPT)
    log(run, (0, {"loss": 1.0}), resumed_at=resumed_at)
    assert lines(run) == ["loss,step", "1.0,0"]


def test_a_disk_that_fills_up_is_said_once_and_loses_no_row_that_it_can_hold_later(run, capsys):
    """No file may be larger than the limit, which is how a process alone can have a full disk."""
    logger = log(run, (0, {"loss": 0.5}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (14, limits[1]))
        for step in range(1, 4):
            logger.log_metrics({"loss": 0.5}, step=step)
            logger.save()
        logger.log_hyperparams({"sigma": 0.25, "architecture": "digits_cnn"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: [Errno 27] {run}/metrics.csv cannot be written (File too large); "
        "the run goes on, and its log is written when it can be"
    )
    logger.save()
    assert lines(run) == ["loss,step", *(f"0.5,{step}" for step in range(4))]
    assert [path.name for path in run.iterdir()] == ["metrics.csv"]


def test_a_file_that_is_taken_away_is_written_anew(run):
    logger = log(run, (0, {"loss": 0.5}))
    (run / "metrics.csv").unlink()
    logger.log_metrics({"loss": 0.25}, step=1)
    logger.save()
    assert lines(run) == ["loss,step", "0.5,0", "0.25,1"]
