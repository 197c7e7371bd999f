import numpy as np
import pytest
import torch
from draws import Draws
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_values import ODD, odd
from scipy.stats import norm
from torch import nn

from lightning_rs import SmoothedClassifier
from lightning_rs.checks import as_number
from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.noise import GridGaussian, Stage
from lightning_rs.random_state import random_state, set_random_state


class HalfSpace(nn.Module):
    """Class 1 where w.x > b. Its smoothed version has the same boundary, so the true radius is the distance to it."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = nn.Parameter(w), b

    def forward(self, x):
        margin = x.flatten(1) @ self.w - self.b
        return torch.stack([-margin, margin], dim=1)


class Slabs(nn.Module):
    """Three classes cut by two parallel hyperplanes: 0 below `low`, 1 between, 2 above `high`, along a unit vector."""

    def __init__(self, direction, low, high):
        super().__init__()
        self.direction, self.low, self.high = direction, low, high

    def forward(self, x):
        t = x.flatten(1) @ self.direction
        return torch.stack([self.low - t, torch.minimum(t - self.low, self.high - t), t - self.high], dim=1)


def test_linear_classifier_is_certified_to_its_distance():
    """Every radius lies below the true distance, and at n = 1e5 above .93 of it for true p_A in [.7, .999]."""
    torch.manual_seed(1)
    sigma, dimension, alpha = 0.5, 64, 0.001
    w = torch.randn(dimension)
    w = 3.0 * w / w.norm()
    distances = torch.linspace(-1.9, 1.9, 39)
    base = torch.rand(len(distances), dimension)
    base -= (base @ w / 9.0)[:, None] * w  # Onto the hyperplane w.x = 0, then off it by the distance.
    x = (base + distances[:, None] * w / 3.0).view(-1, 1, 8, 8)
    truth = ((x.double().flatten(1) @ w.double()) / w.double().norm()).numpy()
    g = SmoothedClassifier(HalfSpace(w, 0.0), num_classes=2, sigma=sigma, batch_size=5000)
    for name, certificate in g.certify(x, n0=100, n=100_000, alpha=alpha).items():
        certified = certificate.prediction != ABSTAIN
        assert np.array_equal(certificate.prediction[certified], (truth > 0)[certified])
        assert np.all(certificate.radius <= np.abs(truth)), name
        p_a = norm.cdf(np.abs(truth) / sigma)
        clear = (p_a >= 0.7) & (p_a <= 0.999)
        assert clear.sum() >= 20
        assert np.all(certificate.radius[clear] >= 0.93 * np.abs(truth[clear])), name


def test_slabs_are_certified_below_the_radius_of_their_true_probabilities():
    torch.manual_seed(2)
    sigma, dimension = 0.4, 30
    direction = torch.randn(dimension)
    direction /= direction.norm()
    positions = torch.linspace(-0.6, 1.6, 23)
    x = positions[:, None] * direction
    g = SmoothedClassifier(Slabs(direction, 0.0, 1.0), num_classes=3, sigma=sigma, batch_size=2000)
    t = positions.double().numpy()
    p = np.stack([norm.cdf(-t / sigma), norm.cdf((1 - t) / sigma) - norm.cdf(-t / sigma), norm.sf((1 - t) / sigma)], 1)
    statistics = g.sample(x, n0=100, n=20_000)
    share = statistics.counts / 20_000
    assert np.abs(share - p).max() < 5 * 0.5 / np.sqrt(20_000)
    for certificate in g.certify(x, n0=100, n=20_000, alpha=0.001).values():
        for i in np.flatnonzero(certificate.prediction != ABSTAIN):
            a = certificate.prediction[i]
            rival = np.delete(p[i], a).max()
            assert certificate.radius[i] <= sigma / 2 * (norm.ppf(p[i, a]) - norm.ppf(rival))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5))


def test_votes_are_those_of_the_noise_contract(net):
    """Counted again draw by draw, straight from the definition."""
    x, sigma, index = torch.rand(1, 3, 2, 2), 0.7, 17
    statistics = SmoothedClassifier(net, 5, sigma, batch_size=64, seed=9).sample(x, [index], n0=30, n=230)
    net.eval()
    for stage, draws, counts in (
        (Stage.SELECTION, 30, statistics.selection_counts),
        (Stage.ESTIMATION, 230, statistics.counts),
    ):
        noise = Draws(9, index, stage, (3, 2, 2)).fill(torch.empty(draws, 3, 2, 2), 0)
        expected = np.zeros(5, dtype=np.int64)
        with torch.no_grad():
            for row in noise:
                expected[int(net((x[0] + sigma * row)[None]).argmax())] += 1
        assert np.array_equal(counts[0], expected)


@pytest.mark.parametrize("levels", [None, 255])
def test_statistics_do_not_depend_on_order_batch_size_or_company(net, levels):
    x = torch.randint(0, 256, (6, 3, 2, 2)).float() / 255
    how = {"n0": 20, "n": 1500, "fields": ["gradient_counts", "gradient_sums", "uniform"]}
    together = SmoothedClassifier(net, 5, 0.5, levels=levels, batch_size=1000).sample(x, range(6), **how)
    for batch_size in (64, 1000):
        g = SmoothedClassifier(net, 5, 0.5, levels=levels, batch_size=batch_size)
        for i in reversed(range(6)):
            alone = g.sample(x[i : i + 1], [i], **how)
            for name in ("counts", "selection_counts", "gradient_counts", "uniform"):
                assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[i])
            assert np.allclose(alone.gradient_sums[0], together.gradient_sums[i], rtol=0, atol=1e-10)


def test_inputs_without_an_index_are_numbered_through(net):
    """What is certified in parts gets the noise that it gets in one; no two inputs share theirs."""
    x = torch.rand(1, 3, 2, 2).repeat(6, 1, 1, 1)
    whole = SmoothedClassifier(net, 5, 0.5).sample(x, range(6), n0=5, n=200)
    g = SmoothedClassifier(net, 5, 0.5)
    parts = [g.sample(x[:2], n0=5, n=200), g.sample(x[2:], n0=5, n=200)]
    assert np.array_equal(np.concatenate([part.counts for part in parts]), whole.counts)
    assert len(np.unique(whole.counts, axis=0)) > 1


def test_predictions_take_a_secret_seed_and_draws_of_their_own():
    seen = []

    def coin(rows):
        seen.append(rows.clone())
        return torch.stack([rows[:, 0], -rows[:, 0]], dim=1)

    g, x = SmoothedClassifier(coin, 2, 1.0, seed=0, batch_size=60), torch.zeros(100, 1)
    state, answers = random_state(), []
    for _ in range(2):
        set_random_state(state)  # Whoever knows the seeds of a program does not know it.
        answers.append(g.predict(x, n=60, alpha=0.4))
    assert not np.array_equal(*answers)
    again = [g.predict(x, n=60, alpha=0.4, index=range(100), seed=5) for _ in range(2)]
    assert np.array_equal(*again)

    def rows_of(call):
        seen.clear()
        call()
        return set(torch.cat(seen).flatten().tolist()) - {0.0}

    drawn = rows_of(lambda: g.sample(x[:1], [0], n0=100, n=100))
    for sequential in (False, True):
        predicted = rows_of(lambda s=sequential: g.predict(x[:1], n=100, index=[0], seed=0, sequential=s))
        assert len(predicted) >= 25 and not predicted & drawn


def test_levels_are_a_short_form_of_noise_on_the_grid(net):
    x = torch.randint(0, 256, (2, 3, 2, 2)).float() / 255
    short = SmoothedClassifier(net, 5, 0.5, levels=255).sample(x, n0=5, n=200)
    long = SmoothedClassifier(net, 5, GridGaussian(0.5, 255)).sample(x, n0=5, n=200)
    assert short.noise == "grid_gaussian" and np.array_equal(short.counts, long.counts)
    assert short.sampling_error == GridGaussian(0.5, 255).sampling_error(205, (3, 2, 2)) > 0
    with pytest.raises(ValueError, match="levels are for a number as sigma; GridGaussian"):
        SmoothedClassifier(net, 5, GridGaussian(0.5, 255), levels=255)


def test_what_is_not_proved_on_a_grid_is_refused_before_sampling():
    def never(rows):
        raise AssertionError("sampled")

    g = SmoothedClassifier(never, 2, 0.5, levels=4)
    for label, message in (
        ("lipschitz:base_lipschitz=1.0", "needs the Lipschitz constant of what is smoothed; after rounding to a grid"),
        ("mohapatra_l2:estimator=paper", "is proved for gaussian noise alone, got grid_gaussian: take half, miss or"),
    ):
        with pytest.raises(ValueError, match=message):
            g.certify(torch.zeros(1, 300), n=1000, mechanisms=[label])


def test_classifier_and_random_state_are_left_as_they_were(net):
    net.train()
    net[4].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    g = SmoothedClassifier(net, 5, 0.5)
    g.certify(torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1)), n0=10, n=100, alpha=0.01)
    assert torch.equal(torch.rand(2), expected)
    assert [m.training for m in net] == [True, True, True, True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_modes_come_back_after_an_error(net):
    net.train()
    with pytest.raises(ValueError, match=r"must return 4 scores a row, \(200, 4\) in all; got \(200, 5\)"):
        SmoothedClassifier(net, 4, 0.5).sample(torch.rand(1, 3, 2, 2), n0=100, n=100)
    assert net.training
    assert net[4].training
    assert not torch.is_inference_mode_enabled()


def test_callables_and_float64_inputs():
    g = SmoothedClassifier(lambda x: torch.stack([x[:, 0], -x[:, 0]], 1), 2, 1.0)
    statistics = g.sample(torch.tensor([[3.0], [-3.0]], dtype=torch.float64), n0=10, n=1000)
    assert statistics.counts[0, 0] > 980
    assert statistics.counts[1, 1] > 980


def test_ties_vote_for_the_lowest_class():
    statistics = SmoothedClassifier(lambda x: torch.zeros(len(x), 3), 3, 1.0).sample(torch.zeros(1, 2), n0=5, n=50)
    assert np.array_equal(statistics.counts, [[50, 0, 0]])


def test_nan_counts_for_the_strongest_rival():
    def classifier(x):
        scores = torch.stack([torch.full_like(x[:, 0], 1.0), torch.zeros(len(x)), torch.zeros(len(x))], 1)
        scores[:, 2] = torch.where(x[:, 0] > 1.5, 2.0, 0.0)
        scores[x[:, 0] < -1.0] = torch.nan
        return scores

    statistics = SmoothedClassifier(classifier, 3, 1.0).sample(torch.zeros(1, 1), n0=50, n=10_000)
    assert statistics.trials[0] == 10_000
    assert statistics.counts[0, 1] == 0
    expected = 10_000 * (norm.sf(1.5) + norm.cdf(-1.0))
    assert abs(statistics.counts[0, 2] - expected) < 5 * np.sqrt(10_000 * 0.25)
    with pytest.raises(ValueError, match="returned NaN for all 55 rows of its first batch"):
        SmoothedClassifier(lambda x: x.new_full((len(x), 3), torch.nan), 3, 1.0).sample(torch.zeros(1, 1), n0=5, n=50)

    def nan_beyond_one(x):
        return torch.where(x > 1.0, torch.nan, 0.0).expand(len(x), 3)

    with pytest.raises(ValueError, match="returned NaN for all 5 noisy copies of example 1"):
        SmoothedClassifier(nan_beyond_one, 3, 1.0).sample(torch.tensor([[0.0], [9.0]]), n0=5, n=50)


def test_nan_never_makes_a_class():
    """22 % vote for class 0, 16 % for class 1 and the others are NaN: nothing may be predicted or certified."""

    def classifier(x):
        scores = torch.full((len(x), 3), torch.nan)
        scores[x[:, 0] > norm.isf(0.22)] = torch.tensor([1.0, 0.0, 0.0])
        scores[x[:, 0] < norm.ppf(0.16)] = torch.tensor([0.0, 1.0, 0.0])
        return scores

    g = SmoothedClassifier(classifier, 3, 1.0)
    x = torch.zeros(1, 1)
    for test in ("top_two", "top_class"):
        assert g.predict(x, n=5000, test=test, seed=0)[0] == ABSTAIN
    for certificate in g.certify(x, n0=100, n=5000).values():
        assert certificate.prediction[0] == ABSTAIN
    with pytest.raises(ValueError, match="have NaN scores, which only count against a class that other draws selected"):
        g.certify(x, n0=0, n=5000)


def test_nothing_to_certify():
    g = SmoothedClassifier(HalfSpace(torch.ones(2), 0.0), 2, 1.0)
    assert g.certify(torch.empty(0, 2), n0=10, n=100, alpha=0.01)["cohen"].radius.shape == (0,)
    assert g.predict(torch.empty(0, 2), n=10).shape == (0,)


def test_bad_input():
    f = HalfSpace(torch.ones(2), 0.0)
    x = torch.zeros(2, 2)
    for arguments, message in (
        ({"num_classes": 1, "sigma": 1.0}, "num_classes must be an integer of at least 2, got 1"),
        ({"num_classes": 2, "sigma": 0.0}, "sigma must be positive and finite, got 0.0"),
        ({"num_classes": 2, "sigma": 1.0, "batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"num_classes": 2, "sigma": 1.0, "seed": -1}, "seed must be an integer of at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            SmoothedClassifier(f, **arguments)
    g = SmoothedClassifier(f, 2, 1.0)
    for call, message in (
        (lambda: g.sample(x, [0], n0=1, n=1), "one integer for each of the 2 examples"),
        (lambda: g.sample(x, [0.5, 1.5], n0=1, n=1), "one integer for each of the 2 examples"),
        (lambda: g.sample(x, n0=1, n=0), "n must be an integer of at least 1, got 0"),
        (lambda: g.sample(x.half(), n0=1, n=1), r"got inputs of torch\.float16"),
        (
            lambda: g.certify(x, n=9),
            r"cohen_two_sided cannot certify anything with n = 9 at alpha = 0.001: n must be >= 11",
        ),
        (lambda: g.certify(x, alpha=2), r"alpha must lie in \(0, 1\), got 2"),
        (lambda: g.certify(x, mechanisms=["coen"]), "unknown mechanism 'coen'"),
        (lambda: g.predict(x, n=10, test="t"), "unknown test 't'; known: top_class, top_two"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


FEW = {"sample": {"n0": 5, "n": 30}, "certify": {"n0": 5, "n": 30, "alpha": 0.1}, "predict": {"n": 30, "alpha": 0.1}}
PARAMETERS = [
    *(("new", name) for name in ("base_classifier", "num_classes", "sigma", "levels", "batch_size", "seed")),
    *((call, name) for call, few in FEW.items() for name in ("x", "index", *few)),
    *(("sample", "fields"), ("sample", "purpose"), ("certify", "mechanisms"), ("certify", "radii")),
    *(("certify", "purpose"), ("predict", "test"), ("predict", "sequential"), ("predict", "seed")),
]


def throw(call, parameter, value):
    """Give a parameter a value: whether that ends in one line. Any other error is raised."""
    new = {"base_classifier": lambda rows: rows[:, :2], "num_classes": 2, "sigma": 0.5, "batch_size": 40}
    new |= {parameter: value} if call == "new" else {}
    call = "sample" if call == "new" else call
    arguments = {"x": torch.zeros(2, 2), **FEW[call]} | ({parameter: value} if parameter not in new else {})
    try:
        getattr(SmoothedClassifier(**new), call)(**arguments)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 500, error
        return True
    return False


@pytest.mark.parametrize(("call", "parameter"), PARAMETERS)
def test_odd_values_end_in_one_line(call, parameter):
    assert sum(throw(call, parameter, value) for value in ODD) > len(ODD) / 3


@settings(max_examples=60)
@given(of=st.sampled_from(PARAMETERS), value=odd)
def test_any_value_serves_or_ends_in_one_line(of, value):
    assume(of[1] not in ("n", "n0") or not 1000 < as_number(value) < 2**31)  # As many draws would take long.
    throw(*of, value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.0, 0.0]], r"x must be a tensor \(B, \*shape\), got list"),
        (np.zeros((1, 2), np.float32), "got ndarray"),
        (torch.tensor(0.5), "got a single number"),
        (torch.zeros(1, 2).to_sparse(), "must be a dense tensor of numbers"),
        (torch.zeros(1, 2, device="meta"), "must be a dense tensor of numbers"),
        (torch.zeros(1, 2, dtype=torch.complex64), "got inputs of torch.complex64"),
        (torch.zeros(1, 2, dtype=torch.int64), "got inputs of torch.int64"),
        (torch.tensor([[0.0, torch.nan]]), r"example 0: gaussian noise needs finite inputs; pixel \(1,\) is nan"),
        (torch.tensor([[-torch.inf, 0.0]]), r"pixel \(0,\) is -inf"),
        (torch.full((1, 2), 1e38), r"noise of sigma = 0.5 is rounded away beside inputs of 1e\+38 in torch.float32"),
        (torch.zeros(1, 3), r"failed on \d+ rows of shape \(3,\), torch.float32 on cpu: RuntimeError: "),
        (torch.zeros(1, 2, dtype=torch.float64), "torch.float64 on cpu, with weights in torch.float32 on cpu: Runtime"),
    ],
)
def test_odd_inputs_end_in_one_line(x, message):
    smoothed = SmoothedClassifier(nn.Linear(2, 2), 2, 0.5)
    for call, arguments in FEW.items():
        with pytest.raises(ValueError, match=message):
            getattr(smoothed, call)(x, **arguments)


def test_inputs_that_ask_for_gradients_get_none(net):
    x = torch.zeros(2, 12, requires_grad=True)
    smoothed = SmoothedClassifier(net, 5, 0.5)
    without = smoothed.sample(x.detach(), [0, 1], n0=5, n=50).counts
    assert (smoothed.sample(x, [0, 1], n0=5, n=50).counts == without).all() and x.grad is None


def test_sigma_beyond_every_table_is_refused():
    with pytest.raises(ValueError, match=r"sigma = 1e\+09 on the grid of 1/255 must be at most 1.8e\+03"):
        SmoothedClassifier(lambda x: x, 2, 1e9, levels=255)
