"""The sampling engine: what it counts, and that nothing but the seed, the example and its draws matters."""

import re
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from conftest import ROOT, run_python
from torch import nn
from waiting import Asked, sample_as_on_a_gpu

from lightning_rs import SmoothedClassifier
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import make_noise
from lightning_rs.smoothing.classifier import FIELDS
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler, SamplingRun

CPU = torch.device("cpu")
SCORES = frozenset(FIELDS - {"counts", "selection_counts", "uniform", "look_counts"})


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = build_base_classifier("cifar_resnet20", 10, [3, 32, 32], [0.5] * 3, [0.25] * 3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    net[1].avgpool = nn.AvgPool2d(4)  # For images of 16x16, which take a quarter of the time.
    net.eval()
    with torch.no_grad():  # Several classes get votes.
        net[1].fc.bias -= net(torch.rand(100, 3, 16, 16) + 0.5 * torch.randn(100, 3, 16, 16)).mean(dim=0)
    return net


@pytest.fixture(scope="module")
def images():
    return torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def everything(sample):
    arrays = {"counts": sample.counts, "selection": sample.selection_counts, **sample.fields}
    return {name: np.asarray(value).tolist() for name, value in arrays.items()} | {"clean": sample.clean_prediction}


def run(net, images, order, plan, batch_size=50):
    sampler = Sampler(net, 10, 0.5, batch_size, 3, CPU)
    samples = sampler.run(((i, images[i]) for i in order), plan)
    return {sample.index: everything(sample) for sample in samples}


def test_constant_batches_give_the_same_bits_in_any_order_and_company(net, images):
    """Also the sums of scores: forwards, backwards, one alone, and as two processes would share them."""
    plan = Plan((130,), n0=20, clean=True, fields=SCORES)
    whole = run(net, images, range(7), plan)
    assert len(whole) == 7
    assert np.count_nonzero([sample["counts"] for sample in whole.values()]) > 20
    assert run(net, images, range(6, -1, -1), plan) == whole
    assert run(net, images, [4], plan)[4] == whole[4]
    assert run(net, images, range(0, 7, 2), plan) | run(net, images, range(1, 7, 2), plan) == whole


def test_other_batch_sizes_give_the_same_votes(net, images):
    plan = Plan((130,), n0=20, clean=True)
    whole = run(net, images, range(7), plan)
    for batch_size in (1, 33, 200):
        assert run(net, images, range(7), plan, batch_size) == whole


def test_sequential_draws_do_not_depend_on_how_they_were_cut(net, images):
    looks = (25, 50, 75, 100, 150, 200)

    def finished(sample):
        return sample.counts.max() % 3 == 0

    plan = Plan(looks, n0=20, clean=True, finished=finished)
    whole = run(net, images, range(7), plan)
    assert len({sum(sample["counts"]) for sample in whole.values()}) > 1
    for order, batch_size in ((range(6, -1, -1), 50), (range(7), 200), ([3], 50)):
        for index, sample in run(net, images, order, plan, batch_size).items():
            assert sample == whole[index]
    # Up to where they stopped they are those of a fixed number of draws.
    for index, sample in whole.items():
        fixed = run(net, images, [index], Plan((sum(sample["counts"]),), n0=20, clean=True))
        assert fixed[index] == sample


def test_samples_of_a_fixed_number_of_draws_come_in_order(net, images):
    order = [5, 2, 6, 0]
    assert list(run(net, images, order, Plan((60,), n0=10))) == order


def test_clean_prediction_is_that_of_the_input_itself(net, images):
    with torch.no_grad():
        expected = net(images).argmax(dim=1).tolist()
    samples = run(net, images, range(7), Plan((5,), n0=5, clean=True))
    assert [samples[i]["clean"] for i in range(7)] == expected


def test_memory_does_not_depend_on_the_number_of_draws():
    """The host's peak at 20,000 and at 400,000 draws."""
    net, peaks = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval(), []
    for n in (20_000, 20_000, 400_000):
        sampler = Sampler(net, 3, 0.5, 500, 0, CPU)
        tracemalloc.start()
        list(sampler.run([(0, torch.rand(1, 4, 4))], Plan((n,), n0=100, fields=SCORES - {"scores"})))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 100_000  # The noise alone would be 24 MB.


LIMITED = """
import resource, sys, warnings, torch
from torch import nn
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler
torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 160_000), nn.ReLU(inplace=True), nn.Linear(160_000, 3)).eval()
if sys.argv[1] != "free":
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    x = torch.rand(1, 8, 8)
    sample = next(Sampler(net, 3, 1.0, 1000, 0, torch.device("cpu")).run([(0, x)], Plan((1200,), n0=10)))
print(sample.counts.tolist(), [str(w.message) for w in caught])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on a process's memory is Linux's")
def test_out_of_memory_halves_the_calls_until_memory_is_enough():
    """In a process with really too little memory for a quarter of one layer's output, which is 640 kB a row."""
    free, limited = (run_python("-c", LIMITED, how, cwd=ROOT).stdout.strip() for how in ("free", "150000000"))
    assert free.endswith(" []")
    assert limited.startswith(free[:-2] + "['not enough memory for 1000 rows a call; going on with ")
    assert int(re.findall(r"going on with (\d+)", limited)[-1]) < 250


def test_one_row_that_memory_does_not_hold_ends_in_one_line():
    def hungry(rows):
        return torch.empty(2**50, len(rows))  # More than any address.

    with pytest.raises(ValueError, match=r"^not enough memory to classify one noisy copy of shape \(2,\): Runtime"):
        SmoothedClassifier(hungry, 2, 0.5).sample(torch.zeros(1, 2), n0=10, n=100)
    asked = []
    with pytest.raises(ValueError, match="one noisy copy of shape .*: MemoryError$"):
        SmoothedClassifier(lambda x: asked.append(len(x)) or bytearray(2**62), 2, 0.5, batch_size=20).sample(
            torch.zeros(1, 2), n0=10, n=100
        )
    assert asked == [20, 10, 5, 3, 2, 1]


def test_classifiers_that_do_not_answer_to_each_row_alone_are_refused(images):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(768, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10)]
    net = nn.Sequential(*layers)
    with torch.no_grad():
        SmoothedClassifier(net, 10, 0.5, batch_size=50).sample(images, n0=10, n=100)  # A module is put into eval mode.
        message = "must answer to each row alone and always the same; asked again, beside other rows"
        with pytest.raises(ValueError, match=message):
            SmoothedClassifier(lambda x: net.train()(x), 10, 0.5, batch_size=50).sample(images, n0=10, n=100)
        with pytest.raises(ValueError, match=message):
            dropout = nn.functional.dropout
            SmoothedClassifier(lambda x: dropout(net.eval()(x), 0.1), 10, 0.5, batch_size=50).sample(images, n=100)


def test_dropout_is_seen_beside_a_masked_class(images):
    def masked(x):
        scores = nn.functional.dropout(x.flatten(1)[:, :10], 0.5)
        scores[:, 3] = -1e9
        scores[:, 4] = -torch.inf
        return scores

    with pytest.raises(ValueError, match="must answer to each row alone"):
        SmoothedClassifier(masked, 10, 0.5, batch_size=50).sample(images, n0=10, n=100)


def test_classifiers_may_use_their_output_again(net, images):
    """As CUDA graphs do: the next answer is written over the last one."""
    held = torch.zeros(50, 10)

    def reusing(rows):
        held[: len(rows)] = net(rows)
        return held[: len(rows)]

    plan = Plan((130,), n0=20, clean=True)
    assert run(reusing, images, range(7), plan) == run(net, images, range(7), plan)


def test_a_clean_input_without_an_answer_has_none():
    def classifier(x):
        return torch.stack([torch.where(x[:, 0] == 0.25, torch.nan, 1.0), x[:, 0]], dim=1)

    sampler = Sampler(classifier, 2, 0.5, 50, 0, CPU)
    samples = list(sampler.run(enumerate(torch.tensor([[0.25], [0.5]])), Plan((60,), n0=10, clean=True)))
    assert [sample.clean_prediction for sample in samples] == [-1, 0]


def test_what_is_not_a_tensor_is_refused(images):
    with pytest.raises(ValueError, match="must return one tensor of scores, got tuple"):
        SmoothedClassifier(lambda x: (x, x), 10, 0.5).sample(images, n0=10, n=100)


def test_inputs_of_different_shapes_are_refused(net, images):
    sampler = Sampler(net, 10, 0.5, 50, 0, CPU)
    with pytest.raises(ValueError, match=r"must have the same shape and type, .* example 1 has \(3, 8, 8\)"):
        list(sampler.run([(0, images[0]), (1, images[1, :, :8, :8])], Plan((20,), n0=5)))


def test_modes_come_back_when_sampling_is_abandoned(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 10), nn.Dropout()).train()
    samples = Sampler(net, 10, 0.5, 50, 0, CPU).run(((i, images[i]) for i in range(7)), Plan((60,), n0=10))
    next(samples)
    samples.close()
    assert net.training
    assert not torch.is_inference_mode_enabled()


def asked(monkeypatch, n, net=None):
    """Of a whole run whose noise is made as on a GPU, in the same thread; the first batch was checked before."""
    sample_as_on_a_gpu(monkeypatch)
    torch.manual_seed(0)
    net = net or nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    sampler = Sampler(net, 10, make_noise("grid_gaussian:levels=16", 0.25), 50, 3, CPU)
    sampler._checked = True
    images = torch.randint(17, (3, 3, 2, 2), generator=torch.Generator().manual_seed(1)).float().div(16)
    plan = Plan((n,), n0=20, clean=True, fields=SCORES)
    with Asked() as mode:
        samples = list(SamplingRun(sampler, enumerate(images), images[0], plan, None).samples())
    assert [sample.counts.sum() for sample in samples] == [n] * 3
    return +mode.times


def test_batches_ask_the_device_for_nothing(monkeypatch):
    """Images are looked at as they come; beyond that, ten times as many batches wait for the device no more often."""
    few, many = asked(monkeypatch, 200), asked(monkeypatch, 2000)
    assert many == few

    class Waiting(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + 0.0 * float(x.sum())

    curious = asked(monkeypatch, 2000, Waiting(nn.Flatten(), nn.Linear(12, 10)))
    assert curious["item"] >= few["item"] + 120


def test_a_device_has_the_next_batch_while_an_example_is_certified(monkeypatch):
    """On a GPU, whose queue holds one batch more than are answered; whoever takes a sample takes its time then."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    images = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    plan = Plan((80,), n0=20, clean=False, fields=frozenset())

    def calls_and_votes(patience):
        sampler, calls, votes = Sampler(net, 10, 0.25, 100, 3, CPU), [0], []
        classify = sampler.classify
        monkeypatch.setattr(sampler, "classify", lambda rows: (calls.append(calls[-1] + 1), classify(rows))[1])
        run = SamplingRun(sampler, enumerate(images), images[0], plan, None)
        run.patience = patience
        for sample in run.samples():
            votes.append((calls[-1], sample.index, sample.counts.tolist()))
        return [done for done, *_ in votes], [rest for _, *rest in votes]

    on_cpu, votes = calls_and_votes(0)
    on_gpu, same = calls_and_votes(1)
    assert same == votes
    first = on_cpu[0]
    assert on_cpu == [first, first + 1, first + 2, first + 3]
    assert on_gpu == [first + 1, first + 2, first + 3, first + 3]
