"""Published certified accuracies of ResNet-110 on CIFAR-10, beside those of our certifications.

python benchmarks/published_cifar10.py --certifications '[gaussian=DIR, macer=DIR]' --output FILE.md

What is published is of all 10,000 test images at n0 = 100, n = 100,000 and alpha = .001, computed from the logs of
each image that the papers' repositories released, with abstentions as radius 0. Of every twentieth image alone, as
most tables have it, the average certified radius differs by up to .03: the images are always said.

The limits hold at 95 %, each by itself, for the images as a sample: Clopper-Pearson's on a certified accuracy,
Student's on the average certified radius. They say nothing of how trainings with other seeds differ.

Sources: J. Cohen, E. Rosenfeld, J. Z. Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019
(gaussian); H. Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", 2019
(smoothadv); R. Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", 2020;
J. Jeong, J. Shin, "Consistency Regularization for Certified Robustness of Smoothed Classifiers", 2020; J. Jeong et al.,
"SmoothMix: Training Confidence-calibrated Smoothed Classifiers for Certified Robustness", 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jsonargparse import auto_cli
from scipy import stats

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.cli import clean_exit
from lightning_rs.files import check_new_file, write_whole
from lightning_rs.results import Run, load_run
from lightning_rs.results.escaping import markdown
from lightning_rs.results.report import show_table
from lightning_rs.results.tables import Table, to_markdown

MECHANISM, IMAGES, LEVEL = "cohen", 10_000, 0.05
PROTOCOL = {"data": "CIFAR10", "split": "test", "architecture": "cifar_resnet110"}
PROTOCOL |= {"n0": 100, "n": 100_000, "alpha": 0.001}
RADII = {0.25: (0.0, 0.25, 0.5, 0.75), 0.5: (0.0, 0.5, 1.0, 1.5), 1.0: (0.0, 0.5, 1.0, 1.5, 2.0)}
# Objective to sigma to the average certified radius, and the certified accuracy (%) at each of the radii.
PUBLISHED = {
    "gaussian": {
        0.25: (0.424, (76.7, 61.2, 42.2, 25.1)),
        0.5: (0.525, (65.7, 42.8, 22.0, 8.3)),
        1.0: (0.511, (47.1, 33.8, 22.1, 13.3, 6.6)),
    },
    "smoothadv": {
        0.25: (0.544, (73.4, 65.6, 57.0, 47.5)),
        0.5: (0.684, (65.3, 49.9, 33.7, 19.5)),
        1.0: (0.790, (43.7, 36.9, 30.5, 24.0, 18.4)),
    },
    "macer": {
        0.25: (0.531, (79.5, 69.0, 55.8, 40.6)),
        0.5: (0.691, (64.2, 49.9, 34.8, 20.2)),
        1.0: (0.744, (41.4, 35.2, 29.3, 23.4, 17.4)),
    },
    "consistency": {
        0.25: (0.552, (75.8, 67.6, 58.1, 46.7)),
        0.5: (0.720, (64.3, 50.6, 36.2, 22.8)),
        1.0: (0.756, (46.3, 38.1, 30.0, 22.9, 16.6)),
    },
    "smoothmix": {
        0.25: (0.553, (77.1, 67.9, 57.9, 46.7)),
        0.5: (0.736, (63.5, 50.5, 36.7, 24.7)),
        1.0: (0.788, (42.4, 36.7, 30.0, 23.9, 18.6)),
    },
}


@dataclass(frozen=True)
class Comparison:
    """A published figure, and ours with its limits: certified accuracy in percent, or the average certified radius."""

    name: str
    published: float
    ours: float
    lower: float
    upper: float

    @property
    def within(self) -> bool:
        """Whether the published figure lies within the limits."""
        return self.lower <= self.published <= self.upper


def comparisons(objective: str, run: Run) -> Iterator[Comparison]:
    """Every figure that is published of an objective at the sigma of a run.

    Args:
        objective: one of `PUBLISHED`.
        run: with certificates of `MECHANISM`.
    """
    acr, accuracies = PUBLISHED[objective][run.sigma]
    radius, images = run.certified_radius(MECHANISM), len(run)
    for r, accuracy in zip(RADII[run.sigma], accuracies, strict=True):
        right = int((radius > r).sum())
        bounds = (bound(right, images, LEVEL / 2) for bound in (clopper_pearson_lower, clopper_pearson_upper))
        yield Comparison(f"R > {r:g}", accuracy, *(100.0 * float(share) for share in (right / images, *bounds)))
    mean = float(radius.mean())
    half = float(stats.t.ppf(1.0 - LEVEL / 2, images - 1) * stats.sem(radius)) if images > 1 else float("inf")
    yield Comparison("ACR", acr, mean, mean - half, mean + half)


def differences(run: Run) -> list[str]:
    """What of a run is not as published, in words; sigma and the number of images aside."""
    unlike = [f"{key} {run.said(key)}" for key, value in PROTOCOL.items() if run.said(key) != value]
    return unlike if run.finished else [*unlike, f"{run.missing} images missing"]


def compare(certifications: list[str], output: str | None = None) -> None:
    """Print published figures beside those of certifications, and whether they lie within the limits of ours; one line
    for each certification with which nothing that is published compares.

    Args:
        certifications: OBJECTIVE=DIRECTORY each.
        output: Markdown file that gets the table.

    Raises:
        OSError, ValueError: a word of another form, a directory that cannot be read, or one without `MECHANISM`.
    """
    if output is not None:
        check_new_file("output", output)
    rows, notes, sections = [], [], []
    for word in certifications:
        objective, _, path = word.partition("=")
        if not path:
            raise ValueError(f"certifications must read OBJECTIVE=DIRECTORY, got {word}")
        run = load_run(path)
        if MECHANISM not in run.certificates:
            raise ValueError(f"{path} must hold certificates of {MECHANISM}, got {', '.join(run.certificates)}")
        name = f"{objective} at σ = {run.sigma:g}"
        if run.sigma not in PUBLISHED.get(objective, ()):
            notes.append(f"{name}: nothing is published")
            continue
        unlike = differences(run)
        notes += [f"{name}, {path}: not as published, {', '.join(unlike)}"] if unlike else []
        sections.append(len(rows))
        for found in comparisons(objective, run):
            digits = 3 if found.name == "ACR" else 1
            ours = f"{found.ours:.{digits}f} ({found.lower:.{digits}f} to {found.upper:.{digits}f})"
            within = "no comparison" if unlike else "yes" if found.within else "no"
            rows.append((name, found.name, f"{found.published:.{digits}f}", ours, f"{len(run):,}", within))
    header = ("classifier", "", f"published, {IMAGES:,} images", "ours, 95 % limits", "images", "within the limits")
    title = "CIFAR-10, ResNet-110: certified accuracy (%) and average certified radius"
    tables = [Table(title, header, tuple(rows), sections=tuple(sections), names=2)] if rows else []
    for table in tables:
        show_table(table)
    for note in notes:
        print(note)
    if output is not None:
        lines = [*map(to_markdown, tables), *(f"- {markdown(note)}" for note in notes)]
        write_whole(output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    with clean_exit():
        auto_cli(compare, as_positional=False)
