"""Certify a checkpoint: draw noisy copies of its data set's images, and turn the votes into certified radii.

python certify.py --checkpoint X                                certify
python certify.py report DIR_OR_TSV...                          tables and plots of certifications, side by side
python certify.py recertify DIR --alpha 0.01 --mechanisms ...   from the stored votes, without sampling
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt
from lightning_fabric import Fabric

from lightning_rs.certification import Certification, CertificationSettings, certify_together
from lightning_rs.checkpoints import data_of, doubt_about_normalization, load_checkpoint, with_denoiser
from lightning_rs.checks import check_at_least
from lightning_rs.cli import (
    CertifyParser,
    WandbMode,
    clean_exit,
    ending_together,
    log_hyperparameters,
    log_records,
    log_run,
    make_loggers,
    plug_in,
    quiet_libraries,
    run_command,
    stopping_cleanly,
)
from lightning_rs.models import load_named, set_sigma
from lightning_rs.noise import make_noise
from lightning_rs.results import RunDescription, RunDirectory, write_report


def certify(
    checkpoint: str,
    sigma: float | None = None,
    arch: str | None = None,
    normalization: str | None = None,
    denoiser: str | None = None,
    data: str | None = None,
    data_dir: str | None = None,
    download: bool | None = None,
    stages: list[str] | None = None,
    plugins: list[str] | str | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    devices: PositiveInt | Literal["auto"] = "auto",
    num_nodes: int = 1,
    output: str | None = None,
    wandb_project: str = "lightning_rs",
    wandb_mode: WandbMode = "auto",
    wandb_examples: int = 32,
    **settings: Any,
) -> None:
    """Certify the test split with the classifier of a checkpoint.

    Appends one record per finished example, prints certified accuracy per mechanism and radius, and writes table and
    plots. Started again with the same arguments, it goes on where it stopped.

    Args:
        checkpoint: file that train.py wrote, for example runs/NAME/checkpoints/last.ckpt, or one of the field.
        sigma: standard deviation of the noise in pixel units; that of the training when left out.
        arch: architecture of a foreign checkpoint that does not name its own; torchvision's names and the path of an
            own one serve too.
        normalization: of a foreign checkpoint: standardize, center, none, or numbers per channel as mean/std.
        denoiser: what to put before the classifier: diffusion/FOLDER, diffusion/OWNER/MODEL of the hub, or a checkpoint
            that has a denoiser, which is taken from there.
        data: name of the data set, or path of an own one; that of the training when left out.
        data_dir: folder of the data set; that of the training when left out.
        download: fetch the data set when it is not there; as in the training when left out.
        stages: paths of own stages that the checkpoint names.
        plugins: own modules whose data sets, architectures, mechanisms, ... the checkpoint may name.
        accelerator: cpu, gpu or auto.
        devices: number of processes, or auto.
        num_nodes: number of machines.
        output: directory of the results; made beside the checkpoint when left out.
        wandb_project: W&B project.
        wandb_mode: auto is online if there is an API key, otherwise offline.
        wandb_examples: images in W&B's table of examples, evenly spaced.
        settings: see `CertificationSettings`.
    """
    with clean_exit():
        plug_in(plugins)
        chosen = CertificationSettings(**settings)
        check_at_least("wandb_examples", wandb_examples, 0)
        load_named(stages=stages or [])
        loaded = load_checkpoint(checkpoint, arch, data, normalization, {"data_dir": data_dir, "download": download})
        datamodule = data_of(loaded, data, data_dir=data_dir, download=download)
        try:
            fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
        except RuntimeError as error:  # No such device.
            raise ValueError(str(error)) from None
        if fabric.is_global_zero:
            datamodule.prepare_data()
        dataset = datamodule.dataset("test")
        sigma = loaded.sigma if sigma is None else sigma
        if sigma is None:
            raise ValueError("the checkpoint does not say the noise of its training: give sigma")
        classifier = loaded.base_classifier
        if denoiser is not None:
            loaded = with_denoiser(loaded, denoiser)
        set_sigma(loaded.base_classifier, sigma)
        levels = datamodule.facts.levels
        certification = Certification(
            base_classifier=loaded.base_classifier.to(fabric.device),
            architecture=loaded.architecture,
            num_classes=loaded.num_classes,
            noise=chosen.noise_for(make_noise(loaded.noise, sigma, levels), levels),
            dataset=dataset,
            data=datamodule.name,
            split="test",
            settings=chosen,
        )
        certification.check()
        certification.ask()
        run = certification.describe()
        directory = Path(output) if output else default_directory(Path(checkpoint), run)
        RunDirectory(directory).check(run)
        if loaded.foreign and fabric.is_global_zero:
            doubt = doubt_about_normalization(classifier, dataset, datamodule.facts)
            if doubt:
                print(f"warning: {doubt}", file=sys.stderr, flush=True)
        loggers = make_loggers(directory, wandb_project, wandb_mode, resumed_at=-1)
    with ending_together(fabric.strategy):
        fabric.launch()
        kept = f"finished examples are kept in {directory}; start the same command again to go on"
        with stopping_cleanly(lambda: kept, say=fabric.is_global_zero):
            start = time.perf_counter()
            about = {"architecture": loaded.architecture, "objective": loaded.objective, "sigma": sigma}
            about["training_sigma"] = loaded.sigma
            # Nothing is logged before the directory is this run's: one without run.json would be refused.
            begun = partial(log_hyperparameters, loggers, about)
            run, records = certify_together(certification, directory, begun=begun)
            if fabric.is_global_zero:
                radii = chosen.radii_for(run.sigma)
                log_run(loggers, records, run, radii, "certify_test", time.perf_counter() - start)
                write_report(records, run, radii, directory)
                log_records(loggers, records, run, directory, dataset, wandb_examples)


def default_directory(checkpoint: Path, run: RunDescription) -> Path:
    """A directory in the checkpoint's run, named after what is certified, so that the same run finds it again."""
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    return folder / f"certify-sigma{run.sigma:g}-n{run.n}-{run.digest[:8]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Certify, or run a subcommand, as the arguments say; those of the command line when left out."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    quiet_libraries()
    if arguments and not arguments[0].startswith("-"):
        run_command(arguments)
    else:
        auto_cli(certify, args=arguments, as_positional=False, parser_class=CertifyParser, description=__doc__)


if __name__ == "__main__":
    main()
