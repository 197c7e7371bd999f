import copy
import datetime
import os

import pytest
import yaml

from lightning_rs.cli import run_config
from lightning_rs.cli.saved_config import sealed

RUN = {
    "seed_everything": 0,
    "trainer": {"accelerator": "auto", "devices": [0, 1], "max_epochs": 3, "logger": None, "precision": "16-mixed"},
    "model": {
        "class_path": "lightning_rs.objectives.Gaussian",
        "init_args": {"architecture": "digits_cnn", "optimizer": {"name": "sgd", "lr": 0.1}, "stages": ["net"]},
    },
    "data": {"class_path": "lightning_rs.data.MNIST", "init_args": {"data_dir": "/my.data", "download": False}},
    "name": "v1.b",
    "checkpoint": {"monitor": "certify/salman:bound=betting/accuracy@0.25", "dirpath": None},
    "certification": {"mechanisms": ["cohen", "cohen_two_sided:top_share=0.5"], "noise": "grid_gaussian:levels=255"},
}
PLAIN = b"model: {class_path: M}\ndata: {class_path: D}\n"
WITNESS = "open('ran', 'w').close()\nclass C:\n    pass\ndef call(*_, **__):\n    pass\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the configuration with a change to it into a folder that also holds a module that leaves a witness."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(WITNESS)

    def write(*keys, value=None, seal=sealed):
        config = copy.deepcopy(RUN)
        inner = config
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        if keys:
            inner[keys[-1]] = value
        (tmp_path / "config.yaml").write_text(seal(yaml.safe_dump(config)), encoding="utf-8")
        return tmp_path

    yield write
    assert not (tmp_path / "ran").exists()


def test_what_a_run_wrote_is_read_without_where_it_wrote(written):
    read = run_config(written("certification", "output", value="../../elsewhere"))
    assert read["model"] == RUN["model"]
    assert read["trainer"] == RUN["trainer"]
    assert "output" not in read["certification"]
    assert "dirpath" not in read["checkpoint"]
    assert read["data"]["init_args"] == {"data_dir": "/my.data"}


EVIL = {
    "a callback": ("trainer", "callbacks", [{"class_path": "runs.x.evil.C"}]),
    "a callback by its path alone": ("trainer", "callbacks", "evil.C"),
    "a list of paths": ("trainer", "callbacks", ["evil.C"]),
    "a writing callback of Lightning": (
        "trainer",
        "callbacks",
        [{"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": {"dirpath": "/"}}],
    ),
    "an importable callable": (
        "trainer",
        "callbacks",
        [{"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "evil.call"}}],
    ),
    "a class in an argument": (
        "trainer",
        "callbacks",
        [{"class_path": "callbacks.EMA", "init_args": {"decay": {"class_path": "evil.C"}}}],
    ),
    "a logger": ("trainer", "logger", [{"class_path": "pytorch_lightning.loggers.CSVLogger"}]),
    "a strategy": ("trainer", "strategy", {"class_path": "evil.C"}),
    "a strategy by its path": ("trainer", "strategy", "evil.C"),
    "a file of callbacks": ("trainer", "callbacks", "/elsewhere/callbacks"),
    "a file of a strategy": ("trainer", "strategy", "/elsewhere/strategy"),
    "plug-ins": ("plugins", ["evil"]),
    "one plug-in": ("plugins", "evil"),
    "an objective": ("model", "class_path", "evil.C"),
    "an architecture": ("model", "init_args", "architecture", "evil.call"),
    "a stage": ("model", "init_args", "stages", ["net", "evil.call:a=1"]),
    "a function of ours that writes": ("model", "init_args", "architecture", "lightning_rs.files.write_whole"),
    "a function of ours that imports": (
        "model",
        "init_args",
        "stages",
        ["net", "lightning_rs.registry.import_users_module:name=evil"],
    ),
    "a module of ours": ("model", "init_args", "noise", "lightning_rs.registry.importlib"),
    "something else of ours for a data set": ("data", "class_path", "lightning_rs.registry.import_users_module"),
    "a class in an argument of ours": ("model", "init_args", "noise", {"class_path": "lightning_rs.data.MNIST"}),
    "a noise": ("model", "init_args", "noise", "evil.C:scale=1"),
    "a data set": ("data", "class_path", "evil.C"),
    "a mechanism": ("certification", "mechanisms", ["evil.C"]),
    "a folder that is no identifier": ("model", "init_args", "architecture", "runs.my-run.evil.C"),
    "a noise of such a folder": ("model", "init_args", "noise", "runs.my-run.evil.C"),
    "letters of other alphabets": ("model", "init_args", "architecture", "runs.x.\u00e9vil.C"),
    "a list as text": ("model", "init_args", "stages", "[normalize, evil.C, net]"),
    "a mapping as text": ("model", "init_args", "schedule", "{class_path: evil.C}"),
    "plug-ins as keys": ("plugins", {"evil": 1}),
    "a date": ("certification", "n", datetime.date(2026, 1, 1)),
    "a file of loggers": ("trainer", "logger", "lg"),
    "a logger by its name": ("trainer", "logger", "WandbLogger"),
    "a file of profilers": ("trainer", "profiler", "lg"),
    "a file of strategies": ("trainer", "strategy", "lg"),
    "a file of plug-ins": ("trainer", "plugins", "lg"),
    "a download by a key of two parts": ("data.init_args.download", True),
    "a download deeper": ("data", "init_args", "options", {"init_args.download": True}),
    "a folder of tests by a key of two parts": ("live_certification.output", "/elsewhere"),
    "a style of a progress bar": (
        "trainer",
        "callbacks",
        [{"class_path": "pytorch_lightning.callbacks.RichProgressBar", "init_args": {"theme": "lg"}}],
    ),
    "a key of two parts": ("trainer.callbacks", "/elsewhere/callbacks"),
    "a key that appends": ("trainer", "callbacks+", "/elsewhere/callbacks"),
    "a key deep inside": ("data", "init_args", "options", [{"a.b": 1}]),
    "a file for a group": ("data", "init_args", "transform", {"class_path": "torchvision.transforms.ToTensor"}),
}


@pytest.mark.parametrize("case", EVIL)
def test_what_could_run_code_or_write_elsewhere_needs_trust(case, written):
    *keys, value = EVIL[case]
    folder = written(*keys, value=value)
    with pytest.raises(ValueError, match="which is no part of this project: if you trust .* resume with --trust$"):
        run_config(folder)
    read = run_config(folder, trust=True)
    for key in keys:
        read = read[key]
    assert read == value


@pytest.mark.parametrize("name", ["checkpoints", "metrics.csv", "certification/records-0.jsonl"])
def test_links_that_lead_out_need_trust(name, written):
    folder = written()
    (folder / "run" / "certification").mkdir(parents=True)
    (folder / "config.yaml").rename(folder / "run" / "config.yaml")
    (folder / "run" / "own.ckpt").symlink_to("config.yaml")
    (folder / "run" / "wandb").mkdir()
    (folder / "run" / "wandb" / "debug.log").symlink_to("/elsewhere/debug.log")
    assert run_config(folder / "run")["model"] == RUN["model"]
    (folder / "run" / name).symlink_to(folder / "elsewhere")
    with pytest.raises(ValueError, match=f"{name} is a link that leads out of .* resume with --trust$"):
        run_config(folder / "run")
    assert run_config(folder / "run", trust=True)["model"] == RUN["model"]


def test_a_pipe_is_not_waited_for(written):
    folder = written()
    os.mkfifo(folder / "metrics.csv")
    with pytest.raises(ValueError, match=r"metrics\.csv is neither a file nor a folder, where the training would read"):
        run_config(folder)


def test_a_run_from_before_check_sums_needs_trust(written):
    folder = written(seal=str)
    with pytest.raises(ValueError, match="has no check sum: .* resume with --trust$"):
        run_config(folder)
    assert run_config(folder, trust=True)["model"] == RUN["model"]


def test_a_key_with_line_ends_is_named_in_one_line(written):
    with pytest.raises(ValueError, match=r"config\.yaml: a key of model\.init_args is 'a.{1,2}nb', which") as caught:
        run_config(written("model", "init_args", "a\nb", value={"x": "evil.C"}))
    assert "\n" not in str(caught.value)


def test_the_command_line_replaces_or_vouches(written):
    folder = written("trainer", "callbacks", value=[{"class_path": "evil.C"}])
    assert "callbacks" not in run_config(folder, ["--resume", "x", "--trainer.callbacks=[]"])["trainer"]
    assert run_config(folder, ["--plugins", "evil"])["trainer"]["callbacks"] == [{"class_path": "evil.C"}]
    with pytest.raises(ValueError, match="trainer.callbacks.0..class_path is 'evil.C'"):
        run_config(folder, ["--plugins", "other"])
    folder = written("model", "init_args", "architecture", value="evil.call")
    assert "architecture" not in run_config(folder, ["--model.architecture=lenet"])["model"]["init_args"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not the configuration of a run: Expected `object`, got `null`"),
        (b"[1, 2]", "is not the configuration of a run: Expected `object`, got `array`"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe", "is no text"),
        (b"model: {x: \x00}", "is not YAML"),
        (b"[" * 100_000, "too deeply nested"),
        (b"[" * 900, "is not YAML"),
        (b"a: &a [1]\nb: *a\nmodel: {}", "has YAML aliases or tags"),
        (b"model: /etc/other.yaml", r"Expected `object`, got `str` - at `\$.model`"),
        (b"model: {class_path: a, init_args: other.yaml}", r"got `str` - at `\$.model.init_args`"),
        (PLAIN + b"trainer: {1: 2}", r"got `int` - at `key` in `\$.trainer`"),
        (b"model: {x: !!timestamp y}", "has YAML aliases or tags"),
        (b"model: {x: !!bool y}", "has YAML aliases or tags"),
        (b'"a\\nb": {}', "is not the configuration of a run: Object missing"),
        (b"model: {x: 2026-13-01}", "is not YAML: month must be in 1..12"),
        (b"1: {}", "is not the configuration of a run"),
        (PLAIN, "has no check sum: it is cut off, or was written before there were any"),
        (PLAIN + b"zz: 2001-99-99", "is not YAML: month must be in 1..12"),
    ],
)
def test_what_is_no_configuration_is_named(content, message, tmp_path):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        run_config(tmp_path)
    assert str(tmp_path / "config.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_anywhere_or_changed_is_found(written):
    path = written() / "config.yaml"
    whole = path.read_text()
    for end in range(0, len(whole), 7):
        path.write_text(whole[:end])
        with pytest.raises(ValueError, match=r"config\.yaml"):
            run_config(path.parent)
    path.write_text(whole.replace("max_epochs: 3", "max_epochs: 9"))
    with pytest.raises(ValueError, match="or train anew with --config"):
        run_config(path.parent)


def test_no_folder_and_an_old_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume: there is no .*none/config.yaml"):
        run_config(tmp_path / "none")
    (tmp_path / "config.yaml").write_text("data: {class_path: D}\nmodel: {class_path: M, init_args: {optimizer: sgd}}")
    with pytest.raises(ValueError, match="is of version 0.1: it can be certified"):
        run_config(tmp_path)
