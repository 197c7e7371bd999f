"""Damaged files through the readers: each must be read as it was, or refused in one line of a documented kind.

    python benchmarks/fuzz.py records --inputs 100000 --seed 0

Prints how many inputs ended how. A failure is saved with its traceback; the exit status is then 1. An input of another
reader is one more `Reader` in `READERS`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_rs import SmoothedClassifier
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import Record, RunDescription, RunDirectory
from lightning_rs.results.check_sums import FILE, LINE
from lightning_rs.results.records import certificates_in

Files = dict[str, bytes]
"""One input: the content of every file, by name."""

SLOW = 5.0
"""Seconds after which an answer comes too late."""


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    Attributes:
        corpus: valid inputs.
        mutate: an input and a source of randomness -> a damaged one.
        read: the folder of an input -> what is read.
        change: what was read, and what is read of the valid input -> what is wrong with taking it, or None.
        documented: what may be raised, in one line.
    """

    corpus: Callable[[], list[Files]]
    mutate: Callable[[Files, random.Random], Files]
    read: Callable[[Path], Any]
    change: Callable[[Any, Any], str | None]
    documented: tuple[type[Exception], ...] = (ValueError, OSError)


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


# Damage to the structure of JSON.

_DEEP = "[" * 5000 + "]" * 5000
# Texts, as not all of them are what a JSON writer writes.
ODD_VALUES = [
    "null", "true", "false", "0", "-0", "1", "-1", "2", "0.5", "-0.5", "1e-320", "1e308", "-1e308", "1e400", "-1e400",
    "NaN", "Infinity", "-Infinity", "9223372036854775807", "9223372036854775808", "1" + "0" * 30, "9" * 400,
    '""', '"x"', '"1"', '"-1"', '"NaN"', r'"a\nb"', r'"\ud800"', r'"\u2028"', '"' + "x" * 10_000 + '"',
    "[]", "[[]]", "[1]", "[1,2]", "[null]", '["x"]', "[[1,2],[3]]", "{}", '{"0":1}', '{"-1":1}', '{"x":1}', '{"0":-1}',
    '{"0":0}', '{"999999999":1}', _DEEP, '{"a":' * 3000 + "1" + "}" * 3000,
]  # fmt: skip


def damage_json(text: bytes, rng: random.Random) -> bytes:
    """One or two values replaced, changed, lost, or given another key; or a key doubled."""
    value = json.loads(text)
    patches: dict[str, str] = {}
    for _ in range(rng.choice((1, 1, 2))):
        value = _damage(value, rng, patches)
    written = json.dumps(value, separators=(",", ":"))
    for mark, patch in patches.items():
        written = written.replace(f'"{mark}"', patch)
    return written.encode(errors="surrogatepass")


def _damage(value: Any, rng: random.Random, patches: dict[str, str]) -> Any:
    inner = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    if inner and rng.random() < 0.85:
        key = rng.choice(list(inner))
        accident = rng.randrange(12)
        if accident == 0:
            del value[key]
        elif accident == 1 and isinstance(value, dict):
            value[rng.choice(["", "x", "-1", "index", "99", "1e3", "radius"])] = value.pop(key)
        elif accident == 2 and isinstance(value, dict):
            mark = f"@{len(patches)}@"
            patches[mark] = f'{json.dumps(value[key])},{json.dumps(key)}:{rng.choice(ODD_VALUES)}'
            value[key] = mark
        elif accident == 3 and isinstance(value, list):
            value.insert(key, rng.choice(value))
        else:
            value[key] = _damage(value[key], rng, patches)
        return value
    if isinstance(value, (int, float)) and rng.random() < 0.5:
        return rng.choice((value * 10, value + 1, value - 1, -value, value * 0.999, value * (1 + 1e-6)))
    mark = f"@{len(patches)}@"
    patches[mark] = rng.choice(ODD_VALUES)
    return mark


# Records.

RUN, RECORDS = "run.json", "records-0.jsonl"


def record_corpus() -> list[Files]:
    """Certifications by votes, by everything that is stored, and by looks; with check sums and without."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    smoothed, images = SmoothedClassifier(net, 4, 0.5), torch.rand(3, 3, 2, 2)
    everything = ["cohen", "salman", "salman:bound=empirical_bernstein", "kumar_score", "kumar_margin", "mohapatra_l2"]
    small = [_run_files(smoothed, images, names) for names in (["cohen", "voracek"], ["sequential_betting"])]
    inputs = [*small, _run_files(smoothed, images[:1], [*everything, "mohapatra_linf", "moutaouakil_soft"])]
    inputs = 5 * small + inputs  # Of these more of the bytes say something.
    return [files for sealed in inputs for files in (sealed, _unsealed(sealed))]


def _run_files(smoothed: SmoothedClassifier, images: torch.Tensor, names: list[str]) -> Files:
    mechanisms = MechanismSet(names)
    run = RunDescription(
        data="Digits", split="test", indices=tuple(range(len(images))), num_classes=4, pixel_range=(0, 1), sigma=0.5,
        normalization={"mean": (0.5,), "std": (0.25,)}, n0=20, n=200, alpha=0.01, mechanisms=tuple(mechanisms), seed=0,
        radii=(0.1, 0.2) if mechanisms.sequential else None,
    )  # fmt: skip
    fields = mechanisms.fields - {"look_counts"}
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(folder)
        directory.create(run)
        with directory.appender(0) as file:
            for index, image in enumerate(images):
                statistics = smoothed.sample(image[None], [index], n0=run.n0, n=run.n, fields=fields)
                if mechanisms.sequential:
                    statistics = _looked_at(statistics)
                stored = statistics.to_plain()
                votes = stored.pop("selection_counts"), stored.pop("counts")
                certificates = certificates_in(mechanisms.certify(statistics, run.alpha))
                file.append(Record(index, index, -1, *votes, certificates, 0.25, stored))
        return {name: (directory.path / name).read_bytes() for name in (RUN, RECORDS)}


def _looked_at(statistics: Any) -> Any:
    """The same votes, as if looked at twice."""
    top, draws = int(statistics.counts[0, statistics.selected[0]]), int(statistics.trials[0])
    looks = [[[min(top, draws // 2), draws // 2], [top, draws]]]
    return type(statistics)(statistics.sigma, statistics.counts, statistics.selection_counts, look_counts=looks)


def _unsealed(files: Files) -> Files:
    """As an older version wrote it."""
    number = _number(files)
    lines = [LINE.take(line, number)[0] for line in files[RECORDS].split(b"\n")[:-1]]
    return {RUN: FILE.take(files[RUN])[0], RECORDS: b"".join(line + b"\n" for line in lines)}


def _number(files: Files) -> int:
    return RunDescription.from_dict(json.loads(FILE.take(files[RUN])[0])).number


def mutate_records(files: Files, rng: random.Random) -> Files:
    """Bytes of either file, or the structure of run.json or a record; half of these with check sums that fit."""
    name = rng.choice((RUN, RECORDS, RECORDS))
    if rng.random() < 0.4:
        return files | {name: damage_bytes(files[name], rng)}
    sealed, seal = b'"check"' in files[RUN], rng.random() < 0.5
    if name == RUN:
        text = damage_json(FILE.take(files[RUN])[0], rng) + b"\n"
        if not (sealed and seal):
            return files | {RUN: text}
        text = FILE.add(text.removesuffix(b"}\n") + b"\n}\n")
        try:  # Records that fit to the other run, so that the values themselves are judged.
            number = _number({RUN: text})
        except Exception:  # Of what kind it may be, the reader's answer shows.
            return files | {RUN: text}
        lines = _unsealed(files)[RECORDS].split(b"\n")[:-1]
        return {RUN: text, RECORDS: b"".join(LINE.add(line, number) + b"\n" for line in lines)}
    lines = files[RECORDS].split(b"\n")[:-1]
    place = rng.randrange(len(lines))
    if rng.random() < 0.1:
        lines.append(lines[place])
    number = _number(files)
    text = damage_json(LINE.take(lines[place], number)[0], rng)
    lines[place] = LINE.add(text, number) if sealed and seal else text
    return files | {RECORDS: b"".join(line + b"\n" for line in lines)}


def read_records(folder: Path) -> list[Record]:
    return RunDirectory(folder).read()


def radii_of(records: list[Record]) -> set[tuple[int, str, int, float]]:
    return {(r.index, m, c.prediction, c.radius) for r in records for m, c in r.certificates.items()}


def changed_radii(records: list[Record], original: list[Record]) -> str | None:
    """A certificate that the original does not hold, beyond the rounding that is allowed."""
    held = {(index, m): (prediction, radius) for index, m, prediction, radius in radii_of(original)}
    for index, m, prediction, radius in radii_of(records):
        there, size = held.get((index, m), (None, float("nan")))
        if there != prediction or not abs(size - radius) <= 1e-9 * size:
            return f"image {index} has the certificate {prediction}, {radius} of {m}, which was {there}, {size}"
    return None


READERS = {"records": Reader(record_corpus, mutate_records, read_records, changed_radii)}


def judge(reader: Reader, folder: Path, files: Files, original: Any) -> tuple[str, str]:
    """How reading a damaged input ended, and the details if it should not have."""
    _write(files, folder)
    start = time.perf_counter()
    try:
        value = reader.read(folder)
    except reader.documented as error:
        outcome, details = "refused in one line", ""
        if not str(error) or len(str(error).splitlines()) > 1 or len(str(error)) > 2000:
            outcome, details = "FAILURE: not one line", repr(str(error))
    except Exception as error:  # Whatever else comes is what is looked for.
        outcome, details = f"FAILURE: {type(error).__name__}", traceback.format_exc()
    else:
        wrong = reader.change(value, original)
        outcome = "accepted, equal" if value == original else "accepted, no other answer"
        outcome, details = (outcome, "") if wrong is None else ("FAILURE: another answer", wrong)
    seconds = time.perf_counter() - start
    return (f"FAILURE: took more than {SLOW:g} s", f"{seconds:.1f} s") if seconds > SLOW else (outcome, details)


def fuzz(name: str, inputs: int, seed: int, failures: Path) -> Counter[str]:
    """Outcome to number of inputs; what failed lies under `failures` afterwards."""
    reader, rng = READERS[name], random.Random(seed)
    warnings.simplefilter("error")  # A reader that warns has computed with what it should have refused.
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        corpus = []
        for files in reader.corpus():
            _write(files, Path(folder))
            corpus.append((files, reader.read(Path(folder))))
        for number in range(inputs):
            files, original = rng.choice(corpus)
            damaged = reader.mutate(files, rng)
            outcome, details = judge(reader, Path(folder), damaged, original)
            outcomes[outcome] += 1
            if outcome.startswith("FAILURE") and outcomes[outcome] <= 20:
                said = {"details.txt": f"{outcome}\n{details}\n".encode()}
                _write(damaged | said, failures / f"{name}-{seed}-{number}")
    return outcomes


def _write(files: Files, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="Folder of what failed.")
    options = parser.parse_args()
    start = time.perf_counter()
    outcomes = fuzz(options.reader, options.inputs, options.seed, options.failures)
    rate = options.inputs / (time.perf_counter() - start)
    print(f"{options.reader}: {options.inputs:,} inputs, seed {options.seed}, {rate:,.0f} a second")
    for outcome, number in sorted(outcomes.items()):
        print(f"{number:>10,}  {outcome}")
    if any(outcome.startswith("FAILURE") for outcome in outcomes):
        print(f"inputs and details of failures are in {options.failures}")
        sys.exit(1)


if __name__ == "__main__":
    main()
