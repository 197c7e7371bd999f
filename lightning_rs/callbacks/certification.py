"""Certify while training, and at its end, on all processes."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.utils.data import Dataset

from lightning_rs.callbacks.readiness import check_certification, check_module, check_monitors, why_never
from lightning_rs.certification import Certification, CertificationSettings, certify_together
from lightning_rs.checks import check_at_least, check_known
from lightning_rs.cli import log_run, say
from lightning_rs.data import SPLITS, ImageDataModule
from lightning_rs.results import Record, RunDescription, write_report


class CertificationCallback(Callback):
    """Certifies the smoothed classifier on a subset of a split, at the end of validation or test epochs.

    On the split `val` it runs at the end of a validation epoch, every `every_n_epochs` training epochs and after
    `trainer.validate`; on `test` after `trainer.test`. See `lightning_rs.certification.certify_together`.

    Logged as `certify/...` (`certify_test/...` on the test split): `clean_accuracy` and `noisy_accuracy` of the base
    classifier, `seconds`, and for every mechanism `<mechanism>/accuracy@<radius>`, `<mechanism>/acr`,
    `<mechanism>/abstention_rate` and `<mechanism>/smoothed_accuracy`; to W&B also the plot of certified accuracy
    against radius. All of these can be monitored by checkpoints and early stopping.

    Training is the same to the bit with and without it: it draws noise from its own generators, keeps the weights and
    puts every submodule back into its mode. It is silent during the sanity check.

    What it needs is checked before the first step: the module, an image through the base classifier, the settings, what
    `run.json` will say, and that monitors of certified figures have the right mode. A training that will never come to
    a live certification is told in one line.

    The LightningModule needs `base_classifier` (images with pixels in [0, 1] in, scores out), `num_classes` and
    `sigma`, and `noise_distribution` if that is not Gaussian. The data come from an `ImageDataModule`'s
    `dataset(split)`, or from the validation or test loader's data set. Only the former says the levels of its images,
    on whose grid the noise is then drawn; for others name them, `noise="grid_gaussian:levels=255"`.

    Args:
        split: val or test.
        every_n_epochs: certify after every n-th training epoch; 0 is never.
        output: directory for records, table and plots of the test split; none are written when left out.
        n: noisy copies that certify an image; with a sequential mechanism the most that may be drawn.
        settings: see `CertificationSettings`.

    Attributes:
        records: records of the last certification, by index, the same on all ranks.

    Raises:
        ValueError: a value out of range, an unknown mechanism, or an n too small to certify anything.
    """

    def __init__(
        self,
        split: str = "val",
        every_n_epochs: int = 1,
        output: str | None = None,
        n: int = 1000,
        **settings: Any,
    ) -> None:
        self.split = check_known("split", split, SPLITS[1:])
        self.every_n_epochs = check_at_least("every_n_epochs", every_n_epochs, 0)
        self.settings = CertificationSettings(n=n, **settings)
        if output is not None and split != "test":
            raise ValueError(f"output is for the test split; certification of {split} is logged, got {output!r}")
        self.output = output
        self.records: list[Record] = []
        self._run: RunDescription | None = None
        self._ready = False
        self._untold = True

    @property
    def state_key(self) -> str:
        return self._generate_state_key(split=self.split)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._ready = False
        if not self.wanted(stage):
            return
        check_monitors(trainer.callbacks)
        # Whoever tests after a training has been told when that began.
        if self.split == "test" and trainer.limit_test_batches == 0 and self._untold:
            self._untold = False
            say("warning: limit_test_batches is 0, which leaves out the certification of the test split too")
        # What these hooks make of the module comes later.
        if not (is_overridden("setup", pl_module) or is_overridden("configure_model", pl_module)):
            check_module(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)
        if self.split == "val" and self.every_n_epochs and (reason := why_never(trainer, self.every_n_epochs)):
            say(f"warning: the live certification never runs: {reason}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.split != "val" or trainer.sanity_checking or not self.every_n_epochs:
            return
        if trainer.state.fn == "fit" and (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        self._certify(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.split == "test":
            self._certify(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here rather than at the end of the epoch, when the progress bar would still write over the table.
        if self.split == "test" and self.output and self._run and trainer.is_global_zero and not trainer.fast_dev_run:
            write_report(self.records, self._run, self.settings.radii_for(self._run.sigma), self.output)

    def certification(
        self,
        pl_module: LightningModule,
        dataset: Dataset,
        data: str,
        levels: int | None = None,
        fast_dev_run: bool = False,
    ) -> Certification:
        """What is certified of this module: for checks before any work, too."""
        trained = check_module(pl_module)
        classifier = pl_module.base_classifier
        return Certification(
            base_classifier=classifier,
            architecture=str(pl_module.hparams.get("architecture", type(classifier).__name__)),
            num_classes=int(pl_module.num_classes),
            noise=self.settings.noise_for(trained, levels),
            dataset=dataset,
            data=data,
            split=self.split,
            settings=self.settings.only_first(len(dataset)) if fast_dev_run else self.settings,
        )

    def wanted(self, stage: str) -> bool:
        """Whether there will be a certification in, or after, this stage."""
        if self.split == "test":
            return stage in ("fit", "test")
        return bool(self.every_n_epochs) and stage in ("fit", "validate")

    @property
    def _prefix(self) -> str:
        """Of the names under which figures are logged."""
        return "certify" if self.split == "val" else "certify_test"

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check once what is to be certified, as soon as its data set is known."""
        if not self._ready and self.wanted(trainer.state.fn) and (data := self._dataset(trainer)):
            check_certification(self.certification(pl_module, *data, bool(trainer.fast_dev_run)))
            self._ready = True

    def _certify(self, trainer: Trainer, pl_module: LightningModule) -> None:
        start = time.perf_counter()
        certification = self.certification(pl_module, *self._dataset(trainer), bool(trainer.fast_dev_run))
        bar = trainer.progress_bar_callback
        # Two live displays would overwrite each other's lines.
        shown = bar is not None and not isinstance(bar, RichProgressBar)
        output = None if trainer.fast_dev_run else self.output
        self._run, self.records = certify_together(certification, output, shown=shown)
        radii = self.settings.radii_for(certification.noise.scale)
        seconds = time.perf_counter() - start
        place = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        figures = log_run(trainer.loggers, self.records, self._run, radii, self._prefix, seconds, **place)
        # Monitors read Lightning's float32 copies; the logs have the figures as they are.
        self.log_dict(figures, logger=False, sync_dist=True)

    def _dataset(self, trainer: Trainer) -> tuple[Dataset, str, int | None] | None:
        """The data set, its name and levels; None as long as there are no loaders."""
        data = trainer.datamodule
        if isinstance(data, ImageDataModule):
            return data.dataset(self.split), data.called(self.split), data.facts.levels
        loader = trainer.val_dataloaders if self.split == "val" else trainer.test_dataloaders
        loader = loader[0] if isinstance(loader, (list, tuple)) else loader
        if loader is None:
            return None
        if not hasattr(loader, "dataset"):
            raise ValueError(f"what is certified is the data set of a loader; a {type(loader).__name__} has none")
        return loader.dataset, type(loader.dataset).__name__, None
