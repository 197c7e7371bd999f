"""All parts of an audit, one after another: what is not as promised is found, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from lightning_rs.audit import coverage, float_attack, invariances, noise, places
from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.progress import progress

PARTS = (coverage, noise, float_attack, places, invariances)


def list_cases(settings: AuditSettings) -> list[Case]:
    """Everything that an audit tries."""
    return [case for part in PARTS for case in part.cases(settings)]


def run_cases(cases: Sequence[Case], shown: bool = True) -> Iterator[Finding]:
    """What the cases find, each as soon as it is known.

    A case that ends in an error of what it certifies is a finding that did not pass.

    Args:
        cases: what is tried.
        shown: whether a bar says how far it is.
    """
    with progress(sum(case.cost for case in cases), "Auditing", "s", shown, leave=False) as bar:
        bar.bar_format = "{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]"  # Costs are no figures to print.
        for case in cases:
            bar.set_postfix_str(case.name)
            torch.compiler.reset()  # It compiles no more than a few classifiers, and leaves further ones as they are.
            try:
                yield from case.run()
            except (ValueError, RuntimeError) as error:  # PyTorch's are of the second kind.
                check, _, subject = case.name.partition(": ")
                yield Finding(check, subject, "to end without an error", f"error: {error}", passed=False)
            bar.update(case.cost)
