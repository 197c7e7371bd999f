"""What a certification is of, and how it was made: the content of `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

# Of some fields None is an answer, null in run.json: no normalisation, say. This stands for no answer there.
_UNSAID: Any = ()


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
        noise: the distribution with its options, where it is not Gaussian.
        sigma: standard deviation of the noise in pixel units.
        n0, n: draws that select the class, and draws that certify it.
        alpha: failure probability of each certificate.
        mechanisms: their labels.
        seed: of the noise.
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
    noise: str | None = None
    sigma: float
    n0: int
    n: int
    alpha: float
    mechanisms: tuple[str, ...] | None = None
    seed: int | None = None
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
        said = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
        return json.loads(json.dumps(said))

    def to_json(self) -> str:
        """The text of `run.json`."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @property
    def noise_name(self) -> str:
        """Name of the noise's distribution."""
        return (self.noise or "gaussian").partition(":")[0]

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, by which directories are named."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def title(self) -> str:
        """What was certified, in one line."""
        noise = f"{self.noise} noise, " if self.noise else ""
        classifier = f"{self.architecture}, " if self.architecture else ""
        return f"{self.data} {self.split}, {classifier}{noise}σ = {self.sigma:g}, n = {self.n:,}, α = {self.alpha:g}"

    def differences(self, other: RunDescription) -> dict[str, tuple[Any, Any]]:
        """Key to this value and the other's, of the keys with different ones, sorted; None for what is not said.

        `auto` in the other stands for whatever is found here.
        """
        own, others = self.to_dict(), other.to_dict()
        pairs = {key: (own.get(key), others.get(key)) for key in sorted({*own, *others})}
        return {key: (a, b) for key, (a, b) in pairs.items() if a != b and b != "auto"}


def _tuples(value: Any) -> Any:
    """The value with tuples in the place of lists."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    return {key: _tuples(v) for key, v in value.items()} if isinstance(value, Mapping) else value
