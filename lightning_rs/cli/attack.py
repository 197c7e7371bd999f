"""`certify.py attack`: try to break what was certified."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.attack.balls import ball_of
from lightning_rs.attack.claims import claim_of
from lightning_rs.attack.directory import AttackDirectory
from lightning_rs.attack.outcome import Attacked, Example, Outcome
from lightning_rs.attack.search import attack_examples
from lightning_rs.attack.settings import AttackSettings
from lightning_rs.certification import Certification, check_labels, recorded_certification, recorded_subject
from lightning_rs.checks import check_known, check_radii
from lightning_rs.cli.devices import fabric_on
from lightning_rs.cli.interruption import ending_together, stopping_cleanly
from lightning_rs.cli.loggers import log_attack, log_hyperparameters, make_loggers
from lightning_rs.cli.remarks import say
from lightning_rs.cli.wandb_log import WandbMode
from lightning_rs.data import check_subset
from lightning_rs.mechanisms import ABSTAIN, Mechanism, parse_mechanism
from lightning_rs.progress import progress
from lightning_rs.results import Record, RunDescription
from lightning_rs.results.attack_figures import AttackedCertificates, AttackedRun, logged_attack
from lightning_rs.results.attack_report import write_attack
from lightning_rs.results.figures import default_radii
from lightning_rs.results.runs import read_directory

_ABSTAINED = Attacked(ABSTAIN, 0.0, 0.0)


def attack(
    directory: str,
    checkpoint: str | None = None,
    arch: str | None = None,
    weights: str | None = None,
    normalization: str | None = None,
    denoiser: str | None = None,
    data: str | None = None,
    data_args: dict[str, Any] | None = None,
    data_dir: str | None = None,
    stages: list[str] | None = None,
    mechanisms: list[str] | None = None,
    skip: int = 1,
    limit: int | None = None,
    indices: list[int] | None = None,
    radii: list[float] | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    output: str | None = None,
    wandb_project: str = "lightning_rs",
    wandb_mode: WandbMode = "auto",
    **settings: Any,
) -> None:
    """Try to break the certificates of a directory: within their radii, and how far beyond them.

    Ends with status 1 if more certificates are broken within their own radius than alpha allows. Started again with the
    same arguments, it goes on where it stopped.

    Args:
        directory: of a certification.
        checkpoint: file with the classifier that was certified; when left out that of the training in whose folder the
            directory lies.
        arch: architecture of a foreign checkpoint that does not name its own, or the net without one.
        weights: without a checkpoint what the net's library calls its weights.
        normalization: of a foreign checkpoint or net: standardize, center, none, or numbers per channel as mean/std.
        denoiser: what was put before the classifier when it was certified.
        data: name of the data set, or path of an own one; that of the training when left out.
        data_args: arguments of the data set, each also as --data.KEY VALUE; those of the training when left out.
        data_dir: short for --data.data_dir, the folder of the data set.
        stages: paths of own stages that the checkpoint names.
        mechanisms: those of the records to attack; all when left out.
        skip: attack every skip-th of the certified images.
        limit: attack at most so many of them.
        indices: attack these of them instead.
        radii: radii of the table; chosen to suit sigma when left out.
        accelerator: cpu, gpu or auto.
        output: directory of what is found; `attack` in the directory when left out.
        wandb_project: W&B project.
        wandb_mode: auto is online if there is an API key, otherwise offline.
        settings: see `AttackSettings`.
    """
    if rank_zero_only.rank:
        print(f"process {rank_zero_only.rank} has nothing to do: an attack is the first one's work", file=sys.stderr)
        return
    chosen = AttackSettings(**settings)
    check_subset(skip, limit, indices)
    radii = None if radii is None else list(check_radii(radii))
    records, run, notes = read_directory(directory)
    held = list(records[0].certificates)
    for label in mechanisms or ():
        check_known("mechanism of the records", label, held)
    records = _subset(directory, records, skip, limit, indices)
    data_args = ({} if data_dir is None else {"data_dir": data_dir}) | (data_args or {})
    how = {"weights": weights, "normalization": normalization, "denoiser": denoiser}
    subject = recorded_subject(directory, run, checkpoint, arch, data=data, data_args=data_args, stages=stages, **how)
    fabric = fabric_on(accelerator)
    certification = recorded_certification(directory, run, subject, fabric.device)
    if run.compile:
        say("attacked without compilation, which leaves the scores what they are up to rounding")
        certification = dataclasses.replace(
            certification, settings=dataclasses.replace(certification.settings, compile=False)
        )
    check_labels(certification, records)
    shape = tuple(certification.image(records[0].index)[0].shape)
    attackable = _attackable(mechanisms or held, shape, said=mechanisms is not None)
    target = AttackDirectory(output or Path(directory) / "attack", _about(run, certification, attackable, chosen))
    target.check()
    _finished(target, records, attackable)  # What cannot be gone on with is said before any work.
    loggers = make_loggers(target.path, wandb_project, wandb_mode, resumed_at=-1)
    for note in notes:
        say(f"{directory}: {note}")
    kept = f"finished images are kept in {target.path}; start the same command again to go on"
    with ending_together(fabric.strategy), stopping_cleanly(lambda: kept, say=True), target.locked():
        outcomes = _attack_rest(certification, records, attackable, chosen, target)
        found = _attacked(run, outcomes, attackable, chosen.alpha)
        radii = radii or default_radii(run.sigma)
        log_hyperparameters(loggers, dataclasses.asdict(chosen))
        figures = write_attack(found, radii, target.path)
        seconds = {"attack/seconds": math.fsum(outcome.seconds for outcome in outcomes)}
        log_attack(loggers, found, logged_attack(figures, radii) | seconds, target.path)
    if any(row.too_many for row in figures):
        raise SystemExit(1)


def _attackable(labels: Sequence[str], shape: tuple[int, ...], said: bool) -> dict[str, Mechanism]:
    """The mechanisms by label; those of an unknown claim or norm are left out with a line, or refused if the user said
    them."""
    chosen: dict[str, Mechanism] = {}
    for label in labels:
        mechanism = parse_mechanism(label)  # What a file names is looked up, never imported.
        try:
            claim_of(mechanism)
            ball_of(mechanism, shape)
        except ValueError as error:
            if said:
                raise
            say(f"not attacked: {error}")
        else:
            chosen[label] = mechanism
    if not chosen:
        raise ValueError(f"nothing to attack: the certificates of {', '.join(labels)} cannot be")
    return chosen


def _subset(
    directory: str, records: Sequence[Record], skip: int, limit: int | None, indices: list[int] | None
) -> list[Record]:
    """The records to attack."""
    chosen = check_subset(skip, limit, indices)
    if chosen is None:
        return list(records[::skip][:limit])
    held = {record.index: record for record in records}
    if missing := [index for index in chosen if index not in held]:
        raise ValueError(f"{directory} holds no record of image {', '.join(map(str, missing[:5]))}")
    return [held[index] for index in chosen]


def _about(
    run: RunDescription, certification: Certification, mechanisms: Mapping[str, Mechanism], settings: AttackSettings
) -> dict[str, Any]:
    """Everything that an outcome depends on beside the image: the content of `attack.json`."""
    said = certification.environment()
    where = {key: getattr(said, key) for key in ("device", "versions", "commit")}
    where["weights_sha256"] = certification.describe().weights_sha256
    return {"run": run.digest, "mechanisms": list(mechanisms), **dataclasses.asdict(settings), **where}


def _attack_rest(
    certification: Certification,
    records: Sequence[Record],
    mechanisms: Mapping[str, Mechanism],
    settings: AttackSettings,
    target: AttackDirectory,
) -> list[Outcome]:
    """The outcomes of the records: those that are there already, and those of the images that are not attacked yet."""
    found = _finished(target, records, mechanisms)
    rest = [record for record in records if record.index not in found]
    told = settings.method == "black_box"
    with target.appender() as file, progress(len(rest), "Attacking", "img", leave=False) as bar:
        for outcome in _attack_images(certification, rest, mechanisms, settings):
            file.append(outcome)
            found[outcome.index] = outcome
            bar.update()
            if outcome.method == "black_box" and not told:
                say("no gradient reaches the images: black-box search")
                told = True
    return [found[record.index] for record in records]


def _finished(
    target: AttackDirectory, records: Sequence[Record], mechanisms: Mapping[str, Mechanism]
) -> dict[int, Outcome]:
    """The outcomes that are there already, by image.

    Raises:
        ValueError: see `AttackDirectory.read`; or certificates were attacked that are not those of the records.
    """
    found = {outcome.index: outcome for outcome in target.read()}
    for record in records:
        if (outcome := found.get(record.index)) is None:
            continue
        certified = {label: (c.prediction, c.radius) for label, c in record.certificates.items() if label in mechanisms}
        attacked = {label: (one.prediction, one.radius) for label, one in outcome.attacked.items()}
        if attacked != {label: one for label, one in certified.items() if one[0] != ABSTAIN}:
            raise ValueError(f"{target.path} holds an attack on other certificates of image {record.index}")
    return found


def _attack_images(
    certification: Certification,
    records: Sequence[Record],
    mechanisms: Mapping[str, Mechanism],
    settings: AttackSettings,
) -> Iterator[Outcome]:
    if not records:
        return
    examples = (
        Example(
            index=record.index,
            image=certification.image(record.index)[0],
            label=record.label,
            certificates={label: record.certificates[label] for label in mechanisms},
        )
        for record in records
    )
    first, _ = certification.image(records[0].index)
    yield from attack_examples(
        certification.prepared(first.to(certification.device)),
        certification.num_classes,
        certification.noise,
        mechanisms,
        examples,
        settings,
        stochastic=certification.settings.stochastic,
    )


def _attacked(
    run: RunDescription, outcomes: Sequence[Outcome], mechanisms: Mapping[str, Mechanism], alpha: float
) -> AttackedRun:
    """What was found about the certificates."""
    certificates = {}
    for label, mechanism in mechanisms.items():
        found = [outcome.attacked.get(label, _ABSTAINED) for outcome in outcomes]
        certificates[label] = AttackedCertificates(
            norm=mechanism.norm,
            prediction=np.array([one.prediction for one in found], dtype=np.int64),
            radius=np.array([one.radius for one in found], dtype=np.float64),
            distance=np.array([one.distance for one in found], dtype=np.float64),
        )
    index, label = (np.array([getattr(one, name) for one in outcomes], dtype=np.int64) for name in ("index", "label"))
    return AttackedRun(run, alpha, index, label, certificates)
