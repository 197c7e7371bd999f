"""Ways to run a base classifier faster: they change its rounding, and nothing else."""

import copy

import pytest
import torch
from torch import nn

from lightning_rs.models import build_base_classifier
from lightning_rs.smoothing import Preparation, find_batch_size, prepare

OPTIONS = {
    "channels_last": {"channels_last": True},
    "fold": {"fold_batch_norm": True},
    "compile": {"compile": True},
    "all": {"channels_last": True, "fold_batch_norm": True, "compile": True},
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = build_base_classifier("cifar_resnet20", 10, [3, 32, 32], [0.5] * 3, [0.25] * 3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net.eval()


@pytest.fixture(scope="module")
def rows():
    return torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_scores_stay_the_same_up_to_rounding(net, rows, options):
    state = copy.deepcopy(net.state_dict())
    with torch.inference_mode():
        expected = net(rows)
        prepared = prepare(net, Preparation(**options), rows)
        scores = prepared(rows)
    assert (scores - expected).abs().max() < 1e-4 * expected.abs().max()
    # The original is left as it was, and still trains.
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(p.is_contiguous() for p in net.parameters())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) > 10
    if options.get("fold_batch_norm"):
        assert not any(isinstance(m, nn.BatchNorm2d) for m in prepared.modules())


def test_half_precision_is_that_of_the_scores_alone(net, rows):
    with torch.inference_mode():
        expected = net(rows)
        scores = prepare(net, Preparation(precision="bfloat16"), rows)(rows)
    difference = ((scores.float() - expected).abs().max() / expected.abs().max()).item()
    assert 1e-4 < difference < 0.05
    assert next(net.parameters()).dtype == torch.float32


def test_weights_in_half_precision_get_rows_in_theirs(rows):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)).to(torch.bfloat16)
    assert prepare(net, Preparation(), rows)(rows).dtype == torch.bfloat16


def test_a_stage_without_batch_norms_need_not_be_traceable_to_fold_those_of_the_others(net, rows):
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    behind = nn.Sequential(Branching(), net).eval()
    folded = prepare(behind, Preparation(fold_batch_norm=True), rows)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(rows), behind(rows))


def test_a_sequence_with_a_way_of_its_own_keeps_it_when_batch_norms_are_folded():
    class Doubled(nn.Sequential):
        def forward(self, x):
            return super().forward(2 * x.flatten(1))

    norm = nn.BatchNorm1d(5)
    norm.running_mean.fill_(0.5)
    classifier = Doubled(nn.Sequential(nn.Linear(12, 5), norm), nn.ReLU(), nn.Linear(5, 3)).eval()
    rows = torch.rand(4, 3, 2, 2)
    folded = prepare(classifier, Preparation(fold_batch_norm=True), rows)
    torch.testing.assert_close(folded(rows), classifier(rows))


@pytest.mark.parametrize(
    ("call", "row", "most", "size"),
    [
        (1e-3, 1e-6, None, 25_600),  # Doubling it gains 1.9 %, and again 2.9 % in all.
        (1e-3, 1e-6, 3_000, 1_600),  # Memory ends.
        (1e-5, 1e-3, None, 50),  # Bound by the rows.
        (1.0, 1.0, None, 50),  # A call takes more than five seconds.
    ],
)
def test_fastest_batch_size_is_found(call, row, most, size, monkeypatch):
    """By a clock on which a call takes so many seconds, and each of its rows so many more."""
    now, net = 0.0, nn.Linear(1, 10)

    def classify(rows):
        nonlocal now
        if most is not None and len(rows) > most:
            raise MemoryError
        now += call + row * len(rows)
        return net(rows)

    monkeypatch.setattr("lightning_rs.smoothing.execution.time.perf_counter", lambda: now)
    assert find_batch_size(classify, torch.rand(1)) == size


def test_bad_input(net, rows):
    with pytest.raises(ValueError, match="unknown precision 'int8'; known: bfloat16, float16, float32, tf32"):
        Preparation(precision="int8")
    with pytest.raises(ValueError, match="precision tf32 needs a CUDA device, got cpu"):
        prepare(net, Preparation(precision="tf32"), rows)

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Sequential(nn.Linear(3072, 2), nn.BatchNorm1d(2))

        def forward(self, x):
            x = x.flatten(1)
            return self.linear(x if x.sum() > 0 else -x)

    with pytest.raises(ValueError, match=r"fold_batch_norm needs a model that torch\.fx can trace: "):
        prepare(Branching(), Preparation(fold_batch_norm=True), rows)


@pytest.mark.parametrize("options", [{"fold_batch_norm": True}, {"compile": True}])
def test_a_classifier_that_fails_is_told_in_one_line(options, rows):
    with pytest.raises(ValueError, match=r"^the base classifier failed on 20 rows of shape .*mat1 and mat2"):
        prepare(nn.Sequential(nn.Flatten(), nn.Linear(7, 10)), Preparation(**options), rows)


def test_a_classifier_without_a_copy_is_told_in_one_line(rows):
    classifier = nn.Linear(32, 10)
    classifier.kept = classifier(torch.zeros(32))  # As some ways to normalise weights keep them.
    with pytest.raises(ValueError, match="^what is prepared is a copy, and the base classifier has none: RuntimeError"):
        prepare(classifier, Preparation(channels_last=True), rows)


def test_what_is_prepared_while_nothing_is_differentiated_runs_elsewhere_too(net, rows):
    """A trainer tests in inference mode, and certifies what was prepared there outside of it."""
    with torch.inference_mode():
        prepared = prepare(net, Preparation(channels_last=True, fold_batch_norm=True), rows)
    assert not any(weight.is_inference() for weight in prepared.parameters())
    assert prepared(rows).shape == (20, 10)
