"""Every command of docs/own_data.md, in order, on small data of each kind."""

import re
import shlex

import datasets
import numpy as np
import pytest
import torch
from conftest import ROOT, run_script
from data.own_images import NAMES, digit_arrays, write_classes, write_folders
from data.stand_ins import write_mnist
from PIL import Image

TEXT = (ROOT / "docs" / "own_data.md").read_text()
SECTIONS = [part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE) if "```bash" in part]
TRAIN = ("--trainer.max_epochs=1", "--live_certification.every_n_epochs=0", "--certification.limit=2")
TRAIN = (*TRAIN, "--data.num_workers=0", "--certification.n=100", "--wandb.mode=disabled")
TRAIN = (*TRAIN, "--trainer.accelerator=cpu", "--data.batch_size=16")
CERTIFY = ("--n=100", "--limit=2", "--skip=1", "--wandb_mode=disabled", "--accelerator=cpu")


def make_data(folder):
    images, labels = digit_arrays(20)
    test, test_labels = digit_arrays(4, 20)
    write_folders(folder / "photos", train=10)
    write_classes(folder / "elsewhere" / "test", 4, start=20)
    write_classes(folder / "flowers", 20)
    split = {"train_images": images, "train_labels": labels, "test_images": test, "test_labels": test_labels}
    np.savez(folder / "shapes.npz", **split)
    np.savez(folder / "moved.npz", test_images=test, test_labels=test_labels)
    torch.save({"images": torch.from_numpy(images / 255.0), "labels": torch.from_numpy(labels)}, folder / "all.pt")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})

    def rows(images, labels):
        columns = {"image": list(map(Image.fromarray, images)), "label": labels.tolist()}
        return datasets.Dataset.from_dict(columns, features=features)

    saved = datasets.DatasetDict({"train": rows(images, labels), "test": rows(test, test_labels)})
    saved.save_to_disk(str(folder / "saved"))
    write_mnist(folder / "sets", np.random.default_rng(0), train=140, test=10)
    (folder / "sets" / "MNIST").rename(folder / "sets" / "FashionMNIST")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    make_data(folder)
    return folder


def commands_of(section):
    for block in re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL):
        for line in block.splitlines():
            yield shlex.split(line, comments=True)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition(":")[0])
def test_the_commands_of_a_section_run(section, folder):
    commands = list(commands_of(section))
    assert commands
    for python, script, *arguments in commands:
        assert python == "python"
        smaller = CERTIFY if script == "certify.py" else () if "--resume" in arguments else TRAIN
        run_script(script, *arguments, *smaller, cwd=folder)


def test_no_section_is_without_commands():
    assert len(SECTIONS) == 4
