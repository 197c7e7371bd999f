"""`python train.py`, as a user runs it."""

import csv
import json
import shutil

import pytest
import torch
import wandb_reader
import yaml
from conftest import ROOT, run_script
from PIL import Image

from lightning_rs import train
from lightning_rs.certification import weights_digest
from lightning_rs.checkpoints import load_checkpoint
from lightning_rs.cli.saved_config import sealed


def test_a_run_writes_all_it_promises(trained):
    run = trained / "runs" / "short"
    assert sorted(p.name for p in run.iterdir()) == [
        "certification",
        "checkpoints",
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
        "wandb",
    ]
    assert (run / "checkpoints" / "last.ckpt").is_file()
    certification = run / "certification"
    assert sorted(p.name for p in certification.iterdir()) == [
        "certified_accuracy.png",
        "certified_accuracy.svg",
        "p_a.png",
        "p_a.svg",
        "radius_confidence.png",
        "radius_confidence.svg",
        "records-0.jsonl",
        "run.json",
        "table.csv",
        "table.md",
        "table.tex",
        "tsv",
    ]
    records = [json.loads(line) for line in (certification / "records-0.jsonl").read_text().splitlines()[1:]]
    assert [r["index"] for r in records] == list(range(40))
    about = json.loads((certification / "run.json").read_text())
    assert about["indices"] == list(range(40))
    assert (about["data"], about["split"], about["sigma"], about["n"], about["alpha"]) == (
        "Digits",
        "test",
        0.25,
        500,
        0.001,
    )
    for name in ("certified_accuracy.png", "p_a.png", "radius_confidence.png"):
        with Image.open(certification / name) as image:
            assert image.format == "PNG"


def test_what_it_prints(trained):
    out, err = (trained / "stdout.txt").read_text(), (trained / "stderr.txt").read_text()
    assert "Digits test, digits_cnn, σ = 0.25 on the grid of 1/16, n = 500, α = 0.001" in out
    assert "cohen_two_sided" in out
    assert all(column in out for column in ("R>0", "R>0.25", "R>0.5", "R>0.75", "ACR", "abstain"))
    assert "40 images; base classifier: clean accuracy" in out
    assert "runs/short/certification" in out
    assert "python certify.py --checkpoint" in out
    assert err.count("W&B: no API key found, logging offline") == 1
    assert "Traceback" not in err
    assert "Warning" not in err


def test_the_logs_hold_every_figure(trained):
    with (trained / "runs" / "short" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/loss", "train/noisy_accuracy", "val/loss", "val/noisy_accuracy", "val/clean_accuracy"} <= set(
        rows[0]
    )
    live = [row for row in rows if row["certify/cohen/acr"]]
    assert [row["epoch"] for row in live] == ["5", "11"]
    final = [row for row in rows if row["certify_test/cohen/acr"]]
    assert len(final) == 1
    with (trained / "runs" / "short" / "certification" / "table.csv").open() as file:
        table = {row["mechanism"]: row for row in csv.DictReader(file)}
    for mechanism in ("cohen", "cohen_two_sided"):
        assert final[0][f"certify_test/{mechanism}/acr"] == table[mechanism]["acr"]
        assert final[0][f"certify_test/{mechanism}/accuracy@0.25"] == table[mechanism]["certified_accuracy@0.25"]


def test_one_wandb_run_holds_the_series_the_plot_and_the_settings(trained):
    (path,) = trained.glob("runs/short/wandb/offline-run-*/*.wandb")
    history = wandb_reader.history(path)
    series = [row for row in history if "certify/cohen/acr" in row]
    assert [row["epoch"] for row in series] == [5, 11]
    for mechanism in ("cohen", "cohen_two_sided"):
        for radius in ("0", "0.25", "0.5", "0.75"):
            assert all(0.0 <= row[f"certify/{mechanism}/accuracy@{radius}"] <= 1.0 for row in series)
    assert len([row for row in history if "certify_test/cohen_two_sided/accuracy@0.5" in row]) == 1
    assert len([row for row in history if "val/noisy_accuracy" in row]) == 12

    tables = [row for row in history if row.get("certify_test/certified_accuracy_table/nrows")]
    (file,) = path.parent.glob("files/media/table/certify_test/*.table.json")
    content = json.loads(file.read_text())
    assert tables[0]["certify_test/certified_accuracy_table/nrows"] == len(content["data"]) == 2 * 101
    assert {row[1] for row in content["data"]} == {"cohen", "cohen_two_sided"}
    certified = {row[1]: row[2] for row in reversed(content["data"])}  # The first row of each line: radius 0.
    final = next(row for row in history if "certify_test/cohen/acr" in row)
    assert certified["cohen"] == final["certify_test/cohen/accuracy@0"]
    config = wandb_reader.config(path)
    assert config["sigma"] == 0.25
    assert config["certify_test"]["n"] == 500
    assert "Vega2" in json.dumps(config["_wandb/visualize/certify_test/certified_accuracy"])


def test_the_written_config_runs_again_and_gives_the_same_weights(trained, tmp_path):
    config = trained / "runs" / "short" / "config.yaml"
    (tmp_path / "runs" / "again").mkdir(parents=True)
    done = run_script("train.py", "--config", config, "--name=again", "--wandb.mode=disabled", cwd=tmp_path)
    again = tmp_path / "runs" / "again-2"
    assert "runs/again is there already: this run is runs/again-2\n" in done.stderr
    assert not (again / "wandb").exists()
    weights = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (trained / "runs" / "short", again)
    ]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_two_processes_make_one_run(tmp_path):
    done = run_script(
        "train.py",
        "--trainer.max_epochs=1",
        "--trainer.devices=2",
        "--trainer.accelerator=cpu",
        "--live_certification.every_n_epochs=1",
        "--live_certification.limit=3",
        "--live_certification.n=100",
        "--certification.n=100",
        "--certification.limit=5",
        cwd=tmp_path,
    )
    assert done.stderr.count("W&B: no API key found") == 1
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["digits-gaussian-sigma0.25"]
    assert len(list(tmp_path.glob("runs/*/wandb/offline-run-*"))) == 1
    files = sorted(tmp_path.glob("runs/*/certification/records-*.jsonl"))
    indices = [json.loads(line)["index"] for file in files for line in file.read_text().splitlines()[1:]]
    assert sorted(indices) == [0, 1, 2, 3, 4]  # Whoever was free took the next.
    assert done.stdout.count("Certified accuracy (%)") == 1
    assert "5 images" in done.stdout


SHORT = (
    "--live_certification.n=100",
    "--live_certification.limit=5",
    "--certification.n=100",
    "--certification.limit=3",
)


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_that_was_killed_resumes_and_ends_with_the_same_weights_logs_and_wandb_run(tmp_path):
    # A schedule that may be continued beyond its end.
    arguments = [
        "--trainer.max_epochs=4",
        "--live_certification.every_n_epochs=1",
        "--model.schedule.name=step",
        *SHORT,
    ]
    run_script("train.py", *arguments, "--name=whole", cwd=tmp_path)
    killer = ["--trainer.callbacks+=killer.Killer", f"--trainer.callbacks.step={16 * 2 + 5}"]
    scripts = str(ROOT / "tests" / "scripts")
    killed = run_script("train.py", *arguments, *killer, "--name=part", cwd=tmp_path, status=None, PYTHONPATH=scripts)
    assert killed.returncode == -9
    # The run's own configuration still names the killer.
    done = run_script("train.py", "--resume=runs/part", "--trainer.callbacks=[]", cwd=tmp_path, PYTHONPATH=scripts)
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    whole, part = (tmp_path / "runs" / name for name in ("whole", "part"))
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == ["part", "whole"]
    expected, resumed = weights(whole), weights(part)
    assert all(torch.equal(value, resumed[key]) for key, value in expected.items())

    def rows(run):
        with (run / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in rows]

    assert rows(part) == rows(whole)
    folders = sorted(part.glob("wandb/offline-run-*"))
    assert len(folders) == 2
    assert len({path.name.rsplit("-", 1)[1] for path in folders}) == 1
    # What wandb keeps of a killed process is its own affair; the resumed one logs from there.
    history = wandb_reader.history(next(folders[-1].glob("*.wandb")))
    assert [row["epoch"] for row in history if "certify/cohen/acr" in row] == [2, 3]
    # What is written repeats the run; it does not resume it.
    assert yaml.safe_load((part / "config.yaml").read_text())["resume"] is None
    # A finished run is trained further, and its certificates stay.
    further = ("--trainer.max_epochs=5", "--trainer.callbacks=[]")
    run_script("train.py", "--resume=runs/part", *further, cwd=tmp_path, PYTHONPATH=scripts)
    assert torch.load(part / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 4
    digests = [
        json.loads((part / name / "run.json").read_text())["weights_sha256"]
        for name in ("certification", "certification-2")
    ]
    assert digests[0] != digests[1]
    other = run_script(
        "train.py", "--resume=runs/part", "--model.sigma=0.5", cwd=tmp_path, status=2, PYTHONPATH=scripts
    )
    message = "error: runs/part/checkpoints/last.ckpt cannot be resumed with another sigma: it has 0.25, got 0.5"
    assert message in other.stderr


def test_a_configuration_that_leaves_out_where_the_schedule_ends_is_refused(trained, tmp_path):
    run = shutil.copytree(trained / "runs" / "short", tmp_path / "runs" / "short")
    text = (run / "config.yaml").read_text().partition("# The end.")[0]
    (run / "config.yaml").write_text(sealed(text.replace("  max_steps: -1\n", "")))
    done = run_script("train.py", "--resume=runs/short", cwd=tmp_path, status=2)
    assert "error: the cosine schedule of runs/short ends after max_steps = None" in done.stderr.splitlines()[-1]


def test_a_cosine_schedule_is_not_continued_beyond_its_end(trained):
    done = run_script("train.py", "--resume=runs/short", "--trainer.max_epochs=99", cwd=trained, status=2)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: the cosine schedule of runs/short ends after ")
    assert line.endswith("train anew, or with another schedule")
    assert "Traceback" not in done.stderr


def test_early_stopping_and_the_best_checkpoint_follow_a_certified_figure(tmp_path):
    """The patience of two epochs ends at a rate of zero, where nothing improves on the first epoch's figure."""
    run_script(
        "train.py",
        "--trainer.max_epochs=6",
        "--model.optimizer.lr=1e-12",
        "--live_certification.every_n_epochs=1",
        "--checkpoint.monitor=certify/cohen/acr",
        "--checkpoint.mode=max",
        "--trainer.callbacks+=pytorch_lightning.callbacks.EarlyStopping",
        "--trainer.callbacks.monitor=certify/cohen/acr",
        "--trainer.callbacks.mode=max",
        "--trainer.callbacks.patience=2",
        *SHORT,
        "--wandb.mode=disabled",
        "--name=run",
        cwd=tmp_path,
    )
    with (tmp_path / "runs" / "run" / "metrics.csv").open() as file:
        figures = [(row["epoch"], row["certify/cohen/acr"]) for row in csv.DictReader(file) if row["certify/cohen/acr"]]
    assert [epoch for epoch, _ in figures] == ["0", "1", "2"]
    assert len({figure for _, figure in figures}) == 1
    assert (tmp_path / "runs" / "run" / "checkpoints" / "epoch=0-step=16.ckpt").is_file()


@pytest.mark.parametrize("devices", [1, 2])
def test_a_loss_that_is_not_finite_ends_in_one_line_and_keeps_the_last_good_checkpoint(devices, tmp_path):
    done = run_script(
        "train.py",
        "--model=MACER",
        "--model.k=2",
        "--data.batch_size=100",
        "--trainer.max_epochs=3",
        f"--trainer.devices={devices}",
        "--trainer.accelerator=cpu",
        "--trainer.callbacks+=killer.Poison",
        f"--trainer.callbacks.step={10 // devices + 3}",
        "--live_certification.every_n_epochs=0",
        "--wandb.mode=disabled",
        "--name=run",
        cwd=tmp_path,
        status=2,
        PYTHONPATH=str(ROOT / "tests" / "scripts"),
    )
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line.startswith(
        f"error: the loss of MACER is not finite at step {10 // devices + 3} (epoch 1): classification nan"
    )
    assert line.endswith("; the last good checkpoint is runs/run/checkpoints/last.ckpt")
    assert "Traceback" not in done.stderr
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "runs" / "run").values())


def test_averaged_weights_through_the_command_line(tmp_path):
    run_script(
        "train.py",
        "--trainer.max_epochs=2",
        "--trainer.callbacks+=callbacks.EMA",
        "--trainer.callbacks.decay=0.9",
        "--trainer.precision=bf16-mixed",
        "--trainer.gradient_clip_val=1.0",
        *SHORT,
        "--wandb.mode=disabled",
        "--name=run",
        cwd=tmp_path,
    )
    run = tmp_path / "runs" / "run"
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert not all(torch.equal(v, checkpoint["current_model_state"][k]) for k, v in checkpoint["state_dict"].items())
    # Certified after the fit were the weights that the checkpoint holds, in its precision.
    loaded = load_checkpoint(run / "checkpoints" / "last.ckpt")
    about = json.loads((run / "certification" / "run.json").read_text())
    assert about["weights_sha256"] == weights_digest(loaded.base_classifier)


@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10", "imagenet"])
def test_configs_are_accepted(data, tmp_path):
    config = ROOT / "configs" / data / "gaussian.yaml"
    done = run_script("train.py", "--config", config, "--model.sigma=0.5", "--print_config", cwd=tmp_path)
    printed = yaml.safe_load(done.stdout)
    assert printed["model"]["init_args"]["sigma"] == 0.5
    assert printed["trainer"]["max_epochs"] == {"digits": 120, "mnist": 90, "cifar10": 150, "imagenet": 90}[data]


def test_without_arguments_it_is_the_digits_job():
    job = yaml.safe_load((ROOT / "configs" / "default.yaml").read_text())
    assert train._base_config([]) == train._base_config(["--name", "x"]) == (job, [])
    with pytest.raises(FileNotFoundError, match="no run to resume: there is no runs/none/config.yaml"):
        train._base_config(["--name", "x", "--resume", "runs/none"])
