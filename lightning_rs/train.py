"""Train a base classifier under noise, certify it live, and certify the result.

python train.py                                          the digits job of configs/default.yaml
python train.py --config configs/cifar10/gaussian.yaml --data.data_dir /path/to/data
python train.py --model.sigma 0.5 --trainer.max_epochs 200 --name my-run
python train.py --fast                                   with the fastest settings known for this machine
python train.py --resume runs/my-run                     go on where it was interrupted
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.callbacks import CertificationCallback, TrainingProgress
from lightning_rs.checkpoints import (
    Resumable,
    RunCheckpoints,
    TrainedClassifier,
    load_baseline,
    load_initial_weights,
    net_config,
    resumable,
    run_and_checkpoint,
    sources_of,
    weights_for,
)
from lightning_rs.cli import (
    KeepHandlers,
    ResumeParser,
    SaveConfig,
    TrainParser,
    WandbMode,
    clean_exit,
    ending_together,
    expand_data_options,
    fail,
    make_loggers,
    plug_in,
    quiet_libraries,
    run_config,
    say,
    stopping_cleanly,
    told,
    words_after,
)
from lightning_rs.cli.config_bases import config_layers, expand_config_options, merge_configs
from lightning_rs.cli.fast_training import fastest_training, told_training
from lightning_rs.cli.trust import listed
from lightning_rs.data import DATASETS, ImageDataModule
from lightning_rs.files import free_directory, new_directory, only_writer, remove_parts
from lightning_rs.models import denoiser_stage, is_place, load_named
from lightning_rs.noise import NOISES
from lightning_rs.objectives import BaselineObjective, DenoiserObjective, SmoothingModule
from lightning_rs.preflight import check_places, check_training
from lightning_rs.smoothing.memory import keep_freed_memory

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "default.yaml"


class TrainCLI(LightningCLI):
    """LightningCLI with the data set's facts linked into the model, and one directory for all that is written.

    Args:
        base: content of the configuration that the command line changes; of a run that is resumed its own.
        *args, **kwargs: of `LightningCLI`.

    Attributes:
        directory: of the run.
        resumed_from: the checkpoint to go on from, of a run that is resumed.
        resumed: its content.
        classifier: that a new run trains a denoiser for.
    """

    directory: Path
    _lock: int | None = None
    resumed_from: Path | None = None
    resumed: Resumable | None = None
    classifier: TrainedClassifier | None = None

    def __init__(self, *args: Any, base: Mapping[str, Any], **kwargs: Any) -> None:
        self._base = base
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, default=None, help="Name of the run and of its directory.")
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument(
            "--resume",
            type=str | None,
            default=None,
            help="Directory of an interrupted run: go on from its last checkpoint, with its config.yaml; or another "
            "checkpoint of a run.",
        )
        parser.add_argument(
            "--trust", action="store_true", help="Resume with all that config.yaml names, others' classes too."
        )
        parser.add_argument(
            "--fast",
            action="store_true",
            help="The fastest settings known for this machine, where no others are given.",
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
        parser.add_argument(
            "--denoiser",
            type=str | None,
            default=None,
            help="Denoiser in front of the classifier: a name, diffusion/FOLDER or diffusion/OWNER/MODEL of the hub, "
            "with options as in NAME,option=value.",
        )
        parser.link_arguments("denoiser", "model.init_args.denoiser")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(CertificationCallback, "live_certification")
        parser.add_lightning_class_args(CertificationCallback, "certification")
        for target in ("num_classes", "input_shape", "mean", "std"):
            fact = partial(_fact, target.removeprefix("input_"))
            parser.link_arguments("data", f"model.init_args.{target}", compute_fn=fact, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.arguments = args
        args = expand_config_options(args)
        self.config = parser.parse_args(args)
        if self.config.fast:
            fast = fastest_training(self.config)
            # Whatever the user says comes after it, and wins.
            self.config = parser.parse_args([f"--config={yaml.safe_dump(fast)}", *args])
            self.config.fast = False  # The saved configuration says what was chosen.
            say(f"fast: {told_training(fast, self.config)}")

    def before_instantiate_classes(self) -> None:
        check_places(self.config)
        # The user named them, on the command line or in a configuration.
        model = self.config.model.init_args
        denoiser = self.config.denoiser
        if model.get("denoiser") != denoiser:
            raise ValueError(f"{self.config.model.class_path} takes no denoiser, got {denoiser}")
        denoisers = [] if denoiser is None else [denoiser_stage(denoiser)]
        stages = [*(model.stages or ()), *denoisers]
        load_named(model.architecture, stages, self._net_of_checkpoint(model.architecture))
        NOISES.load(model.noise.partition(":")[0])
        # A run that is resumed has all that was taken from the file.
        if issubclass(resolve_name(self.config.model.class_path), DenoiserObjective) and not self.config.resume:
            self.classifier = TrainedClassifier.named_in(self.config)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        DATASETS.add(type(self.datamodule))
        # Before the loss is looked at, which may ask it.
        if isinstance(self.model, BaselineObjective) and (line := load_baseline(self.model, self.datamodule)):
            say(line)
        check_training(self.config, self.config_init, self.model, self.datamodule)
        resumed_at = self._resume() if self.config.resume else self._start()
        kwargs["default_root_dir"] = str(self.directory)
        files = RunCheckpoints(self.directory / "checkpoints", self.resumed)
        kwargs["plugins"] = [*listed(self.config_init.trainer.plugins), files]
        self._add_callbacks()
        try:
            if self.config.trainer.logger is None or self.config.trainer.logger is True:
                wandb = self.config.wandb
                kwargs["logger"] = make_loggers(self.directory, wandb.project, wandb.mode, resumed_at)
            return super().instantiate_trainer(**kwargs)
        except Exception as error:
            with suppress(OSError):  # If they are empty, as for a first run.
                self.directory.rmdir()
                self.directory.parent.rmdir()
            raise ValueError(str(error)) from None if isinstance(error, TypeError) else error

    def _net_of_checkpoint(self, architecture: str) -> dict[str, Any] | None:
        """What the net of a resumed run is built from, if a file or a hub has it: nothing that only the run's folder
        names is read, and the run goes on without it."""
        if not (self.config.resume and is_place(architecture)) or words_after(self.arguments, "--model.architecture"):
            return None
        _, path = run_and_checkpoint(self.config.resume)
        return net_config(path, architecture)

    def _start(self) -> None:
        """Choose the weights and the directory of a new run."""
        if line := load_initial_weights(self.model):
            say(line)
        if self.classifier is not None:
            self.classifier.give(self.model, self.datamodule)
        name = self.config.name
        if name is not None and (Path(name).name != name or name in ("", ".", "..")):
            raise ValueError(f"name must be the name of a folder, got {name!r}")
        parts = (type(self.datamodule).__name__.lower(), type(self.model).__name__.lower())
        name = name or "-".join([*parts, f"sigma{self.model.sigma:g}"])
        if not rank_zero_only.rank:
            self.directory = new_directory(self.config.runs, name)
            if self.directory.name != name:
                say(f"{Path(self.config.runs) / name} is there already: this run is {self.directory}")
            self._lock = only_writer(self.directory, "training")
        else:  # It writes nothing of its own.
            self.directory = Path(self.config.runs) / name
        self._write_to(self.directory / "certification")

    def _resume(self) -> int:
        """Go on in the directory of an interrupted run; returns the step that it reached."""
        if words_after(self.arguments, "--name"):
            raise ValueError("a run that is resumed keeps its name: leave --name out, or rename its directory first")
        if not words_after(self.arguments, "--resume"):
            raise ValueError("resume is an option of the command line: a run goes on with its own config.yaml alone")
        for name in sources_of(self.model):
            if self.model.hparams[name] is not None:
                raise ValueError(f"a run that is resumed goes on from its own weights: leave --model.{name} out")
        self.directory, self.resumed_from = run_and_checkpoint(self.config.resume)
        if not rank_zero_only.rank:
            self._lock = only_writer(self.directory, "training")
            for folder in (self.directory, self.directory / "checkpoints"):
                remove_parts(folder)
        self.resumed = done = self._resumable(self.resumed_from)
        # What it started from is said on, and not read.
        for name in sources_of(self.model):
            self.config.model.init_args[name] = done.content["hyper_parameters"].get(name)
            self.model.hparams[name] = self.config.model.init_args[name]
        trainer = self.config.trainer
        self._check_schedule(done)
        self.config.resume, self.config.trust = None, False  # The saved configuration repeats the run.
        # An interrupted certification goes on; one of weights that are trained further stays as it is.
        finished = done.epochs == trainer.max_epochs or 0 <= trainer.max_steps <= done.steps
        if not finished and (not done.at_end_of_epoch or trainer.max_steps >= 0):
            amid = f"{self.resumed_from} is from the middle of epoch {done.epochs}"
            reason = "with max_steps Lightning takes the images in another order" if done.at_end_of_epoch else amid
            say(f"not exactly resumed: {reason}, so the run will end with other weights")
        folders = (path for path in self.directory.iterdir() if re.fullmatch(r"certification(-\d+)?", path.name))
        made = sorted(folders, key=lambda path: (len(path.name), path.name))
        self._write_to(made[-1] if made and finished else free_directory(self.directory, "certification"))
        return done.steps

    def _resumable(self, path: Path) -> Resumable:
        """The content of the checkpoint to go on from.

        Raises:
            OSError, ValueError: it does not serve. Unless the user named it, the message names the newest that does.
        """
        try:
            return resumable(path, self.model, self.datamodule)
        except (OSError, ValueError) as error:
            others = [] if path == Path(self.config.resume) else filter(Path.is_file, path.parent.glob("*.ckpt"))
            for other in sorted(others, key=os.path.getmtime, reverse=True):
                if other != path and self._serves(other):
                    raise ValueError(f"{error}; this one is whole, to go on from it: --resume {other}") from None
            raise

    def _serves(self, path: Path) -> bool:
        try:
            resumable(path, self.model, self.datamodule)
        except (OSError, ValueError):
            return False
        return True

    def _check_schedule(self, done: Resumable) -> None:
        now, before = self.config.trainer, self._base.get("trainer", {})
        if now.max_epochs is not None and 0 <= now.max_epochs < done.epochs:
            raise ValueError(
                f"{self.directory} has done {done.epochs} epochs, got --trainer.max_epochs {now.max_epochs}"
            )
        for limit in ("max_epochs", "max_steps"):
            planned = before.get(limit)
            if self.model.schedule.name == "cosine" and now[limit] != planned:
                raise ValueError(
                    f"the cosine schedule of {self.directory} ends after {limit} = {planned}; with {now[limit]} the "
                    "rate would rise again: train anew, or with another schedule"
                )

    def _write_to(self, certification: Path) -> None:
        self.config_init.checkpoint.dirpath = str(self.directory / "checkpoints")
        self.config_init.certification.output = str(certification)

    def _add_callbacks(self) -> None:
        trainer = self.config_init.trainer
        trainer.callbacks = [*listed(trainer.callbacks), KeepHandlers()]
        chosen = any("ProgressBar" in callback.class_path for callback in self.config.trainer.callbacks or [])
        if self.config.trainer.enable_progress_bar is not False and not chosen:
            trainer.callbacks += [TrainingProgress()]

    def how_to_go_on(self) -> str:
        """What is kept of the run, in one line."""
        if not any(self.directory.glob("checkpoints/*.ckpt")):
            return f"no epoch was finished, so {self.directory} holds nothing to go on from"
        return f"what was finished is kept; go on with: {_command('train')} --resume {shlex.quote(str(self.directory))}"


def _fact(name: str, data: ImageDataModule) -> Any:
    return data.facts.plain()[name]


def _command(name: str) -> str:
    """How the command is called here."""
    return f"python {name}.py" if Path(sys.argv[0]).name == "train.py" else f"lightning-rs {name}"




def _base_config(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The content of the configuration that the arguments change, and the arguments that give it.

    It is that of the run to resume, whose file is read once and not again, or the digits job.
    """
    for resume in words_after(arguments, "--resume")[-1:]:
        directory, _ = run_and_checkpoint(resume)
        content = run_config(directory, arguments, trust="--trust" in arguments)
        return content, [f"--config={yaml.safe_dump(content)}"]
    return merge_configs(config_layers(DEFAULT_CONFIG).values()), []


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, as the arguments say; those of the command line when left out."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    quiet_libraries()
    with clean_exit():
        arguments = expand_data_options(arguments)
        base, base_arguments = _base_config(arguments)
        configs = filter(os.path.isfile, words_after(arguments, "--config", "-c"))
        contents = [content for path in configs for content in config_layers(path).values()]
        plug_in(told("plugins", arguments, [base, *contents]))
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
            save_config_callback=SaveConfig,
            parser_class=ResumeParser if base_arguments else TrainParser,
            parser_kwargs={
                "default_config_files": [] if base_arguments else [str(DEFAULT_CONFIG)],
                "description": __doc__,
            },
            args=[*base_arguments, *arguments],
            base=base,
        )
    trainer, checkpoint = cli.trainer, cli.trainer.checkpoint_callback
    with ending_together(trainer.strategy), stopping_cleanly(cli.how_to_go_on, say=trainer.is_global_zero):
        try:
            with keep_freed_memory(trainer.strategy.root_device):
                trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.resumed_from, weights_only=True)
        except FloatingPointError as error:
            last = checkpoint and checkpoint.last_model_path
            fail(f"{error}; " + (f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"))
        best = checkpoint is not None and checkpoint.monitor and not trainer.fast_dev_run
        path = checkpoint and (checkpoint.best_model_path if best else checkpoint.last_model_path)
        if best and path:
            cli.model.load_state_dict(weights_for(cli.model, path))
        trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    if trainer.is_global_zero and path:
        print(f"Certify again, or otherwise: {_command('certify')} --checkpoint {path}")


if __name__ == "__main__":
    main()
