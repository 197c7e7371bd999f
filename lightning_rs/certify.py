"""Certify a classifier: draw noisy copies of its data set's images, and turn the votes into certified radii.

python certify.py --checkpoint X                                certify what was trained
python certify.py --arch onnx/FILE --data D --sigma S ...       certify the net that you have
python certify.py plan --checkpoint X --budget 2h               what that will find and take, from a few draws
python certify.py report DIR_OR_TSV...                          tables and plots of certifications, side by side
python certify.py recertify DIR --alpha 0.01 --mechanisms ...   from the stored votes, without sampling
python certify.py merge DIRS... --output DIR                    one certification of several shards
python certify.py audit --quick                                 whether this installation keeps its promises
python certify.py attack DIR                                    how much of what is certified can be broken
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli

from lightning_rs.certification import (
    FAST,
    Certification,
    CertificationSettings,
    Subject,
    certify_on_ray,
    certify_together,
    fastest,
    incremental_certification,
    load_subject,
    told_settings,
)
from lightning_rs.checkpoints import doubt_about_normalization
from lightning_rs.checks import check_at_least
from lightning_rs.cli import (
    Engine,
    GroupedParser,
    WandbMode,
    clean_exit,
    ending_together,
    fabric_on,
    gather_data_options,
    log_hyperparameters,
    log_records,
    log_run,
    make_loggers,
    plug_in,
    quiet_libraries,
    ray_options,
    run_command,
    say,
    stopping_cleanly,
)
from lightning_rs.results import RunDescription, RunDirectory, Shard, write_report

_ABOUT = "Draw noisy copies of the images of a checkpoint's data set, and turn the\nvotes into certified radii."


def certify(
    checkpoint: str | None = None,
    sigma: float | None = None,
    arch: str | None = None,
    weights: str | None = None,
    normalization: str | None = None,
    denoiser: str | None = None,
    data: str | None = None,
    data_args: dict[str, Any] | None = None,
    data_dir: str | None = None,
    download: bool | None = None,
    stages: list[str] | None = None,
    like: str | None = None,
    like_checkpoint: str | None = None,
    plugins: list[str] | str | None = None,
    fast: bool = False,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    devices: int | Literal["auto"] = "auto",
    num_nodes: int = 1,
    engine: Engine = "lightning",
    workers: int | Literal["auto"] | None = None,
    cpus_per_worker: float | None = None,
    gpus_per_worker: float | None = None,
    address: str | None = None,
    shard: str | None = None,
    output: str | None = None,
    wandb_project: str = "lightning_rs",
    wandb_mode: WandbMode = "auto",
    wandb_examples: int = 32,
    **settings: Any,
) -> None:
    """Certify the test split with the classifier of a checkpoint, or with a net that has its weights.

    Appends one record per finished example, prints certified accuracy per mechanism and radius, and writes table and
    plots. Started again with the same arguments, it goes on where it stopped.

    Args:
        checkpoint: file that train.py wrote, for example runs/NAME/checkpoints/last.ckpt, or one of the field; none of
            a net that has its weights, such as onnx/FILE.
        sigma: standard deviation of the noise in pixel units; that of the training when left out.
        arch: architecture of a foreign checkpoint that does not name its own, or the net to certify without one;
            torchvision's names and the path of an own one serve too.
        weights: without a checkpoint what the net's library calls its weights, such as pretrained; own if the path
            of an own one returns a net that has them.
        normalization: of a foreign checkpoint or net: standardize, center, none, or numbers per channel as mean/std.
        denoiser: what to put before the classifier: diffusion/FOLDER, diffusion/OWNER/MODEL of the hub, or a checkpoint
            that has a denoiser, which is taken from there.
        data: name of the data set, or path of an own one; that of the training when left out.
        data_args: arguments of the data set, each also as --data.KEY VALUE; those of the training when left out.
        data_dir: short for --data.data_dir, the folder of the data set.
        download: short for --data.download, fetch the data set when it is not there.
        stages: paths of own stages that the checkpoint names.
        like: directory of a finished certification of a classifier of which this one is a changed copy: certifies with
            a tenth of its draws, or n if that is given, from its records and from how often both answer differently.
        like_checkpoint: the classifier that like is of, unless it lies in like's training or only its preparation is
            changed.
        plugins: own modules whose data sets, architectures, mechanisms, ... the checkpoint may name.
        fast: the fastest settings known for this machine, where no others are given, and the classifier bears them:
            precision, channels_last, fold_batch_norm, compile, batch_size. What they are is said, and recorded.
        accelerator: cpu, gpu or auto.
        devices: number of processes, or auto.
        num_nodes: number of machines.
        engine: lightning, whose processes are devices times num_nodes; or ray, whose workers may come and go.
        workers: number of those of Ray, or auto, as many as its machines hold.
        cpus_per_worker: cores of each worker of Ray, 1 when left out.
        gpus_per_worker: GPUs of each, or the share of one; 1 when left out, if it runs on GPUs.
        address: HOST:PORT of a Ray cluster, or auto for the one that this machine is of; Ray is started here without.
        shard: i/N certifies every N-th of the images from the i-th, in a folder of its own in that of the results; see
            certify.py merge.
        output: directory of the results; made beside the checkpoint when left out.
        wandb_project: W&B project.
        wandb_mode: auto is online if there is an API key, otherwise offline.
        wandb_examples: images in W&B's table of examples, evenly spaced.
        settings: see `CertificationSettings`.
    """
    with clean_exit():
        plug_in(plugins)
        chosen = CertificationSettings(**settings)
        part = None if shard is None else Shard.parse(shard)
        check_at_least("wandb_examples", wandb_examples, 0)
        wanted = {"workers": workers, "cpus_per_worker": cpus_per_worker, "gpus_per_worker": gpus_per_worker}
        pool = ray_options(engine, accelerator, devices, num_nodes, **wanted, address=address)
        short = {"data_dir": data_dir, "download": download}
        data_args = {key: value for key, value in short.items() if value is not None} | (data_args or {})
        parts = {"checkpoint": checkpoint, "arch": arch, "weights": weights, "normalization": normalization}
        parts |= {"denoiser": denoiser, "data": data, "data_args": data_args, "stages": stages}
        prior = (like, like_checkpoint)
        if like is None and like_checkpoint is not None:
            raise ValueError("like_checkpoint is the classifier that the records of like are of: give like, too")
        subject = load_subject(**parts)
        loaded = subject.loaded
        if pool is None:
            fabric = fabric_on(accelerator, devices, num_nodes)
        else:  # The workers sample; this process only compares and writes.
            fabric = fabric_on("auto" if pool.gpus_per_worker else "cpu")
        if fabric.is_global_zero:
            subject.data.prepare_data()
        certification = subject.certification(chosen, fabric.device, sigma)
        if fast:
            certification = fastest(certification, given=settings)
            settings |= {name: getattr(certification.settings, name) for name in FAST}  # Ray's workers take them, too.
            say(f"fast: {told_settings(certification)}")
        certification = replace(_with_prior(certification, subject, parts, prior), shard=part)
        chosen = certification.settings
        certification.check()
        run = certification.describe()
        directory = Path(output) if output else default_directory(checkpoint, run.whole)
        directory = directory if part is None else directory / part.folder
        RunDirectory(directory).check(run)
        certification.ask()
        if loaded.foreign and fabric.is_global_zero:
            doubt = doubt_about_normalization(subject.classifier, certification.dataset, subject.data.facts)
            if doubt:
                print(f"warning: {doubt}", file=sys.stderr, flush=True)
        loggers = make_loggers(directory, wandb_project, wandb_mode, resumed_at=-1)
    with ending_together(fabric.strategy):
        fabric.launch()
        kept = f"finished examples are kept in {directory}; start the same command again to go on"
        with stopping_cleanly(lambda: kept, say=fabric.is_global_zero):
            start = time.perf_counter()
            about = {"architecture": loaded.architecture, "objective": loaded.objective}
            about |= {"sigma": certification.noise.scale, "training_sigma": loaded.sigma}
            # Nothing is logged before the directory is this run's: one without run.json would be refused.
            begun = partial(log_hyperparameters, loggers, about)
            if pool is None:
                run, records = certify_together(certification, directory, begun=begun)
            else:
                load = partial(load_certification, plugins, parts, settings, sigma, prior)
                run, records = certify_on_ray(certification, load, pool, directory, begun=begun)
            if fabric.is_global_zero and not records:
                say(f"{directory}: shard {shard} of {len(run.indices)} images has none")
            elif fabric.is_global_zero:
                radii = chosen.radii_for(run.sigma)
                log_run(loggers, records, run, radii, "certify_test", time.perf_counter() - start)
                write_report(records, run, radii, directory)
                log_records(loggers, records, run, directory, certification.dataset, wandb_examples)


def load_certification(
    plugins: list[str] | str | None,
    parts: Mapping[str, Any],
    settings: Mapping[str, Any],
    sigma: float | None,
    prior: tuple[str | None, str | None],
    device: torch.device,
) -> Certification:
    """What `certify` certifies, as another process loads it, whose files have to be there.

    Args:
        plugins: own modules.
        parts: arguments of `load_subject`.
        settings: of `CertificationSettings`.
        sigma: see `certify`.
        prior: `like` and `like_checkpoint` of `certify`.
        device: where the classifier goes.

    Raises:
        OSError, ValueError: see `load_subject`, `Subject.certification` and `incremental_certification`.
    """
    plug_in(plugins)
    subject = load_subject(**parts)
    certification = subject.certification(CertificationSettings(**settings), device, sigma)
    return _with_prior(certification, subject, parts, prior)


def _with_prior(
    certification: Certification, subject: Subject, parts: Mapping[str, Any], prior: tuple[str | None, str | None]
) -> Certification:
    like, checkpoint = prior
    if like is None:
        return certification
    others = {name: parts[name] for name in ("arch", "denoiser", "data", "data_args", "stages")}
    return incremental_certification(certification, like, subject, checkpoint, **others)


def default_directory(checkpoint: str | None, run: RunDescription) -> Path:
    """A directory named after what is certified, so that the same run finds it again.

    It lies in the checkpoint's run; of a net without a checkpoint in a folder of its own.
    """
    name = f"certify-sigma{run.sigma:g}-n{run.n}-{run.digest[:8]}"
    if checkpoint is None:
        net = re.sub(r"[^\w.-]+", "-", Path(str(run.architecture)).name).strip(".-")
        return Path("runs") / (net or "net") / name
    folder = Path(checkpoint).parent
    return (folder.parent if folder.name == "checkpoints" else folder) / name


def main(arguments: Sequence[str] | None = None) -> None:
    """Certify, or run a subcommand, as the arguments say; those of the command line when left out."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    quiet_libraries()
    if arguments and not arguments[0].startswith("-"):
        run_command(arguments)
    else:
        with clean_exit():
            arguments = gather_data_options(arguments)
        auto_cli(certify, args=arguments, as_positional=False, parser_class=GroupedParser, description=_ABOUT)


if __name__ == "__main__":
    main()
