"""Checkpoints: damaged, changed and hostile ones, through what certifies them, what resumes them, and a training."""

from __future__ import annotations

import copy
import io
import random
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from fuzzing.reader import Files, Reader
from fuzzing.watch import WITNESS
from lightning_rs.checkpoints import Resumable, RunCheckpoints, data_of, load_checkpoint, resumable, without_paths
from lightning_rs.cli import quiet_libraries
from lightning_rs.cli.saved_config import sealed
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
# What a pickle could call: module, name, arguments.
_CALLS = (
    *(("os", "system", "touch ran"), ("posix", "system", "touch ran"), ("builtins", "exec", "open('ran', 'w')")),
    *(("builtins", "eval", "open('ran', 'w')"), ("builtins", "__import__", WITNESS), (WITNESS, "call")),
    *((WITNESS, "Witness"), ("importlib", "import_module", WITNESS), ("runpy", "run_path", f"{WITNESS}.py")),
    *(("shutil", "rmtree", "victim"), ("os", "remove", "victim/kept.ckpt"), ("subprocess", "getoutput", "touch ran")),
    *(("torch", "load", "victim/kept.ckpt"),),
    *(("torch.storage", "_load_from_bytes", "x"), ("builtins", "open", "ran", "w")),
    *(("torch.hub", "load", "x", "y"),),
    *(("lightning_rs.registry", "import_users_module", WITNESS), ("torch", "save", "ran")),
    *(("lightning_rs.files", "write_whole", "ran", "x"),),
    *(("torch.serialization", "load", "ran"), ("torch", "Tensor", "x")),
    *(("collections", "Counter", "ab"), ("_codecs", "encode", "x", WITNESS)),
    *(("builtins", "set", "ab"), ("torch", "Size")),
    *(("torch._utils", "_rebuild_tensor_v2", "x"), ("torch", "device", "cuda")),
    *(("torch", "float32"), ("torch.nn", "Linear")),
)
_PATHS = (
    *("victim/kept.ckpt", "../../../victim/kept.ckpt", "runs/run/checkpoints/../../../victim/kept.ckpt", "victim"),
    *("runs/run/checkpoints/../../../victim", "/dev/null", "~/x.ckpt", "last.ckpt"),
    *("a\\last.ckpt", "..", "", "../last.ckpt"),
)


CONFIG, LAST = "config.yaml", "checkpoints/last.ckpt"


@cache
def small_training() -> tuple[bytes, SmoothingModule, dict[str, Any]]:
    """The last checkpoint of one epoch on the digits, its module, and its content."""
    quiet_libraries()
    facts = Digits().facts
    torch.manual_seed(0)
    module = OBJECTIVES["Gaussian"](
        *("digits_cnn", facts.num_classes, list(facts.shape), list(facts.mean), list(facts.std)),
        optimizer=Optimizer("sgd", lr=0.01),
        schedule=Schedule("cosine", warmup=1),
    )
    with tempfile.TemporaryDirectory() as folder:
        _trainer(folder, 1, _best(folder)).fit(module, datamodule=Digits())
        blob = Path(folder, "last.ckpt").read_bytes()
    return blob, module, torch.load(io.BytesIO(blob), weights_only=True)


def small_run() -> Files:
    """The files of this training that are needed to resume it."""
    blob, module, _ = small_training()
    arguments = {"optimizer": {"name": "sgd", "lr": 0.01}, "schedule": {"name": "cosine", "warmup": 1}}
    config = {
        "seed_everything": 0,
        "trainer": {"max_epochs": 1, "max_steps": -1, "devices": 1, "callbacks": None, "logger": None},
        "model": {
            "class_path": "lightning_rs.objectives.Gaussian",
            "init_args": {"architecture": "digits_cnn", "sigma": module.sigma, **arguments},
        },
        "data": {"class_path": "lightning_rs.data.Digits", "init_args": {"batch_size": 64, "num_workers": 0}},
        "plugins": None,
        "checkpoint": {"monitor": "val/loss", "save_last": True, "save_top_k": 2, "dirpath": None, "filename": None},
        "live_certification": {"every_n_epochs": 0, "output": None, "mechanisms": ["cohen"]},
        "certification": {"n": 100, "limit": 1, "output": None},
    }
    return {CONFIG: sealed(yaml.safe_dump(config, sort_keys=False)).encode(), LAST: blob}


def _best(folder: str | Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, monitor="val/loss", save_last=True, save_top_k=2)


def _trainer(folder: str | Path, epochs: int, *callbacks: Any, **options: Any) -> Trainer:
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

    def change(pickled: bytes) -> bytes:
        changed = bytearray(pickled)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(changed))
            changed[place] = rng.choice((changed[place] ^ (1 << rng.randrange(8)), rng.randrange(256)))
        return bytes(changed)

    return _with_pickle(blob, change)


def _with_pickle(blob: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with another pickle, and check sums that fit."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry, content in (entries | {name: change(entries[name])}).items():
            archive.writestr(entry, content)
    return out.getvalue()


def mutate_call(rng: random.Random, blob: bytes) -> bytes:
    """Something in the pickle calls what it names: an own file of it, or with one value of the content replaced."""
    call = _call(rng)
    if rng.random() < 0.2:
        return b"\x80\x02" + call + b"."
    content = copy.deepcopy(small_training()[2])
    place, key = rng.choice([*_places(content)])
    place[key] = "@call@"
    return _with_pickle(_saved(content), lambda pickled: pickled.replace(b"X\x06\x00\x00\x00@call@", call))


def _call(rng: random.Random) -> bytes:
    """Opcodes that leave the result of a call on the stack."""
    module, name, *arguments = rng.choice(_CALLS)
    given = b"".join(b"X" + len(text).to_bytes(4, "little") + text.encode() for text in arguments)
    found = f"{module}\n{name}\n".encode()
    texts = (b"X" + len(text).to_bytes(4, "little") + text.encode() for text in (module, name))
    stacked = b"".join(texts) + b"\x93"
    ways = (
        b"c" + found + b"(" + given + b"tR",
        b"c" + found + b"(" + given + b"t\x81",
        b"(" + given + b"i" + found,
        b"(c" + found + given + b"o",
        stacked + b"(" + given + b"tR",
        b"(c" + found + given + b"o0c" + found + b"(" + given + b"tR",
        b"ccollections\nOrderedDict\n)Rc" + found + b"(" + given + b"tRb",
    )
    return rng.choice(ways)


def mutate_paths(rng: random.Random, content: Any) -> Any:
    """A copy in which what says where files are says another place."""
    content = copy.deepcopy(content)
    state = next(state for key, state in content["callbacks"].items() if key.startswith("ModelCheckpoint"))
    keys = ("best_model_path", "last_model_path", "kth_best_model_path", "dirpath")
    for key in rng.sample(keys, rng.randint(1, len(keys))):
        state[key] = rng.choice(_PATHS)
    if rng.random() < 0.5:
        score = next(iter(state["best_k_models"].values()))
        state["best_k_models"] = {rng.choice(_PATHS): score for _ in range(rng.choice((1, 2)))}
    if rng.random() < 0.3:
        content["callbacks"][rng.choice(("X", "ModelCheckpoint{}", "evil.ModelCheckpoint"))] = dict(state)
    return content


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


def mutate(files: Files, rng: random.Random) -> Files:
    """One of the ways above; its name is the content of another file."""
    of_content, of_bytes = (mutate_content, mutate_content, mutate_paths), (mutate_bits, mutate_span, mutate_pickle)
    kind = rng.choice((*of_content, *of_bytes, mutate_call))
    if kind in of_content:
        damaged = _saved(kind(rng, small_training()[2]))
    else:
        damaged = kind(rng, files[LAST])
    return files | {LAST: damaged, "kind": kind.__name__.encode()}


def _saved(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def _corpus() -> list[Files]:
    return [{LAST: small_training()[0]}]


def _certify(folder: Path) -> dict[str, bytes]:
    loaded = load_checkpoint(folder / LAST)
    data_of(loaded)
    loaded.base_classifier(torch.zeros(1, *loaded.input_shape))
    return {key: value.numpy().tobytes() for key, value in loaded.base_classifier.state_dict().items()}


def _changed_weights(value: Any, original: Any, files: Files) -> str | None:
    """What is found by check sums alone has the old weights."""
    same = files["kind"] in (b"mutate_bits", b"mutate_span", b"mutate_paths")
    return "other weights" if same and value != original else None


def _go_on(folder: Path) -> Resumable:
    found = resumable(folder / LAST, small_training()[1], Digits())
    content = without_paths(found.content, folder / "checkpoints")
    for state in content["callbacks"].values():
        places = [state.get(key) for key in ("dirpath", "best_model_path", "last_model_path", "kth_best_model_path")]
        for place in filter(None, [*places, *state.get("best_k_models", ())]):
            assert Path(place).resolve().is_relative_to(folder.resolve()), f"a path leads to {place}"
    return found


def _train_on(folder: Path) -> None:
    found = _go_on(folder)
    module = type(small_training()[1])(**small_training()[1].hparams)
    files = RunCheckpoints(folder / "checkpoints", found)
    some = {"limit_train_batches": 2, "limit_val_batches": 1, "plugins": [files]}
    trainer = _trainer(folder, found.epochs + 1, _best(files.folder), **some)
    trainer.fit(module, datamodule=Digits(), ckpt_path=folder / LAST)


def _nothing(value: Any, original: Any, files: Files) -> None:
    """Whatever is accepted can be trained on from."""


CERTIFY = Reader(_corpus, mutate, _certify, _changed_weights, share=0.01, warnings="ignore")
RESUMABLE = Reader(
    _corpus, mutate, lambda folder: _go_on(folder).epochs, _nothing, share=0.0085, warnings="ignore"
)
TRAINING = Reader(_corpus, mutate, _train_on, _nothing, share=0.0005, warnings="ignore")
