"""Texts in rows and columns: the field's results files, and the metrics.csv of a run that is resumed."""

from __future__ import annotations

import csv
import io
import random
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.reader import Files, Reader, damage_bytes
from lightning_rs.cli.csv_log import CsvLog
from lightning_rs.results.sources import load_runs

_ODD_CELLS = (
    *("", " ", "-", "0", "-0", "1", "-1", "-2"),
    *("01", "1.0", "0.5", "-0.5", "1e3", "1e-320", "1e308", "1e309", "9" * 400),
    *("nan", "inf", "-inf", "Infinity", "NaN", "9223372036854775807", "9223372036854775808", "2**3", "1_000", "0x10"),
    *("²", "١", "½", "１", "a", "None", "True", "false", "x" * 10_001, '"', '"1', '""', "'", "\\", "\ufeff", "\u2028"),
    *("\x00", "\r", "\n", "\t", ",", "step"),
    *("idx", "radius", "epoch", "0:00:01", "1 day, 0:00:00.5", "99:61:61", "\ud800"),
    *("=cmd|' /C calc'!A0", "\\input{x}", "$x$", "../victim/kept.ckpt", "witness.call"),
)


def damage_cells(text: bytes, rng: random.Random, separator: str) -> bytes:
    """One to three cells, rows or columns replaced, lost, doubled or moved."""
    rows = [line.split(separator) for line in text.decode().split("\n")]
    for _ in range(rng.choice((1, 1, 2, 3))):
        row = rng.randrange(len(rows))
        column = rng.randrange(len(rows[row]))
        accident = rng.randrange(9)
        if accident == 0:
            rows.insert(rng.randrange(len(rows) + 1), rows[row].copy())
        elif accident == 1:
            del rows[row]
            rows = rows or [[""]]
        elif accident == 2:
            rows[row].insert(column, rng.choice(_ODD_CELLS))
        elif accident == 3:
            del rows[row][column:]
            rows[row] = rows[row] or [""]
        elif accident == 4:
            for other in rows:
                del other[column : column + 1]
            rows = [other or [""] for other in rows]
        elif accident == 5:
            rng.shuffle(rows[row])
        elif accident == 6:
            rows[row][column] += rng.choice(_ODD_CELLS)
        else:
            rows[row][column] = rng.choice(_ODD_CELLS)
    return "\n".join(map(separator.join, rows)).encode(errors="surrogatepass")


def _damage(name: str, separators: str, files: Files, rng: random.Random) -> Files:
    text = files[name]
    if rng.random() < 0.4:
        return {name: damage_bytes(text, rng)}
    return {name: damage_cells(text, rng, next(s for s in separators if s.encode() in text))}


# Results files.

_RESULTS = "sigma_0.25.tsv"


def _results() -> list[Files]:
    """As the field's programs write them: with and without a first line, blanks, `correct`, and a time."""
    rng = random.Random(0)
    lines = []
    for index in range(0, 200, 20):
        label, predict = rng.randrange(10), rng.randrange(-1, 10)
        radius = 0.0 if predict < 0 else rng.choice((0.0, 0.183, 0.52, 1.23))
        lines.append((index, label, predict, f"{radius:.3}", int(label == predict), f"0:00:{rng.uniform(1, 59):09.6f}"))
    named = [("idx", "label", "predict", "radius", "correct", "time"), *lines]
    fewer = [[str(value) for value in (row[1], row[0], row[3], row[2])] for row in named]
    uncertified = [*named[:3], (*lines[2][:3], -1.0, *lines[2][4:])]
    tables = [(named, "\t"), (lines, "\t"), (named, " "), (fewer, "\t"), (uncertified, "\t"), (named[:2], "\t")]
    texts = ["".join(separator.join(map(str, row)) + "\n" for row in rows) for rows, separator in tables]
    return [{_RESULTS: text.encode()} for text in texts]


def _read_results(folder: Path) -> Any:
    (run,), notes = load_runs([folder])
    assert not notes, "of a source there is what it says, or an error"
    ((prediction, radius),) = run.certificates.values()
    return [run.index.tolist(), run.label.tolist(), prediction.tolist(), radius.tolist(), run.guess, list(run.norms)]


def _impossible_results(value: Any, original: Any, files: Files) -> str | None:
    """Nothing says what was changed, but no answer may be what no certification gives."""
    index, label, prediction, radius, guess, norms = value
    if index != sorted(set(index)) or index[0] < 0 or min(label) < 0 or min(prediction) < -1:
        return f"impossible indices or classes: {index} {label} {prediction}"
    if not (np.isfinite(radius).all() and min(radius) >= 0) or (guess, norms) != (0.25, []):
        return f"impossible radii: {radius}, {guess}, {norms}"
    if any(r and p < 0 for p, r in zip(prediction, radius, strict=True)):
        return f"radii of abstentions: {prediction} {radius}"
    return None


RESULTS = Reader(_results, partial(_damage, _RESULTS, "\t "), _read_results, _impossible_results, share=0.3)


# metrics.csv.

_METRICS, _ASIDE, _REACHED = "metrics.csv", "metrics-damaged-1.csv", 64


def _metrics() -> list[Files]:
    """Few rows and many, plain ones and with cells that are quoted or empty."""
    small = "epoch,loss,step\n0,1.5,15\n1,0.5,31\n2,nan,64\n3,0.25,80\n"
    quoted = 'certify/cohen/acr,epoch,"a, ""b""",step\n,0,1.5,15\n0.25,1,"x\ny",31\n'
    names = ["certify/cohen/acr", "epoch", "lr", "step", "train/loss", "val/accuracy"]
    rows = [[0.1 * step, step // 16, 0.05, step, 1 / step, 0.9] for step in range(4, 80, 4)]
    whole = "\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n"
    return [{_METRICS: text.encode()} for text in (small, quoted, whole)]


def _read_metrics(folder: Path) -> Any:
    """The rows that are kept, as they are read again when others were added; a file that is put aside is refused."""
    said = io.StringIO()
    with redirect_stderr(said):
        log = CsvLog(folder, resumed_at=_REACHED)
        kept = [dict(row) for row in log.experiment.metrics]
        if len(kept) % 4 == 1:  # Of some, as it takes longer than reading.
            log.log_metrics({"loss": 0.125}, step=_REACHED + 1)
            log.save()
            again = [dict(row) for row in CsvLog(folder, resumed_at=_REACHED).experiment.metrics]
            assert again == kept, f"{kept} was read again as {again}"
    if said.getvalue():
        assert not kept and (folder / _ASIDE).exists(), "rows of a damaged file, or no such file any more"
        raise ValueError(said.getvalue().rstrip("\n"))
    return kept


def _impossible_metrics(value: Any, original: Any, files: Files) -> str | None:
    text = files[_METRICS].decode()
    for row in value:
        if type(row["step"]) is not int or not 0 <= row["step"] <= _REACHED:
            return f"a row of step {row['step']!r}"
        if not all(type(cell) is str and cell for name, cell in row.items() if name != "step"):
            return f"cells that are no text: {row}"
        if not all(_quoted(cell) in text or cell in text for name, cell in row.items() if name != "step"):
            return f"a cell that is not in the file: {row}"
    return None


def _quoted(cell: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow([cell])
    return text.getvalue()


METRICS = Reader(_metrics, partial(_damage, _METRICS, ","), _read_metrics, _impossible_metrics, share=0.35)
