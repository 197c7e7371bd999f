"""Sample a changed classifier, beside the one before where that says more of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_rs.noise import Noise
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample
from lightning_rs.smoothing.sampler import Sampler, count_nan_against
from lightning_rs.smoothing.scores import ask

# Examples that are sorted into those that are paired and the others: their images wait in memory meanwhile.
_TOGETHER = 50


@dataclass(frozen=True)
class Before:
    """What is known of one example from the classifier before.

    Attributes:
        selection_counts: (K,) votes of its selection draws, which chose the class.
        votes, draws: its estimation votes for that class, and all of its estimation draws.
        alone: whether the changed classifier answers alone, see `Ugare.alone`.
    """

    selection_counts: NDArray[np.int64]
    votes: int
    draws: int
    alone: bool


class PairedClassifier(nn.Module):
    """Both classifiers' answers to one row as a vote for one of 2 (K + 1): scores are 1 there, and 0 elsewhere.

    Place j <= K: both say j. Place K + 1 + j: the one before says j, and the changed one does not. Class K stands for
    an answer with NaN, which says nothing.

    Args:
        changed: maps (rows, *shape) to (rows, K) scores.
        before: as well; None for the changed one alone, whose answers are then j.
        num_classes: K.
    """

    def __init__(
        self,
        changed: Callable[[Tensor], Tensor],
        before: Callable[[Tensor], Tensor] | None,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.changed, self.before, self.num_classes = changed, before, num_classes

    def forward(self, rows: Tensor) -> Tensor:
        place = self._vote(self.changed, rows)
        if self.before is not None:
            before = self._vote(self.before, rows)
            place = torch.where(before == place, place, self.num_classes + 1 + before)
        return nn.functional.one_hot(place, 2 * (self.num_classes + 1)).float()

    def _vote(self, classifier: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """(rows,) classes, K where scores are NaN."""
        scores = ask(classifier, rows)
        if scores.shape != (len(rows), self.num_classes):
            raise ValueError(f"{self.num_classes} scores a row were expected, got {tuple(scores.shape)}")
        return torch.where(scores.isnan().any(dim=1), self.num_classes, scores.argmax(dim=1))


class _VotesSampler(Sampler):
    """Samples a `PairedClassifier`, whose classifiers are checked by their scores, each by itself.

    Of votes too little is seen: some randomness hardly ever moves them, and other kernels, which may round otherwise,
    do where two classes are nearly equal.

    Args:
        changed, before: samplers of the two classifiers; see `PairedClassifier`.
    """

    def __init__(self, changed: Sampler, before: Sampler | None) -> None:
        self._single = [one for one in (changed, before) if one is not None]
        classifiers = [None if one is None else one.base_classifier for one in (changed, before)]
        classifier = PairedClassifier(*classifiers, changed.num_classes)
        how = (changed.noise, changed.batch_size, changed.seed, changed.device)
        super().__init__(classifier, 2 * (changed.num_classes + 1), *how)

    def check_first(self, rows: Tensor, logits: Tensor, used: int) -> None:
        """See `Sampler.check_first`."""
        for single in self._single:
            if not single.checked:
                single.check_first(rows, single.classify(rows), used)


class PairedSampler:
    """Samples a changed classifier, with the interface of `Sampler` for plans without selection and score fields.

    Votes of a sample are the changed classifier's for the class that the one before had selected, and where they are
    paired its agreements with the one before for every other class; all others count for that class's strongest rival.

    Args:
        changed: maps (rows, *shape) to (rows, num_classes) scores, as it is run.
        before: the one before, as it was run.
        known: of every example's index.
        num_classes, noise, batch_size, seed, device: see `Sampler`.
    """

    def __init__(
        self,
        changed: Callable[[Tensor], Tensor],
        before: Callable[[Tensor], Tensor],
        known: Mapping[int, Before],
        num_classes: int,
        noise: Noise,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.known, self.num_classes, self.device = known, num_classes, device
        how = (noise, batch_size, seed, device)
        self._changed, earlier = (Sampler(classifier, num_classes, *how) for classifier in (changed, before))
        self._samplers = {alone: _VotesSampler(self._changed, None if alone else earlier) for alone in (True, False)}

    def run(self, examples: Iterable[tuple[int, Tensor] | None], plan: Plan) -> Iterator[Sample]:
        """Sample every (index, x) as `plan` says; yields each example when it is finished, in any order.

        None among the examples says that there is none for the moment.

        Raises:
            ValueError: see `Sampler.run`.
        """
        together: list[tuple[int, int, Tensor]] = []
        positions = count()
        for example in examples:
            if example is not None:
                together.append((next(positions), *example))
            if together and (example is None or len(together) == _TOGETHER):
                yield from self._sample(together, plan)
                together = []
        yield from self._sample(together, plan)

    def _sample(self, together: list[tuple[int, int, Tensor]], plan: Plan) -> Iterator[Sample]:
        for alone, sampler in self._samplers.items():
            chosen = [example for example in together if self.known[example[1]].alone is alone]
            for sample in sampler.run([(index, x) for _, index, x in chosen], plan):
                position, index, x = chosen[sample.position]
                yield self._of_changed(sample, position, self.known[index], x)

    def _of_changed(self, sample: Sample, position: int, known: Before, x: Tensor) -> Sample:
        agreed, others = np.split(sample.counts, 2)  # Of the K classes, and of those that say nothing.
        selected = int(known.selection_counts.argmax())
        lost, draws = (0, 0) if known.alone else (int(others[selected]), int(sample.counts.sum()))
        counts = count_nan_against(np.append(agreed[:-1], agreed[-1] + others.sum()), selected)
        # A compiled classifier is made for whole batches.
        rows = x.to(self.device).repeat(self._changed.batch_size if self._changed.whole_batches else 1, *[1] * x.ndim)
        with torch.inference_mode():
            scores = self._changed.classify(rows)[0]
        return replace(
            sample,
            position=position,
            clean_prediction=-1 if scores.isnan().any() else int(scores.argmax()),
            selection_counts=known.selection_counts,
            counts=counts,
            selected=selected,
            fields={
                "prior_counts": np.array([known.votes, known.draws]),
                "paired_counts": np.array([lost, draws]),
            },
            path=[(int(counts[selected]), int(counts.sum()))],
        )
