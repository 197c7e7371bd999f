"""First-order mechanisms on classifiers whose robust radius is known in every norm."""

import json

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.stats import norm

from lightning_rs import SmoothedClassifier, Statistics
from lightning_rs.bounds import clopper_pearson_lower
from lightning_rs.mechanisms import (
    ABSTAIN,
    MechanismSet,
    check_inputs,
    first_order_l2_radius,
    first_order_subspace_l2_radius,
    get_mechanism,
    gradient_moments,
    parse_mechanism,
    resolve_mechanisms,
)
from lightning_rs.smoothing.gradient_tally import GRADIENT_FIELDS

SHAPE, SIGMA = (3, 4, 4), 0.5
NAMES = [
    "mohapatra_l2",
    "mohapatra_l1",
    "mohapatra_linf",
    "mohapatra_channel",
    "mohapatra_channel:channel=2",
    "mohapatra_channel:channel=all,top=1,left=0,height=2,width=3",
    "mohapatra_channel:channel=1,left=2",
]
ESTIMATORS = ("auto", "half", "miss")


def labels(estimator):
    return [f"{name}{',' if ':' in name else ':'}estimator={estimator}" for name in NAMES]


def normal_vector():
    a = np.random.default_rng(0).normal(size=SHAPE)
    a[0] *= 0.2
    return a / np.linalg.norm(a)


def steepest(mechanism, a):
    """How fast a.x can change per unit of the mechanism's norm."""
    if mechanism.norm == "l2_subspace":
        return np.linalg.norm(a[mechanism.mask(SHAPE)])
    return {"l2": np.linalg.norm(a), "l1": np.abs(a).max(), "linf": np.abs(a).sum()}[mechanism.norm]


def classifier(kind, size):
    a = torch.as_tensor(normal_vector(), dtype=torch.float32).flatten()

    def f(x):
        along = x.flatten(1) @ a
        inside = along <= size if kind == "half-space" else along.abs() <= size
        return torch.stack([inside.float(), 0.5 + torch.zeros_like(along)], dim=1)

    return f


def true_distance(kind, size):
    """How far the smoothed classifier answers the first class, along a."""
    if kind == "half-space":
        return size
    edge = size / SIGMA
    return SIGMA * optimize.brentq(lambda r: norm.cdf(edge - r) - norm.cdf(-edge - r) - 0.5, 0, edge + 1)


@pytest.mark.parametrize(("kind", "size"), [("half-space", 0.3), ("half-space", 1.2), ("slab", 0.6), ("slab", 1.3)])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_never_beyond_the_true_distance(kind, size, estimator):
    names = labels(estimator)
    smoothed = SmoothedClassifier(classifier(kind, size), 2, SIGMA, batch_size=4000)
    mechanisms = resolve_mechanisms(names)
    certificates = smoothed.certify(torch.zeros(6, *SHAPE), 100, 20_000, 0.001, [*names, "cohen"])
    for label, mechanism in mechanisms.items():
        certificate = certificates[label]
        true = true_distance(kind, size) / steepest(mechanism, normal_vector())
        assert certificate.norm == mechanism.norm
        assert np.all(certificate.prediction == 0) and not certificate.fallback.any()
        assert np.all(certificate.radius <= true), (label, certificate.radius.max(), true)
        # At half of alpha for q; the first-order part can only add.
        zeroth = norm.ppf(certificate.p_lower) * SIGMA / (np.sqrt(48) if mechanism.norm == "linf" else 1)
        assert np.all(certificate.radius >= zeroth * (1 - 1e-9))
    if kind == "slab" and size == 0.6:
        assert certificates[names[0]].radius.min() > 1.2 * certificates["cohen"].radius.max()
    if kind == "half-space" and size == 0.3:
        assert certificates[names[1]].radius.min() > 1.4 * certificates["cohen"].radius.max()


def simulated(p, n, examples, rng, shape=(1, 10, 10)):
    """Statistics of a half-space of probability p across a generic direction, and that direction."""
    d = int(np.prod(shape))
    a = rng.normal(size=d)
    a /= np.linalg.norm(a)
    sums, counts = np.empty((examples, 2, 2, d)), np.empty((examples, 2, 2), dtype=int)
    for h, m in enumerate((n - n // 2, n // 2)):
        x = rng.normal(size=(examples, m))
        f = (x <= norm.ppf(p)).astype(float)
        across = rng.normal(size=(examples, 2, d))
        across -= (across @ a)[..., None] * a
        across *= np.stack([np.full(examples, m / 4), (1 - f).sum(1)], axis=1)[..., None] ** 0.5
        sums[:, h] = np.stack([(x * (f - 0.5)).sum(1), (x * (1 - f)).sum(1)], axis=1)[..., None] * a + across
        counts[:, h] = np.stack([np.full(examples, m), m - f.sum(1)], axis=1)
    sums = sums.reshape(examples, 2, 2, *shape)
    votes = np.stack([n - counts[:, :, 1].sum(1), counts[:, :, 1].sum(1)], axis=1)
    selection = np.tile([90, 10], (examples, 1))
    gradient = {"gradient_counts": counts, "gradient_moments": gradient_moments(sums), "gradient_sums": sums}
    return Statistics(1.0, votes, selection, **gradient, input_shape=shape), a.reshape(shape)


@pytest.mark.parametrize("p", [0.6, 0.9])
def test_coverage(p):
    alpha = 0.2
    statistics, a = simulated(p, 3000, 150, np.random.default_rng(4))
    for estimator in ESTIMATORS:
        for name in ("mohapatra_l2", "mohapatra_l1", "mohapatra_linf", "mohapatra_channel:height=3"):
            mechanism = parse_mechanism(name + (",", ":")[":" not in name] + f"estimator={estimator}")
            change = {"l2": 1.0, "l1": np.abs(a).max(), "linf": np.abs(a).sum()}
            change["l2_subspace"] = np.linalg.norm(a[:, :3])
            certificate = mechanism.certify(statistics, alpha)
            wrong = (certificate.prediction == 1) | (certificate.radius > norm.ppf(p) / change[mechanism.norm])
            assert wrong.mean() <= alpha, (name, estimator)


def test_alpha_is_shared_as_said():
    statistics, _ = simulated(0.8, 4000, 1, np.random.default_rng(5))
    alpha = 0.01
    q = clopper_pearson_lower(statistics.counts[0, 0], 4000, alpha / 2)
    first, second = (statistics.gradient_sums[0, h, 0].ravel() for h in (0, 1))
    n1, n2 = statistics.gradient_counts[0, :, 0]
    x, y = first / n1, second / n2

    def tail(m, level):
        return min(np.sqrt(level / (2 * m)) + 0.202 * level / m, np.sqrt(0.8044 * level / m))

    def bounds(x, y, delta):
        level = np.log(2 / delta)
        t1, t2, size = tail(n1, level), tail(n2, level), np.linalg.norm(x)
        upper = (t1 + np.sqrt(t1**2 + 4 * max(x @ y + size * t2, 0))) / 2
        lower = (-t1 + np.sqrt(t1**2 + 4 * (x @ y - size * t2))) / 2 if x @ y > size * t2 else 0.0
        return lower, upper

    radius = get_mechanism("mohapatra_l2", estimator="half").certify(statistics, alpha).radius[0]
    assert radius == pytest.approx(first_order_l2_radius(q, bounds(x, y, alpha / 2)[1], 1.0), rel=1e-7)
    radius = get_mechanism("mohapatra_channel", estimator="half", height=3).certify(statistics, alpha).radius[0]
    upper, lower = bounds(x[:30], y[:30], alpha / 4)[1], bounds(x[30:], y[30:], alpha / 4)[0]
    assert radius == pytest.approx(first_order_subspace_l2_radius(q, upper, lower, 1.0), rel=1e-7)


def test_a_channel_is_the_rectangle_that_covers_it():
    sampled = SmoothedClassifier(classifier("slab", 0.5), 2, SIGMA).sample(
        torch.zeros(2, *SHAPE), n0=100, n=5000, fields=GRADIENT_FIELDS
    )
    for estimator in ESTIMATORS:
        channel = get_mechanism("mohapatra_channel", channel=1, estimator=estimator).certify(sampled, 0.01)
        rectangle = get_mechanism("mohapatra_channel", channel=1, height=4, estimator=estimator).certify(sampled, 0.01)
        assert np.allclose(channel.radius, rectangle.radius, rtol=1e-9) and channel.radius.min() > 0


def test_auto_looks_at_the_selection_alone():
    statistics, _ = simulated(0.8, 4000, 2, np.random.default_rng(6))
    selection = np.array([[95, 5], [94, 6]])
    held = {name: getattr(statistics, name) for name in statistics.held} | {"selection_counts": selection}
    statistics = Statistics(1.0, **held, input_shape=statistics.input_shape)
    auto, half, miss = (
        get_mechanism("mohapatra_l1", estimator=e).certify(statistics, 0.01).radius for e in ("auto", "half", "miss")
    )
    assert half[0] != miss[0] and half[1] != miss[1]
    assert auto == pytest.approx([miss[0], half[1]], rel=1e-7)


def test_the_paper_estimator_in_many_dimensions():
    statistics, a = simulated(0.7, 20_000, 20, np.random.default_rng(7), shape=(1, 16, 16))
    for name in ("mohapatra_l2", "mohapatra_l1", "mohapatra_linf"):
        paper, half = (get_mechanism(name, estimator=e).certify(statistics, 0.001).radius for e in ("paper", "half"))
        change = {"mohapatra_l2": 1.0, "mohapatra_l1": np.abs(a).max(), "mohapatra_linf": np.abs(a).sum()}[name]
        assert np.all(paper <= norm.ppf(0.7) / change) and paper.mean() <= half.mean()


def test_class_below_one_half_abstains():
    statistics, _ = simulated(0.45, 4000, 2, np.random.default_rng(8))
    certificate = get_mechanism("mohapatra_l1").certify(statistics, 0.001)
    assert np.all(certificate.prediction == ABSTAIN) and np.all(certificate.radius == 0.0)


def test_unanimous_votes():
    d = 100
    sums = np.random.default_rng(9).normal(size=(1, 2, 2, 1, 10, 10)) * np.sqrt(500 / 4)
    sums[:, :, 1] = 0.0
    counts = np.array([[[500, 0], [500, 0]]])
    statistics = Statistics(
        1.0,
        [[1000, 0]],
        [[100, 0]],
        gradient_counts=counts,
        gradient_moments=gradient_moments(sums),
        input_shape=(1, 10, 10),
    )
    for name in ("mohapatra_l2", "mohapatra_l1", "mohapatra_linf"):
        r = get_mechanism(name).certify(statistics, 0.001).radius[0] * (np.sqrt(d) if name == "mohapatra_linf" else 1)
        assert r >= norm.ppf(0.0005**0.001) * (1 - 1e-9) and np.isfinite(r)


def test_what_is_stored_says_the_norm_and_suffices_to_certify_again():
    mechanism = get_mechanism("mohapatra_channel", channel=1)
    smoothed = SmoothedClassifier(classifier("slab", 0.5), 2, SIGMA)
    s = smoothed.sample(torch.zeros(1, *SHAPE), n0=100, n=5000, fields=mechanism.requires)
    assert "gradient_sums" not in s.held
    certificate = mechanism.certify(s, 0.001)
    assert certificate.norm == "l2_subspace" and not certificate.fallback[0]
    again = Statistics.from_plain([s.to_plain()], SIGMA, 2)
    for alpha in (0.001, 0.05):
        assert mechanism.certify(again, alpha).radius == mechanism.certify(s, alpha).radius


RECTANGLES = (
    "mohapatra_channel:top=1,height=2",
    "mohapatra_channel:channel=all,left=1,width=2",
    "mohapatra_channel:channel=2,top=3",
)


def test_what_is_stored_of_rectangles_gives_their_certificates_to_the_bit_at_any_alpha():
    mechanisms = MechanismSet(RECTANGLES)
    smoothed = SmoothedClassifier(classifier("slab", 0.5), 2, SIGMA)
    s = smoothed.sample(torch.zeros(3, *SHAPE), n0=100, n=5000, fields=mechanisms.fields)
    kept = mechanisms.kept(s)
    assert "gradient_sums" not in kept.held and kept.region_moments.shape == (3, 3, 2, 2, 3, 4)
    again = Statistics.from_plain([json.loads(json.dumps(kept.to_plain(row))) for row in range(3)], SIGMA, 2)
    assert again.regions == tuple(m.region for m in mechanisms.values())
    for alpha in (0.001, 0.05):
        for mechanism in mechanisms.values():
            whole, part = mechanism.certify(s, alpha), mechanism.certify(again, alpha)
            assert np.array_equal(whole.radius, part.radius) and np.array_equal(whole.prediction, part.prediction)
            assert whole.radius.min() > 0
    other = parse_mechanism("mohapatra_channel:height=2")
    with pytest.raises(ValueError, match=r"channel needs gradient_sums \(which keep=all keeps\), which these"):
        other.certify(again, 0.01)
    assert other.certify(s, 0.01).radius.min() > 0
    with pytest.raises(ValueError, match="to add must hold gradient_sums"):
        again + again
    with pytest.raises(ValueError, match="sums over different regions"):
        Statistics.from_plain([kept.to_plain(), MechanismSet(RECTANGLES[:1]).kept(s).to_plain()], SIGMA, 2)


@pytest.mark.parametrize("beside", ["mohapatra_channel:height=2,keep=all", "mohapatra_channel:keep=all"])
def test_all_sums_are_kept_when_asked_for(beside):
    mechanisms = MechanismSet([RECTANGLES[0], beside])
    smoothed = SmoothedClassifier(classifier("slab", 0.5), 2, SIGMA)
    s = smoothed.sample(torch.zeros(1, *SHAPE), n0=100, n=500, fields=mechanisms.fields)
    assert mechanisms.kept(s) is s and "gradient_sums" in s.held
    plain = parse_mechanism(beside.removesuffix("keep=all").rstrip(",:"))
    assert mechanisms[beside].certify(s, 0.05).radius == pytest.approx(plain.certify(s, 0.05).radius, rel=1e-9)
    with pytest.raises(ValueError, match="keep"):
        parse_mechanism("mohapatra_channel:keep=some")


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        (
            "mohapatra_channel:channel=3",
            (3, 4, 4),
            r"mohapatra_channel:channel=3 must name a channel and pixels of the",
        ),
        ("mohapatra_channel:height=5", (3, 4, 4), r"these are \(3, 4, 4\)"),
        ("mohapatra_channel:left=4", (3, 4, 4), r"these are \(3, 4, 4\)"),
        ("mohapatra_channel", (48,), r"\(channels, height, width\); these are \(48,\)"),
        (
            "mohapatra_l2:estimator=paper",
            (1, 8, 8),
            "the paper estimator needs at least 133 coordinates .*, got 64: in",
        ),
        ("mohapatra_channel:estimator=paper,height=2", (1, 32, 32), "needs at least 144 coordinates .*, got 64"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_sampling(text, shape, message):
    def untouched(x):
        raise AssertionError("nothing may be sampled")

    with pytest.raises(ValueError, match=message):
        check_inputs(resolve_mechanisms([text]), shape, 0.001)
    with pytest.raises(ValueError, match=message):
        SmoothedClassifier(untouched, 2, 0.5).certify(torch.zeros(1, *shape), mechanisms=[text])


def test_bad_options():
    with pytest.raises(ValueError, match="unknown estimator 'best'; known: auto, half, miss, paper"):
        get_mechanism("mohapatra_l2", estimator="best")
    with pytest.raises(ValueError, match="channel must be an integer of at least 0, got -1"):
        get_mechanism("mohapatra_channel", channel=-1)
    with pytest.raises(ValueError, match="height must be an integer of at least 1, got 0"):
        get_mechanism("mohapatra_channel", height=0)
    with pytest.raises(ValueError, match="mohapatra_l1 needs gradient_counts, gradient_moments, input_shape"):
        get_mechanism("mohapatra_l1").certify(Statistics.from_counts([[90, 10]], 1.0, [[9, 1]]), 0.001)
