"""What a certification is of, and how it was made: the content of `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from lightning_rs.registry import split_options

# Of some fields None is an answer, null in run.json: no normalisation, say. This stands for no answer there.
_UNSAID: Any = ()

# What stands for a value that is found or drawn when a certification begins, in settings.
_FOUND = ("auto", "random")
# What follows from the other fields, so that a difference in it would be told twice.
_FOLLOWS = ("sampling_error",)


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """Everything that makes a certification comparable with another, in plain values; sequences are tuples.

    A field with its default does not say, and is left out of `run.json`. Of `normalization`, `radii` and `commit` None
    says that there is none.

    Attributes:
        data, split: data set and its part.
        indices: of the examples that were asked for.
        architecture: of the base classifier.
        num_classes: K.
        weights_sha256: digest of the names, shapes and values of parameters and buffers.
        normalization: `mean` and `std` per channel of the model's first layer.
        pixel_range: lowest and highest pixel value.
        noise: the distribution with its options.
        sampling_error: probability, at most, that any draw of an example is not an exact one of that distribution.
        quantized: whether images were rounded to the levels of the noise first.
        sigma: standard deviation of the noise in pixel units.
        n0, n: draws that select the class, and draws that certify it.
        alpha: failure probability of each certificate.
        mechanisms: their labels.
        seed: of the noise, or `random`, which draws one.
        seed_drawn: whether it was drawn when the certification began, and known to nobody before.
        batch_size: noisy copies per call of the base classifier, or `auto`, which tries sizes.
        radii: those that decide where sequential mechanisms stop.
        weights: dtype of the parameters.
        precision, channels_last, fold_batch_norm, compile, device: how and where the base classifier was run.
        versions: of the packages that the numbers depend on.
        commit: of this package's own checkout.
    """

    data: str
    split: str
    indices: tuple[int, ...] | None = None
    architecture: str | None = None
    num_classes: int | None = None
    weights_sha256: str | None = None
    normalization: dict[str, tuple[float, ...]] | None = _UNSAID
    pixel_range: tuple[float, float] | None = None
    noise: str = "gaussian"
    sampling_error: float = 0.0
    quantized: bool = False
    sigma: float
    n0: int
    n: int
    alpha: float
    mechanisms: tuple[str, ...] | None = None
    seed: int | str | None = None
    seed_drawn: bool = False
    batch_size: int | str | None = None
    radii: tuple[float, ...] | None = _UNSAID
    weights: str | None = None
    precision: str | None = None
    channels_last: bool | None = None
    fold_batch_norm: bool | None = None
    compile: bool | None = None
    device: str | None = None
    versions: dict[str, str] | None = None
    commit: str | None = _UNSAID

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, _tuples(value))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "the description") -> RunDescription:
        """The description with these values.

        Raises:
            ValueError: keys that are unknown or lacking; it names them and the source.
        """
        values = values if isinstance(values, Mapping) else {}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if lacking := needed - set(values):
            raise ValueError(f"{source} does not describe a certification: it lacks {', '.join(sorted(lacking))}")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(
                f"{source} does not describe a certification: unknown {', '.join(unknown)}; known: {', '.join(known)}"
            )
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path) -> RunDescription:
        """The description in a file as `to_json` gives it.

        Raises:
            ValueError: not a description; names the file.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        return cls.from_dict(values, str(path))

    def to_dict(self) -> dict[str, Any]:
        """What it says, in plain values as they come out of JSON."""
        return self._said()

    def to_json(self) -> str:
        """The text of `run.json`. It always names the noise, which before there were several it did not."""
        return json.dumps(self._said("noise"), indent=2) + "\n"

    def _said(self, *always: str) -> dict[str, Any]:
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        said = {name: value for name, (value, default) in values.items() if value != default or name in always}
        return json.loads(json.dumps(said))

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
    def digest(self) -> str:
        """SHA-256 of what it says, by which directories are named."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def title(self) -> str:
        """What was certified, in one line."""
        classifier = f"{self.architecture}, " if self.architecture else ""
        return f"{self.data} {self.split}, {classifier}{self.noise_title}, n = {self.n:,}, α = {self.alpha:g}"

    def differences(self, other: RunDescription) -> dict[str, tuple[Any, Any]]:
        """Key to this value and the other's, of the keys with different ones, sorted; None for what is not said.

        `auto` and `random` in the other stand for whatever is found here.
        """
        silent = {f.name: None if f.default in (MISSING, _UNSAID) else f.default for f in fields(self)}
        own, others = silent | self.to_dict(), silent | other.to_dict()
        pairs = {key: (own[key], others[key]) for key in sorted(own) if key not in _FOLLOWS}
        return {key: (a, b) for key, (a, b) in pairs.items() if a != b and b not in _FOUND}


def _tuples(value: Any) -> Any:
    """The value with tuples in the place of lists."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    return {key: _tuples(v) for key, v in value.items()} if isinstance(value, Mapping) else value
