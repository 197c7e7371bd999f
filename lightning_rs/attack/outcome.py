"""What an attack found about the certificates of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
        method: `gradient` or `black_box`.
        seconds: that it took.
    """

    index: int
    label: int
    attacked: Mapping[str, Attacked]
    points: int
    method: str
    seconds: float
