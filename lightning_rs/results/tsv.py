"""The field's result files: tab-separated `idx label predict radius correct time`, one line per example.

Source: the form is that of J. Cohen, E. Rosenfeld, J. Z. Kolter, Certified Adversarial Robustness via Randomized
Smoothing, 2019, and of the programs that build on theirs, which print radii with three digits, rounded to nearest: a
published radius may lie above the certificate. Ours are rounded down.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.results.records import Record

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
_REQUIRED = COLUMNS[:4]
_TIME = re.compile(r"(?:(\d+) days?, )?(\d+):([0-5]?\d):([0-5]?\d(?:\.\d*)?)")
_DOWN = decimal.Context(prec=6, rounding=decimal.ROUND_FLOOR)


@dataclass(frozen=True)
class ResultsFile:
    """What a results file says of B examples, in its order.

    Attributes:
        index: (B,) int64, index in the data set.
        label: (B,) int64, true class.
        prediction: (B,) int64, certified class, or `ABSTAIN`.
        radius: (B,) float64, as written; 0 where it abstains.
        seconds: (B,) float64, nan where the file has no time.
        rounding: the most by which rounding to nearest can have raised a radius: half a unit of the last of the digits
            that the file's longest number has, at its largest radius.
        wrong_correct: how many entries of the column `correct` differ from `predict = label`; they are not used.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    seconds: NDArray[np.float64]
    rounding: float
    wrong_correct: int


def read_tsv(path: str | Path) -> ResultsFile:
    """Read a results file of the field or of ours.

    The first line names the columns, in any order; those beyond the six are ignored, `correct` and `time` may be
    missing. `correct` is not believed, as some programs write a running total there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a first line without the columns, a line that is cut off or foreign, an index that comes twice, with
            file, line number and reason; or no line at all.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no results file at {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a results file: it is no text") from None
    header = lines[0].strip().split("\t") if lines else []
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        raise ValueError(f"{path}, line 1: expected the columns {' '.join(COLUMNS)}, {', '.join(missing)} missing")
    place = {name: header.index(name) for name in COLUMNS if name in header}
    rows, seen, digits, wrong = [], set(), 1, 0
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.rstrip("\n").split("\t")
        try:
            if len(cells) <= max(place.values()):
                raise ValueError(f"{len(cells)} of {len(header)} columns, the line is cut off or foreign")
            index, label, prediction = (_integer(name, cells[place[name]]) for name in _REQUIRED[:3])
            radius, seconds = _radius(cells[place["radius"]]), math.nan
            if index < 0 or index in seen:
                raise ValueError(f"idx {index} {'comes twice' if index in seen else 'is negative'}")
            if label < 0:
                raise ValueError(f"label must be a class, got {label}")
            if prediction < 0 and prediction != ABSTAIN:
                raise ValueError(f"predict must be a class, or {ABSTAIN} for an abstention, got {prediction}")
            if "time" in place:
                seconds = _seconds(cells[place["time"]])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        seen.add(index)
        digits = max(digits, _digits(cells[place["radius"]]))
        wrong += "correct" in place and _differs(cells[place["correct"]], prediction == label)
        rows.append((index, label, prediction, 0.0 if prediction == ABSTAIN else radius, seconds))
    if not rows:
        raise ValueError(f"{path} holds no examples")
    index, label, prediction, radius, seconds = zip(*rows, strict=True)
    classes = (np.array(values, dtype=np.int64) for values in (index, label, prediction))
    return ResultsFile(*classes, np.array(radius), np.array(seconds), _rounding(radius, digits), wrong)


def write_tsv(records: Sequence[Record], mechanism: str, path: str | Path) -> None:
    """Write what one mechanism certified, with six digits of the radius, rounded down; a radius never becomes 0."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(COLUMNS)]
    for record in records:
        certificate = record.certificates[mechanism]
        time = datetime.timedelta(seconds=record.seconds)
        cells = (record.index, record.label, certificate.prediction, rounded_down(certificate.radius))
        lines.append("\t".join(map(str, (*cells, int(certificate.prediction == record.label), time))))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def file_name(mechanism: str) -> str:
    """A file name for the results of a mechanism: `salman:bound=betting` becomes `salman-bound-betting.tsv`."""
    return re.sub(r"[^\w.+]+", "-", mechanism) + ".tsv"


def rounded_down(radius: float) -> str:
    """Six digits that read back as no more than `radius`."""
    return format(_DOWN.create_decimal(decimal.Decimal(radius)), "f") if math.isfinite(radius) else str(radius)


def _integer(name: str, text: str) -> int:
    try:
        value = float(text)
        if value == int(value) and abs(value) < 2**53:
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{name} must be an integer, got {text!r}")


def _radius(text: str) -> float:
    try:
        radius = float(text)
    except ValueError:
        raise ValueError(f"radius must be a number, got {text!r}") from None
    if not 0.0 <= radius < math.inf:
        raise ValueError(f"radius must be finite and at least 0, got {text!r}")
    return radius


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if match:
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"time must read 0:00:15.05, or be a number of seconds, got {text!r}") from None


def _digits(text: str) -> int:
    """Significant digits, without trailing zeros, which programs leave out."""
    number = decimal.Decimal(text.strip())
    return len(number.normalize().as_tuple().digits) if number.is_finite() and number else 1


def _rounding(radii: Sequence[float], digits: int) -> float:
    largest = max((r for r in radii if math.isfinite(r)), default=0.0)
    return 0.5 * 10.0 ** (math.floor(math.log10(largest)) + 1 - digits) if largest > 0 else 0.0


def _differs(text: str, correct: bool) -> bool:
    return text.strip().lower() not in (("1", "1.0", "true") if correct else ("0", "0.0", "false"))
