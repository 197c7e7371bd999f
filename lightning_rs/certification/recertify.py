"""Certify again from records alone: another alpha, other mechanisms, no draw and no classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lightning_rs.checks import alpha_share, check_alpha, check_attempts
from lightning_rs.mechanisms import MechanismSet, parse_mechanism
from lightning_rs.results import Record, RunDescription
from lightning_rs.results.recomputation import held_fields, recompute


def recertify(
    records: Sequence[Record],
    run: RunDescription,
    alpha: float | None = None,
    mechanisms: Sequence[str] | None = None,
    attempts: int | None = None,
) -> tuple[list[Record], RunDescription]:
    """The records and the description that the same draws give with another alpha or other mechanisms.

    Equal to certifying anew with the same seed: the predictions to the bit, bounds and radii but for the last bits of
    NumPy's vector functions, which depend on how many examples they work on at once (below 1e-12, relative).

    Each alpha covers a choice of alpha and mechanism that did not depend on these records: of several answers the one
    that is liked best is covered if each was given the same `attempts`, no fewer than there are answers.

    Args:
        records: finished examples.
        run: what they are of.
        alpha: failure probability of each certificate, or of those of all attempts; the run's when left out.
        mechanisms: names with options; the run's when left out.
        attempts: number of certifications, certifying again included, among which one may be chosen after looking: each
            spends alpha / attempts. The run's when left out.

    Raises:
        ValueError: no records; alpha, attempts, mechanisms or n out of range; a mechanism that needs what the records
            do not hold, or that only the run's file names.
    """
    if not records:
        raise ValueError("there are no records to certify again")
    about, chosen = recertified_run(held_fields(records, run), run, alpha, mechanisms, attempts)
    return list(recompute(records, run, about.spent_alpha, chosen)), about


def recertified_run(
    held: frozenset[str],
    run: RunDescription,
    alpha: float | None = None,
    mechanisms: Sequence[str] | None = None,
    attempts: int | None = None,
) -> tuple[RunDescription, MechanismSet]:
    """The description of what `recertify` gives, and the mechanisms, without certifying anything.

    Args:
        held: fields of `Statistics` that every record holds.
        run, alpha, mechanisms, attempts: as for `recertify`.

    Raises:
        ValueError: as `recertify`.
    """
    alpha = check_alpha(run.alpha if alpha is None else alpha)
    attempts = check_attempts(run.attempts if attempts is None else attempts)
    spent = alpha_share(alpha, attempts)
    # What a file names is looked up, never imported.
    chosen = MechanismSet([parse_mechanism(text) for text in run.mechanisms] if mechanisms is None else mechanisms)
    if "look_counts" in held:
        for mechanism in chosen.values():
            mechanism.refuse_looks()
    lacking = {label: missing for label, mechanism in chosen.items() if (missing := mechanism.missing(held))}
    if lacking:
        parts = [f"{label} needs {', '.join(fields)}" for label, fields in lacking.items()]
        raise ValueError(
            f"the records do not hold what is needed: {'; '.join(parts)}; certify anew with --mechanisms "
            "that collect it (single scores are never stored)"
        )
    chosen.check_noise(run.noise_name)
    if run.stochastic:
        chosen.check_stochastic()
    chosen.check_trials(run.n, spent)
    return replace(run, alpha=alpha, attempts=attempts, mechanisms=tuple(chosen)), chosen
