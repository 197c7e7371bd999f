"""What a certification is of, and how it was made: the content of `run.json`."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lightning_rs.checks import alpha_share, check_at_least, check_radii, check_sigma, check_word
from lightning_rs.registry import split_options
from lightning_rs.results import schema
from lightning_rs.results.check_sums import FILE
from lightning_rs.results.environment import Environment
from lightning_rs.results.schema import Classes, Count, Finite, NotNegative, Positive, Share, Word
from lightning_rs.results.shard import Shard

# Of some fields None is an answer, null in run.json: no normalisation, say. This stands for no answer there.
_UNSAID: Any = ()

# What stands for a value that is drawn when a certification begins, in settings.
_DRAWN = "random"
# What follows from the other fields, so that a difference in it would be told twice; and what need not agree.
_LEFT_OUT = ("sampling_error", "input_shape", *(field.name for field in fields(Environment)))


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """Everything that makes a certification comparable with another, in plain values; sequences are tuples.

    A field with its default does not say, and is left out of `run.json`. Of `normalization`, `radii` and `commit` None
    says that there is none.

    Attributes:
        data, split: data set and its part.
        indices: of the examples that were asked for.
        shard: which part of these this is, as `i/N`, see `Shard`; None of all of them.
        architecture: of the base classifier.
        denoiser: what stands before it, as it is run.
        num_classes: K.
        input_shape: of each image.
        weights_sha256: digest of the names, shapes and values of parameters and buffers.
        normalization: `mean` and `std` per channel of the model's first layer.
        pixel_range: lowest and highest pixel value.
        noise: the distribution with its options.
        sampling_error: probability, at most, that any draw of an example is not an exact one of that distribution.
        quantized: whether images were rounded to the levels of the noise first.
        sigma: standard deviation of the noise in pixel units.
        n0, n: draws that select the class, and draws that certify it.
        alpha: failure probability of each certificate, or of those of all attempts together.
        attempts: number of certifications among which one may be chosen; each spends its share of alpha.
        mechanisms: their labels.
        seed: of the noise, or `random`, which draws one.
        seed_drawn: whether it was drawn when the certification began, and known to nobody before.
        radii: those that decide where sequential mechanisms stop.
        weights: dtype of the parameters.
        precision, channels_last, fold_batch_norm, compile: how the base classifier was run.
        stochastic: whether it answers at random, to each noisy copy by itself, whatever the seed.
        like: of a changed classifier, digest of the run from whose records its certificates go on.
        batch_size, device, versions, commit: as older versions wrote them; see `environment`.
    """

    data: Word
    split: Word
    indices: Annotated[tuple[Count, ...], Meta(min_length=1)] | None = None
    shard: Word | None = None
    architecture: Word | None = None
    denoiser: Word | None = None
    num_classes: Classes | None = None
    input_shape: Annotated[tuple[Positive, ...], Meta(min_length=1)] | None = None
    weights_sha256: Word | None = None
    normalization: dict[Literal["mean", "std"], tuple[Finite, ...]] | None = _UNSAID
    pixel_range: tuple[Finite, Finite] | None = None
    noise: Word = "gaussian"
    sampling_error: Share = 0.0
    quantized: bool = False
    sigma: Annotated[float, Meta(gt=0.0)]
    n0: Count
    n: Positive
    alpha: Annotated[float, Meta(gt=0.0, lt=1.0)]
    attempts: Positive = 1
    mechanisms: Annotated[tuple[Word, ...], Meta(min_length=1)] | None = None
    seed: Annotated[int, Meta(ge=0)] | Literal["random"] | None = None
    seed_drawn: bool = False
    batch_size: Positive | Literal["auto"] | None = None
    radii: Annotated[tuple[NotNegative, ...], Meta(min_length=1)] | None = _UNSAID
    weights: Word | None = None
    precision: Word | None = None
    channels_last: bool | None = None
    fold_batch_norm: bool | None = None
    compile: bool | None = None
    stochastic: bool = False
    like: Word | None = None
    device: Word | None = None
    versions: dict[Word, Word] | None = None
    commit: Word | None = _UNSAID

    def __post_init__(self) -> None:
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        said = {name: value for name, (value, default) in values.items() if (value, default) != (_UNSAID, _UNSAID)}
        schema.check(said, _run_json())
        for name, value in said.items():
            object.__setattr__(self, name, _tuples(value))
        self._check_agreement()

    def _check_agreement(self) -> None:
        """What a type does not say."""
        check_sigma(self.sigma)
        if isinstance(self.seed, int):
            check_word("seed", self.seed)
        if self.radii:
            check_radii(self.radii)
        if self.shard is not None:
            Shard.parse(self.shard)
        for name in ("indices", "mechanisms"):
            values = getattr(self, name) or ()
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must be different ones")
        if self.pixel_range and not self.pixel_range[0] < self.pixel_range[1]:
            raise ValueError(f"pixel_range must be the lowest and the highest value, got {list(self.pixel_range)}")
        if self.normalization:
            lengths = {len(self.normalization.get(name, ())) for name in ("mean", "std")}
            if 0 in lengths or len(lengths) > 1 or min(self.normalization["std"]) <= 0:
                raise ValueError("normalization must be a mean and a positive std of every channel")
        name, options = split_options("noise", self.noise)
        if name == "grid_gaussian":
            check_at_least("levels of the noise", options.get("levels"), 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "the description") -> RunDescription:
        """The description with these values.

        Raises:
            ValueError: keys that are unknown or lacking, or values of another type or range; it names them and the
                source.
        """
        values = values if isinstance(values, Mapping) else {}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if lacking := needed - set(values):
            raise ValueError(f"{source} does not describe a certification: it lacks {', '.join(sorted(lacking))}")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            names = schema.short(", ".join(unknown))
            raise ValueError(f"{source} does not describe a certification: unknown {names}; known: {', '.join(known)}")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{source} does not describe a certification: {error}") from None

    @classmethod
    def read(cls, path: str | Path) -> RunDescription:
        """The description in a file as `to_json` gives it; of older versions without a check sum.

        Raises:
            OSError: the file cannot be read.
            ValueError: not a description, or one that was changed; names the file.
        """
        return cls.examine(path)[0]

    @classmethod
    def examine(cls, path: str | Path) -> tuple[RunDescription, bool]:
        """As `read`, and whether the file has a check sum."""
        try:
            text, checked = FILE.take(Path(path).read_bytes())
            values = schema.decode(text, Any)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        return cls.from_dict(values, str(path)), checked

    def to_dict(self) -> dict[str, Any]:
        """What it says, in plain values as they come out of JSON."""
        return self._said()

    def to_json(self) -> str:
        """The text of `run.json`, with its check sum.

        It always names the noise, which before there were several it did not.
        """
        return FILE.add((json.dumps(self._said("noise"), indent=2) + "\n").encode()).decode()

    def _said(self, *always: str) -> dict[str, Any]:
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        said = {name: value for name, (value, default) in values.items() if value != default or name in always}
        return json.loads(json.dumps(said))

    @property
    def spent_alpha(self) -> float:
        """Failure probability of each of these certificates."""
        return alpha_share(self.alpha, self.attempts)

    @property
    def noise_name(self) -> str:
        """Name of the noise's distribution."""
        return self.noise.partition(":")[0]

    @property
    def assumes_real_arithmetic(self) -> bool:
        """Whether the certificates speak of sums that are not rounded, which no program computes."""
        return self.noise_name != "grid_gaussian"

    @property
    def noise_title(self) -> str:
        """What was added to the images, and where its certificates hold."""
        sigma = f"σ = {self.sigma:g}"
        name, options = split_options("noise", self.noise)
        if name == "grid_gaussian":
            images = " to which the images were rounded" if self.quantized else ""
            return f"{sigma} on the grid of 1/{options['levels']}{images}"
        noise = "" if name == "gaussian" else f"{self.noise} noise, "
        return f"{noise}{sigma}, assuming real arithmetic"

    @property
    def asked(self) -> tuple[int, ...] | None:
        """Indices of the examples that were asked for of this shard; of all, if it is none."""
        return self.indices if None in (self.shard, self.indices) else Shard.parse(self.shard).of(self.indices)

    @property
    def whole(self) -> RunDescription:
        """The run of which this is a shard, whatever environments its records are made in."""
        return replace(self, shard=None, batch_size=None, device=None, versions=None, commit=_UNSAID)

    @property
    def environment(self) -> Environment:
        """Where its records were made unless they say it themselves; only older versions wrote it here."""
        return Environment(
            device=self.device,
            batch_size=self.batch_size if self.batch_size != "auto" else None,
            versions=self.versions or {},
            commit=self.commit or None,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, by which directories are named."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @cached_property
    def number(self) -> int:
        """What the check sums of its records begin at, so that they fit to no other run."""
        return zlib.crc32(self.digest.encode())

    @property
    def title(self) -> str:
        """What was certified, in one line."""
        behind = " behind a denoiser" if self.denoiser else ""
        classifier = f"{self.architecture}{behind}, " if self.architecture else ""
        effort = f"n = {self.n:,}, {alpha_title(self.alpha, self.attempts)}"
        return f"{self.data} {self.split}, {classifier}{self.noise_title}, {effort}"

    def differences(self, other: RunDescription) -> dict[str, tuple[Any, Any]]:
        """Key to this value and the other's, of the keys with different ones, sorted; None for what is not said.

        `random` in the other stands for whatever is found here. Environments need not agree.
        """
        silent = {f.name: None if f.default in (MISSING, _UNSAID) else f.default for f in fields(self)}
        own, others = silent | self.to_dict(), silent | other.to_dict()
        pairs = {key: (own[key], others[key]) for key in sorted(own) if key not in _LEFT_OUT}
        return {key: (a, b) for key, (a, b) in pairs.items() if a != b and b != _DRAWN}


def alpha_title(alpha: float, attempts: int = 1) -> str:
    """Failure probability, and over how many certifications it is spent."""
    return f"α = {alpha:g}" + (f" over {attempts:,} attempts" if attempts > 1 else "")


def told(differences: Mapping[str, tuple[Any, Any]], first: str = "there", second: str = "now") -> str:
    """What `RunDescription.differences` gave, in words: of what is there and what has come now, or other places."""
    return ", ".join(f"{key} ({_shown(a)} {first}, {_shown(b)} {second})" for key, (a, b) in differences.items())


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _tuples(value: Any) -> Any:
    """The value with tuples in the place of lists."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    return {key: _tuples(v) for key, v in value.items()} if isinstance(value, Mapping) else value


@cache
def _run_json() -> type[msgspec.Struct]:
    """The type of `run.json`."""
    return schema.strict(RunDescription)
