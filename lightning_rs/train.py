"""Train a base classifier under noise, certify it live, and certify the result.

python train.py                                          the digits job of configs/default.yaml
python train.py --config configs/cifar10/gaussian.yaml --data.data_dir /path/to/data
python train.py --model.sigma 0.5 --trainer.max_epochs 200 --name my-run
python train.py --resume runs/my-run                     go on where it was interrupted
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.callbacks import CertificationCallback, TrainingProgress
from lightning_rs.checkpoints import check_continues
from lightning_rs.cli import (
    TrainParser,
    WandbMode,
    clean_exit,
    ending_together,
    fail,
    free_directory,
    make_loggers,
    plug_in,
    quiet_libraries,
    told,
    words_after,
)
from lightning_rs.cli.config_bases import config_layers, expand_config_options
from lightning_rs.data import DATASETS, ImageDataModule
from lightning_rs.models import load_named
from lightning_rs.noise import NOISES
from lightning_rs.objectives import SmoothingModule

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "default.yaml"


class TrainCLI(LightningCLI):
    """LightningCLI with the data set's facts linked into the model, and one directory for all that is written.

    Attributes:
        directory: of the run.
        last_checkpoint: the one to go on from, of a run that is resumed.
    """

    directory: Path
    last_checkpoint: Path | None = None

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
        parser.add_argument(
            "--plugins", type=list[str] | str | None, default=None, help="Modules that define a user's own objects."
        )
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(CertificationCallback, "live_certification")
        parser.add_lightning_class_args(CertificationCallback, "certification")
        for target in ("num_classes", "input_shape", "mean", "std"):
            fact = partial(_fact, target.removeprefix("input_"))
            parser.link_arguments("data", f"model.init_args.{target}", compute_fn=fact, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(expand_config_options(sys.argv[1:] if args is None else args))

    def before_instantiate_classes(self) -> None:
        # The user named them, on the command line or in a configuration.
        model = self.config.model.init_args
        load_named(model.architecture, model.stages)
        NOISES.load(model.noise.partition(":")[0])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        DATASETS.add(type(self.datamodule))
        if not rank_zero_only.rank:
            # Missing files, and images and settings that do not fit, are found before anything is written.
            self._check_data()
        self._check_monitor()
        resumed_at = self._resume() if self.config.resume else self._start()
        kwargs["default_root_dir"] = str(self.directory)
        if self.config.trainer.logger is None or self.config.trainer.logger is True:
            wandb = self.config.wandb
            kwargs["logger"] = make_loggers(self.directory, wandb.project, wandb.mode, resumed_at)
        self._add_progress_bar()
        try:
            return super().instantiate_trainer(**kwargs)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def _check_data(self) -> None:
        self.datamodule.prepare_data()
        self.datamodule.description()
        self.datamodule.dataset("train")
        for callback in (self.config_init.live_certification, self.config_init.certification):
            dataset = self.datamodule.dataset(callback.split)
            name, levels = self.datamodule.name, self.datamodule.facts.levels
            callback.certification(self.model, dataset, name, levels).check()

    def _check_monitor(self) -> None:
        monitor, epochs = self.config.checkpoint.monitor, self.config.live_certification.every_n_epochs
        if monitor and monitor.startswith("certify/") and epochs != 1:
            raise ValueError(f"monitoring {monitor} needs --live_certification.every_n_epochs 1, got {epochs}")

    def _start(self) -> None:
        """Choose the directory of a new run."""
        name = self.config.name
        if name is not None and (Path(name).name != name or name in ("", ".", "..")):
            raise ValueError(f"name must be the name of a folder, got {name!r}")
        parts = (type(self.datamodule).__name__.lower(), type(self.model).__name__.lower())
        name = name or "-".join([*parts, f"sigma{self.model.sigma:g}"])
        self.directory = free_directory(Path(self.config.runs), name)
        self._write_to(self.directory / "certification")

    def _resume(self) -> int:
        """Go on in the directory of an interrupted run; returns the step that it reached."""
        self.directory = Path(self.config.resume)
        self.last_checkpoint = self.directory / "checkpoints" / "last.ckpt"
        epochs, step = check_continues(self.last_checkpoint, self.model, self.datamodule)
        now = self.config.trainer.max_epochs
        planned = yaml.safe_load((self.directory / "config.yaml").read_text())["trainer"]["max_epochs"]
        if self.model.schedule.name == "cosine" and now != planned:
            raise ValueError(
                f"the cosine schedule of {self.directory} ends after {planned} epochs; with {now} the rate would rise "
                "again: train anew, or with another schedule"
            )
        self.config.resume = None  # The saved configuration repeats the run, it does not resume it.
        # An interrupted certification goes on; one of weights that are trained further stays as it is.
        finished = epochs == now
        self._write_to(
            self.directory / "certification" if finished else free_directory(self.directory, "certification")
        )
        return step

    def _write_to(self, certification: Path) -> None:
        self.config_init.checkpoint.dirpath = str(self.directory / "checkpoints")
        self.config_init.certification.output = str(certification)

    def _add_progress_bar(self) -> None:
        chosen = any("ProgressBar" in callback.class_path for callback in self.config.trainer.callbacks or [])
        if self.config.trainer.enable_progress_bar is not False and not chosen:
            trainer = self.config_init.trainer
            trainer.callbacks = [*(trainer.callbacks or []), TrainingProgress()]


def _fact(name: str, data: ImageDataModule) -> Any:
    return data.facts.plain()[name]


def _base_config(arguments: list[str]) -> Path:
    """The configuration that the arguments change: of the run to resume, or the digits job."""
    for directory in words_after(arguments, "--resume"):
        path = Path(directory) / "config.yaml"
        if not path.is_file():
            raise FileNotFoundError(f"no run to resume: there is no {path}")
        model = (yaml.safe_load(path.read_text()) or {}).get("model", {})
        if isinstance(model.get("init_args", {}).get("optimizer"), str):
            raise ValueError(f"{directory} is of version 0.1: it can be certified, but its training cannot be resumed")
        return path
    return DEFAULT_CONFIG


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, as the arguments say; those of the command line when left out."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    quiet_libraries()
    with clean_exit():
        base_config = _base_config(arguments)
        configs = filter(os.path.isfile, (base_config, *words_after(arguments, "--config", "-c")))
        contents = [content for path in configs for content in config_layers(path).values()]
        plug_in(told("plugins", arguments, contents))
        cli = TrainCLI(
            SmoothingModule,
            ImageDataModule,
            args=arguments,
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
        with ending_together(cli.trainer.strategy):
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.last_checkpoint, weights_only=True)
    except FloatingPointError as error:
        last = checkpoint and checkpoint.last_model_path
        fail(f"{error}; " + (f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"))
    best = checkpoint is not None and checkpoint.monitor and not cli.trainer.fast_dev_run
    path = checkpoint and (checkpoint.best_model_path if best else checkpoint.last_model_path)
    with ending_together(cli.trainer.strategy):
        cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path="best" if best else None, verbose=False)
    if cli.trainer.is_global_zero and path:
        program = "python certify.py" if Path(sys.argv[0]).name == "train.py" else "lightning-rs certify"
        print(f"Certify again, or otherwise: {program} --checkpoint {path}")


if __name__ == "__main__":
    main()
