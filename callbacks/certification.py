"""Certify while training, and at its end, on all processes."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import WandbLogger
from torch import distributed, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from lightning_rs.certification import CertificationSettings, certify_examples, describe_run, resolve_batch_size
from lightning_rs.checks import check_at_least, check_known, check_radii
from lightning_rs.data import SPLITS, ImageDataModule, certification_indices
from lightning_rs.mechanisms import check_inputs
from lightning_rs.progress import progress
from lightning_rs.results import Record, RunDescription, RunDirectory, logged, run_of_records, write_report
from lightning_rs.results.figures import default_radii
from lightning_rs.results.wandb_payload import log_figures


class CertificationCallback(Callback):
    """Certifies the smoothed classifier on a subset of a split, at the end of validation or test epochs.

    On the split `val` it runs at the end of a validation epoch, every `every_n_epochs` training epochs and after
    `trainer.validate`; on `test` after `trainer.test`. Rank r of W takes every W-th of the examples, beginning with
    the r-th; none is padded or repeated, and a rank may have none. The first rank's classifier is what is certified.

    Logged as `certify/...` (`certify_test/...` on the test split): `clean_accuracy` and `noisy_accuracy` of the base
    classifier, `seconds`, and for every mechanism `<mechanism>/accuracy@<radius>`, `<mechanism>/acr`,
    `<mechanism>/abstention_rate` and `<mechanism>/smoothed_accuracy`; to W&B also the plot of certified accuracy
    against radius. All of these can be monitored by checkpoints and early stopping.

    Training is the same to the bit with and without it: it draws noise from its own generators, keeps the weights and
    puts every submodule back into its mode. It is silent during the sanity check.

    The LightningModule needs `base_classifier` (images with pixels in [0, 1] in, scores out), `num_classes` and
    `sigma`. The data come from an `ImageDataModule`'s `dataset(split)`, or from the validation or test loader's data
    set.

    Args:
        split: `val` or `test`.
        every_n_epochs: certify after every n-th training epoch; 0 is never.
        skip: certify every skip-th example.
        limit: certify at most so many examples.
        indices: certify these examples instead.
        n0: noisy copies that select the class.
        n: noisy copies that certify it; with sequential mechanisms the most that may be drawn.
        alpha: failure probability of each certificate.
        radii: l2 radii of interest in pixel units, increasing; chosen to suit sigma when left out.
        mechanisms: names of mechanisms.
        batch_size: noisy copies per call of the base classifier, or `auto`, which tries sizes.
        seed: seed of the noise.
        output: directory for records, table and plots of the test split; none are written when left out.
        precision: `float32`, `tf32`, `bfloat16` or `float16` of the base classifier; the noise stays as it is.
        channels_last: keep images and weights in channels-last order.
        fold_batch_norm: multiply batch norms into the convolutions before them.
        compile: compile the base classifier.

    Attributes:
        records: records of the last certification, by index, the same on all ranks.

    Raises:
        ValueError: a value out of range, an unknown mechanism, or an n too small to certify anything.
    """

    def __init__(
        self,
        split: str = "val",
        every_n_epochs: int = 1,
        skip: int = 1,
        limit: int | None = None,
        indices: list[int] | None = None,
        n0: int = 100,
        n: int = 1000,
        alpha: float = 0.001,
        radii: list[float] | None = None,
        mechanisms: Sequence[str] = ("cohen", "cohen_two_sided"),
        batch_size: int | Literal["auto"] = 1000,
        seed: int = 0,
        output: str | None = None,
        precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32",
        channels_last: bool = False,
        fold_batch_norm: bool = False,
        compile: bool = False,
    ) -> None:
        self.split = check_known("split", split, SPLITS[1:])
        self.every_n_epochs = check_at_least("every_n_epochs", every_n_epochs, 0)
        # Any size serves to check the subset's own values before there is a data set.
        certification_indices(max([1, *(i + 1 for i in indices or ())]), skip, limit, indices)
        self.skip, self.limit, self.indices = skip, limit, indices
        self.radii = None if radii is None else check_radii(radii)
        self.settings = CertificationSettings(
            n0,
            n,
            alpha,
            mechanisms,
            batch_size,
            seed,
            self.radii,
            precision,
            channels_last,
            fold_batch_norm,
            compile,
        )
        if output is not None and split != "test":
            raise ValueError(f"output is for the test split; certification of {split} is logged, got {output!r}")
        self.output = output
        self.records: list[Record] = []
        self._run: RunDescription | None = None

    @property
    def state_key(self) -> str:
        return self._generate_state_key(split=self.split)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.split != "val" or trainer.sanity_checking or not self.every_n_epochs:
            return
        if trainer.state.fn == "fit" and (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        self._certify(trainer, pl_module, "certify")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.split == "test":
            self._certify(trainer, pl_module, "certify_test")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here rather than at the end of the epoch, when the progress bar would still write over the table.
        if self.split == "test" and self.output and self._run and trainer.is_global_zero:
            write_report(self.records, self._run, self._radii(self._run.sigma), self.output)

    def subset(self, dataset: Dataset) -> list[int]:
        """Indices of the examples to certify.

        Raises:
            ValueError: an index outside the data set.
        """
        return certification_indices(len(dataset), self.skip, self.limit, self.indices)

    def check(self, sigma: float, shape: Sequence[int]) -> None:
        """Refuse settings that certify nothing at this sigma, or do not suit images of this shape.

        Raises:
            ValueError: says what was expected and what came.
        """
        settings = self._settings(sigma)
        settings.check(sigma)
        check_inputs(settings.resolved, tuple(shape), settings.alpha)

    def describe(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        dataset: Dataset,
        data_name: str,
        classifier: nn.Module | None = None,
        settings: CertificationSettings | None = None,
    ) -> RunDescription:
        """What would be certified: the content of `run.json`. `classifier` and `settings` stand in
        for the module's and the callback's own."""
        indices = self.subset(dataset)
        classifier = classifier or pl_module.base_classifier
        return describe_run(
            classifier,
            architecture=str(pl_module.hparams.get("architecture", type(classifier).__name__)),
            num_classes=int(pl_module.num_classes),
            sigma=float(pl_module.sigma),
            data=data_name,
            split=self.split,
            indices=indices[:1] if trainer.fast_dev_run else indices,
            settings=settings or self._settings(float(pl_module.sigma)),
            device=trainer.strategy.root_device,
        )

    def _certify(self, trainer: Trainer, pl_module: LightningModule, prefix: str) -> None:
        start = time.perf_counter()
        dataset, data_name = self._dataset(trainer)
        classifier = _classifier_of_first_rank(trainer, pl_module.base_classifier)
        self.output = None if trainer.fast_dev_run else trainer.strategy.broadcast(self.output)
        settings = self._with_batch_size(trainer, pl_module, dataset, classifier)
        self._run = run = self.describe(trainer, pl_module, dataset, data_name, classifier, settings)
        finished = self._open(trainer, run)
        known = {record.index for record in finished}
        share = [i for i in run.indices if i not in known][trainer.global_rank :: trainer.world_size]
        appender = RunDirectory(self.output).appender(trainer.global_rank) if self.output else nullcontext()
        new = []
        with self._nothing_left_behind(trainer), appender as file, self._progress(trainer, len(share)) as bar:
            for record in certify_examples(classifier, pl_module.num_classes, run.sigma, dataset, share, settings):
                if file is not None:
                    file.append(record)
                new.append(record)
                bar.update()
        self.records = sorted(finished + _gather(trainer, new), key=lambda record: record.index)
        self._log(trainer, prefix, run, time.perf_counter() - start)

    def _dataset(self, trainer: Trainer) -> tuple[Dataset, str]:
        data = trainer.datamodule
        if isinstance(data, ImageDataModule):
            return data.dataset(self.split), type(data).__name__
        loader = trainer.val_dataloaders if self.split == "val" else trainer.test_dataloaders
        loader = loader[0] if isinstance(loader, (list, tuple)) else loader
        return loader.dataset, type(loader.dataset).__name__

    def _settings(self, sigma: float) -> CertificationSettings:
        return dataclasses.replace(self.settings, radii=self._radii(sigma))

    def _with_batch_size(
        self, trainer: Trainer, pl_module: LightningModule, dataset: Dataset, classifier: nn.Module
    ) -> CertificationSettings:
        """The settings with one batch size for all ranks: on resuming that of before, otherwise the first rank's."""
        settings = self._settings(float(pl_module.sigma))
        if settings.batch_size != "auto":
            return settings
        known = RunDirectory(self.output).run() if self.output else None
        size = known.batch_size if known else None
        if size is None and trainer.is_global_zero:
            image = dataset[self.subset(dataset)[0]][0]
            size = resolve_batch_size(classifier, float(pl_module.sigma), image, settings).batch_size
        return dataclasses.replace(settings, batch_size=trainer.strategy.broadcast(size))

    def _open(self, trainer: Trainer, run: RunDescription) -> list[Record]:
        """Records of a run that was interrupted, and the directory made ready for more."""
        if not self.output:
            return []
        directory = RunDirectory(self.output)
        directory.check(run)
        finished = directory.read()
        trainer.strategy.barrier()  # All have read before any appends.
        if trainer.is_global_zero:
            directory.create(run)
        trainer.strategy.barrier()
        return finished

    @contextmanager
    def _nothing_left_behind(self, trainer: Trainer) -> Iterator[None]:
        """Without a single record, a failed certification leaves no directory that would refuse a corrected one."""
        try:
            yield
        except ValueError:
            if self.output and trainer.world_size == 1:  # Others may just be writing theirs.
                RunDirectory(self.output).discard_if_empty()
            raise

    def _progress(self, trainer: Trainer, examples: int) -> tqdm:
        bar = trainer.progress_bar_callback
        # Two live displays would overwrite each other's lines.
        shown = trainer.is_global_zero and bar is not None and not isinstance(bar, RichProgressBar)
        return progress(examples, f"Certifying {self.split}", "img", shown, leave=False)

    def _radii(self, sigma: float) -> tuple[float, ...]:
        return self.radii or default_radii(sigma)

    def _log(self, trainer: Trainer, prefix: str, run: RunDescription, seconds: float) -> None:
        certified = run_of_records(self.records, run, prefix)
        named = logged(certified, self._radii(run.sigma), prefix) | {f"{prefix}/seconds": seconds}
        # Monitors read Lightning's float32 copies; the logs get the figures as they are.
        self.log_dict(named, logger=False, sync_dist=True)
        for logger in trainer.loggers:
            logger.log_metrics(named | {"epoch": trainer.current_epoch}, step=trainer.global_step)
            if isinstance(logger, WandbLogger) and trainer.is_global_zero and self.records:
                log_figures(logger.experiment, certified, prefix, trainer.global_step)


def _classifier_of_first_rank(trainer: Trainer, classifier: nn.Module) -> nn.Module:
    """The first rank's classifier. Under data parallelism the ranks' batch-norm statistics differ, and only the first
    rank's are saved, so all must certify those."""
    if trainer.world_size == 1:
        return classifier
    classifier = copy.deepcopy(classifier)
    for tensor in classifier.state_dict().values():
        distributed.broadcast(tensor, src=0)
    return classifier


def _gather(trainer: Trainer, records: list[Record]) -> list[Record]:
    """The records of all ranks, on every rank."""
    if trainer.world_size == 1:
        return records
    gathered: list[list[Record]] = [[] for _ in range(trainer.world_size)]
    distributed.all_gather_object(gathered, records)
    return [record for part in gathered for record in part]
