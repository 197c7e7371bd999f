"""How often certificates claim more than is true, of classifiers whose truth is known."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lightning_rs.audit.case import Case
from lightning_rs.audit.claim import Claim
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.known import KnownClassifier
from lightning_rs.audit.limits import chance_of_as_far, chance_of_as_many, chance_of_spread, exact_tail, interval
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.audit.trials import EARLIER, Trial, trials
from lightning_rs.certification import Certification, CertificationSettings, certify_examples, certify_together
from lightning_rs.certification.prior import Prior
from lightning_rs.mechanisms import MechanismSet, list_mechanisms
from lightning_rs.noise import GridGaussian
from lightning_rs.results import Record
from lightning_rs.results.records import certificates_of
from lightning_rs.results.runs import read_directory

CHECK = "coverage"
_CHANCE = 1e-4
"""Of an audit of what is right to fail by chance, at most: shared by all of its statistical checks."""
_ROWS = 2000
_TAILS = 12
"""Numbers of votes, at most, of which a tail is computed: with thousands of draws each takes a while."""


class Copies(Dataset):
    """One image many times over."""

    def __init__(self, image: Tensor, label: int, number: int) -> None:
        self.image, self.label, self.number = image, label, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.image, self.label


def cases(settings: AuditSettings) -> list[Case]:
    """One case for each known classifier, and one that says whether every registered mechanism is among them."""
    chosen = trials(settings.quick)
    # Beside every mechanism's failures, the votes of both stages.
    level = _CHANCE / sum(len(trial.mechanisms) + 2 for trial in chosen)
    made = [Case(f"{CHECK}: {trial.name}", partial(_findings, trial, settings, level), trial.cost) for trial in chosen]
    return [*made, Case(f"{CHECK}: every mechanism", partial(_every_mechanism, chosen), 0.01)]


def _findings(trial: Trial, settings: AuditSettings, level: float) -> Iterator[Finding]:
    known = trial.known()
    records = _certified(trial, known, settings)
    yield from _draws(trial, known, records, level)
    truths: dict[tuple, float] = {}
    for label, mechanism in MechanismSet(trial.mechanisms).items():
        claim = Claim.of(mechanism, tuple(known.image.shape))
        predictions, radii, _ = certificates_of(records, label)
        true = np.zeros(len(records))
        for c in np.unique(predictions[predictions >= 0]).tolist():
            key = (c, claim.kind, claim.norm, claim.least, claim.free.tobytes())
            if key not in truths:
                truths[key] = known.radius(c, claim)
            true[predictions == c] = truths[key]
        yield failures(trial, label, predictions, radii, true, level)
        if label == "cohen" and isinstance(known.noise, GridGaussian):
            yield tails(trial, records, radii / known.noise.scale)


def _certified(trial: Trial, known: KnownClassifier, settings: AuditSettings) -> list[Record]:
    """The records of all images, as they are read again after they were written."""
    certification = _certification(trial, known, settings)
    if trial.before is not None:
        certification = replace(certification, prior=_prior(trial, trial.before(), settings))
    certification.check()
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        certify_together(certification, folder, shown=False)
        return read_directory(folder)[0]


def _prior(trial: Trial, before: KnownClassifier, settings: AuditSettings) -> Prior:
    """The certification of the classifier before."""
    earlier = replace(trial, mechanisms=("cohen",), n=EARLIER * trial.n, before=None)
    certification = _certification(earlier, before, settings)
    records = certify_examples(certification, certification.indices)
    return Prior(certification.describe(), {record.index: record for record in records}, certification)


def _certification(trial: Trial, known: KnownClassifier, settings: AuditSettings) -> Certification:
    return Certification(
        base_classifier=known.to(settings.device),
        architecture="known",
        num_classes=known.num_classes,
        noise=known.noise,
        dataset=Copies(known.image, int(known.votes.argmax()), trial.images),
        data="known",
        split="test",
        settings=CertificationSettings(
            n0=trial.n0,
            n=trial.n,
            alpha=trial.alpha,
            mechanisms=trial.mechanisms,
            radii=None if trial.radii is None else list(trial.radii),
            batch_size=_ROWS,
            seed=settings.seed,
            **asdict(settings.preparation),
        ),
    )


def _memory() -> Path | None:
    """A folder in memory where the system has one: every record is synced, and a disk takes milliseconds for each."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


def _draws(trial: Trial, known: KnownClassifier, records: list[Record], level: float) -> Iterator[Finding]:
    """Whether classes get the shares of votes that they have to get, and images differ as independent draws do."""
    # The classifier before made the selection draws of a changed one.
    stages = {} if trial.before else {"selection": [record.selection for record in records]}
    if trial.radii is None:  # Otherwise how many there are depends on what they are.
        stages["estimation"] = [record.counts for record in records]
    for stage, votes in stages.items():
        counts = np.array([[vote.get(c, 0) for c in range(known.num_classes)] for vote in votes])
        total, draws = counts.sum(axis=0), int(counts[0].sum())
        chances = [chance_of_as_far(int(x), int(total.sum()), p) for x, p in zip(total, known.votes, strict=True)]
        c = int(np.argmin(chances))
        spread = chance_of_spread(counts[:, c], draws, known.votes[c])
        chance = min(1.0, (len(chances) + 1) * min(*chances, spread))
        share = float(total[c] / total.sum())
        variance = float(np.square(counts[:, c] - draws * known.votes[c]).mean())
        expected = draws * known.votes[c] * (1.0 - known.votes[c])
        yield Finding(
            check="draws",
            subject=f"votes of the {stage} draws · {trial.name}",
            expected=f"class {c} in {known.votes[c]:.5f} of {total.sum():,} draws, variance {expected:.1f}",
            seen=f"in {share:.5f}, variance {variance:.1f}",
            passed=chance >= level,
            numbers={"draws": int(total.sum()), "share": share, "known": known.votes[c], "chance": chance},
        )


def failures(
    trial: Trial,
    label: str,
    predictions: NDArray[np.int64],
    radii: NDArray[np.float64],
    true: NDArray[np.float64],
    level: float,
) -> Finding:
    """How many certificates claim more than is true, and how much of what is true the others claim.

    Args:
        trial: whose images they are of.
        label: the mechanism.
        predictions, radii: (images,) what it certified.
        true: (images,) the largest radii for which that would be true.
        level: how unlikely so many have to be to fail.
    """
    number, certified = len(radii), predictions >= 0
    wrong = int((radii > true).sum())
    low, high = interval(wrong, number)
    chance = chance_of_as_many(wrong, number, trial.alpha)
    # Of images that are wrong at every radius, and of infinite truths, there is no such share.
    held = certified & (radii <= true) & np.isfinite(true)
    shares = radii[held] / true[held]
    if not certified.any():
        claimed = "abstains on all"
    elif held.any():
        claimed = f"claims {shares.mean():.2f} of the true radius, {shares.max():.3f} at most"
    else:
        claimed = f"abstains on {(~certified).sum()}"
    return Finding(
        check=CHECK,
        subject=f"{label} · {trial.name}",
        expected=f"at most {trial.alpha:.0%} wrong" + (", and some certified" if trial.clear else ""),
        seen=f"{wrong} of {number} wrong ({low:.1%} to {high:.1%}); {claimed}",
        passed=chance >= level and (bool(certified.any()) or not trial.clear),
        numbers={
            "images": number,
            "n": trial.n,
            "alpha": trial.alpha,
            "wrong": wrong,
            "lower": low,
            "upper": high,
            "chance": chance,
            "certified": int(certified.sum()),
            **({"mean_share": float(shares.mean()), "largest_share": float(shares.max())} if held.any() else {}),
        },
    )


def tails(trial: Trial, records: list[Record], quantiles: NDArray[np.float64]) -> Finding:
    """Whether every radius is what its votes allow, in 40-digit arithmetic: what no rate of failures would show.

    R = sigma q may be claimed of k votes of n if so many have probability alpha at most, were the class's share Phi(q).

    Args:
        trial: whose images they are of.
        records: with the votes.
        quantiles: (images,) the radii that `cohen` certified, in units of sigma.
    """
    certified = zip(records, quantiles.tolist(), strict=True)
    claimed = sorted({(record.counts.get(record.selected, 0), quantile) for record, quantile in certified if quantile})
    chosen = claimed[:: 1 + len(claimed) // _TAILS]
    chances = [exact_tail(votes, trial.n, quantile) for votes, quantile in chosen]
    largest = max(chances, default=0.0)
    return Finding(
        check="tails",
        subject=f"cohen · {trial.name}",
        expected=f"votes whose probability at the radius is {trial.alpha:.0%} at most",
        seen=f"{largest:.10%} at most, of {len(chosen)} numbers of votes",
        passed=largest <= trial.alpha,
        numbers={"alpha": trial.alpha, "largest": largest, "smallest": min(chances, default=0.0)},
    )


def _every_mechanism(chosen: list[Trial]) -> Iterator[Finding]:
    tried = {label.partition(":")[0] for trial in chosen for label in trial.mechanisms}
    missing = sorted(set(list_mechanisms()) - tried)
    yield Finding(
        check=CHECK,
        subject="every registered mechanism",
        expected="tried on a known classifier at least once",
        seen=f"not tried: {', '.join(missing)}" if missing else f"all {len(tried)} tried",
        passed=not missing,
        numbers={"tried": len(tried), "missing": len(missing)},
    )
