"""Every recipe of configs/ is complete, says nothing twice, and trains: through the command line, or beside its base.

The data are stand-ins on disk, in the data sets' own formats.
"""

import csv
import math
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from data.stand_ins import accept_checksums, write_cifar, write_imagenet, write_mnist

import train
from lightning_rs import objectives
from lightning_rs.cli.config_bases import config_layers, merge_configs

DATA = ("digits", "mnist", "cifar10", "imagenet")
RECIPES = sorted(path for data in DATA for path in ROOT.glob(f"configs/{data}/*.yaml"))
OBJECTIVES = ("gaussian", "stability", "macer", "consistency", "smoothadv", "smoothmix")


def leaves(config, above=()):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def is_variant(path):
    """Whether a recipe is another one but for numbers that are said there too."""
    *bases, own = config_layers(path).values()
    said = dict(leaves(merge_configs(bases)))
    changes = [(said.get(key), value) for key, value in leaves(merge_configs([own]))]
    return bool(changes) and all(type(old) is type(new) and type(new) in (int, float) for old, new in changes)


VARIANTS = [path for path in RECIPES if is_variant(path)]
# Shallower nets of the same family. What differs from recipe to recipe is the objective.
SHALLOW = {"resnet50": "resnet18", "cifar_resnet110": "cifar_resnet20"}
DIGITS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    write_mnist(folder / "mnist", generator, train=516, test=4)
    write_cifar(folder / "cifar10", generator, rows=104)
    # Twelve classes have a second training image: a thousand are held out.
    write_imagenet(folder / "imagenet", lambda label: generator.integers(0, 256, (8, 8, 3), dtype=np.uint8), seconds=12)
    return folder


def test_every_objective_has_a_recipe_for_every_data_set():
    for data in DATA:
        assert {path.stem for path in RECIPES if path.parent.name == data} >= set(OBJECTIVES)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_file_repeats_nothing_that_its_bases_say(path):
    *bases, own = config_layers(path).values()
    said = dict(leaves(merge_configs(bases)))
    assert [key for key, value in leaves(own) if key in said and said[key] == value] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_recipes_leave_nothing_to_the_default(path):
    """They are merged over the digits job, whose learning rate and batch size must not leak into them."""
    config = merge_configs(config_layers(path).values())
    default = yaml.safe_load((ROOT / "configs" / "default.yaml").read_text())
    for section in ("model", "data"):
        assert set(default[section]["init_args"]) <= set(config[section]["init_args"])
    assert set(default["live_certification"]) - {"split"} <= set(config["live_certification"])
    assert set(default["certification"]) - {"split"} <= set(config["certification"])
    assert set(default["trainer"]) <= set(config["trainer"])
    sigma = path.stem.rpartition("_")[2]
    assert config["model"]["init_args"]["sigma"] == (float(sigma) if sigma[0].isdigit() else 0.25)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_objective_of_a_variant_takes_its_numbers(path):
    """Their bases are trained through the command line, with the same net and data."""
    model = merge_configs(config_layers(path).values())["model"]
    module = getattr(objectives, model["class_path"].rpartition(".")[2])(**model["init_args"] | DIGITS)
    torch.manual_seed(0)
    for _ in range(2):
        parts, _ = module.loss(torch.rand(8, 1, 8, 8), torch.arange(8))
        sum(parts.values()).backward()
        assert all(part.isfinite() for part in parts.values())
    assert module.sigma == model["init_args"]["sigma"]


def architecture(path):
    return merge_configs(config_layers(path).values())["model"]["init_args"]["architecture"]


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if path not in VARIANTS], ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_two_steps_through_the_command_line(path, data, tmp_path, monkeypatch, request):
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
    if path.stem.startswith("denoising"):
        arguments += [f"--model.classifier={request.getfixturevalue('checkpoint')}"]
    if path.parent.name == "digits" and path.stem == "catrs":
        arguments += [f"--model.baseline={request.getfixturevalue('checkpoint')}"]
    net, same = (architecture(recipe) for recipe in (path, path.with_name("gaussian.yaml")))
    assert net == same  # With which that one is trained.
    if path.stem != "gaussian" and net in SHALLOW:
        arguments += [f"--model.architecture={SHALLOW[net]}"]
    accept_checksums(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.chdir(tmp_path)
    train.main()
    with (tmp_path / "runs" / "run" / "metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert row["step"] == "1"  # The second one: they count from 0.
    assert math.isfinite(float(row["train/loss"]))
