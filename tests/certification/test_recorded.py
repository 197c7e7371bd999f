import dataclasses
import gzip
import shutil

import pytest
import torch
from cases import make_subject
from conftest import ROOT

from lightning_rs.certification import (
    CertificationSettings,
    certify_examples,
    check_labels,
    recorded_certification,
    recorded_subject,
)
from lightning_rs.certification.recorded import settings_of
from lightning_rs.data import Digits
from lightning_rs.results import RunDirectory

CPU = torch.device("cpu")
SETTINGS = CertificationSettings(
    n0=50, n=300, alpha=0.01, mechanisms=["cohen"], indices=[0, 4], batch_size=70, seed=5, quantize=True
)


class Elsewhere(Digits):
    """Digits whose files are not there."""

    def load(self, split):
        raise FileNotFoundError("Digits not found at nowhere: give --data_dir")


class Shifted(Digits):
    """The same images with other labels, under the same name."""

    name = "Digits"

    def load(self, split):
        images, labels = super().load(split).tensors
        return torch.utils.data.TensorDataset(images, (labels + 1) % 10)


@pytest.fixture(scope="module")
def certification():
    return make_subject().certification(SETTINGS, CPU)


@pytest.fixture(scope="module")
def run(certification):
    return certification.describe()


def test_settings_are_those_of_the_run(run):
    settings = settings_of(run)
    noise = {"noise": "grid_gaussian:levels=16"}
    assert settings == dataclasses.replace(SETTINGS, batch_size=settings.batch_size, **noise)
    assert settings_of(dataclasses.replace(run, batch_size=70)) == dataclasses.replace(SETTINGS, **noise)  # As it was.
    with pytest.raises(ValueError, match="unknown mechanism 'mine.Own'"):
        settings_of(dataclasses.replace(run, mechanisms=("mine.Own",)))
    with pytest.raises(ValueError, match="unknown noise 'mine.Noise'"):
        settings_of(dataclasses.replace(run, noise="mine.Noise"))


def test_the_same_classifier_and_images_give_the_same_records(certification, run):
    again = recorded_certification("out", run, make_subject(), CPU)
    first, second = (
        [dataclasses.replace(record, seconds=0.0) for record in certify_examples(one, [0, 4])]
        for one in (certification, again)
    )
    assert first == second
    check_labels(again, first)


def test_another_classifier_and_other_images_are_refused(certification, run):
    subject = make_subject()
    subject.classifier[1].weight.data[0, 0] += 1e-3
    message = r"^out holds .* than last.ckpt and its data set: they differ in weights_sha256 \(.+ there, .+ now\)$"
    with pytest.raises(ValueError, match=message):
        recorded_certification("out", run, subject, CPU)
    with pytest.raises(ValueError, match=r'differ in data \("CIFAR10" there, "Digits" now\)'):
        recorded_certification("out", dataclasses.replace(run, data="CIFAR10"), make_subject(), CPU)
    with pytest.raises(FileNotFoundError, match="^the images of the records are missing: Digits not found at nowhere"):
        recorded_certification("out", run, make_subject(data=Elsewhere()), CPU)
    records = list(certify_examples(certification, [4]))
    shifted = recorded_certification("out", run, make_subject(data=Shifted()), CPU)
    label = records[0].label
    with pytest.raises(ValueError, match=f"image 4 has the label {(label + 1) % 10}, and its record {label}: these"):
        check_labels(shifted, records)


def test_what_old_records_do_not_say_is_not_compared(run):
    silent = dataclasses.replace(run, weights_sha256=None, num_classes=None)
    subject = make_subject()
    subject.classifier[1].weight.data[0, 0] += 1e-3
    assert recorded_certification("out", silent, subject, CPU).seed == 5


def test_the_checkpoint_of_the_training_around_is_found_by_its_weights(tmp_path):
    directory = shutil.copytree(ROOT / "tests" / "golden" / "fixed", tmp_path / "short" / "certification")
    run = RunDirectory(directory).run()
    (run_folder := directory.parent / "checkpoints").mkdir()
    last = run_folder / "last.ckpt"
    last.write_bytes(gzip.decompress((ROOT / "tests" / "golden" / "version1.ckpt.gz").read_bytes()))
    assert recorded_subject(directory, run).name == str(last)
    shutil.copy(last, run_folder / "zuletzt.ckpt")
    other = torch.load(last, weights_only=True)
    next(iter(other["state_dict"].values())).add_(1e-3)
    torch.save(other, last)
    (run_folder / ".last.1.part.ckpt").write_bytes(b"torn")
    assert recorded_subject(directory / "again", run).name == str(run_folder / "zuletzt.ckpt")
    with pytest.raises(ValueError, match="digits_cnn has no weights without a checkpoint: give --checkpoint"):
        recorded_subject(directory, dataclasses.replace(run, weights_sha256="0" * 64), arch="digits_cnn", data="Digits")
    with pytest.raises(ValueError, match="classifier is missing: .* no checkpoint in .*checkpoints has its weights: "):
        recorded_subject(directory, dataclasses.replace(run, weights_sha256="0" * 64))
    with pytest.raises(ValueError, match="classifier is missing: alone holds .* it lies in no training's folder: give"):
        recorded_subject("alone", run)
