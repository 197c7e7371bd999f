"""Train a base classifier under noise, certify it live, and certify the result.

python train.py                                          the digits job of configs/default.yaml
python train.py --config configs/cifar10/gaussian_0.25.yaml --data.data_dir /path/to/data
python train.py --model.sigma 0.5 --trainer.max_epochs 200 --name my-run
python train.py --resume runs/my-run                     go on where it was interrupted
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_only

from callbacks import CertificationCallback, TrainingProgress, resumable
from lightning_rs.checkpoints import check_continues
from lightning_rs.cli import TrainParser, WandbMode, clean_exit, fail, free_directory, make_loggers, quiet_libraries
from lightning_rs.data import ImageDataModule
from lightning_rs.objectives import OBJECTIVES, SmoothingModule

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "default.yaml"


class TrainCLI(LightningCLI):
    """LightningCLI with the data set's description linked into the model, and one directory for all that is written."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, default=None, help="Name of the run and of its directory.")
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument(
            "--resume",
            type=str | None,
            default=None,
            help="Directory of an interrupted run: go on from its last checkpoint, with its config.yaml.",
        )
        parser.add_argument("--wandb.project", type=str, default="lightning_rs", help="W&B project.")
        parser.add_argument(
            "--wandb.mode",
            type=WandbMode,
            default="auto",
            help="auto: online if there is an API key, otherwise offline.",
        )
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(CertificationCallback, "live_certification")
        parser.add_lightning_class_args(CertificationCallback, "certification")
        for target, attribute in (
            ("num_classes", "num_classes"),
            ("input_shape", "shape"),
            ("mean", "mean"),
            ("std", "std"),
        ):
            parser.link_arguments(
                f"data.{attribute}", f"model.init_args.{target}", compute_fn=_plain, apply_on="instantiate"
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config, objects = self.config, self.config_init
        if not rank_zero_only.rank:
            # Missing files and images that do not fit are found before anything is written.
            self.datamodule.prepare_data()
            self.datamodule.dataset("train")
            for callback in (objects.live_certification, objects.certification):
                callback.subset(self.datamodule.dataset(callback.split))
                callback.check(float(self.model.sigma), self.datamodule.shape)
        monitor = config.checkpoint.monitor
        if monitor and monitor.startswith("certify/") and config.live_certification.every_n_epochs != 1:
            raise ValueError(
                f"monitoring {monitor} needs --live_certification.every_n_epochs 1, "
                f"got {config.live_certification.every_n_epochs}"
            )
        if config.name is not None and (Path(config.name).name != config.name or config.name in ("", ".", "..")):
            raise ValueError(f"name must be the name of a folder, got {config.name!r}")
        name = config.name or "-".join(
            [type(self.datamodule).__name__.lower(), type(self.model).__name__.lower(), f"sigma{self.model.sigma:g}"]
        )
        self.last_checkpoint, resumed_at = None, None
        if config.resume:
            self.directory = Path(config.resume)
            self.last_checkpoint = self.directory / "checkpoints" / "last.ckpt"
            epochs, resumed_at = check_continues(self.last_checkpoint, self.model, self.datamodule)
            planned = yaml.safe_load((self.directory / "config.yaml").read_text())["trainer"]["max_epochs"]
            if self.model.schedule.name == "cosine" and config.trainer.max_epochs != planned:
                raise ValueError(
                    f"the cosine schedule of {self.directory} ends after {planned} epochs; with "
                    f"{config.trainer.max_epochs} the rate would rise again: train anew, or with another schedule"
                )
            config.resume = None  # The saved configuration repeats the run, it does not resume it.
            # An interrupted certification goes on; one of weights that are trained further stays as it is.
            certification = self.directory / "certification"
            if epochs != config.trainer.max_epochs:
                certification = free_directory(self.directory, "certification")
        else:
            self.directory = free_directory(Path(config.runs), name)
            certification = self.directory / "certification"
        objects.checkpoint.dirpath = str(self.directory / "checkpoints")
        objects.certification.output = str(certification)
        kwargs["default_root_dir"] = str(self.directory)
        if config.trainer.logger is None or config.trainer.logger is True:
            kwargs["logger"] = make_loggers(self.directory, config.wandb.project, config.wandb.mode, resumed_at)
        chosen = any("ProgressBar" in callback.class_path for callback in config.trainer.callbacks or [])
        if config.trainer.enable_progress_bar is not False and not chosen:
            objects.trainer.callbacks = [*(objects.trainer.callbacks or []), TrainingProgress()]
        try:
            return super().instantiate_trainer(**kwargs)
        except TypeError as error:
            raise ValueError(str(error)) from None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _base_config(arguments: list[str]) -> Path:
    """The configuration that the arguments change: of the run to resume, or the digits job."""
    for given, value in pairwise([*arguments, ""]):
        if given == "--resume" or given.startswith("--resume="):
            path = Path(value if given == "--resume" else given.split("=", 1)[1]) / "config.yaml"
            if not path.is_file():
                raise FileNotFoundError(f"no run to resume: there is no {path}")
            return path
    return DEFAULT_CONFIG


def main() -> None:
    quiet_libraries()
    with clean_exit():
        base_config = _base_config(sys.argv[1:])
        tuple(OBJECTIVES)  # The parser knows the classes that are imported.
        cli = TrainCLI(
            SmoothingModule,
            ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={"enable_model_summary": False},
            save_config_kwargs={"overwrite": True},
            parser_class=TrainParser,
            parser_kwargs={"default_config_files": [str(base_config)], "description": __doc__},
        )
    checkpoint = cli.trainer.checkpoint_callback
    try:
        with resumable(cli.trainer):
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.last_checkpoint, weights_only=True)
    except FloatingPointError as error:
        last = checkpoint and checkpoint.last_model_path
        fail(f"{error}; " + (f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"))
    best = checkpoint is not None and checkpoint.monitor and not cli.trainer.fast_dev_run
    path = checkpoint and (checkpoint.best_model_path if best else checkpoint.last_model_path)
    with resumable(cli.trainer):
        cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path="best" if best else None, verbose=False)
    if cli.trainer.is_global_zero and path:
        print(f"Certify again, or otherwise: python certify.py --checkpoint {path}")


if __name__ == "__main__":
    main()
