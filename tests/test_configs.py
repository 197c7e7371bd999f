"""Every file of configs/ trains through the command line, on stand-ins on disk in the data sets' own formats."""

import csv
import gzip
import math
import pickle
import struct
import sys

import numpy as np
import pytest
import torchvision
from conftest import ROOT
from PIL import Image

import train

CONFIGS = sorted(ROOT.glob("configs/*/*.yaml"))
OBJECTIVES = ("gaussian", "stability", "macer", "consistency", "smoothadv", "smoothmix")


def write_mnist(folder, generator):
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 516), ("t10k", 4)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", (np.arange(count) % 10).astype(np.uint8))):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(content)
            (raw / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


def write_cifar(folder, generator):
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = generator.integers(0, 256, (104, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": (np.arange(104) % 10).tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))


def write_imagenet(folder, generator):
    for split in ("train", "val"):
        for label in range(1000):
            (folder / split / f"n{label:08d}").mkdir(parents=True)
            # Twelve classes have a second training image: a thousand are held out.
            for i in range(2 if split == "train" and label < 12 else 1):
                colours = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(colours).save(folder / split / f"n{label:08d}" / f"{i}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, write in (("mnist", write_mnist), ("cifar10", write_cifar), ("imagenet", write_imagenet)):
        write(folder / name, generator)
    return folder


def test_there_are_configs_for_every_objective_data_set_and_sigma():
    names = {f"{path.parent.name}/{path.name}" for path in CONFIGS}
    for folder in ("digits", "mnist", "cifar10", "imagenet"):
        for sigma in ("0.25", "0.50", "1.00"):
            assert {f"{folder}/{objective}_{sigma}.yaml" for objective in OBJECTIVES} <= names


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_two_steps_through_the_command_line(path, data, tmp_path, monkeypatch):
    arguments = [
        f"--config={path}",
        "--data.batch_size=1",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--trainer.limit_val_batches=0",
        "--trainer.limit_test_batches=0",
        "--trainer.num_sanity_val_steps=0",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--live_certification.every_n_epochs=0",
        "--checkpoint.save_top_k=0",
        "--checkpoint.save_last=false",
        "--wandb.mode=disabled",
        "--name=run",
    ]
    if path.parent.name != "digits":
        arguments += [f"--data.data_dir={data / path.parent.name}", "--data.num_workers=0"]
    # The checksums are those of the published files; everything else is torchvision's reader as it is.
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: True)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.chdir(tmp_path)
    train.main()
    with (tmp_path / "runs" / "run" / "metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert row["step"] == "1"  # The second one: they count from 0.
    assert math.isfinite(float(row["train/loss"]))
