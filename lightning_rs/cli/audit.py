"""`certify.py audit`: does this installation keep its promises?"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy
import scipy
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

import lightning_rs
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.running import list_cases, run_cases
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.certification.environment import commit, device_name
from lightning_rs.checks import check_word
from lightning_rs.cli.devices import fabric_on
from lightning_rs.files import check_new_file, write_whole
from lightning_rs.results.escaping import one_line
from lightning_rs.results.report import console_for
from lightning_rs.smoothing import Preparation


def audit(
    quick: bool = False,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32",
    channels_last: bool = False,
    fold_batch_norm: bool = False,
    compile: bool = False,
    seed: int = 0,
    output: str | None = None,
) -> None:
    """Try this installation: certify classifiers whose truth is known, and break what may not break.

    Ends with status 0 if everything is as promised, with 1 if anything is not.

    Args:
        quick: the checks of half a minute instead of those of minutes.
        accelerator: cpu, gpu or auto.
        precision: of the classifiers, as in a certification.
        channels_last: keep images and weights in channels-last order.
        fold_batch_norm: multiply batch norms into the convolutions before them.
        compile: compile the classifiers.
        seed: of the noise.
        output: JSON file of what was found, for programs; none when left out.
    """
    check_word("seed", seed)
    if output is not None:
        check_new_file("output", output)
    device = fabric_on(accelerator).device
    preparation = Preparation(precision, channels_last, fold_batch_norm, compile)
    preparation.check(device, nn.Identity())
    settings = AuditSettings(quick, device, preparation, seed)

    start = time.perf_counter()
    findings = list(run_cases(list_cases(settings)))
    seconds = time.perf_counter() - start
    _print(findings, settings)
    if output is not None:
        write_whole(output, json.dumps(_plain(findings, settings, seconds), indent=1, allow_nan=False) + "\n")
    failed = [finding for finding in findings if not finding.passed]
    for finding in failed:
        line = f"{finding.check}, {finding.subject}: expected {finding.expected}; seen {finding.seen}"
        print(one_line(line))
    if failed:
        print(f"{len(failed)} of {len(findings)} checks FAILED", flush=True)
        raise SystemExit(1)
    print(f"{len(findings)} checks hold, in {seconds:.0f} s", flush=True)


def _title(settings: AuditSettings) -> str:
    """What is audited, and how."""
    chosen = dataclasses.asdict(settings.preparation)
    options = [chosen.pop("precision"), *(name for name, value in chosen.items() if value)]
    effort = "quick audit" if settings.quick else "audit"
    return f"{effort.capitalize()} on {device_name(settings.device)}, {', '.join(options)}, seed {settings.seed}"


def _print(findings: Sequence[Finding], settings: AuditSettings) -> None:
    """The findings as a table, by check: on a terminal as wide as that, elsewhere as wide as it has to be."""
    checks = list(dict.fromkeys(finding.check for finding in findings))
    findings = sorted(findings, key=lambda finding: checks.index(finding.check))
    table = Table(title=Text(_title(settings), style="bold"))
    for name in ("check", "of", "expected", "seen", ""):
        table.add_column(name, overflow="fold")
    for before, finding in zip([None, *findings[:-1]], findings, strict=True):
        if before is not None and before.check != finding.check:
            table.add_section()
        texts = (finding.check, finding.subject, finding.expected, finding.seen)
        verdict = Text("holds", style="green") if finding.passed else Text("FAILED", style="bold red")
        table.add_row(*(Text(one_line(text)) for text in texts), verdict)
    console = Console()
    (console if console.is_terminal else console_for(table)).print(table)


def _plain(findings: Sequence[Finding], settings: AuditSettings, seconds: float) -> dict[str, Any]:
    """Everything that was found, and of what, as plain values."""
    return {
        "passed": all(finding.passed for finding in findings),
        "checks": len(findings),
        "failed": sum(not finding.passed for finding in findings),
        "quick": settings.quick,
        "device": device_name(settings.device),
        **dataclasses.asdict(settings.preparation),
        "seed": settings.seed,
        "seconds": round(seconds, 1),
        "versions": {m.__name__: m.__version__ for m in (lightning_rs, torch, numpy, scipy)},
        "commit": commit(),
        "findings": [
            {**vars(finding), "numbers": {name: _number(value) for name, value in finding.numbers.items()}}
            for finding in findings
        ],
    }


def _number(value: Any) -> float | int | str:
    """A number as JSON has it: what is not finite as text."""
    value = value.item() if isinstance(value, numpy.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
