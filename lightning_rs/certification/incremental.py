"""Certify a changed classifier from the records of the one before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lightning_rs.certification.examples import Certification
from lightning_rs.certification.prior import Prior
from lightning_rs.certification.recorded import recorded_certification, recorded_subject
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.certification.subject import Subject
from lightning_rs.mechanisms.ugare import Ugare
from lightning_rs.results import RunDescription
from lightning_rs.results.description import told
from lightning_rs.results.runs import read_directory

# What both certifications have to agree in: draws are of the same images under the same noise.
_SAME = ("data", "split", "num_classes", "input_shape", "noise", "quantized", "sigma")
# What tells one classifier from another.
_CLASSIFIER = ("architecture", "denoiser", "weights_sha256", "normalization", "pixel_range", "weights", "precision")
_CLASSIFIER += ("channels_last", "fold_batch_norm", "compile")
# A tenth of the draws of before, if no number is asked for.
_FEWER = 10


def incremental_certification(
    certification: Certification,
    directory: str | Path,
    subject: Subject,
    checkpoint: str | None = None,
    **others: Any,
) -> Certification:
    """The certification of a changed classifier that goes on from the records of the one before.

    The classifier before is the subject's own where it has the weights and the architecture of the records, and only
    its preparation is changed; otherwise that of `checkpoint`, or of the training in whose folder the records lie. It
    takes the images of the records unless some are named, `ugare` unless another text of it is named, and a tenth of
    the records' draws unless another number than the default is asked for. The class was selected by the records'
    selection draws, which it has for its n0.

    Args:
        certification: of the changed classifier, as certified anew.
        directory: of the certification of the classifier before.
        subject: the changed classifier.
        checkpoint: file of the classifier before.
        others: see `recorded_subject`.

    Raises:
        OSError, ValueError: see `recorded_subject` and `read_directory`; records that cannot be gone on from, of other
            images or noise, that lack an image, or of the very same classifier; a classifier before of another
            architecture than theirs; other mechanisms; classifiers that answer at random.
    """
    records, run, _ = read_directory(directory)
    if run.like is not None:
        raise ValueError(f"{directory} is itself like another certification: give that of which it is like")
    if run.stochastic or certification.settings.stochastic:
        raise ValueError("like compares the answers of two classifiers, and takes none that are stochastic")
    if not run.n0 or any("look_counts" in record.statistics for record in records):
        raise ValueError(
            f"like needs a number of draws that was fixed in advance and a class that other draws selected; those of "
            f"{directory} are not such"
        )
    held = {record.index: record for record in records}
    certification = dataclasses.replace(certification, settings=_settings(certification.settings, run, list(held)))
    now = certification.describe()
    pairs = {key: (getattr(run, key), getattr(now, key)) for key in _SAME}
    if differing := {key: (there, new) for key, (there, new) in pairs.items() if there != new and there is not None}:
        raise ValueError(f"{directory} holds a certification of something else; it differs in {told(differing)}")
    if missing := [index for index in certification.indices if index not in held]:
        raise ValueError(f"{directory} holds no record of image {', '.join(map(str, missing[:5]))}: leave them out")
    if not run.differences(now).keys() & set(_CLASSIFIER):
        raise ValueError(
            f"{directory} is of this very classifier: nothing is changed, in weights, precision, channels_last, "
            "fold_batch_norm or compile; it is certified already, and report or recertify says how far"
        )
    same = now.weights_sha256 == run.weights_sha256 and run.architecture in (None, now.architecture)
    if checkpoint is None and same:
        before = subject
    else:
        before = recorded_subject(directory, run, checkpoint, advice="give it as --like_checkpoint FILE", **others)
    # Nets with other activations, say, may have the same weights: what it answers now is not what was counted then.
    if run.architecture not in (None, before.loaded.architecture):
        raise ValueError(
            f"{directory} is of the architecture {run.architecture}, and {before.name}, which is to be the classifier "
            f"before, of {before.loaded.architecture}"
        )
    prior = Prior(run, held, recorded_certification(directory, run, before, certification.device))
    return dataclasses.replace(certification, prior=prior)


def _settings(settings: CertificationSettings, run: RunDescription, held: list[int]) -> CertificationSettings:
    """Those of an incremental certification."""
    defaults = CertificationSettings()
    chosen: dict[str, Any] = {"n0": run.n0}
    if settings.n == defaults.n:
        chosen["n"] = -(-run.n // _FEWER)
    if list(settings.mechanisms) == list(defaults.mechanisms):
        chosen["mechanisms"] = [Ugare.name]
    if (settings.skip, settings.limit, settings.indices) == (1, None, None):
        chosen["indices"] = held
    settings = dataclasses.replace(settings, **chosen)
    if [type(mechanism) for mechanism in settings.mechanism_set.values()] != [Ugare]:
        raise ValueError(
            f"like certifies with {Ugare.name} alone, with options if any, got {', '.join(settings.mechanism_set)}"
        )
    return settings
