"""Classify many noisy copies of inputs and tally what the base classifier says."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_rs.noise import Noise, Purpose, Stage, as_noise, uniform
from lightning_rs.random_state import OwnRandomness
from lightning_rs.smoothing.batches import Batcher, Job, Layout, Segment
from lightning_rs.smoothing.capacity import check_capacity, first_line, is_out_of_memory
from lightning_rs.smoothing.first_batch import check_independent_answers, check_same_answers
from lightning_rs.smoothing.gradient_tally import GRADIENT_FIELDS, GradientTally
from lightning_rs.smoothing.memory import keep_freed_memory
from lightning_rs.smoothing.plan import Plan, RowKind
from lightning_rs.smoothing.sample import Sample
from lightning_rs.smoothing.scores import ask
from lightning_rs.smoothing.tally import Tally


class Sampler:
    """Tallies f(x + noise) for many examples in batches of constant size.

    Rows of several examples share a batch, so that every batch is full. Noise is drawn on the device into reused
    buffers, on a CPU while the batch before is classified. Votes and sums stay on the device and reach the host when an
    example comes to a look, in one transfer for all examples of a batch. Memory does not depend on the number of
    draws, unless single scores are asked for.

    If the device's memory does not hold a call with a whole batch, calls are halved from then on, as often as it takes,
    with a warning. As with another batch size, the last bits of the scores may then be others, but not the noise.

    Args:
        base_classifier: maps (rows, *shape) to (rows, num_classes) logits; the largest is the vote, the lowest index
            on ties. A module is put into evaluation mode while it is sampled and put back afterwards.
        num_classes: number of classes K.
        noise: its distribution, or the standard deviation of Gaussian noise, in the units of the input.
        batch_size: rows per call of the base classifier.
        seed: seed of the noise.
        device: where to compute.
        stochastic: whether the base classifier answers at random, to each row by itself. It then draws from global
            generators of its own; those outside are as if it had not.

    Attributes:
        whole_batches: whether the base classifier is compiled, for batches of this size alone.
        checked: whether its answers to a first batch were those of independent draws.
    """

    def __init__(
        self,
        base_classifier: Callable[[Tensor], Tensor],
        num_classes: int,
        noise: float | Noise,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        stochastic: bool = False,
    ) -> None:
        self.base_classifier = base_classifier
        self.num_classes = num_classes
        self.noise = as_noise(noise)
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.whole_batches = getattr(getattr(base_classifier, "preparation", None), "compile", False)
        self._rows_a_call = batch_size
        self.checked = False
        self._randomness = OwnRandomness(device) if stochastic else None

    def run(self, examples: Iterable[tuple[int, Tensor] | None], plan: Plan) -> Iterator[Sample]:
        """Sample every (index, x) as `plan` says; yields each example when it is finished.

        With one look, examples finish in the order in which they came. None among them, while others are under way,
        says that there is none for the moment.

        Raises:
            ValueError: inputs of different shapes, that are not finite or not on the noise's levels; memory that does
                not hold the batches, or not one row's activations; or a base classifier that fails, returns anything
                but (rows, num_classes) real scores, NaN for all draws of an example, or is random or mixes the rows of
                a batch; if `stochastic`, one that is not random, or whose randomness rows share.
        """
        examples = iter(examples)
        first = next(examples, None)
        if first is None:
            return
        if self.device.type == "meta":
            raise ValueError("the base classifier is on the meta device, where tensors hold no numbers")
        x = first[1]
        check_capacity(plan, self.batch_size, self.num_classes, x.shape, x.dtype, self.device)
        # On a CPU a thread makes the noise; elsewhere the device's own queue does.
        thread = ThreadPoolExecutor(1, "noise") if self.device.type == "cpu" else nullcontext()
        try:
            with evaluating(self.base_classifier), keep_freed_memory(self.device), thread as executor:
                yield from SamplingRun(self, chain([first], examples), x, plan, executor).samples()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = f"not enough memory to sample in batches of {self.batch_size} rows of shape {tuple(x.shape)}"
            raise ValueError(f"{message}: {first_line(error)}") from error

    def check_first(self, rows: Tensor, logits: Tensor, used: int) -> None:
        """Refuse a base classifier whose answers to the first batch are not those of independent draws.

        Further batches, of this run or the next, pass: it is one classifier.

        Args:
            rows: the batch.
            logits: the answers to it.
            used: number of rows that are not padding.

        Raises:
            ValueError: NaN for all of them, or see `check_same_answers` and `check_independent_answers`.
        """
        if self.checked:
            return
        if logits[:used].isnan().any(dim=1).all():
            raise ValueError(f"the base classifier returned NaN for all {used} rows of its first batch")
        # A compiled classifier is made for whole batches; for others a part is enough.
        part = len(rows) if self.whole_batches else min(len(rows), 64)
        if self._randomness is None:
            check_same_answers(self.classify, rows[:part], logits[:part])
        else:
            check_independent_answers(self.classify, rows[:part], logits[:part], self._randomness)
        self.checked = True

    def classify(self, rows: Tensor) -> Tensor:
        """Logits of a batch, or of a part of one."""
        tried = self._rows_a_call
        while (logits := self._logits(rows)) is None:
            self._rows_a_call = (self._rows_a_call + 1) // 2
            if rows.device.type == "cuda":
                torch.cuda.empty_cache()
        if self._rows_a_call < tried:
            message = f"not enough memory for {tried} rows a call; going on with {self._rows_a_call}"
            warnings.warn(message, stacklevel=2)
        return logits

    def _logits(self, rows: Tensor) -> Tensor | None:
        """Those of a batch; None, with nothing of the failed call kept alive, if memory does not hold its calls."""
        try:
            logits = [self._scores(part) for part in rows.split(self._rows_a_call)]
            return logits[0] if len(logits) == 1 else torch.cat(logits)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self._rows_a_call == 1:
                message = f"not enough memory to classify one noisy copy of shape {tuple(rows.shape[1:])}"
                raise ValueError(f"{message}: {first_line(error)}") from error
        return None

    def _scores(self, rows: Tensor) -> Tensor:
        with self._randomness or nullcontext():
            scores = ask(self.base_classifier, rows)
        if scores.shape != (len(rows), self.num_classes):
            raise ValueError(
                f"the base classifier must return {self.num_classes} scores a row, "
                f"({len(rows)}, {self.num_classes}) in all; got {tuple(scores.shape)}"
            )
        # A copy: CUDA graphs, and classifiers with an output buffer of their own, write the next answer over this one.
        return scores.clone()


class SamplingRun:
    """One run of a `Sampler`: its buffers, its tally and the examples in flight."""

    def __init__(
        self,
        sampler: Sampler,
        examples: Iterable[tuple[int, Tensor] | None],
        x: Tensor,
        plan: Plan,
        executor: Executor | None,
    ) -> None:
        self.sampler, self.plan, self.executor = sampler, plan, executor
        self.shape, self.dtype = tuple(x.shape), x.dtype
        device = sampler.device
        self.batcher = Batcher(self._on_device(examples), plan, sampler.batch_size)
        self.tally = Tally(self.batcher.slots, sampler.num_classes, plan.fields, plan.looks[-1], device)
        self.noise = sampler.noise.source(sampler.seed, self.shape, x.dtype, device, plan.purpose)
        # One batch is classified while the other is filled; gradient sums need the noise by itself too.
        self.gradients = GRADIENT_FIELDS.intersection(plan.fields)
        kept = 2 if self.gradients else 1
        shape = (2, kept, sampler.batch_size, *self.shape)
        self.buffers = list(torch.zeros(shape, dtype=x.dtype, device=device))
        # Batches whose examples' votes are on their way to the host. A GPU needs one more in its queue meanwhile.
        self.patience = 1 if device.type == "cuda" else 0
        self.start = time.perf_counter()
        self.rows = 0

    def samples(self) -> Iterator[Sample]:
        under_way: deque[tuple[Layout, Callable[[], tuple[NDArray, NDArray]]]] = deque()
        batch = self._prepare()
        while batch is not None or under_way:
            following = None
            if batch is not None:
                following = self._prepare()
                layout, buffer = batch[0], batch[1]()
                with torch.inference_mode():
                    logits = self.sampler.classify(buffer[0])
                    self.sampler.check_first(buffer[0], logits, layout.rows)
                    under_way.append((layout, self._count(layout, buffer, logits)))
                self.rows += layout.rows
            while len(under_way) > (self.patience if batch is not None else 0):
                yield from self._answer(*under_way.popleft())
            batch = following or self._prepare()

    def _on_device(self, examples: Iterable[tuple[int, Tensor] | None]) -> Iterator[tuple[int, Tensor] | None]:
        for example in examples:
            if example is None:
                yield None
                continue
            index, x = example
            if tuple(x.shape) != self.shape or x.dtype != self.dtype:
                raise ValueError(
                    f"all inputs must have the same shape and type, {self.shape} {self.dtype}; "
                    f"example {index} has {tuple(x.shape)} {x.dtype}"
                )
            try:
                self.sampler.noise.check_input(x.detach())
            except ValueError as error:
                raise ValueError(f"example {index}: {error}") from None
            yield index, self._on_its_way(x.detach())

    def _prepare(self) -> tuple[Layout, Callable[[], Tensor]] | None:
        """The next batch, whose rows may still be being made."""
        layout = self.batcher.next()
        if layout is None:
            return None
        self.buffers.reverse()
        if self.executor is None:
            buffer = self._fill(layout, self.buffers[0])
            return layout, lambda: buffer
        future: Future[Tensor] = self.executor.submit(self._fill, layout, self.buffers[0])
        return layout, future.result

    @torch.inference_mode()  # The noise thread does not inherit the caller's mode.
    def _fill(self, layout: Layout, buffer: Tensor) -> Tensor:
        """Write the noisy copies, and the noise by itself behind them if it is needed."""
        for segment in layout.segments:
            rows, job = buffer[0, segment.rows], segment.job
            if segment.kind is RowKind.CLEAN:
                rows.copy_(job.x)
                continue
            stage = Stage.SELECTION if segment.kind is RowKind.SELECTION else Stage.ESTIMATION
            draws = buffer[1, segment.rows] if self.gradients else None
            self.noise.perturb(rows, job.x, job.index, stage, segment.draw, draws)
        return buffer

    def _count(self, layout: Layout, buffer: Tensor, logits: Tensor) -> Callable[[], tuple[NDArray, NDArray]]:
        """Tally a batch, and send for the votes of the examples that reach a look."""
        places = np.zeros((3, self.sampler.batch_size), dtype=np.int64)
        places[0] = self.tally.padding
        for segment in layout.segments:
            place = segment.rows
            places[0, place], places[1, place] = segment.job.slot, segment.kind
            places[2, place] = np.arange(segment.draw, segment.draw + segment.count)
        if layout.begun:
            self.tally.clear(self._upload(np.array([job.slot for job in layout.begun])))
        voted = self.tally.update(logits, *self._upload(places))
        if self.gradients:
            for segment in layout.segments:
                self._add_gradient(segment, buffer[-1], voted)
        if not layout.reached:
            return lambda: (np.empty(0), np.empty(0))
        tensors = self.tally.read(self._upload(np.array([job.slot for job in layout.reached])))
        if self.sampler.device.type != "cuda":
            return lambda: tuple(tensor.cpu().numpy() for tensor in tensors)
        hosts = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in tensors]
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.sampler.device))  # Not that of the current device.

        def wait() -> tuple[NDArray, ...]:
            event.synchronize()
            return tuple(host.numpy() for host in hosts)

        return wait

    def _add_gradient(self, segment: Segment, draws: Tensor, voted: Tensor) -> None:
        if segment.kind is not RowKind.MAIN:
            return
        job = segment.job
        if job.gradient is None:
            keep_sums = "gradient_sums" in self.gradients
            job.gradient = GradientTally(self.shape, self.sampler.device, self.noise.standardised, keep_sums=keep_sums)
        job.gradient.update(draws[segment.rows], voted[segment.rows], segment.draw)

    def _upload(self, array: NDArray[np.int64]) -> Tensor:
        return self._on_its_way(torch.from_numpy(array))

    def _on_its_way(self, tensor: Tensor) -> Tensor:
        if self.sampler.device.type == "cuda" and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()  # Other memory makes the host wait.
        return tensor.to(self.sampler.device, non_blocking=True)

    def _answer(self, layout: Layout, votes: Callable[[], tuple[NDArray, NDArray]]) -> Iterator[Sample]:
        """Tell the examples that reached a look whether to go on, and yield those that are finished."""
        table, scores = votes()
        for job, row, own in zip(layout.reached, table, scores, strict=True):
            sample = self._sample(job, row, own)
            last = job.look + 1 == len(self.plan.looks)
            if last or (self.plan.finished is not None and self.plan.finished(sample)):
                self.batcher.end(job)
                yield sample
            else:
                self.batcher.go_on(job)

    def _sample(self, job: Job, row: NDArray[np.int64], scores: NDArray[np.float32]) -> Sample:
        selection = self._votes(job, row, RowKind.SELECTION, self.plan.n0) if self.plan.n0 else None
        votes = self._votes(job, row, RowKind.MAIN, self.plan.looks[job.look])
        if selection is None and votes[-1] and self.plan.purpose is not Purpose.PREDICTION:
            raise ValueError(
                f"{votes[-1]} of {votes.sum()} noisy copies of example {job.index} have NaN scores, which only count "
                f"against a class that other draws selected: n0 must be at least 1"
            )
        selected = int((votes if selection is None else selection)[:-1].argmax())
        counts = count_nan_against(votes, selected)
        job.path.append((int(counts[selected]), int(counts.sum())))
        clean = self.tally.votes(row, RowKind.CLEAN)
        return Sample(
            position=job.position,
            index=job.index,
            shape=self.shape,
            clean_prediction=(-1 if clean[-1] else int(clean[:-1].argmax())) if self.plan.clean else None,
            selection_counts=None if selection is None else selection[:-1],
            counts=counts,
            selected=selected,
            fields=self._fields(job, row, scores),
            path=job.path,
            seconds=(time.perf_counter() - self.start) * job.rows / max(self.rows, 1),
            unanswered=int(votes[-1]),
        )

    def _fields(self, job: Job, row: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[str, NDArray]:
        fields = self.tally.result(row, scores) | (job.gradient.result() if job.gradient else {})
        if "uniform" in self.plan.fields:
            fields["uniform"] = np.float64(uniform(self.sampler.seed, job.index, self.plan.purpose))
        return fields

    def _votes(self, job: Job, row: NDArray[np.int64], kind: RowKind, draws: int) -> NDArray[np.int64]:
        votes = self.tally.votes(row, kind)
        if votes.sum() != draws:
            raise RuntimeError(f"a bug: {votes.sum()} votes were counted of {draws} draws of example {job.index}")
        if votes[-1] == draws:
            raise ValueError(f"the base classifier returned NaN for all {draws} noisy copies of example {job.index}")
        return votes


def count_nan_against(votes: NDArray[np.int64], selected: int) -> NDArray[np.int64]:
    """Counts (K,) from votes (K + 1,), the NaN draws as votes for the strongest rival of `selected`.

    Whatever the classifier would have answered, no rival has more votes than the strongest is given.
    """
    counts = votes[:-1].copy()
    rivals = counts.copy()
    rivals[selected] = -1
    counts[rivals.argmax()] += votes[-1]
    return counts


@contextmanager
def evaluating(classifier: nn.Module | Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put a module into evaluation mode, and every submodule back into its own mode afterwards."""
    modules = list(classifier.modules()) if isinstance(classifier, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
