"""An offline run of W&B, read back."""

import json

import numpy as np
import pytest
import torch
import wandb
import wandb_reader
from run_cases import ABOUT, DESCRIPTION, RECORDS, write_run
from torch.utils.data import TensorDataset

from lightning_rs.results import run_of_records
from lightning_rs.results.wandb_payload import log_certification, log_figures


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb")
    directory = write_run(folder / "out")
    images = TensorDataset(torch.linspace(0, 1, 4)[:, None, None, None].expand(4, 1, 2, 2), torch.arange(4))
    with wandb.init(dir=folder, mode="offline", settings=wandb.Settings(silent=True)) as run:
        log_figures(run, run_of_records(RECORDS, DESCRIPTION, "a"), "certify", 7)
        log_certification(run, RECORDS, DESCRIPTION, directory, images, 2, "certify")
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    wandb_reader.wait(path)
    return path


def table(logged, name):
    rows = [row for row in wandb_reader.history(logged) if f"certify/{name}/path" in row]
    return json.loads((logged.parent / "files" / rows[0][f"certify/{name}/path"]).read_text()), rows[0]


def test_settings_without_the_list_of_images(logged):
    settings = wandb_reader.config(logged)["certify"]
    assert settings == {key: value for key, value in ABOUT.items() if key != "indices"}


def test_the_plot_at_its_step(logged):
    curve, row = table(logged, "certified_accuracy_table")
    assert row["trainer/global_step"] == 7
    place = {name: i for i, name in enumerate(curve["columns"])}
    assert {cells[place["lineKey"]] for cells in curve["data"]} == {"cohen"}
    radius, accuracy = (np.array([cells[place[k]] for cells in curve["data"]]) for k in ("step", "lineVal"))
    assert len(radius) == 101 and radius[-1] == 0.5
    assert np.array_equal(accuracy, 0.25 * (radius < 0.5) + 0.25 * (radius < 0.1))


def test_examples_are_evenly_spaced(logged):
    rows, _ = table(logged, "examples")
    assert rows["columns"] == [
        "index", "image", "label", "clean prediction", "confidence", "cohen prediction", "cohen radius"
    ]  # fmt: skip
    assert [[row[0], *row[2:]] for row in rows["data"]] == [[0, 1, 1, 1.0, 1, 0.5], [2, 0, 0, 0.9, 2, 0.3]]


def test_records_are_an_artifact(logged):
    (artifact,) = [a for a in wandb_reader.artifacts(logged) if a.type == "certification"]
    assert {entry.path for entry in artifact.manifest.contents} == {"run.json", "records-0.jsonl"}
    about = json.loads(artifact.metadata)
    assert about["n"] == 10 and [(made["device"], made["images"]) for made in about["environments"]] == [(None, 4)]
