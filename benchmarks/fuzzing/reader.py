"""A reader of files, damaged inputs for it, and the judgement of how it took them."""

from __future__ import annotations

import gc
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fuzzing.watch import WITNESS, Watch

Files = dict[str, bytes]
"""One input: the content of every file, by name."""

SLOW = 5.0
"""Seconds after which an answer comes too late."""

_SAVED = 20  # Failures of a kind.


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    Attributes:
        corpus: valid inputs.
        mutate: an input and a source of randomness -> a damaged one.
        read: the folder of an input -> what is read.
        change: what was read, what is read of the valid input, and the damaged input -> what is wrong with taking it,
            or None.
        share: of the inputs that all readers get together.
        documented: what may be raised, in one line.
        warnings: whether a warning is a failure; a reader that warns has computed with what it should have refused.
    """

    corpus: Callable[[], list[Files]]
    mutate: Callable[[Files, random.Random], Files]
    read: Callable[[Path], Any]
    change: Callable[[Any, Any, Files], str | None]
    share: float
    documented: tuple[type[Exception], ...] = (ValueError, OSError)
    warnings: Literal["error", "ignore"] = "error"


@dataclass
class Outcomes:
    """How the inputs of a reader ended.

    Attributes:
        counts: outcome to number of inputs.
        failed: numbers of the inputs that failed.
        slowest: most seconds that one took.
        seconds: of all.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)
    slowest: float = 0.0
    seconds: float = 0.0

    def add(self, other: Outcomes) -> None:
        self.counts += other.counts
        self.failed += other.failed
        self.slowest = max(self.slowest, other.slowest)
        self.seconds += other.seconds


def fuzz(name: str, reader: Reader, seed: int, numbers: range, failures: Path) -> Outcomes:
    """The inputs of these numbers through a reader; each depends on the seed and its number alone.

    What failed lies under `failures` afterwards, with the details.
    """
    outcomes = Outcomes()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        os.chdir(place)  # Relative paths in hostile files lead into it.
        folder = Path(place, "runs", "run")
        _lay_traps(Path(place))
        corpus = _valid(reader, folder)
        for number in numbers:
            rng = random.Random(f"{name} {seed} {number}")
            files, original = rng.choice(corpus)
            damaged = reader.mutate(files, rng)
            outcome, details, seconds = judge(reader, folder, damaged, original)
            outcomes.counts[outcome] += 1
            outcomes.slowest = max(outcomes.slowest, seconds)
            if outcome.startswith("FAILURE"):
                outcomes.failed.append(number)
                if outcomes.counts[outcome] <= _SAVED:
                    said = {"details.txt": f"{outcome}\n{details}\n".encode(errors="backslashreplace")}
                    write(damaged | said, failures / f"{name}-{seed}-{number}")
                _lay_traps(Path(place))
        os.chdir(os.sep)
        gc.unfreeze()
    outcomes.seconds = time.perf_counter() - began
    return outcomes


def judge(reader: Reader, folder: Path, files: Files, original: Any) -> tuple[str, str, float]:
    """How reading a damaged input ended, the details if it should not have, and the seconds it took."""
    write(files, folder)
    watch = _watch()
    watch.begin(folder)
    start = time.perf_counter()
    try:
        value = reader.read(folder)
    except reader.documented as error:
        outcome, details = "refused in one line", ""
        if not 0 < len(str(error)) <= 2000 or len(str(error).splitlines()) > 1:
            outcome, details = "FAILURE: not one line", repr(str(error))
    except Exception as error:  # Whatever else comes is what is looked for.
        outcome, details = f"FAILURE: {type(error).__name__}", traceback.format_exc()
    else:
        wrong = reader.change(value, original, files)
        outcome = "accepted, equal" if value == original else "accepted, no other answer"
        outcome, details = (outcome, "") if wrong is None else ("FAILURE: another answer", wrong)
    seconds = time.perf_counter() - start
    watch.end()
    if watch.seen:
        outcome, details = "FAILURE: more than reading", "\n".join(watch.seen)
    elif os.path.exists("ran") or not os.path.exists("victim/kept.ckpt"):  # By what is not of Python.
        outcome, details = "FAILURE: more than reading", "there is a file `ran`, or no more victim"
    elif seconds > SLOW:
        outcome, details = f"FAILURE: took more than {SLOW:g} s", f"{seconds:.1f} s"
    return outcome, details, seconds


def write(files: Files, folder: Path) -> None:
    """Make `folder` hold these files and nothing else."""
    names = {name.partition("/")[0] for name in files}
    os.makedirs(folder, exist_ok=True)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.name not in names:
            os.unlink(entry.path)
    for name, content in files.items():
        path = f"{folder}/{name}"
        if "/" in name:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def _lay_traps(place: Path) -> None:
    """In the working directory: a module that leaves a witness when it is imported, and a folder to destroy."""
    (place / "ran").unlink(missing_ok=True)
    sys.modules.pop(WITNESS, None)
    (place / f"{WITNESS}.py").write_text(
        "open('ran', 'w').close()\nclass Witness:\n    pass\ndef call(*_, **__):\n    open('ran', 'w').close()\n"
    )
    (place / "victim").mkdir(exist_ok=True)
    (place / "victim" / "kept.ckpt").write_bytes(b"kept")
    if "" not in sys.path:
        sys.path.append("")  # The working directory, in which users' own modules are found.


def _valid(reader: Reader, folder: Path) -> list[tuple[Files, Any]]:
    warnings.simplefilter(reader.warnings)
    valid = []
    for files in _corpus(reader):
        write(files, folder)
        valid.append((files, reader.read(folder)))
    gc.collect()
    gc.freeze()  # Libraries are never garbage, and take long to look through.
    return valid


@cache
def _corpus(reader: Reader) -> list[Files]:
    return reader.corpus()


@cache
def _watch() -> Watch:
    return Watch()


# Damage to bytes.


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """One to three accidents: a flipped bit, another byte, a part lost, doubled, moved, or zeroed, and a cut end."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice((1, 2, 8, 64, 512)))
        accident = rng.randrange(8)
        if accident == 0:
            data[start] ^= 1 << rng.randrange(8)
        elif accident == 1:
            data[start] = rng.randrange(256)
        elif accident == 2:
            data[start] = rng.choice(b'0123456789-+.eE"{}[],:\n\r\t \x00\xff\\nN')
        elif accident == 3:
            del data[start:end]
        elif accident == 4:
            data[start:start] = data[start:end]
        elif accident == 5:
            part = data[start:end]
            del data[start:end]
            place = rng.randrange(len(data) + 1)
            data[place:place] = part
        elif accident == 6:
            data[start:end] = bytes(end - start)
        else:
            del data[start:]
    return bytes(data)
