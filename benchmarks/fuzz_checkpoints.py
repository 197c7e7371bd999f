"""Mutated checkpoints, through everything that reads them: each loads as it was, or is refused in one line.

python benchmarks/fuzz_checkpoints.py --inputs 20000 --seed 0
python benchmarks/fuzz_checkpoints.py --inputs 2000 --seed 1 --resume 200     and train on from some that are accepted

A small training on the digits is made, and its last checkpoint is mutated: bits of the file, spans of it, bytes of its
pickle with the check sums made right again, and values, keys and types of its content. Any other outcome than the old
weights or ValueError or OSError with one line is a failure; it is printed with the number of its input, and the exit
status is 1.
"""

from __future__ import annotations

import argparse
import copy
import io
import random
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_rs.checkpoints import data_of, load_checkpoint, resumable, without_paths
from lightning_rs.data import Digits
from lightning_rs.objectives import OBJECTIVES, SmoothingModule
from lightning_rs.objectives.optimization import Optimizer, Schedule

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**6, 2**31, 2**63, 2**64, -(2**63), 2**1000, 1e400, -1e400, 0.0, -0.5),
    *(float("nan"), 1e308, 5e-324, 3.5, "", "x" * 10**4, "gaussian", "os.system", "../../victim", "a\nb", "\ud800"),
    *([], {}, (), [[]], [None], {"a": 1}, {1: 2}, {None: None}, [1, 2, 3], (1, 1e400), set(), b"bytes", 1j),
    *(torch.tensor(float("nan")), torch.zeros(0), torch.zeros(1).expand(10**10), torch.zeros(3, dtype=torch.int8)),
    *(torch.zeros(2, 2, dtype=torch.complex64), torch.tensor(True), torch.zeros(32, 1, 3, 3), torch.nn.Parameter()),
)


def small_training(folder: Path, optimizer: str = "sgd", schedule: str = "cosine") -> tuple[Path, SmoothingModule]:
    """The last checkpoint of one epoch on the digits, and its module."""
    facts = Digits().facts
    torch.manual_seed(0)
    module = OBJECTIVES["Gaussian"](
        *("digits_cnn", facts.num_classes, list(facts.shape), list(facts.mean), list(facts.std)),
        optimizer=Optimizer(optimizer, lr=0.01),
        schedule=Schedule(schedule, warmup=1),
    )
    keep = ModelCheckpoint(folder, monitor="val/loss", save_last=True, save_top_k=2)
    trainer(folder, 1, keep).fit(module, datamodule=Digits())
    return folder / "last.ckpt", module


def trainer(folder: Path, epochs: int, *callbacks: Any, **options: Any) -> Trainer:
    """A quiet trainer that has `epochs`."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), default_root_dir=folder, **quiet, **options
    )


def mutate_bits(rng: random.Random, blob: bytes) -> bytes:
    """Some bits flipped."""
    changed = bytearray(blob)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        # Half of them outside the weights, which are most of the file.
        place = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.choice((1, -1)) * rng.randrange(12_000)
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutate_span(rng: random.Random, blob: bytes) -> bytes:
    """A span that is missing, doubled, zero or noise, or only what is before it or behind it."""
    start = rng.randrange(len(blob))
    stop = min(len(blob), start + rng.choice((1, 2, 16, 512, 4096, 10**6)))
    span = blob[start:stop]
    middle = rng.choice((b"", span + span, bytes(len(span)), rng.randbytes(len(span))))
    return rng.choice((blob[:start] + middle + blob[stop:], blob[:start], blob[start:]))


def mutate_pickle(rng: random.Random, blob: bytes) -> bytes:
    """Bytes of the pickle changed, under check sums that are right."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    changed = bytearray(entries[name])
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(changed))
        changed[place] = rng.choice((changed[place] ^ (1 << rng.randrange(8)), rng.randrange(256)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry, content in (entries | {name: bytes(changed)}).items():
            archive.writestr(entry, content)
    return out.getvalue()


def mutate_content(rng: random.Random, content: Any) -> Any:
    """A copy with one to three values, keys or types changed, anywhere."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place, key = rng.choice([*_places(content)] or [(content, None)])
        held = place[key]
        change = rng.random()
        if change < 0.15:
            del place[key]
        elif change < 0.25 and isinstance(place, dict):
            place[rng.choice((f"{key}x", 0, None, "", "a\nb"))] = place.pop(key)
        elif change < 0.3 and isinstance(place, dict):
            place[rng.choice(("step", "get_lr", "new", "optimizer"))] = rng.choice(ODD_VALUES)
        elif change < 0.5:
            place[key] = _near(rng, held)
        else:
            place[key] = rng.choice(ODD_VALUES)
    return content


def _places(value: Any) -> Any:
    """Every (container, key) of what can be changed in place; of long lists only some."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, held in items:
        yield value, key
        yield from _places(held)


def _near(rng: random.Random, value: Any) -> Any:
    """Something of the same type."""
    if isinstance(value, torch.Tensor):
        other = value.detach().clone()
        choices: list[Callable[[], Any]] = [
            lambda: other.double(),
            lambda: other.unsqueeze(0),
            lambda: other.flatten()[:-1],
            lambda: other.to(torch.int64),
            lambda: other.fill_(float("nan")) if other.is_floating_point() else other.zero_(),
            lambda: -other if other.dtype != torch.bool else other,
        ]
        return rng.choice(choices)()
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return rng.choice((value + 1, -value, value * 10**6, value / 2))
    if isinstance(value, str):
        return rng.choice((value[:-1], value + "x", value.upper(), f"../{value}"))
    if isinstance(value, (list, tuple)):
        return rng.choice((value[:-1], [*value, *value], list(reversed(value)), tuple(value), list(value)))
    return dict(list(value.items())[:-1]) if isinstance(value, dict) else None


class Checks:
    """Reads inputs, and counts what became of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.original, self.module = small_training(folder)
        self.blob = self.original.read_bytes()
        self.content = torch.load(self.original, weights_only=True)
        self.weights = load_checkpoint(self.original).base_classifier.state_dict()
        self.data = Digits()
        self.counts: Counter[str] = Counter()
        self.failures, self.slowest = 0, 0.0

    def run(self, number: int, resume: bool) -> None:
        """Make the input of that number, and read it."""
        rng = random.Random(f"{self.seed} {number}")
        kind = rng.choice((mutate_bits, mutate_span, mutate_pickle, mutate_content, mutate_content))
        path = self.folder / "mutated.ckpt"
        if kind is mutate_content:
            torch.save(mutate_content(rng, self.content), path)
        else:
            path.write_bytes(kind(rng, self.blob))
        same = kind in (mutate_bits, mutate_span)  # What is found by check sums alone has the old weights.
        for reader in (self._certify, self._resume):
            start = time.perf_counter()
            try:
                outcome = reader(path, same, resume)
            except (ValueError, OSError) as error:
                text = str(error)
                one_line = text.isprintable() and 0 < len(text) < 2000 and "Traceback" not in text
                outcome = "refused in one line" if one_line else f"FAILURE: refused as {text!r}"
            except Exception:
                outcome = f"FAILURE: {traceback.format_exc()}"
            self.slowest = max(self.slowest, time.perf_counter() - start)
            if outcome.startswith("FAILURE"):
                self.failures += 1
                print(f"input {number}, {kind.__name__}, {reader.__name__}: {outcome}", flush=True)
                outcome = "FAILURE"
            self.counts[f"{kind.__name__:15} {reader.__name__[1:]:8} {outcome}"] += 1

    def _certify(self, path: Path, same: bool, resume: bool) -> str:
        loaded = load_checkpoint(path)
        data_of(loaded)
        loaded.base_classifier(torch.zeros(1, *loaded.input_shape))
        own = loaded.base_classifier.state_dict()
        if all(torch.equal(value, self.weights[key]) for key, value in own.items()):
            return "accepted with the same weights"
        return "FAILURE: accepted with other weights" if same else "accepted with other content"

    def _resume(self, path: Path, same: bool, resume: bool) -> str:
        found = resumable(path, self.module, self.data)
        content = without_paths(found.content, self.folder)
        if resume:
            self._train_on(content, found.epochs)
        return "accepted"

    def _train_on(self, content: dict[str, Any], epochs: int) -> None:
        class Given(TorchCheckpointIO):
            def load_checkpoint(self, *arguments: Any, **options: Any) -> dict[str, Any]:
                return copy.deepcopy(content)

        folder = self.folder / "on"
        keep = ModelCheckpoint(self.folder, monitor="val/loss", save_last=True, save_top_k=2, filename="on")
        module = type(self.module)(**self.module.hparams)
        some = {"limit_train_batches": 2, "limit_val_batches": 1, "plugins": [Given()]}
        trainer(folder, epochs + 1, keep, **some).fit(module, datamodule=Digits(), ckpt_path="given")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs; each depends on it and its number alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--resume", type=int, default=0, help="train on from those accepted among so many first inputs")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(Path(folder), chosen.seed)
        start = time.perf_counter()
        for number in range(chosen.first, chosen.first + chosen.inputs):
            checks.run(number, number < chosen.first + chosen.resume)
        seconds = time.perf_counter() - start
    for outcome, count in sorted(checks.counts.items()):
        print(f"{count:8}  {outcome}")
    print(f"{chosen.inputs} inputs in {seconds:.0f} s, the slowest {checks.slowest:.2f} s: {checks.failures} failures")
    sys.exit(checks.failures > 0)


if __name__ == "__main__":
    main()
