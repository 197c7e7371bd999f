"""What a certificate promises, tried on classifiers that were made to break it."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from lightning_rs import SmoothedClassifier
from lightning_rs.audit.float_attack import ATTACKS
from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.noise import GridGaussian


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_rounding_that_remembers_the_image(attack):
    """Gaussian noise in float32 certifies a large radius, within which another image on the grid gets another answer.

    The attack of V. Voracek and M. Hein, "Sound Randomized Smoothing in Floating-Point Arithmetics", 2023.
    """

    def certify_and_predict(levels):
        g = SmoothedClassifier(attack.classifier, 2, sigma=0.5, levels=levels, batch_size=200)
        certificate = g.certify(attack.image[None], n0=20, n=1000, alpha=0.001, mechanisms=["cohen"])["cohen"]
        answer = g.predict(attack.other[None], n=200, alpha=0.001, seed=0)[0]
        return certificate.prediction[0], certificate.radius[0], answer

    prediction, radius, answer = certify_and_predict(None)
    assert prediction == 1 and radius > 1.1 > 2 * attack.distance, "gaussian noise certifies it"
    assert answer == 0, "and is broken: the answer nearby is another one"

    prediction, radius, answer = certify_and_predict(attack.levels)
    assert answer != -1
    # On the grid of 1/255 the joint vote of all pixels is never for class 1; on that of 1/16 it always is, for both.
    assert prediction == answer


class Bands:
    """Class j where the pixel, an integer on the grid, lies in the j-th band; scores .9 and .05 for the others."""

    def __init__(self, cuts, levels):
        self.cuts, self.levels = torch.tensor(cuts), levels

    def __call__(self, rows):
        band = torch.bucketize((rows.flatten(1)[:, 0] * self.levels).round(), self.cuts, right=True)
        return torch.log(torch.full((len(rows), len(self.cuts) + 1), 0.05).scatter(1, band[:, None], 0.9))

    def probabilities(self, x, sigma):
        """(points, classes), exact for every real x, since F rounds what it is given."""
        edges = np.array([-np.inf, *(self.cuts.numpy() - 0.5), np.inf]) / self.levels
        return np.diff(special.ndtr((edges - np.asarray(x)[:, None]) / sigma), axis=1)

    def radius(self, x, c, sigma, keeps):
        """Distance from x at which `keeps` of the probabilities of class c and of its rival first fails."""
        distance = np.arange(0, 6 * sigma, sigma / 4000)
        safe = np.ones(len(distance), dtype=bool)
        for side in (1, -1):
            p = self.probabilities(x + side * distance, sigma)
            safe &= keeps(p[:, c], np.delete(p, c, axis=1).max(axis=1))
        return distance[safe.argmin()] if not safe.all() else np.inf


HARD = [
    "cohen", "cohen_two_sided", "cohen_two_sided:top_share=0.5", "delattre", "voracek", "ensemble", "lecuyer", "li",
    "cullen", "moutaouakil", "mohapatra_l2", "mohapatra_l1", "mohapatra_linf", "mohapatra_l2:estimator=half",
    "mohapatra_l2:estimator=miss", "mohapatra_channel:channel=0",
]  # fmt: skip
SOFT = [
    "salman", "salman:bound=betting", "lipschitz", "cullen_soft", "lecuyer_soft", "moutaouakil_soft",
    "kumar_score:confidence=0.6", "kumar_margin:confidence=0.2",
]  # fmt: skip


def leads(own, rival):
    return own > rival


def confident(own, rival):
    return 0.05 + 0.85 * own >= 0.6


def ahead(own, rival):
    """The expected margin .85 (2 p - 1): a draw's margin is .85 or -.85."""
    return 0.85 * (2 * own - 1) >= 0.2


KEEPS = {"kumar_score:confidence=0.6": confident, "kumar_margin:confidence=0.2": ahead}


@pytest.mark.parametrize(
    ("sigma", "levels", "x", "cuts"),
    [
        (0.25, 4, 0.5, [2]),  # A half-line; the grid is as wide as sigma.
        (0.25, 4, 0.5, [1, 4]),  # A band around x: there first-order bounds are sharp.
        (0.25, 4, 0.75, [1, 3, 5]),
        (0.25, 16, 0.5, [5, 12]),
        (0.5, 255, 0.2, [20]),
    ],
)
def test_coverage_of_every_mechanism_on_the_grid(sigma, levels, x, cuts):
    """At alpha = .1, of 500 certificates at most 10 % and what chance adds claim more than is true.

    The probabilities are known exactly, in each point of the real line, and so is the true radius of each claim.
    """
    f, alpha, examples = Bands(cuts, levels), 0.1, 500
    g = SmoothedClassifier(f, len(cuts) + 1, sigma, levels=levels, batch_size=10_000)
    images = torch.full((examples, 1, 1, 1), x)
    chosen = MechanismSet([*HARD, *SOFT])
    statistics = g.sample(images, n0=50, n=150, fields=chosen.fields)
    # The draws are from the grid's exact probabilities.
    p = f.probabilities([x], sigma)[0]
    assert stats.chisquare(statistics.counts.sum(axis=0), p * statistics.counts.sum()).pvalue > 1e-4
    allowed = alpha + 3.5 * np.sqrt(alpha * (1 - alpha) / examples)
    for label, certificate in chosen.certify(statistics, alpha).items():
        wrong = 0
        for c in np.unique(certificate.prediction[certificate.prediction >= 0]):
            radii = certificate.radius[certificate.prediction == c]
            wrong += np.sum(radii > f.radius(x, c, sigma, KEEPS.get(label, leads)))
        assert wrong / examples <= allowed, label


@pytest.mark.parametrize("label", ["sequential_betting", "sequential_union"])
def test_coverage_of_sequential_mechanisms_on_the_grid(label):
    sigma, levels, x, alpha, examples = 0.25, 4, 0.5, 0.1, 400
    f = Bands([2], levels)
    g = SmoothedClassifier(f, 2, sigma, levels=levels, batch_size=10_000)
    radius = f.radius(x, 1, sigma, leads)
    radii = [0.5 * radius, radius * 1.02]
    certificate = g.certify(
        torch.full((examples, 1), x), n0=20, n=500, alpha=alpha, mechanisms=[label], radii=radii
    )[label]
    assert (certificate.radius > 0).mean() > 0.5
    assert (certificate.radius > radius).mean() <= alpha + 3.5 * np.sqrt(alpha * (1 - alpha) / examples)


def test_coverage_of_half_spaces_through_sums_of_integers():
    """Class 1 where k1 + 2 k2 + 3 k3 >= t: its probability by convolution of the bins, its lower bounds beside it."""
    sigma, levels, t, alpha, examples = 0.25, 4, 15, 0.1, 1000
    weights = (1, 2, 3)
    noise = GridGaussian(sigma, levels)

    def f(rows):
        above = (rows * levels).round() @ torch.tensor(weights, dtype=torch.float32) >= t
        return torch.stack([~above, above], dim=1).float()

    x = np.array([2, 3, 4])
    bins = np.arange(-noise.reach, noise.reach + 1)
    p_bin = np.diff(special.ndtr((np.append(bins, noise.reach + 1) - 0.5) / (sigma * levels)))
    total = np.ones(1)
    for w in weights:
        spread = np.zeros(w * (len(bins) - 1) + 1)
        spread[::w] = p_bin
        total = np.convolve(total, spread)
    sums = np.arange(len(total)) - sum(weights) * noise.reach + int(np.dot(weights, x))
    p = total[sums >= t].sum()
    assert 0.7 < p < 0.95

    g = SmoothedClassifier(f, 2, sigma, levels=levels, batch_size=10_000)
    images = (torch.from_numpy(x).float() / levels).repeat(examples, 1)
    certificates = g.certify(images, n0=50, n=200, alpha=alpha, mechanisms=["cohen", "cohen_two_sided", "delattre"])
    for label, certificate in certificates.items():
        assert np.mean(certificate.p_lower > p) <= alpha + 3.5 * np.sqrt(alpha * (1 - alpha) / examples), label
        # Every image on the grid to which a certificate reaches has the class: none of them is far from 1/2 below.
        steps = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3)
        lost = [total[sums + np.dot(weights, s) >= t].sum() <= 0.5 for s in steps]
        nearest = np.linalg.norm(steps[np.array(lost)] / levels, axis=1).min()
        claims = certificate.radius[certificate.prediction == 1]
        assert np.mean(claims > nearest) <= alpha + 3.5 * np.sqrt(alpha * (1 - alpha) / examples), label


def test_within_a_soft_radius_the_majority_may_answer_otherwise():
    """From the edge on scores are (1, 0), before it (.49, .51): the mean prefers class 0 far beyond where votes do."""

    def f(rows):
        chance = torch.where((rows * 16).round() >= 8, 1.0, 0.49)
        return torch.cat([chance, 1 - chance], dim=1).log()

    g, x = SmoothedClassifier(f, 2, sigma=0.25, levels=16), torch.tensor([[8.0]]) / 16
    certificates = g.certify(x, n0=100, n=2000, alpha=0.001, mechanisms=["cohen", "salman"])
    assert certificates["cohen"].radius[0] < 2 / 16 < certificates["salman"].radius[0]
    assert g.predict(x - 2 / 16, n=1000, seed=0) == [1]


def test_a_classifier_chosen_on_validation_images_meets_other_noise():
    """Twelve classifiers, each a fair coin of its draws; the best on `val` is certified on `test`, the same image.

    With the same draws for both, what looked best by chance would be certified by the same chance.
    """
    alpha, runs, wrong = 0.05, 80, {"val": 0, "test": 0}
    directions = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    image = torch.full((1, 2, 2), 102.0).div(255)
    dataset = [(image, 1)] * runs

    def records(j, split, indices):
        # Of each direction the sign of a sum of pixels that the image leaves at 0: one half, to a hair.
        def f(rows):
            side = ((rows - image).flatten(1) @ directions[j]) > 0
            return torch.stack([~side, side], dim=1).float()

        settings = CertificationSettings(n0=10, n=60, alpha=alpha, mechanisms=["cohen"], batch_size=700)
        classifier = torch.nn.Module()
        classifier.forward = f
        about = Certification(classifier, "coin", 2, GridGaussian(0.25, 255), dataset, "one", split, settings)
        return list(certify_examples(about, indices))

    on_val = [records(j, "val", range(runs)) for j in range(len(directions))]
    best = np.argmax([[record.counts.get(record.selected, 0) for record in one] for one in on_val], axis=0)
    for j in range(len(directions)):
        chosen = np.flatnonzero(best == j)
        # As `val` it has the key of the draws that chose it, as all certificates once had.
        for split, certified in (("val", [on_val[j][run] for run in chosen]), ("test", records(j, "test", chosen))):
            wrong[split] += sum(record.certificates["cohen"].prediction >= 0 for record in certified)
    assert wrong["val"] / runs > 5 * alpha
    assert wrong["test"] / runs <= alpha + 3.5 * np.sqrt(alpha * (1 - alpha) / runs)
