"""An image with its certificates, and what an attack found about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lightning_rs.results.records import ExampleCertificate


@dataclass(frozen=True)
class Example:
    """An image whose certificates are attacked.

    Attributes:
        index: of the image in its split.
        image: (*shape), as it was certified: rounded to the levels of the noise where it has some.
        label: its class.
        certificates: label of a mechanism to what it certified.
    """

    index: int
    image: Tensor
    label: int
    certificates: Mapping[str, ExampleCertificate]


@dataclass(frozen=True)
class Attacked:
    """One certificate under attack.

    Attributes:
        prediction: the certified class.
        radius: the certified radius, in the norm of the mechanism.
        distance: of the nearest point found at which the smoothed classifier was proved to break the claim, an upper
            limit of the true radius; infinite where none was found.
    """

    prediction: int
    radius: float
    distance: float

    @property
    def violated(self) -> bool:
        """Whether the claim is broken within its own radius."""
        return self.distance < self.radius


@dataclass(frozen=True)
class Outcome:
    """What an attack found about one image.

    Attributes:
        index: of the image in its split.
        label: its class.
        attacked: label of a mechanism to its certificate under attack; mechanisms that abstained are not there.
        points: number of points at which another answer was tried to be proved.
        method: `gradient` or `black_box`; as asked for where every mechanism abstained.
        seconds: that it took.
    """

    index: int
    label: int
    attacked: Mapping[str, Attacked]
    points: int
    method: str
    seconds: float
