"""With the real wandb, offline, and its service."""

import csv
import re
import sys
import time

import pytest
import torch
import wandb
import wandb_reader
from conftest import ROOT, run_script
from killer import kill_wandb_service
from pytorch_lightning.callbacks import ModelCheckpoint
from run_cases import DESCRIPTION, RECORDS

from lightning_rs.cli import log_hyperparameters, log_records, log_run, make_loggers, wandb_id, wandb_log

SHORT = ("--trainer.max_epochs=2", "--live_certification.every_n_epochs=1", "--live_certification.n=100")
FEW = ("--live_certification.limit=5", "--certification.n=100", "--certification.limit=3", "--name=run")


@pytest.fixture
def loggers(tmp_path):
    yield make_loggers(tmp_path / "run", "project", "offline")
    end_service()


def end_service():
    """Only then all is on the disk."""
    wandb.finish()
    wandb.teardown()


def work(loggers, directory, step=0):
    """All that is ever logged."""
    log_hyperparameters(loggers, {f"sigma{step}": 0.25})
    for logger in loggers:
        logger.log_metrics({"loss": 0.5}, step=step)
        logger.save()
        logger.after_save_checkpoint(ModelCheckpoint())
    log_run(loggers, RECORDS, DESCRIPTION, [0.0], "certify", 1.0, step)
    log_records(loggers, RECORDS, DESCRIPTION, directory, [(torch.rand(1, 2, 2), 0)] * 4, 2)


def rows(directory):
    with (directory / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_of_its_own_is_logged(loggers, tmp_path, capsys):
    work(loggers, tmp_path / "run")
    assert capsys.readouterr().err == ""
    end_service()
    (path,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    assert any("certify/cohen/acr" in row for row in wandb_reader.history(path))
    assert wandb_id(tmp_path / "run") in path.name


def test_a_service_that_was_killed_is_said_once_and_stops_nothing(loggers, tmp_path, capsys):
    work(loggers, tmp_path / "run")
    kill_wandb_service()
    start = time.perf_counter()
    for step in range(1, 4):
        work(loggers, tmp_path / "run", step)
    loggers[1].experiment.log({"loss": 0.5})
    loggers[1].experiment.config.update({"sigma": 0.5})
    assert time.perf_counter() - start < wandb_log._PATIENCE  # Nothing waits for an answer of the service.
    (line,) = capsys.readouterr().err.splitlines()
    # Which of them depends on whether W&B finds out as it writes or as it reads.
    assert re.match(r"W&B: (ConnectionResetError|BrokenPipeError|MailboxClosedError) \(", line)
    assert line.endswith("): it is off from here on; all else goes on")
    assert [row["step"] for row in rows(tmp_path / "run")] == ["0", "0", "1", "1", "2", "2", "3", "3"]


def test_files_that_cannot_be_sent_stop_nothing(loggers, tmp_path, capsys, monkeypatch):
    work(loggers, tmp_path / "run")
    (tmp_path / "file").touch()
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "file"))
    work(loggers, tmp_path / "run", 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("W&B: PermissionError (Unable to write staging files to ")
    # What came before is on the disk.
    (path,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    assert [row["loss"] for row in wandb_reader.history(path) if "loss" in row] == [0.5, 0.5]


def test_a_folder_that_cannot_be_made_stops_nothing(loggers, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").touch()
    work(loggers, tmp_path / "run")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("W&B: ") and "it is off" in line
    assert len(rows(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    ("key", "asked", "mode"),
    [
        (True, None, "online"),
        (False, None, "offline"),
        (True, "offline", "offline"),
        (True, "disabled", "disabled"),
        (False, "online", "online"),
    ],
)
def test_the_mode_follows_the_key_unless_the_environment_says_it(key, asked, mode, monkeypatch):
    monkeypatch.setattr(wandb_log, "has_key", lambda: key)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if asked:
        monkeypatch.setenv("WANDB_MODE", asked)
    assert wandb_log.available_mode() == mode


def test_without_wandb_there_is_the_other_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    (logger,) = make_loggers(tmp_path / "run", "project", "auto")
    assert capsys.readouterr().err.startswith("W&B: it cannot be imported (ModuleNotFoundError: ")
    work([logger], tmp_path / "run")
    assert len(rows(tmp_path / "run")) == 2


def test_a_training_whose_service_is_killed_ends_as_it_would(tmp_path):
    killers = ["--trainer.callbacks+=killer.ServiceKiller", "--trainer.callbacks.step=5"]
    done = run_script("train.py", *SHORT, *FEW, *killers, cwd=tmp_path, PYTHONPATH=str(ROOT / "tests" / "scripts"))
    assert done.stderr.count("W&B: no API key") == done.stderr.count("): it is off from here on") == 1
    assert "Traceback" not in done.stderr
    assert (tmp_path / "runs" / "run" / "checkpoints" / "last.ckpt").is_file()
    assert [row["epoch"] for row in rows(tmp_path / "runs" / "run") if row["certify/cohen/acr"]] == ["0", "1"]
    assert (tmp_path / "runs" / "run" / "certification" / "table.csv").is_file()


def test_a_home_that_cannot_be_written_costs_no_log(loggers, tmp_path, capfd, monkeypatch):
    """wandb keeps files that are to be sent there, and its service its log, which it otherwise prints."""
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(variable, "")  # What is set is put back.
        monkeypatch.delenv(variable)
    work(loggers, tmp_path / "run")
    end_service()
    assert capfd.readouterr().err == ""
    (path,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    assert any("certify/cohen/acr" in row for row in wandb_reader.history(path))
    assert wandb_reader.artifacts(path)
