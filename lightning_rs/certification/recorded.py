"""The classifier and the images that records are of, found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_rs.certification.examples import Certification
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.certification.subject import Subject, load_subject
from lightning_rs.mechanisms import parse_mechanism
from lightning_rs.models import set_sigma, weights_digest
from lightning_rs.noise import NOISES
from lightning_rs.results import Record, RunDescription
from lightning_rs.results.description import told

# What has to be the same that certificates speak of the classifier and the images at hand, where the records say it.
_SAME = ("data", "num_classes", "weights_sha256", "normalization", "denoiser", "noise", "quantized", "sigma")


def recorded_subject(
    directory: str | Path,
    run: RunDescription,
    checkpoint: str | None = None,
    arch: str | None = None,
    weights: str | None = None,
    advice: str = "give --checkpoint FILE, or with --arch a net that has its weights",
    **others: Any,
) -> Subject:
    """The subject of a certification; without a `checkpoint` that of the run in whose folder the certification lies.

    Args:
        directory: of the certification.
        run: its `run.json`.
        checkpoint, arch, weights, others: see `load_subject`.
        advice: what to do if it is not found.

    Raises:
        OSError, ValueError: see `load_subject`; or no checkpoint is given, and none of the run has the weights that
            the records are of.
    """
    if checkpoint is not None or weights is not None:
        return load_subject(checkpoint, arch, weights, **others)
    files = _run_checkpoints(Path(directory))
    for file in files if run.weights_sha256 is not None else []:
        try:
            subject = load_subject(str(file), arch, **others)
        except ValueError:
            if arch is None:
                raise
            continue  # What is named may be a net without a checkpoint.
        set_sigma(subject.loaded.base_classifier, run.sigma)
        if weights_digest(subject.loaded.base_classifier) == run.weights_sha256:
            return subject
    if arch is not None:
        return load_subject(None, arch, **others)
    looked = f"no checkpoint in {files[0].parent} has its weights" if files else "it lies in no training's folder"
    raise ValueError(
        f"the classifier is missing: {directory} holds records and not the classifier that they are of, and {looked}: "
        f"{advice}"
    )


def recorded_certification(
    directory: str | Path, run: RunDescription, subject: Subject, device: torch.device
) -> Certification:
    """The certification that records are of, on a device that may be another.

    Args:
        directory: of the certification, for messages.
        run: its `run.json`.
        subject: see `recorded_subject`.
        device: where the classifier is to run.

    Raises:
        ValueError: a classifier or images that are not those of the records; what a file names and is not known here; a
            preparation that the device does not have.
        FileNotFoundError: the data set's files are not there.
    """
    try:
        certification = subject.certification(settings_of(run), device, run.sigma, run.split)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the images of the records are missing: {error}") from None
    now = certification.describe().to_dict()
    there = run.to_dict()
    differing = {key: (there[key], now.get(key)) for key in _SAME if key in there and there[key] != now.get(key)}
    if differing:
        raise ValueError(
            f"{directory} holds certificates of another classifier or of other images than {subject.name} and its data "
            f"set: they differ in {told(differing)}"
        )
    return certification


def check_labels(certification: Certification, records: Sequence[Record]) -> None:
    """Refuse images that are not those of the records, as far as their labels show it.

    Raises:
        ValueError: names the first image that has another label; or see `Certification.image`.
    """
    for record in records:
        _, label = certification.image(record.index)
        if label != record.label:
            where = f"{certification.data}, {certification.split} image {record.index}"
            raise ValueError(f"{where} has the label {label}, and its record {record.label}: these are other images")


def settings_of(run: RunDescription) -> CertificationSettings:
    """The settings with which a certification was made.

    Raises:
        ValueError: mechanisms or noise that are not known here: what only a file names is looked up, never imported.
    """
    said = run.to_dict()
    for mechanism in said.get("mechanisms", ()):
        parse_mechanism(mechanism)
    NOISES.get(run.noise_name)
    names = {field.name for field in dataclasses.fields(CertificationSettings)}
    values = {key: value for key, value in said.items() if key in names and value is not None}
    return CertificationSettings(**values | {"noise": run.noise, "quantize": run.quantized})


def _run_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of the training in whose folder a certification lies, or one made from its records; the last
    state of the training first."""
    for folder in list(directory.resolve().parents)[:2]:
        files = [path for path in folder.glob("checkpoints/*.ckpt") if not path.name.startswith(".")]
        if files:
            return sorted(files, key=lambda path: (path.name != "last.ckpt", path.name))
    return []
