"""`certify.py plan`: what a certification will find, draw and take, from a few draws of some images."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from lightning_rs.certification import (
    CertificationSettings,
    Forecast,
    Pilot,
    fastest,
    fit_draws,
    load_subject,
    run_pilot,
    told_settings,
)
from lightning_rs.certification.environment import device_name
from lightning_rs.certification.planning import duration
from lightning_rs.checks import check_at_least, check_inside
from lightning_rs.cli.devices import fabric_on
from lightning_rs.cli.remarks import say
from lightning_rs.files import check_new_file, write_whole
from lightning_rs.results.description import alpha_title
from lightning_rs.results.escaping import one_line
from lightning_rs.results.radius_text import accuracy_headers
from lightning_rs.results.report import show_table
from lightning_rs.results.tables import Table, percent

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DEVICES = (1, 2, 4, 8)
_HARD, _SEQUENTIAL = "cohen", "sequential_betting"


def plan(
    checkpoint: str | None = None,
    sigma: float | None = None,
    arch: str | None = None,
    weights: str | None = None,
    normalization: str | None = None,
    denoiser: str | None = None,
    data: str | None = None,
    data_args: dict[str, Any] | None = None,
    data_dir: str | None = None,
    stages: list[str] | None = None,
    fast: bool = False,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    images: int = 50,
    draws: int = 1000,
    budget: str | None = None,
    devices: int = 1,
    confidence: float = 0.95,
    output: str | None = None,
    **settings: Any,
) -> None:
    """Predict what a certification will find, draw and take, from a few draws of some of its images.

    All options of certify.py that say what is certified and how serve here too.

    Args:
        checkpoint: file that train.py wrote, or one of the field; none of a net that has its weights.
        sigma: standard deviation of the noise in pixel units; that of the training when left out.
        arch: architecture of a foreign checkpoint that does not name its own, or the net without one.
        weights: without a checkpoint what the net's library calls its weights.
        normalization: of a foreign checkpoint or net: standardize, center, none, or numbers per channel as mean/std.
        denoiser: what to put before the classifier.
        data: name of the data set, or path of an own one; that of the training when left out.
        data_args: arguments of the data set, each also as --data.KEY VALUE; those of the training when left out.
        data_dir: short for --data.data_dir, the folder of the data set.
        stages: paths of own stages that the checkpoint names.
        fast: the fastest settings known for this machine, as of certify.py.
        accelerator: cpu, gpu or auto.
        images: images that are looked at, drawn at random from those to certify.
        draws: noisy copies of each.
        budget: time that the certification may take, as in 90s, 30m, 2h or 1d; n is then the largest of two digits and
            zeros that fits, or the least that certifies anything where none of them does.
        devices: number of devices like this one for which the budget is.
        confidence: of the limits.
        output: JSON file of what is predicted, for programs; none when left out.
        settings: see `CertificationSettings`.
    """
    check_at_least("images", images, 1)
    check_at_least("draws", draws, 1)
    check_at_least("devices", devices, 1)
    check_inside("confidence", confidence)
    allowed = None if budget is None else seconds_of(budget)
    if output is not None:
        check_new_file("output", output)
    chosen = CertificationSettings(**settings)
    data_args = ({} if data_dir is None else {"data_dir": data_dir}) | (data_args or {})
    subject = load_subject(checkpoint, arch, weights, normalization, denoiser, data, data_args, stages)
    subject.data.prepare_data()
    certification = subject.certification(chosen, fabric_on(accelerator).device, sigma)
    if fast:
        certification = fastest(certification, given=settings)
        say(f"fast: {told_settings(certification)}")
    certification.check()
    certification.ask()

    pilot = run_pilot(certification, images, draws)
    chosen = pilot.certification.settings
    forecasts = [_forecast(pilot, chosen, confidence, allowed, devices)]
    if (other := _other_way(chosen)) is not None:
        try:
            forecasts.append(_forecast(pilot, other, confidence, allowed, devices))
        except ValueError as error:
            say(f"not planned: {error}")
    for forecast in forecasts:
        for label, fields in forecast.left_out.items():
            say(f"{label} is timed and not predicted: it reads {', '.join(fields)}, which few draws do not tell")
    _show(pilot, forecasts, confidence, allowed, devices)
    if output is not None:
        write_whole(output, json.dumps(_plain(pilot, forecasts, devices), indent=1, allow_nan=False) + "\n")


def seconds_of(budget: str) -> float:
    """Seconds of a text such as 90s, 30m, 2h, 1.5d.

    Raises:
        ValueError: anything else, or no time at all.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", budget.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"budget must be a number above 0 with s, m, h or d behind it, as in 30m, got {budget!r}")
    return float(found[1]) * _UNITS[found[2]]


def _other_way(settings: CertificationSettings) -> CertificationSettings | None:
    """Sequential beside a fixed number of draws, and the other way round, for the same smoothed classifier; None where
    no such mechanism is: those that stop early certify votes in l2."""
    mechanisms = settings.mechanism_set
    if any((m.smoothing, m.norm) != ("hard", "l2") for m in mechanisms.values()):
        return None
    return dataclasses.replace(settings, mechanisms=(_HARD if mechanisms.sequential else _SEQUENTIAL,))


def _forecast(
    pilot: Pilot, settings: CertificationSettings, confidence: float, allowed: float | None, devices: int
) -> Forecast:
    if allowed is None:
        return Forecast(pilot, settings, confidence)
    return fit_draws(pilot, settings, allowed, devices, confidence)


def _show(
    pilot: Pilot, forecasts: Sequence[Forecast], confidence: float, allowed: float | None, devices: int
) -> None:
    """Both tables, and a line on what they are of."""
    certification, radii = pilot.certification, forecasts[0].radii
    settings, total = certification.settings, forecasts[0].images
    title = (
        f"Predicted certified accuracy (%), {confidence:.0%} limits\n{certification.data} {certification.split}, "
        f"{certification.architecture}, σ = {certification.noise.scale:g}, "
        f"{alpha_title(settings.alpha, settings.attempts)}"
    )
    rows, sections = [], []
    for forecast in forecasts:
        sections.append(len(rows))
        for label, cells in forecast.certified.items():
            texts = (f"{percent(c.value)} ({percent(c.low)}–{percent(c.high, up=True)})" for c in cells)
            rows.append((label, f"{forecast.settings.n:,}", *texts))
    header = ("mechanism", "n", *accuracy_headers(radii))
    if rows:
        show_table(Table(title, header, tuple(rows), sections=tuple(sections[1:])))
    show_table(_effort_table(forecasts, devices))
    lines = [
        f"From {len(pilot.samples):,} of {total:,} images, {pilot.plan.looks[-1]:,} draws each: "
        f"{pilot.rows_per_second:,.0f} draws a second on {device_name(certification.device)}, between "
        f"{pilot.slowest:,.0f} and {pilot.fastest:,.0f} in parts of the pilot; {duration(pilot.preparation)} of "
        "preparation are not counted"
    ]
    if allowed is not None:
        for forecast in forecasts:
            lines.append(
                f"{', '.join(forecast.settings.mechanism_set)}: n = {forecast.settings.n:,} is what fits "
                f"{duration(allowed)} on {devices} device{'s' * (devices > 1)}"
            )
    for line in lines:
        Console().print(Text(one_line(line)), soft_wrap=True)


def _effort_table(forecasts: Sequence[Forecast], devices: int) -> Table:
    """Draws and time of each way."""
    numbers = _numbers(devices)
    rows = []
    for forecast in forecasts:
        draws = forecast.draws
        fixed = draws.low == draws.high
        each = f"{draws.value:,.0f}" if fixed else f"{draws.value:,.0f} ({draws.low:,.0f}–{draws.high:,.0f})"
        label = ", ".join(forecast.settings.mechanism_set)
        times = (duration(forecast.makespan(number)) for number in numbers)
        rows.append((label, each, f"{draws.value * forecast.images:,.0f}", *times))
    header = ("mechanisms", "draws an image", "draws in all", *(f"{n} device{'s' * (n > 1)}" for n in numbers))
    return Table("Draws, and time on devices like this one", header, tuple(rows))


def _numbers(devices: int) -> list[int]:
    """Of devices, that are planned for."""
    return sorted({*_DEVICES, devices})


def _plain(pilot: Pilot, forecasts: Sequence[Forecast], devices: int) -> Mapping[str, Any]:
    """Everything that is predicted, and from what, as plain values."""
    certification = pilot.certification
    return {
        "data": certification.data,
        "split": certification.split,
        "architecture": certification.architecture,
        "noise": certification.noise.label,
        "sigma": certification.noise.scale,
        "device": device_name(certification.device),
        "images": forecasts[0].images,
        "pilot": {
            "indices": [sample.index for sample in pilot.samples],
            "draws": pilot.plan.looks[-1],
            "draws_per_second": pilot.rows_per_second,
            "slowest_part": pilot.slowest,
            "fastest_part": pilot.fastest,
            "preparation_seconds": pilot.preparation,
        },
        "forecasts": [
            {
                "settings": dataclasses.asdict(forecast.settings),
                "radii": list(forecast.radii),
                "confidence": forecast.confidence,
                "certified_accuracy": {
                    label: [dataclasses.asdict(cell) for cell in cells] for label, cells in forecast.certified.items()
                },
                "not_predicted": forecast.left_out,
                "draws_per_image": dataclasses.asdict(forecast.draws),
                "seconds": {number: forecast.makespan(number) for number in _numbers(devices)},
            }
            for forecast in forecasts
        ],
    }
