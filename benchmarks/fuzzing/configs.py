"""The config.yaml of a run that is resumed: damaged, and hostile, with a check sum that fits."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from fuzzing.checkpoints import small_run
from fuzzing.reader import Files, Reader, damage_bytes
from fuzzing.watch import WITNESS
from lightning_rs import train
from lightning_rs.cli.saved_config import run_config, sealed

CONFIG = "config.yaml"
_SEAL = sealed("").partition(":")[0]

# What leads to code, or to other folders. Texts are as a file has them.
_PATHS = ("../../victim", "../../victim/kept.ckpt", "/elsewhere/x.yaml", "../x.yaml", "../../ran", "~/ran", "ran")
_NAMES = (
    *(f"{WITNESS}.Witness", f"{WITNESS}.call", WITNESS),
    *(f"{WITNESS}.Witness:x=1", f" {WITNESS}.call ", f"{WITNESS}:call"),
    *("os.system", "builtins.exec", "subprocess.Popen", "shutil.rmtree", "os.system:command=touch ran", "posix.system"),
    *("torch.load", "torch.hub.load", "torchvision.transforms.ToTensor", "pytorch_lightning.Trainer"),
    *("pytorch_lightning.callbacks.ModelCheckpoint", "pytorch_lightning.loggers.CSVLogger", "WeightAveraging"),
    *("pytorch_lightning.callbacks.EarlyStopping", "callbacks.EMA", "lightning_rs.callbacks.EMA", "ModelCheckpoint"),
    *("pytorch_lightning.callbacks.LambdaCallback", "callbacks.CertificationCallback", "PyTorchProfiler", "pytorch"),
    *("lightning_rs.train.main", "lightning_rs.files.write_whole", f"lightning_rs.objectives.{WITNESS}.Witness"),
    *("lightning_rs.objectives.Macer", "lightning_rs.data.MNIST", "lightning_rs.data.base.os.system"),
    f"lightning_rs.registry.import_users_module:name={WITNESS}",
    *("lightning_rs.files.write_whole:path=ran,content=x", "lightning_rs.files.remove_parts:folder=victim"),
    *("lightning_rs.registry.importlib.import_module:name=witness", "lightning_rs.cli.plugins.plug_in:names=witness"),
)
_NESTS = (
    *("@", ["@"], [["@"]], {"class_path": "@"}, {"class_path": "@", "init_args": {}}, [{"class_path": "@"}]),
    *({"class_path": "@", "init_args": {"dirpath": "../../victim"}}, {"init_args": {"class_path": "@"}}),
    *([{"class_path": "pytorch_lightning.callbacks.Timer", "init_args": {"duration": "@"}}],),
    *({"dict_kwargs": {"a": "@"}},),
    *({"class_path": "callbacks.EMA", "dict_kwargs": {"x": "@"}}, {"class_path": ["@"]}, {"__path__": "@"}, {"@": "@"}),
)
_KEYS = (
    *("callbacks", "logger", "strategy", "plugins", "profiler", "accelerator", "precision", "class_path", "init_args"),
    *("dict_kwargs", "transform", "data_dir", "architecture", "stages", "noise", "mechanisms", "dirpath", "filename"),
    *("output", "default_root_dir", "config", "base", "trust"),
    *("resume", "runs", "name", "project", "print_config", "x"),
    *("trainer.callbacks", "trainer.logger", "checkpoint.dirpath", "checkpoint.filename", "live_certification.output"),
    *("certification.output", "model.class_path", "model.init_args.architecture", "data.class_path", "model.init_args"),
    *("data.init_args.download", "init_args.architecture", "init_args.stages", "wandb.project", "", "1", "a\nb"),
)
_ODD = (
    *(None, True, False, 0, 1, -1, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf"), "", "x", "null", "1e3", "no"),
    *("a\nb", "\u2028", "\x07", "x" * 10_000, [], [[]], {}, [None], {"": 1}, [1, "x", {}], "2026-01-01", "auto"),
    "${oc.env:HOME}",
)
_RAW = (
    *("!!python/object/apply:os.system [touch ran]", "!!python/name:os.system", "!!python/module:witness"),
    *("&a [1]", "*a", "<<", "!!binary aGk=", "2026-01-01", "1:30:00", "0o17", "{? [1] : 2}", "[" * 500, "{a: " * 300),
    *("- " * 3000, "? " * 500, "!!null x", "!!int x", "!!float x", "!!timestamp x", "!!omap [a: 1]", "|\n", "%", "@"),
    *("`", "!!set {a}"),
)


@cache
def _corpus() -> list[Files]:
    """A small run, and often only the groups that are judged, of which more inputs can be read."""
    run = {
        "trainer": {"devices": 1, "callbacks": None, "max_epochs": 1},
        "model": {"class_path": "lightning_rs.objectives.Gaussian", "init_args": {"architecture": "digits_cnn"}},
        "data": {"class_path": "lightning_rs.data.Digits"},
        "checkpoint": {"save_last": True},
    }
    average = {"class_path": "callbacks.EMA", "init_args": {"decay": 0.9}}
    callbacks = [average, {"class_path": "callbacks.TrainingProgress"}]
    with_callbacks = run | {"trainer": {"callbacks": callbacks}, "certification": {"mechanisms": ["cohen"]}}
    small = [{CONFIG: sealed(yaml.safe_dump(value)).encode()} for value in (run, with_callbacks)]
    return [*5 * small, {CONFIG: small_run()[CONFIG]}]


@lru_cache(8)
def _parsed(text: bytes) -> Any:
    return yaml.safe_load(text)


def mutate(files: Files, rng: random.Random) -> Files:
    """Bytes of the file, or of its content under a check sum that fits; or keys and values of the content."""
    text = files[CONFIG]
    if rng.random() < 0.15:
        return files | {CONFIG: damage_bytes(text, rng)}
    body = text.decode().partition(_SEAL)[0]
    if rng.random() < 0.25:
        return files | {CONFIG: _sealed(damage_bytes(body.encode(), rng))}
    config, raw = copy.deepcopy(_parsed(text)), {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(config, rng, raw)
    # YAML too, but for what is not finite; written and read faster.
    body = json.dumps(config, indent=1 if rng.random() < 0.5 else None)
    for mark, patch in raw.items():
        body = body.replace(f'"{mark}"', patch)
    return files | {CONFIG: _sealed(f"{body}\n".encode(errors="surrogatepass"))}


def _sealed(body: bytes) -> bytes:
    try:
        return sealed(body.decode()).encode()
    except UnicodeDecodeError:
        return body


def _change(config: Any, rng: random.Random, raw: dict[str, str]) -> None:
    places = [*_places(config)]
    if not places:
        return
    place, key = rng.choice(places)
    if isinstance(place, dict) and rng.random() < 0.3:
        key = rng.choice(_KEYS)
    kind = rng.random()
    if kind < 0.1 and (key in place if isinstance(place, dict) else True):
        del place[key]
    elif kind < 0.2:
        place[key] = rng.choice(_ODD)
    elif kind < 0.3:
        mark = f"@{len(raw)}@"
        raw[mark], place[key] = rng.choice(_RAW), mark
    else:
        place[key] = _filled(rng.choice(_NESTS), rng.choice((*_NAMES, *_NAMES, *_PATHS)))


def _filled(nest: Any, name: str) -> Any:
    return json.loads(json.dumps(nest).replace('"@"', json.dumps(name)))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of what can be changed in place."""
    for key, held in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(held)


def read(folder: Path) -> Any:
    return run_config(folder)


_HARMLESS = re.compile(
    r"lightning_rs\.(objectives|data)\.[\w.]+|(lightning_rs\.)?callbacks\.(\w+\.)*(EMA|TrainingProgress)"
    r"|pytorch_lightning\.callbacks\.(\w+\.)*(DeviceStatsMonitor|EarlyStopping|GradientAccumulationScheduler"
    r"|LearningRateMonitor|ModelSummary|RichModelSummary|RichProgressBar|TQDMProgressBar|Timer)"
)
_DOTTED = re.compile(r"\s*[^\W\d]\w*(\.[^\W\d]\w*)+\s*(:.*)?", re.ASCII | re.DOTALL)
_NOT_NAMES = ("data_dir", "project")
_PLACES = (
    *(("trainer", "default_root_dir"), ("checkpoint", "dirpath")),
    *(("certification", "output"), ("live_certification", "output")),
)


def named(value: Any, original: Any, files: Files) -> str | None:
    """What the accepted configuration names that is not harmless: classes, callables, places to write to."""
    if "trust" in value:
        return "it says itself that it is trusted"
    for key, held in _leaves((), {k: v for k, v in value.items() if k not in ("name", "runs")}):
        if isinstance(held, str) and _DOTTED.fullmatch(held) and not str(key[-1]).endswith(_NOT_NAMES):
            if not _HARMLESS.fullmatch(held) or key[-1] != "class_path":
                return f"{'.'.join(map(str, key))} names {held!r}"
        if key in _PLACES:
            return f"{'.'.join(key)} says {held!r}"
    return None


def _leaves(key: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, (dict, list)):
        for inner, held in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves((*key, inner), held)
    else:
        yield key or ("",), value


READER = Reader(_corpus, mutate, read, named, share=0.03)


# The whole of `train.py --resume`, up to the first step.


class _Prepared(Exception):
    """All is made that the configuration says.

    Args:
        cli: it.
    """

    def __init__(self, cli: train.TrainCLI) -> None:
        super().__init__()
        self.cli = cli


class _UntilTheTraining(train.TrainCLI):
    def instantiate_trainer(self, **kwargs: Any) -> Any:
        self.trainer = super().instantiate_trainer(**kwargs)
        raise _Prepared(self)


def resume(folder: Path) -> list[str]:
    """Resume as the command does; returns the folders to which the training would write."""
    train.TrainCLI = _UntilTheTraining
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            train.main(["--resume", str(folder), "--wandb.mode=disabled", "--trainer.accelerator=cpu"])
    except _Prepared as prepared:
        return _written_to(prepared.cli)
    except SystemExit:
        raise ValueError(said.getvalue().rstrip("\n").rpartition("\n")[2]) from None
    raise AssertionError("the training was begun")


def _written_to(cli: train.TrainCLI) -> list[str]:
    os.close(cli._lock)
    trainer = cli.trainer
    places = [getattr(callback, name, None) for callback in trainer.callbacks for name in ("dirpath", "output")]
    places += [trainer.default_root_dir, *(logger.save_dir for logger in trainer.loggers)]
    places += [getattr(trainer.profiler, "dirpath", None)]
    return sorted({os.path.realpath(place) for place in places if place is not None})


def _within(value: list[str], original: list[str], files: Files) -> str | None:
    run = os.path.realpath("runs/run")
    elsewhere = [place for place in value if place not in (run, os.path.dirname(run)) and not place.startswith(run)]
    return f"it would write to {', '.join(elsewhere)}" if elsewhere else None


RESUME = Reader(lambda: [small_run()], mutate, resume, _within, share=0.001, warnings="ignore")
