"""Attack the certificates of images: examples in, outcomes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from lightning_rs.attack.outcome import Example, Outcome
from lightning_rs.attack.settings import AttackSettings
from lightning_rs.mechanisms import Mechanism
from lightning_rs.noise import Noise


def attack_examples(
    base_classifier: nn.Module,
    num_classes: int,
    noise: Noise,
    mechanisms: Mapping[str, Mechanism],
    examples: Iterable[Example],
    settings: AttackSettings,
    *,
    stochastic: bool = False,
) -> Iterator[Outcome]:
    """Attack the certificates of every example: one outcome each, in their order, as soon as it is finished."""
    raise NotImplementedError
