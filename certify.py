"""Certify a checkpoint: draw noisy copies of its data set's images, and turn the votes into certified radii.

python certify.py --checkpoint X                                certify
python certify.py report DIR_OR_TSV...                          tables and plots of certifications, side by side
python certify.py recertify DIR --alpha 0.01 --mechanisms ...   from the stored votes, without sampling
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from callbacks import CertificationCallback, StopCleanly, TrainingProgress, resumable
from lightning_rs.checkpoints import LoadedClassifier, data_of, load_checkpoint
from lightning_rs.checkpoints.foreign import doubt_about_normalization
from lightning_rs.checks import check_at_least
from lightning_rs.cli import CertifyParser, WandbMode, clean_exit, make_loggers, quiet_libraries
from lightning_rs.cli.commands import run_command
from lightning_rs.results import RunDescription, RunDirectory
from lightning_rs.results.wandb_payload import log_certification


def certify(
    checkpoint: str,
    sigma: float | None = None,
    n0: int = 100,
    n: int = 100_000,
    alpha: float = 0.001,
    mechanisms: list[str] = ["cohen", "cohen_two_sided"],  # noqa: B006
    radii: list[float] | None = None,
    arch: str | None = None,
    normalization: str | None = None,
    data: str | None = None,
    data_dir: str | None = None,
    download: bool | None = None,
    skip: int = 1,
    limit: int | None = None,
    indices: list[int] | None = None,
    batch_size: int | Literal["auto"] = 1000,
    seed: int = 0,
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32",
    channels_last: bool = False,
    fold_batch_norm: bool = False,
    compile: bool = False,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    devices: PositiveInt | Literal["auto"] = "auto",
    num_nodes: int = 1,
    output: str | None = None,
    wandb_project: str = "lightning_rs",
    wandb_mode: WandbMode = "auto",
    wandb_examples: int = 32,
) -> None:
    """Certify the test split with the classifier of a checkpoint.

    Appends one record per finished example, prints certified accuracy per mechanism and radius, and writes table and
    plots. Started again with the same arguments, it goes on where it stopped.

    Args:
        checkpoint: file that train.py wrote, for example runs/NAME/checkpoints/last.ckpt, or one of the field.
        sigma: standard deviation of the noise in pixel units; that of the training when left out.
        n0: noisy copies that select the class.
        n: noisy copies that certify it; with a sequential mechanism the most that may be drawn.
        alpha: failure probability of each certificate.
        mechanisms: names of mechanisms; all use the same noisy copies. With sequential_betting, drawing stops when it
            is known at which of the radii an image is certified.
        radii: l2 radii of the table in pixel units; chosen to suit sigma when left out.
        arch: architecture of a foreign checkpoint that does not name its own; torchvision's names serve too.
        normalization: of a foreign checkpoint: standardize, center, none, or numbers per channel as mean/std.
        data: name of the data set; that of the training when left out.
        data_dir: folder of the data set; that of the training when left out.
        download: fetch the data set when it is not there; as in the training when left out.
        skip: certify every skip-th image.
        limit: certify at most so many images.
        indices: certify these images of the test split instead.
        batch_size: noisy copies per call of the classifier, or auto, which tries sizes.
        seed: seed of the noise.
        precision: of the classifier; the noise is always drawn in float32.
        channels_last: keep images and weights in channels-last order, which many convolutions prefer.
        fold_batch_norm: multiply batch norms into the convolutions before them.
        compile: compile the classifier, on a GPU with CUDA graphs.
        accelerator: cpu, gpu or auto.
        devices: number of processes, or auto.
        num_nodes: number of machines.
        output: directory of the results; made beside the checkpoint when left out.
        wandb_project: W&B project.
        wandb_mode: auto is online if there is an API key, otherwise offline.
        wandb_examples: images in W&B's table of examples, evenly spaced.
    """
    with clean_exit():
        callback = CertificationCallback(
            split="test",
            skip=skip,
            limit=limit,
            indices=indices,
            n0=n0,
            n=n,
            alpha=alpha,
            radii=radii,
            mechanisms=mechanisms,
            batch_size=batch_size,
            seed=seed,
            precision=precision,
            channels_last=channels_last,
            fold_batch_norm=fold_batch_norm,
            compile=compile,
        )
        loaded = load_checkpoint(checkpoint, arch, data, normalization)
        module = LoadedClassifier(loaded, sigma)
        datamodule = data_of(loaded, data, data_dir=data_dir, download=download)
        if not rank_zero_only.rank:
            datamodule.prepare_data()
        dataset = datamodule.dataset("test")
        callback.subset(dataset)
        callback.check(module.sigma, datamodule.shape)
        check_at_least("wandb_examples", wandb_examples, 0)
        if loaded.foreign and not rank_zero_only.rank:
            doubt = doubt_about_normalization(loaded.base_classifier, dataset, type(datamodule))
            if doubt:
                print(f"warning: {doubt}", file=sys.stderr, flush=True)
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            callbacks=[TrainingProgress(), callback],
            limit_test_batches=1,  # The test loop only carries the certification, which reads the data set itself.
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        run = callback.describe(trainer, module, dataset, type(datamodule).__name__)
        directory = Path(output) if output else default_directory(Path(checkpoint), run)
        RunDirectory(directory).check(run)
        callback.output = str(directory)
        trainer.callbacks.append(StopCleanly(str(directory)))
        trainer.loggers = make_loggers(directory, wandb_project, wandb_mode, resumed_at=-1)
    with resumable(trainer):
        trainer.test(module, datamodule=datamodule, verbose=False)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                log_certification(logger.experiment, callback.records, run, directory, dataset, wandb_examples)


def default_directory(checkpoint: Path, run: RunDescription) -> Path:
    """A directory in the checkpoint's run, named after what is certified, so that the same run finds it again."""
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    return folder / f"certify-sigma{run.sigma:g}-n{run.n}-{run.digest[:8]}"


if __name__ == "__main__":
    quiet_libraries()
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        run_command(sys.argv[1:])
        raise SystemExit
    auto_cli(certify, as_positional=False, parser_class=CertifyParser, description=__doc__)
