"""A user's own objects, named on the real command lines from a working directory that holds their modules."""

import json

import pytest
import torch
from conftest import run_script

from lightning_rs.checkpoints import load_checkpoint
from lightning_rs.cli import told, words_after

MODULES = {
    "mydata.py": """
from lightning_rs.data import Digits, ImageDataModule
from torch.utils.data import TensorDataset


class MyData(ImageDataModule):
    levels = 16

    def __init__(self, rows: int = 128, batch_size: int = 32, num_workers: int = 0):
        super().__init__(batch_size, num_workers)
        self.rows = rows
        images, labels = self.load("train").tensors
        self.num_classes, self.shape = int(labels.max()) + 1, tuple(images.shape[1:])
        self.mean, self.std = [float(images.mean())], [float(images.std())]

    def load(self, split):
        return TensorDataset(*(tensor[: self.rows] for tensor in Digits().load(split).tensors))


class NoMean(Digits):
    mean = property(lambda self: getattr(self, "nothing"))
""",
    "mynet.py": """
from torch import nn


def make_net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
""",
    "mystage/__init__.py": "from mystage.scale import Scale",
    "mystage/scale.py": """
from torch import nn


class Scale(nn.Module):
    def __init__(self, images, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x
""",
    "named.py": """
from lightning_rs.models import Architecture, Stage
from mynet import make_net
from mystage import Scale

MINE = Architecture("mine", make_net, channels=1, size=8)
SCALE = Stage("scale", lambda images, factor=2.0: Scale(images, factor))
""",
}
TRAIN = (
    "--trainer.max_epochs=1",
    "--live_certification.every_n_epochs=0",
    "--certification.limit=2",
    "--certification.n=100",
    "--wandb.mode=disabled",
    "--trainer.accelerator=cpu",
)
CERTIFY = ("--n=100", "--limit=2", "--wandb_mode=disabled", "--accelerator=cpu", "--output=out")


def write_modules(folder):
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        module = name.partition("/")[0].removesuffix(".py")
        (folder / name).write_text(f"open('imported-{module}', 'w').close()\n{text}")
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Working directory with a user's modules, and a run that uses all of them by path."""
    folder = write_modules(tmp_path_factory.mktemp("project"))
    stages = '--model.stages=["mystage.Scale:factor=2", normalize, net]'
    named = ("--data=mydata.MyData", "--model.architecture=mynet.make_net", stages)
    run_script("train.py", *TRAIN, *named, "--name=run", cwd=folder)
    return folder


CHECKPOINT = "runs/run/checkpoints/last.ckpt"


def test_the_checkpoint_holds_names_and_facts_in_plain_values(project):
    content = torch.load(project / CHECKPOINT, weights_only=True)
    data = content["lightning_rs"]["data"]
    assert data["name"] == "mydata.MyData"
    assert data["init_args"] == {"rows": 128, "batch_size": 64, "num_workers": 0}
    assert (data["facts"]["num_classes"], data["facts"]["shape"]) == (10, [1, 8, 8])
    h = content["hyper_parameters"]
    assert (h["architecture"], h["mean"]) == ("mynet.make_net", data["facts"]["mean"])
    assert h["stages"] == ["mystage.Scale:factor=2", "normalize", "net"]
    with pytest.raises(ValueError, match="unknown model 'mynet.make_net'.* give --arch mynet.make_net to certify.py"):
        load_checkpoint(project / CHECKPOINT)


def test_certify_finds_what_the_user_names(project):
    """With the stage in front, the records are those that the training wrote."""
    named = ("--arch=mynet.make_net", "--data=mydata.MyData", "--plugins=mystage")
    run_script("certify.py", f"--checkpoint={CHECKPOINT}", *named, *CERTIFY, "--batch_size=1000", cwd=project)

    def records(folder):
        lines = (project / folder / "records-0.jsonl").read_text().splitlines()[1:]
        # A check sum begins at the digest of its run, and the two differ in what they say of it.
        return [json.loads(line) | {"seconds": 0, "check": ""} for line in lines]

    assert records("out") == records("runs/run/certification")
    again = ("recertify", "out", "--alpha=0.01", "--plugins=[mystage, mydata]")
    run_script("certify.py", *again, cwd=project)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ((), "what only a file names is never imported: if it is yours, give --arch mynet.make_net"),
        (("--arch=mynet.make_net",), "stage 'mystage.Scale'; known: channels, denoiser, net, normalize, resize; wh"),
        (("--plugins=mystage", "--arch=mynet.make_net"), "give --data mydata.MyData or --plugins mydata"),
        (("--plugins=mystage", "--arch=mynet.nothing"), "error: module mynet has no nothing"),
        (("--plugins=mystage", "--arch=mystage.Scale"), "its architecture is mynet.make_net, not mystage.Scale"),
        (("--plugins=nothing",), "error: module nothing cannot be imported: ModuleNotFoundError"),
    ],
)
def test_certify_imports_nothing_that_only_the_file_names(project, named, message, tmp_path):
    write_modules(tmp_path)
    checkpoint = project / CHECKPOINT
    done = run_script("certify.py", f"--checkpoint={checkpoint}", *named, *CERTIFY, cwd=tmp_path, status=2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
    imported = {path.name.removeprefix("imported-") for path in tmp_path.glob("imported-*")}
    assert imported <= {word.partition("=")[2].split(".")[0] for word in named}


def test_plugins_are_saved_with_the_run_and_found_by_name(tmp_path):
    folder = write_modules(tmp_path)
    named = ("--plugins=[named, mydata]", "--data=MyData", "--model.architecture=mine")
    named = (*named, "--model.schedule.name=constant")
    stages = "--model.stages=[scale, normalize, net]"
    run_script("train.py", *TRAIN, *named, stages, "--name=run", cwd=folder)
    weights = torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"]
    assert {key.split(".")[1] for key in weights} == {"normalize", "net"}
    resume = ("--resume=runs/run", "--trainer.max_epochs=2")
    refused = run_script("train.py", *resume, cwd=folder, status=2)
    assert "data.class_path is 'mydata.MyData', which is no part of this project" in refused.stderr
    run_script("train.py", *resume, "--trust", cwd=folder)
    assert torch.load(folder / CHECKPOINT, weights_only=True)["epoch"] == 1
    run_script("certify.py", f"--checkpoint={CHECKPOINT}", "--plugins=[named, mydata]", *CERTIFY, cwd=folder)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("--data=mydata.NoMean", "error: NoMean does not say its mean: set it in the class or in __init__"),
        ("--data=mydata.Other", "error: Problem with given class_path 'mydata.Other': module 'mydata' has no at"),
        ("--model.architecture=nowhere.net", "error: module nowhere cannot be imported: ModuleNotFoundError"),
        ("--model.architecture=mynet.nn", "error: mynet.nn is no architecture: it must map the number of classes to"),
        ("--model.stages=[normalize]", "error: stages must be different ones, and one of them net, got ['normalize']"),
        ("--plugins=nowhere", "error: module nowhere cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_named_ends_in_one_line(named, message, tmp_path):
    write_modules(tmp_path)
    done = run_script("train.py", *TRAIN, named, cwd=tmp_path, status=2)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Seed set to")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(message)
    assert not (tmp_path / "runs").exists()


def test_a_function_that_makes_a_stage_is_named_to_both_commands(tmp_path):
    write_modules(tmp_path)
    (tmp_path / "blur.py").write_text("from torch import nn\ndef blur(images):\n    return nn.AvgPool2d(3, 1, 1)\n")
    run_script("train.py", *TRAIN, "--model.stages=[blur.blur, normalize, net]", "--name=run", cwd=tmp_path)
    done = run_script("certify.py", f"--checkpoint={CHECKPOINT}", *CERTIFY, cwd=tmp_path, status=2)
    assert "if it is yours, give --stages '[blur.blur]'" in done.stderr
    run_script("certify.py", f"--checkpoint={CHECKPOINT}", "--stages=[blur.blur]", *CERTIFY, cwd=tmp_path)
    assert len((tmp_path / "out" / "records-0.jsonl").read_text().splitlines()) == 1 + 2


def test_plugins_of_a_configuration_and_of_its_bases_are_imported(tmp_path):
    (tmp_path / "base.yaml").write_text("plugins: [nowhere]\n")
    (tmp_path / "own.yaml").write_text("base: base.yaml\nrunts: runs\n")
    for option in ("--config=own.yaml", "-c=own.yaml"):
        done = run_script("train.py", option, cwd=tmp_path, status=2)
        assert "module nowhere cannot be imported: ModuleNotFoundError" in done.stderr
    done = run_script("train.py", "--plugins=[a", cwd=tmp_path, status=2)
    assert "error: --plugins is not YAML: " in done.stderr and "Traceback" not in done.stderr


def test_what_is_said_before_parsing():
    configs = [{"plugins": "a"}, {"plugins": ["b", "c"]}, {"other": 1}]
    assert told("plugins", [], configs) == ["b", "c"]
    assert told("plugins", ["--x", "1", "--plugins", "d"], configs) == "d"
    assert told("plugins", ["--plugins=[d, e]", "--x"], configs) == ["d", "e"]
    assert told("plugins", ["--x"]) is None
    assert words_after(["--config", "a", "-c=b", "--configs=c"], "--config", "-c") == ["a", "b"]
