"""How images are normalised for a net of another program: said by its user, and doubted where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_rs.models import ImageFacts
from lightning_rs.models.normalize import Normalize
from lightning_rs.smoothing.classifier import device_of

ADVICE = (
    "standardize (Cohen et al., Consistency, SmoothMix), center (Salman et al.), none (MACER, MNIST), "
    "or numbers per channel as mean/std, for example 0.5,0.5,0.5/0.2,0.2,0.2"
)
"""What may be said of the normalisation of a net."""
_SIGNIFICANT = 1e-3


def parse_normalization(text: str, facts: ImageFacts) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel that a text names.

    `standardize`: both of the data set; `center`: its mean and 1; `none`: 0 and 1; otherwise numbers as `mean/std`.

    Raises:
        ValueError: a text of another form, or numbers for another number of channels.
    """
    channels = facts.shape[0]
    zeros, ones = [0.0] * channels, [1.0] * channels
    known = {
        "standardize": (list(facts.mean), list(facts.std)),
        "center": (list(facts.mean), ones),
        "none": (zeros, ones),
    }
    if text in known:
        return known[text]
    try:
        mean, std = ([float(number) for number in part.split(",")] for part in text.split("/"))
    except ValueError:
        raise ValueError(f"normalization must be {ADVICE}; got {text!r}") from None
    if len(mean) != channels or len(std) != channels or not all(s > 0 for s in std):
        raise ValueError(f"normalization must have {channels} means and {channels} positive stds, got {text!r}")
    return mean, std


def normalizing(mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """The stage that normalises so: nothing where the mean is 0 and the standard deviation 1."""
    return Normalize(mean, std) if any(mean) or any(s != 1.0 for s in std) else nn.Identity()


def by_channel(numbers: Sequence[float]) -> Tensor:
    """One number per channel as `Normalize` holds them."""
    return torch.tensor(numbers).view(-1, 1, 1)


def doubt_about_normalization(
    classifier: nn.Sequential, dataset: Dataset, facts: ImageFacts, images: int = 100
) -> str | None:
    """A warning if another normalisation makes the net clearly better on clean images, or if it only guesses.

    Compared on the same evenly spaced images with McNemar's exact test, at .001, against standardising, centring and
    nothing; the accuracy itself with the binomial test against 1 / K.

    Args:
        classifier: with a stage `normalize`.
        dataset: index to (image with pixels in [0, 1], label).
        facts: of the data module, for the statistics of the alternatives.
        images: number of images to look at.
    """
    size = len(dataset)
    images = min(images, size)
    chosen = [dataset[i * size // images] for i in range(images)]
    x, y = torch.stack([image for image, _ in chosen]), torch.tensor([int(label) for _, label in chosen])
    own = _right(classifier, x, y)
    for name in ("standardize", "center", "none"):
        normalize = normalizing(*parse_normalization(name, facts)).to(device_of(classifier))
        stages = dict(classifier.named_children()) | {"normalize": normalize}
        other = _right(nn.Sequential(*stages.values()), x, y)
        gained, lost = int((other & ~own).sum()), int((own & ~other).sum())
        if gained > lost and stats.binomtest(gained, gained + lost, alternative="greater").pvalue < _SIGNIFICANT:
            return (
                f"the normalisation is probably wrong: of {len(y)} clean images {int(own.sum())} are classified "
                f"correctly, {int(other.sum())} with --normalization {name}"
            )
    guess = 1.0 / facts.num_classes
    if stats.binomtest(int(own.sum()), len(y), guess, alternative="greater").pvalue >= _SIGNIFICANT:
        return (
            f"of {len(y)} clean images only {int(own.sum())} are classified correctly, which is no better than "
            "guessing: check the data set, the normalisation and the order of the classes"
        )
    return None


def _right(classifier: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(B,) bool, whether each image is classified correctly."""
    device = device_of(classifier)
    with torch.inference_mode():
        return torch.cat([classifier(part.to(device)).argmax(1).cpu() for part in x.split(20)]) == y
