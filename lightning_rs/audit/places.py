"""Whether a row's answer is the row's own: not that of the rows beside it, nor of its place in a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.nets import NOISE, digits, digits_net, pictures, rounding_share, thin_resnet
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.noise import GridGaussian, Noise, Purpose, Stage
from lightning_rs.smoothing import prepare
from lightning_rs.smoothing.sampler import Sampler

_THE_SAME = "the same scores to the bit"


@dataclass(frozen=True)
class Network:
    """A net, and what it is shown.

    Attributes:
        name: what it is called.
        module: images to scores of 10 classes, on the CPU.
        noise: added to the images.
        images: (images, *shape), at the noise's levels.
    """

    name: str
    module: nn.Module
    noise: Noise
    images: Tensor


def cases(settings: AuditSettings) -> list[Case]:
    """A small net that rounds; in the whole audit a ResNet as well."""
    made = [Case("places: rounding net", lambda: _places(settings, _small()))]
    return made if settings.quick else [*made, Case("places: ResNet-20", lambda: _places(settings, _large()))]


def _small() -> Network:
    images = torch.stack([digits("test")[index][0] for index in range(0, 320, 40)])
    return Network("rounding net", digits_net(exact=False), NOISE, images)


def _large() -> Network:
    return Network("ResNet-20", thin_resnet(), GridGaussian(0.25, 255), pictures(8))


def _places(settings: AuditSettings, net: Network) -> Iterator[Finding]:
    """Scores of one batch of noisy copies, asked for in other ways.

    Bounds need answers that are drawn independently: at its place a row has to have the same answer whatever stands
    beside it. If its answer depends on the place itself, what is certified is the mean over places, and binomial bounds
    hold of it (Hoeffding 1956); the others promise nothing, so how many votes move is said.
    """
    rows = _rows(settings, net, 256 if settings.quick else 500)
    classify = _classifier(settings, net, rows)
    scores = classify(rows)
    yield _function(net, "asked again", scores, classify(rows))

    half = len(rows) // 2
    beside = rows.clone()
    beside[half:] = 1000.0
    yield _function(net, "beside other rows", scores[:half], classify(beside)[:half])

    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(settings.seed)).to(rows.device)
    moved = torch.cat([classify(rows[order])[order.argsort()], classify(rows.roll(1, 0)).roll(-1, 0)])
    yield _moving(settings, net, "at other places", torch.cat([scores, scores]), moved)
    same = classify(rows[:1].expand_as(rows).contiguous())
    yield _moving(settings, net, "one row at all places", scores[:1].expand_as(same), same)

    if settings.preparation.compile:
        expected, seen = "any answers: it is recorded", "left out: each size is compiled anew"
        yield Finding("places", f"other batch sizes, {net.name}", expected, seen, True)
        return
    sizes = (1, 7, half)
    others = torch.cat([classify(part) for size in sizes for part in rows.split(size)])
    what = f"batches of {', '.join(map(str, sizes))}"
    yield _moving(settings, net, what, scores.repeat(len(sizes), 1), others, another_batch_size=True)


def _rows(settings: AuditSettings, net: Network, count: int) -> Tensor:
    """Noisy copies of a few images, on the device."""
    images = net.images
    shape = tuple(images.shape[1:])
    source = net.noise.source(settings.seed, shape, images.dtype, settings.device, Purpose.PILOT)
    rows = torch.empty((count, *shape), dtype=images.dtype, device=settings.device)
    for index, (part, image) in enumerate(zip(rows.chunk(len(images)), images, strict=True)):
        source.perturb(part, image.to(settings.device), index, Stage.ESTIMATION, 0)
    return rows


def _classifier(settings: AuditSettings, net: Network, rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Rows to scores, the way in which certifications ask for them."""
    module = copy.deepcopy(net.module).to(settings.device)
    prepared = prepare(module, settings.preparation, rows)
    sampler = Sampler(prepared, 10, net.noise, len(rows), settings.seed, settings.device)

    def classify(batch: Tensor) -> Tensor:
        with torch.inference_mode():
            return sampler.classify(batch)

    return classify


def _function(net: Network, what: str, scores: Tensor, again: Tensor) -> Finding:
    numbers, seen = _difference(scores, again)
    return Finding("places", f"{what}, {net.name}", _THE_SAME, seen, numbers["other_bits"] == 0, numbers)


def _moving(
    settings: AuditSettings,
    net: Network,
    what: str,
    scores: Tensor,
    others: Tensor,
    *,
    another_batch_size: bool = False,
) -> Finding:
    numbers, seen = _difference(scores, others)
    if settings.device.type == "cpu" and not another_batch_size:
        expected, share = "no vote moved", 0.0
    else:
        share = rounding_share(settings.preparation)
        expected = f"at most {share:.1%} of votes moved, by rounding"
    return Finding("places", f"{what}, {net.name}", expected, seen, numbers["moved"] <= share * len(scores), numbers)


def _difference(scores: Tensor, others: Tensor) -> tuple[dict[str, float | int], str]:
    """How many rows' scores have other bits, and how many votes are others."""
    bits = int((scores != others).any(dim=1).sum())
    moved = int((scores.argmax(dim=1) != others.argmax(dim=1)).sum())
    largest = float((scores.double() - others.double()).abs().max())
    seen = f"{moved:,} of {len(scores):,} votes moved"
    if bits:
        seen += f"; other bits in {bits:,} rows, by {largest:.2g}"
    return {"rows": len(scores), "other_bits": bits, "moved": moved, "largest": largest}, seen
