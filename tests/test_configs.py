"""Configurations build on each other, and every recipe of configs/ trains through the command line.

The data are stand-ins on disk, in the data sets' own formats.
"""

import csv
import math
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT
from data.stand_ins import accept_checksums, write_cifar, write_imagenet, write_mnist

import train
from lightning_rs.cli.config_bases import config_layers, merge_configs

DATA = ("digits", "mnist", "cifar10", "imagenet")
RECIPES = sorted(path for data in DATA for path in ROOT.glob(f"configs/{data}/*.yaml"))
OBJECTIVES = ("gaussian", "stability", "macer", "consistency", "smoothadv", "smoothmix")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    write_mnist(folder / "mnist", generator, train=516, test=4)
    write_cifar(folder / "cifar10", generator, rows=104)
    # Twelve classes have a second training image: a thousand are held out.
    write_imagenet(folder / "imagenet", lambda label: generator.integers(0, 256, (8, 8, 3), dtype=np.uint8), seconds=12)
    return folder


def printed(monkeypatch, capsys, *arguments):
    """The configuration that train.py arrives at."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments), "--print_config"])
    with pytest.raises(SystemExit) as done:
        train.main()
    assert done.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def leaves(config, above=()):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


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


@pytest.fixture
def files(tmp_path, monkeypatch):
    """b and c build on a, d on both; they lie in a folder beside the working directory."""
    contents = {
        "a.yaml": {"seed_everything": 5, "trainer": {"max_epochs": 3, "log_every_n_steps": 7}},
        "b.yaml": {"base": "a.yaml", "trainer": {"max_epochs": 4, "log_every_n_steps": 8}},
        "c.yaml": {"base": ["a.yaml"], "trainer": {"max_epochs": 5}, "data": {"init_args": {"batch_size": 16}}},
        "sub/d.yaml": {
            "base": ["../b.yaml", "../c.yaml"],
            "model": {"class_path": "lightning_rs.objectives.SmoothAdv", "init_args": {"m": 3}},
        },
        "e.yaml": {"base": "sub/d.yaml", "model": {"init_args": {"epsilon": 0.25}}},
    }
    for name, content in contents.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(yaml.safe_dump(content))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "files"


@pytest.mark.parametrize(
    "given", [["--config", "../files/e.yaml"], ["--config=../files/e.yaml"], ["-c", "../files/e.yaml"]]
)
def test_bases_come_first_and_each_once(given, files, monkeypatch, capsys):
    config = printed(monkeypatch, capsys, *given)
    assert config["trainer"]["max_epochs"] == 5  # c comes after b,
    assert config["trainer"]["log_every_n_steps"] == 8  # and does not bring a once more.
    assert config["seed_everything"] == 5
    assert config["data"]["class_path"] == "lightning_rs.data.Digits"
    assert config["data"]["init_args"]["batch_size"] == 16
    model = config["model"]
    assert model["class_path"] == "lightning_rs.objectives.SmoothAdv"
    # Of the file, of what it builds on, and of the default.
    assert (model["init_args"]["epsilon"], model["init_args"]["m"], model["init_args"]["lr"]) == (0.25, 3, 0.05)


def test_options_and_further_files_win_over_those_before(files, monkeypatch, capsys):
    (files / "last.yaml").write_text("base: a.yaml\ntrainer: {max_epochs: 9}\n")
    config = printed(
        monkeypatch,
        capsys,
        "--model.init_args.lr=0.2",
        "--data.init_args.batch_size=8",
        f"--config={files / 'e.yaml'}",
        "--config",
        files / "last.yaml",
        "--model.init_args.m=6",
    )
    assert config["trainer"]["max_epochs"] == 9
    assert config["trainer"]["log_every_n_steps"] == 8  # The base of the last file has been applied before.
    init_args = config["model"]["init_args"]
    assert (init_args["lr"], init_args["m"], config["data"]["init_args"]["batch_size"]) == (0.2, 6, 16)


def test_a_printed_configuration_is_complete(files, monkeypatch, capsys):
    config = printed(monkeypatch, capsys, "--config", files / "e.yaml", "--model.sigma=0.5")
    assert "base" not in config
    (files / "printed.yaml").write_text(yaml.safe_dump(config))
    assert printed(monkeypatch, capsys, "--config", files / "printed.yaml") == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: f.yaml", "configuration files build on each other in a circle: {f} -> {f}"),
        ("base: g.yaml", "configuration files build on each other in a circle: {f} -> {g} -> {f}"),
        ("base: [a.yaml, none.yaml]", "{f} builds on {none}, which is no file"),
        ("base: 3", "{f}: expected a mapping whose base is a path or a list of paths, got {{'base': 3}}"),
        ("base: a.yaml\ntrainer: {max_epoch: 3}", "Group 'trainer' does not accept option 'max_epoch'"),
    ],
)
def test_bases_that_cannot_be_are_one_line(content, message, files, monkeypatch, capsys):
    (files / "f.yaml").write_text(content)
    (files / "g.yaml").write_text("base: f.yaml")
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", str(files / "f.yaml")])
    with pytest.raises(SystemExit) as done:
        train.main()
    assert done.value.code == 2
    paths = {name: files / f"{name}.yaml" for name in ("f", "g", "none")}
    assert capsys.readouterr().err == f"error: {message.format(**paths)}\n"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
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
    accept_checksums(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.chdir(tmp_path)
    train.main()
    with (tmp_path / "runs" / "run" / "metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert row["step"] == "1"  # The second one: they count from 0.
    assert math.isfinite(float(row["train/loss"]))
