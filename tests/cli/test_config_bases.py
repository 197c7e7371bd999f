"""Through train.py's command line, as far as it prints the configuration that it arrives at."""

import sys

import pytest
import yaml

import train
from lightning_rs.cli.config_bases import config_layers, expand_config_options, merge_configs


def printed(monkeypatch, capsys, *arguments):
    """The configuration that train.py arrives at."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments), "--print_config"])
    with pytest.raises(SystemExit) as done:
        train.main()
    assert done.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


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
    init_args = model["init_args"]
    assert (init_args["epsilon"], init_args["m"], init_args["optimizer"]["lr"]) == (0.25, 3, 0.05)


def test_options_and_further_files_win_over_those_before(files, monkeypatch, capsys):
    (files / "last.yaml").write_text("base: a.yaml\ntrainer: {max_epochs: 9}\n")
    config = printed(
        monkeypatch,
        capsys,
        "--model.init_args.optimizer.lr=0.2",
        "--data.init_args.batch_size=8",
        f"--config={files / 'e.yaml'}",
        "--config",
        files / "last.yaml",
        "--model.init_args.m=6",
    )
    assert config["trainer"]["max_epochs"] == 9
    assert config["trainer"]["log_every_n_steps"] == 8  # The base of the last file has been applied before.
    init_args = config["model"]["init_args"]
    assert (init_args["optimizer"]["lr"], init_args["m"], config["data"]["init_args"]["batch_size"]) == (0.2, 6, 16)


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


def test_layers_from_the_lowest_with_each_file_once(files):
    layers = config_layers("../files/e.yaml")
    assert list(layers) == [files / name for name in ("a.yaml", "b.yaml", "c.yaml", "sub/d.yaml", "e.yaml")]
    assert layers[files / "b.yaml"]["base"] == "a.yaml"
    (files / "list.yaml").write_text("- 3\n")
    (files / "torn.yaml").write_text("trainer: {max_epochs: 3\n")
    (files / "empty.yaml").write_text("")
    assert config_layers(files / "empty.yaml") == {files / "empty.yaml": {}}
    for name, message in (("list", r"expected a mapping .*, got \[3\]"), ("torn", "is not YAML: while parsing")):
        with pytest.raises(ValueError, match=f"{files}/{name}.yaml:? {message}"):
            config_layers(files / f"{name}.yaml")


def test_mappings_are_merged_key_by_key_and_other_values_replaced():
    contents = [
        {"base": "x", "a": {"b": 1, "c": {"d": 2}}, "e": [1, 2], "f": {"g": 1}},
        {"a": {"c": {"d": 3, "h": 4}}, "e": [5], "f": None},
    ]
    before = repr(contents)
    assert merge_configs(contents) == {"a": {"b": 1, "c": {"d": 3, "h": 4}}, "e": [5], "f": None}
    assert repr(contents) == before


def test_arguments_that_name_no_file_with_bases_stay_as_they_are(files):
    arguments = ["--name", "x", "--config", "none.yaml", "--config={seed_everything: 3}", "--config"]
    assert expand_config_options(arguments) == arguments
    assert expand_config_options(["-c", "../files/a.yaml", "--x=1"]) == [f"--config={files / 'a.yaml'}", "--x=1"]
