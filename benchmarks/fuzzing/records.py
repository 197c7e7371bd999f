"""Records: `run.json` and a file of records, damaged in bytes and in structure, with check sums that fit or do not."""

from __future__ import annotations

import json
import random
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from fuzzing.reader import Files, Reader, damage_bytes
from lightning_rs import SmoothedClassifier
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.results import Environment, Record, RunDescription, RunDirectory
from lightning_rs.results.check_sums import FILE, LINE
from lightning_rs.results.environment import is_environment
from lightning_rs.results.records import certificates_in

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
        with directory.appender(0, Environment(device="cpu", batch_size=100, versions={"torch": "2"})) as file:
            for index, image in enumerate(images):
                statistics = smoothed.sample(image[None], [index], n0=run.n0, n=run.n, fields=fields)
                if mechanisms.sequential:
                    statistics = _looked_at(statistics)
                stored = statistics.to_plain()
                votes = stored.pop("selection_counts"), stored.pop("counts")
                certificates = certificates_in(mechanisms.certify(statistics, run.spent_alpha))
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
    lines = [LINE.take(line, number)[0] for line in files[RECORDS].split(b"\n")[:-1] if not is_environment(line)]
    return {RUN: FILE.take(files[RUN])[0], RECORDS: b"".join(line + b"\n" for line in lines)}


def _number(files: Files) -> int:
    return _number_of(files[RUN])


@lru_cache(64)
def _number_of(run: bytes) -> int:
    return RunDescription.from_dict(json.loads(FILE.take(run)[0])).number


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
            number = _number_of(text)
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
    directory = RunDirectory(folder)
    records = directory.read()
    directory.environments()
    return records


def radii_of(records: list[Record]) -> set[tuple[int, str, int, float]]:
    return {(r.index, m, c.prediction, c.radius) for r in records for m, c in r.certificates.items()}


def changed_radii(records: list[Record], original: list[Record], files: Files) -> str | None:
    """A certificate that the original does not hold, beyond the rounding that is allowed."""
    held = {(index, m): (prediction, radius) for index, m, prediction, radius in radii_of(original)}
    # Of an older version's record whose statistics are lost nothing can tell, which `examine` says.
    told = {r.index for r in records if b'"check"' in files[RUN] or r.statistics}
    for index, m, prediction, radius in radii_of(records):
        if index not in told:
            continue
        there, size = held.get((index, m), (None, float("nan")))
        if there != prediction or not abs(size - radius) <= 1e-9 * size:
            return f"image {index} has the certificate {prediction}, {radius} of {m}, which was {there}, {size}"
    return None


READER = Reader(record_corpus, mutate_records, read_records, changed_radii, share=0.3)
