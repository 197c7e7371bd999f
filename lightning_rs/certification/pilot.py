"""A pilot: a few draws of some of the images that will be certified, with noise that certifies nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from lightning_rs.certification.examples import Certification
from lightning_rs.checks import check_at_least, check_draws
from lightning_rs.noise import Purpose
from lightning_rs.progress import progress
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample
from lightning_rs.smoothing.sampler import evaluating

# Batches in each part of a pilot whose speed is told.
_BATCHES = 10
# Fields that say how far sums vary.
_BESIDE = {"score_sum": "score_square_sum", "margin_sum": "margin_histogram"}


@dataclass(frozen=True)
class Pilot:
    """What a few draws of some images said, and how fast they came.

    Attributes:
        certification: what will be certified, with the batch size that was found and the seed that was drawn.
        plan: the draws of the pilot.
        samples: what the draws of each image said.
        labels: of the images.
        rows_per_second: rows that the classifier answers on this device, everything included that a row costs.
        slowest, fastest: the same in the slowest and in the fastest part of the pilot, which tell how busy the device
            was with other work: quarters, or of few batches fewer parts.
        reading: seconds to read an image.
        preparation: seconds before the first draw counts: preparation, compilation, the first batches.
    """

    certification: Certification
    plan: Plan
    samples: list[Sample]
    labels: list[int]
    rows_per_second: float
    slowest: float
    fastest: float
    reading: float
    preparation: float


def run_pilot(certification: Certification, images: int, draws: int, shown: bool = True) -> Pilot:
    """Draw `draws` noisy copies of `images` of the images to certify, of all if there are fewer.

    The images are a random sample without replacement, drawn by the seed. The noise is that of `Purpose.PILOT`: what is
    settled by what it says, such as n, has seen none of the draws that certify.

    Args:
        certification: what will be certified.
        images: number of images.
        draws: main draws of each; n0 come before them, as in the certification.
        shown: whether a bar is shown.

    Raises:
        ValueError: a number below 1, or see `certify_examples`.
    """
    check_at_least("images", images, 1)
    check_draws("draws", draws, 1)
    start = time.perf_counter()
    certification = certification.settled()
    settings = certification.settings
    indices = certification.indices
    generator = np.random.default_rng(certification.seed)
    chosen = np.sort(generator.choice(indices, min(images, len(indices)), replace=False)).tolist()
    settled = time.perf_counter()
    examples = [certification.image(index) for index in chosen]
    reading = (time.perf_counter() - settled) / len(chosen)
    first = examples[0][0]
    settings.check(certification.noise, first.shape)
    fields = settings.mechanism_set.fields - {"look_counts"}
    fields |= {_BESIDE[name] for name in fields if name in _BESIDE}
    plan = Plan((draws,), settings.n0, Purpose.PILOT, clean=True, fields=fields)
    with evaluating(certification.base_classifier):
        sampler = certification.sampler(first.to(certification.device))
        numbered = [(index, image) for index, (image, _) in zip(chosen, examples, strict=True)]
        list(sampler.run(numbered[:1], plan))  # The first batches are checked, and slow.
        begun = time.perf_counter()
        with progress(len(chosen), "Pilot", "img", shown, leave=False) as bar:
            samples, times = [], [0.0]
            for sample in sampler.run(numbered, plan):
                samples.append(sample)
                times.append(time.perf_counter() - begun)
                bar.update()
    rows = plan.before + draws
    batches = -(-len(chosen) * rows // settings.batch_size)
    speed = batches * settings.batch_size / times[-1]
    # Images that end in one batch end at one moment: of few batches no part says how fast it was.
    parts = max(1, min(4, len(chosen), batches // _BATCHES))
    cuts = np.linspace(0, len(chosen), parts + 1).astype(int)
    speeds = np.diff(cuts) * rows / np.diff(np.array(times)[cuts])
    return Pilot(
        certification=certification,
        plan=plan,
        samples=samples,
        labels=[label for _, label in examples],
        rows_per_second=speed,
        slowest=min(speed, float(speeds.min())),
        fastest=max(speed, float(speeds.max())),
        reading=reading,
        preparation=begun - start - reading * len(chosen),
    )
