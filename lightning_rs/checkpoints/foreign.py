"""Checkpoints that other programs wrote: which net, which weights, which normalisation.

Read are, by what the file holds:

- `{arch, state_dict, ...}`: the randomized-smoothing line. The state is that of `Sequential(layer, net)`, so that the
  net's keys begin with `1.`, or `1.module.` where it was trained in parallel. The layer standardises (J. Cohen,
  E. Rosenfeld, J. Z. Kolter, 2019; Consistency, J. Jeong and J. Shin, 2020; SmoothMix, J. Jeong et al., 2021) or only
  centres (H. Salman et al., 2019), keeps its numbers out of the file, and so has to be named.
- `{net, epoch}`: MACER (R. Zhai et al., 2020), which does not normalise, and whose net is recognised by its weights.
- Weights alone, for example torchvision's: the architecture has to be named.

Nothing in a file runs: it was loaded as tensors and plain values, and names are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_rs.data import ImageDataModule
from lightning_rs.models import ImageFacts, build_base_classifier, get_architecture
from lightning_rs.smoothing.classifier import device_of

# What a parallel or compiled net puts in front of its keys.
_WRAPPERS = ("module.", "_orig_mod.")
_MEANS, _STDS = ("0.means", "0.mean"), ("0.sds", "0.stds", "0.std")
_ADVICE = (
    "standardize (Cohen et al., Consistency, SmoothMix), center (Salman et al.), none (MACER, MNIST), "
    "or numbers per channel as mean/std, for example 0.5,0.5,0.5/0.2,0.2,0.2"
)
_SIGNIFICANT = 1e-3


def foreign_classifier(
    path: Path,
    content: Any,
    arch: str | None = None,
    data: ImageDataModule | None = None,
    normalization: str | None = None,
) -> tuple[nn.Sequential, str]:
    """The base classifier of a foreign checkpoint in evaluation mode, and its architecture's name.

    Args:
        path: the file, for messages.
        content: what it holds.
        arch: a name that `get_architecture` knows; the file's own when left out.
        data: the data module whose classes the net tells apart.
        normalization: see `parse_normalization`; the file's own when left out.

    Raises:
        ValueError: a file of another form, an unknown architecture, or one that the weights do not fit; something that
            neither the file nor the arguments say.
    """
    weights, named = _weights(path, content)
    layer, net = _layer_and_net(weights)
    arch = arch or named or _recognized(net)
    if arch is None:
        raise ValueError(f"{path} does not name its architecture: give arch, for example cifar_resnet110")
    get_architecture(arch)
    if data is None:
        raise ValueError(f"{path} does not say which data set it was trained on: give data, for example CIFAR10")
    facts = data.facts
    macer = "net" in content and set(content) <= {"net", "epoch", "optimizer", "scheduler"}
    mean, std = _normalization(path, layer, normalization, facts, macer)
    classifier = build_base_classifier(arch, facts.num_classes, facts.shape, mean, std)
    try:
        classifier.net.load_state_dict(net)
        with torch.inference_mode():
            classifier.eval()(torch.zeros(1, *facts.shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} does not fit {arch} for {type(data).__name__}: {reason}") from None
    if not any(mean) and all(s == 1.0 for s in std):
        classifier.normalize = nn.Identity()
    return classifier.eval(), arch


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
        raise ValueError(f"normalization must be {_ADVICE}; got {text!r}") from None
    if len(mean) != channels or len(std) != channels or not all(s > 0 for s in std):
        raise ValueError(f"normalization must have {channels} means and {channels} positive stds, got {text!r}")
    return mean, std


def doubt_about_normalization(
    classifier: nn.Sequential, dataset: Dataset, facts: ImageFacts, images: int = 100
) -> str | None:
    """A warning if another normalisation makes the net clearly better on clean images, or if it only guesses.

    Compared on the same evenly spaced images with McNemar's exact test, at .001, against standardising, centring and
    nothing; the accuracy itself with the binomial test against 1 / K.

    Args:
        classifier: with the stages `normalize` and `net`.
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
        mean, std = parse_normalization(name, facts)
        shape = (-1, 1, 1)
        normalized = (x - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
        other = _right(classifier.net, normalized, y)
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


def _weights(path: Path, content: Any) -> tuple[dict[str, Tensor], str | None]:
    """Weights with their keys freed of wrappers, and the architecture's name if the file has it."""
    held = content if isinstance(content, Mapping) else {}
    state = next((held[key] for key in ("state_dict", "net") if isinstance(held.get(key), Mapping)), held)
    if not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        kind = f"a dictionary with {', '.join(map(str, list(held)[:8]))}" if held else f"a {type(content).__name__}"
        raise ValueError(
            f"{path} is not a checkpoint of a known form: expected one of train.py, {{arch, state_dict}}, "
            f"{{net, epoch}} or weights alone, got {kind}"
        )
    named = held.get("arch")
    return _unwrapped(state), named if isinstance(named, str) else None


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            return _unwrapped({key.removeprefix(prefix): value for key, value in state.items()})
    return dict(state)


def _layer_and_net(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `Sequential(layer, net)` holds of each; all belongs to the net where the keys are not of this form."""
    if {key.split(".")[0] for key in weights} not in ({"1"}, {"0", "1"}):
        return {}, weights
    layer = {key: value for key, value in weights.items() if key.startswith("0.")}
    return layer, _unwrapped({key.removeprefix("1."): weights[key] for key in weights if key not in layer})


def _recognized(net: Mapping[str, Tensor]) -> str | None:
    """MACER's files name no architecture: a thin ResNet for CIFAR-10 and SVHN, LeNet for MNIST."""
    blocks = {match.group(1) for key in net if (match := re.match(r"layer1\.(\d+)\.", key))}
    stages = {key.split(".")[0] for key in net}
    if blocks and "layer3" in stages and "layer4" not in stages:
        return f"cifar_resnet{6 * len(blocks) + 2}"
    return "lenet" if stages == {"conv1", "conv2", "fc1", "fc2"} else None


def _normalization(
    path: Path, layer: Mapping[str, Tensor], given: str | None, facts: ImageFacts, macer: bool
) -> tuple[list[float], list[float]]:
    """What the file's first layer holds, or what was given."""
    if not layer:
        if given is None and macer:
            given = "none"
        if given is None:
            raise ValueError(f"{path} does not say how images are normalised: give normalization, {_ADVICE}")
        return parse_normalization(given, facts)
    means, stds = (next((layer[key] for key in keys if key in layer), None) for keys in (_MEANS, _STDS))
    if means is None or len(layer) != 1 + (stds is not None):
        raise ValueError(f"{path} begins with a layer that is no normalisation: it holds {', '.join(layer)}")
    if given is not None:
        raise ValueError(f"{path} holds its own normalisation: leave normalization out")
    mean = means.flatten().tolist()
    return mean, [1.0] * len(mean) if stds is None else stds.flatten().tolist()
