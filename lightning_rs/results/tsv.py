"""The field's result files: tab-separated `idx label predict radius correct time`, one line per example.

Source: the form is that of J. Cohen, E. Rosenfeld, J. Z. Kolter, Certified Adversarial Robustness via Randomized
Smoothing, 2019, and of the programs that build on theirs, which print radii with three digits, rounded to nearest: a
published radius may lie above the certificate. Ours are rounded down.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_rs.checks import shown
from lightning_rs.files import write_whole
from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.results.runs import Run

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
_REQUIRED = COLUMNS[:4]
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_TIME = re.compile(r"(?:(\d+) days?, )?(\d+):([0-5]?\d):([0-5]?\d(?:\.\d*)?)", re.ASCII)
_DOWN = decimal.Context(prec=6, rounding=decimal.ROUND_FLOOR)
# Lines of the field have about 40 bytes; no longer one than this is read into memory.
_LONGEST_LINE = 10_000
# More than the l1 norm of any image, even in 255 levels.
_LARGEST_RADIUS = 1e9


class NoResultsError(ValueError):
    """A file that is not damaged, but holds no results.

    Args:
        path: of the file.
        reason: what it is instead, as a predicate.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.reason = reason


@dataclass(frozen=True)
class ResultsFile:
    """What a results file says of B examples, in its order.

    Attributes:
        index: (B,) int64, index in the data set.
        label: (B,) int64, true class.
        prediction: (B,) int64, certified class, or `ABSTAIN`, also where the radius is -1.
        radius: (B,) float64, as written; 0 where it abstains.
        seconds: (B,) float64, nan where the file has no time.
        rounding: the most by which rounding to nearest can have raised a radius: half a unit of the last of the digits
            that the file's longest number has, at its largest radius.
        wrong_correct: how many entries of the column `correct` differ from `predict = label`; they are not used.
        uncertified: how many radii are -1, as some programs write where they predict but do not certify.
        header: whether the first line names the columns.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    seconds: NDArray[np.float64]
    rounding: float
    wrong_correct: int
    uncertified: int = 0
    header: bool = True


def read_tsv(path: str | Path, columns: Mapping[str, str] | None = None) -> ResultsFile:
    """Read a results file of the field or of ours.

    The first line names the columns, in any order; those beyond the six are ignored, `correct` and `time` may be
    missing. Without such a line there have to be the six, in order. Blanks may pad the cells, or stand for the tabs.
    `correct` is not believed, as some programs write a running total there.

    Args:
        path: the file.
        columns: of the six to what the file calls them, where it has other names.

    Raises:
        FileNotFoundError: no such file.
        NoResultsError: a file without examples, or with predictions but no radii.
        ValueError: a first line without the columns, a line that is no text, too long, cut off or foreign, an index
            that comes twice, with file, line number and reason.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a results file")
    if not path.is_file():
        raise FileNotFoundError(f"no results file at {path}")
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise NoResultsError(path, "holds no examples")
    header = bool(columns) or not _is_row(_cells(first[1]))
    names = _cells(first[1]) if header else list(COLUMNS)
    if "radius" not in (columns or {}) and {"label", "predict", "correct"} <= set(names) and "radius" not in names:
        raise NoResultsError(path, "is a log of predictions, without radii")
    try:
        place = _places(names, columns or {})
    except ValueError as error:
        raise ValueError(f"{path}, line {first[0]}: {error}") from None
    rows, seen, digits, wrong, uncertified = [], set(), 1, 0, 0
    for number, line in lines if header else chain([first], lines):
        cells = _cells(line)
        try:
            if len(cells) <= max(place.values()) or ("\t" not in line and len(cells) != len(names)):
                raise ValueError(f"{len(cells)} of {len(names)} columns, the line is cut off or foreign")
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
        if radius < 0:
            prediction, uncertified = ABSTAIN, uncertified + 1
        else:
            digits = max(digits, _digits(cells[place["radius"]]))
            wrong += "correct" in place and _differs(cells[place["correct"]], prediction == label)
        rows.append((index, label, prediction, 0.0 if prediction == ABSTAIN else radius, seconds))
    if not rows:
        raise NoResultsError(path, "holds no examples")
    index, label, prediction, radius, seconds = zip(*rows, strict=True)
    classes = (np.array(values, dtype=np.int64) for values in (index, label, prediction))
    rounding = _rounding(radius, digits)
    return ResultsFile(*classes, np.array(radius), np.array(seconds), rounding, wrong, uncertified, header)


def is_log(path: Path) -> bool:
    """Whether a file begins as the field's logs do, those of predictions too; no more of it is read."""
    if not path.is_file():  # Others may never end.
        return False
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE).decode("utf-8-sig")
    except (UnicodeDecodeError, OSError):
        return False
    cells = _cells(line)
    # Without a tab it may be prose with these words.
    named = {"label", "predict"} <= set(cells) and ("\t" in line or set(cells) <= set(COLUMNS))
    return named or _is_row(cells)


def write_tsv(run: Run, mechanism: str, path: str | Path) -> None:
    """Write what one mechanism certified, with six digits of the radius, rounded down; a radius never becomes 0."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(COLUMNS)]
    columns = (run.index, run.label, *run.certificates[mechanism], run.seconds)
    for index, label, prediction, radius, seconds in zip(*(column.tolist() for column in columns), strict=True):
        cells = (index, label, prediction, rounded_down(radius), int(prediction == label))
        lines.append("\t".join(map(str, (*cells, datetime.timedelta(seconds=seconds)))))
    write_whole(path, "\n".join(lines) + "\n")


def file_name(mechanism: str) -> str:
    """A file name for the results of a mechanism: `salman:bound=betting` becomes `salman-bound-betting.tsv`."""
    name = re.sub(r"[^\w.+]+", "-", mechanism, flags=re.ASCII)
    if len(name) > 100 or not mechanism.isascii():  # No file system takes more than 255 bytes; two must stay two.
        name = f"{name[:80]}-{hashlib.sha256(mechanism.encode(errors='backslashreplace')).hexdigest()[:8]}"
    return name + ".tsv"


def rounded_down(radius: float) -> str:
    """Six digits that read back as no more than `radius`."""
    return format(_DOWN.create_decimal(decimal.Decimal(radius)), "f") if math.isfinite(radius) else str(radius)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) > _LONGEST_LINE:
                raise ValueError(f"{path}, line {number}: it is longer than {_LONGEST_LINE:,} bytes")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                text = "\0"
            if "\0" in text:
                raise ValueError(f"{path}, line {number}: it is no text")
            if text.strip():
                yield number, text


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _is_row(cells: Sequence[str]) -> bool:
    """Whether these are the six values of an example."""
    return len(cells) == len(COLUMNS) and all(_NUMBER.fullmatch(cell) for cell in cells[: len(_REQUIRED)])


def _places(header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Where the columns stand, of those that there are."""
    shown = f"{' '.join(header)!r:.200}"
    if missing := [name for name in columns.values() if name not in header]:
        raise ValueError(f"no column {', '.join(missing)} in {shown}")
    names = {name: columns.get(name, name) for name in COLUMNS}
    if missing := [name for name in _REQUIRED if names[name] not in header]:
        expected = f"expected the columns {' '.join(COLUMNS)}, {', '.join(missing)} missing"
        raise ValueError(f"{expected}: {shown}; if they have other names, say column, as in {missing[0]}=NAME")
    if double := [name for name in names.values() if header.count(name) > 1]:
        raise ValueError(f"the column {double[0]} comes twice")
    return {name: header.index(own) for name, own in names.items() if own in header}


def _integer(name: str, text: str) -> int:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise ValueError(f"{name} must be an integer, got {shown(text)}")


def _radius(text: str) -> float:
    """The radius; -1 stands for none."""
    if not _NUMBER.fullmatch(text) and text.lower().lstrip("+-") not in ("nan", "inf", "infinity"):
        raise ValueError(f"radius must be a number, got {shown(text)}")
    radius = float(text)
    if not (0.0 <= radius < math.inf or radius == -1.0):
        raise ValueError(f"radius must be finite and at least 0, or -1 for none, got {shown(text)}")
    if radius > _LARGEST_RADIUS:
        raise ValueError(f"radius must be at most {_LARGEST_RADIUS:g}, got {shown(text)}")
    return radius


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match:
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if _NUMBER.fullmatch(text):
        return float(text)
    raise ValueError(f"time must read 0:00:15.05, or be a number of seconds, got {shown(text)}")


def _digits(text: str) -> int:
    """Significant digits, without trailing zeros, which programs leave out."""
    mantissa = text.lower().partition("e")[0].replace(".", "")
    return max(1, len(mantissa.strip("+0")))


def _rounding(radii: Sequence[float], digits: int) -> float:
    largest = max(radii)
    return 0.5 * 10.0 ** (math.floor(math.log10(largest)) + 1 - digits) if largest > 0 else 0.0


def _differs(text: str, correct: bool) -> bool:
    return text.lower() not in (("1", "1.0", "true") if correct else ("0", "0.0", "false"))
