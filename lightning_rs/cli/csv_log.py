"""The log on the disk: metrics.csv and hparams.yaml, whole whenever the run is killed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pytorch_lightning.core.saving import save_hparams_to_yaml
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from torch import Tensor

from lightning_rs.cli.remarks import say
from lightning_rs.files import replacing, write_whole

_Step = Annotated[int, msgspec.Meta(ge=0)]


class CsvLog(CSVLogger):
    """Lightning's CSV logger with files that are never deleted, and never hold half of what they should.

    Args:
        directory: of the files.
        resumed_at: the step from which the run goes on; -1 keeps no rows, and so does None, that of a new run.
    """

    def __init__(self, directory: Path, resumed_at: int | None = None) -> None:
        super().__init__(directory.parent, name=directory.name, version="")
        self._directory, self._resumed_at = directory, resumed_at

    @property
    @rank_zero_experiment
    def experiment(self) -> LogFiles:
        if self._experiment is None:
            rows = _kept_rows(self._directory / "metrics.csv", self._resumed_at)
            self._experiment = LogFiles(self._directory, rows)
        return self._experiment


class LogFiles:
    """The rows and hyperparameters of a run, and the two files that hold them.

    A row that is logged again, with the step, the epoch and the names of a row that was kept, takes its place: what was
    logged after the checkpoint that a run goes on from is computed anew.

    That a file cannot be written is said once, and stops no work: the rows are written as soon as they can be.

    Args:
        directory: made when there is something to write.
        kept: rows of before.

    Attributes:
        metrics: all rows.
    """

    def __init__(self, directory: Path, kept: Sequence[Mapping[str, Any]] = ()) -> None:
        self.metrics: list[Mapping[str, Any]] = list(kept)
        self.hparams: dict[str, Any] = {}
        self._directory = directory
        self._kept = {_identity(row): place for place, row in enumerate(kept)}
        self._names = set().union(*self.metrics)
        self._header: list[str] = []  # That of the file, if the file holds the first `_saved` rows and nothing else.
        self._saved = 0
        self._told = False

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Add a row, or put it in the place of the one that was kept."""
        row = {key: value.item() if isinstance(value, Tensor) else value for key, value in metrics.items()}
        row["step"] = step
        place = self._kept.pop(_identity(row), None)
        if place is None:
            self.metrics.append(row)
        else:
            self.metrics[place] = row
            self._header = []
        self._names |= row.keys()

    def log_hparams(self, params: Mapping[str, Any]) -> None:
        """Add hyperparameters, and write all of them."""
        self.hparams.update(params)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with replacing(self._directory / "hparams.yaml") as part:
                save_hparams_to_yaml(part, self.hparams)
        except OSError as error:
            self._tell(error)

    def save(self) -> None:
        """Write the rows that the file lacks: at its end, or the file anew where the names are others."""
        header = sorted(self._names)
        if not header or (header == self._header and self._saved == len(self.metrics)):
            return
        try:
            if not (header == self._header and self._append()):
                self._directory.mkdir(parents=True, exist_ok=True)
                names = dict(zip(header, header, strict=True))
                write_whole(self._directory / "metrics.csv", _lines(header, [names, *self.metrics]))
        except OSError as error:
            self._header = []
            self._tell(error)
        else:
            self._header, self._saved = header, len(self.metrics)

    def _append(self) -> bool:
        """Whether the new rows could be put at the file's end; if not, it may end in half of one, or be gone."""
        try:
            with (self._directory / "metrics.csv").open("r+b") as file:  # Which makes none, as "ab" would.
                file.seek(0, io.SEEK_END)
                file.write(_lines(self._header, self.metrics[self._saved :]).encode())
        except OSError:
            return False
        return True

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            say(f"warning: {error}; the run goes on, and its log is written when it can be")


def _identity(row: Mapping[str, Any]) -> tuple[str, str, frozenset[str]]:
    return str(row["step"]), str(row.get("epoch")), frozenset(row)


def _lines(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    csv.DictWriter(text, header, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _kept_rows(path: Path, resumed_at: int | None) -> list[dict[str, Any]]:
    """The rows of a run that is resumed, up to the step; a file that cannot be read is put aside, and said."""
    if resumed_at is None or resumed_at < 0 or not path.exists():
        return []
    try:
        try:
            return [row for row in _read(path) if row["step"] <= resumed_at]
        except (ValueError, IsADirectoryError) as error:
            places = (path.with_name(f"metrics-damaged-{number}.csv") for number in count(1))
            aside = next(place for place in places if not place.exists())
            path.rename(aside)
            say(f"warning: {path} is damaged ({error}): it is now {aside}, and a new one begins")
    except OSError as error:
        say(f"warning: {path} cannot be read ({error.strerror or error}): its rows up to here are not kept")
    return []


def _read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, of each the cells that are not empty.

    Raises:
        ValueError: not such a file; with the number of the line.
        OSError: it cannot be read.
    """
    text = path.read_bytes().decode()
    if "\0" in text:
        raise ValueError("it holds NUL bytes")
    # A line without an end was cut off when the run was killed.
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True)
    rows = []
    try:
        header = next(lines, ["step"])
        if "step" not in header or len(set(header)) < len(header):
            raise ValueError("expected names, each once, and a step among them")
        for cells in lines:
            if len(cells) != len(header):
                raise ValueError(f"expected {len(header)} cells, got {len(cells)}")
            row = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
            rows.append(row | {"step": msgspec.convert(row.get("step"), _Step, strict=False)})
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {lines.line_num}: {error}") from None
    return rows
