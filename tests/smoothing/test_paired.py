"""Two classifiers on the same draws: what is counted of them, against their answers asked by themselves."""

import numpy as np
import pytest
import torch
from torch import nn
from waiting import Asked, sample_as_on_a_gpu

from lightning_rs.noise import Gaussian, Purpose, Stage, make_noise
from lightning_rs.smoothing import Preparation, paired
from lightning_rs.smoothing.paired import Before, PairedClassifier, PairedSampler
from lightning_rs.smoothing.plan import Plan

CPU = torch.device("cpu")
SHAPE, K, N, SEED, NOISE = (4,), 3, 130, 7, Gaussian(0.5)
PLAN = Plan((N,), purpose=Purpose.INCREMENTAL)


def net(seed, change=0.0):
    torch.manual_seed(seed)
    linear = nn.Linear(4, K)
    torch.manual_seed(99)
    linear.weight.data += change * torch.randn(K, 4)
    return linear.eval()


BEFORE, CHANGED = net(0), net(0, 0.3)


def known(selected, alone):
    return Before(np.eye(K, dtype=np.int64)[selected] * 20, 900, 1000, alone)


def rows(index, x):
    out = torch.empty(N, *SHAPE)
    NOISE.source(SEED, SHAPE, purpose=Purpose.INCREMENTAL).perturb(out, x, index, Stage.ESTIMATION, 0)
    return out


def test_votes_and_lost_votes_are_those_of_both_classifiers(monkeypatch):
    """Of the draws of this purpose, in every order of paired and other images, however many are sorted at a time."""
    images = torch.randn(5, *SHAPE)
    about = {10 + i: known(i % K, alone=i in (1, 4)) for i in range(5)}
    runs = []
    for together in (50, 2):
        monkeypatch.setattr(paired, "_TOGETHER", together)
        sampler = PairedSampler(CHANGED, BEFORE, about, K, NOISE, 64, SEED, CPU)
        samples = sorted(sampler.run(zip(about, images, strict=True), PLAN), key=lambda sample: sample.position)
        runs.append([(s.counts.tolist(), s.fields["paired_counts"].tolist()) for s in samples])
    assert runs[0] == runs[1] and len(runs[0]) == 5
    some_lost = 0
    for sample, x in zip(samples, images, strict=True):
        with torch.no_grad():
            before, changed = (f(rows(sample.index, x)).argmax(1).numpy() for f in (BEFORE, CHANGED))
            assert sample.clean_prediction == int(CHANGED(x[None]).argmax())
        selected, alone = sample.selected, about[sample.index].alone
        agree = changed if alone else np.where(before == changed, changed, -1)
        assert sample.counts.sum() == N and sample.counts[selected] == (agree == selected).sum()
        lost = ((before == selected) & (changed != selected)).sum()
        assert sample.fields["paired_counts"].tolist() == ([0, 0] if alone else [lost, N])
        assert sample.fields["prior_counts"].tolist() == [900, 1000]
        assert np.argmax(sample.selection_counts) == selected == (sample.index - 10) % K
        some_lost += lost
    assert some_lost > 0


def answers(*classes):
    """A classifier whose answers to rows 0, 1, ... are these; NaN for None."""
    table = torch.full((len(classes), K), 0.0)
    for row, c in enumerate(classes):
        table[row] = torch.nan if c is None else 5.0 * nn.functional.one_hot(torch.tensor(c), K)
    return lambda rows: table


def test_answers_that_are_none_are_votes_for_nothing():
    """They lose the vote of before; where that one says nothing there is none to lose, whatever the other says."""
    before, changed = answers(0, 1, 2, None, None, 0), answers(0, 2, None, 1, None, 1)
    said = PairedClassifier(changed, before, K)(torch.zeros(6, *SHAPE))
    lost = K + 1
    assert torch.equal(said.sum(1), torch.ones(6))
    assert said.argmax(1).tolist() == [0, lost + 1, lost + 2, lost + K, K, lost]
    alone = PairedClassifier(changed, None, K)(torch.zeros(6, *SHAPE))
    assert alone.argmax(1).tolist() == [0, 2, K, 1, K, 1]


@pytest.mark.parametrize(("changed_too", "before_too"), [(True, False), (False, True), (True, True)])
def test_draws_without_an_answer_never_certify(changed_too, before_too):
    def sometimes(classifier):
        def scores_of(rows):
            scores = classifier(rows)
            scores[rows[:, 0] > 0.3] = torch.nan
            return scores

        return scores_of

    x = torch.zeros(*SHAPE)
    drawn = rows(3, x)
    classifiers = [sometimes(f) if nan else f for f, nan in ((CHANGED, changed_too), (BEFORE, before_too))]
    silent = drawn[:, 0] > 0.3
    with torch.no_grad():
        changed, before = (
            torch.where(silent & nan, K, f(drawn).argmax(1))
            for f, nan in ((CHANGED, changed_too), (BEFORE, before_too))
        )
    for selected in range(K):
        for alone in (True, False):
            about = {3: known(selected, alone)}
            (sample,) = PairedSampler(*classifiers, about, K, NOISE, 64, SEED, CPU).run([(3, x)], PLAN)
            agree = changed if alone else torch.where(before == changed, changed, K)
            assert 10 < silent.sum() and sample.counts[selected] == (agree == selected).sum()
            # Whatever its answers would have been, no rival has more votes than the strongest is given.
            most = max(((changed == j) | (changed == K)).sum() for j in range(K) if j != selected)
            assert np.delete(sample.counts, selected).max() >= most
            if not alone:
                lost = (before == selected) & (changed != selected)
                assert sample.fields["paired_counts"].tolist() == [int(lost.sum()), N]


class Trembling(nn.Module):
    """Two classes are equal up to the last bits, which are others in every call: votes are, too."""

    calls = 0

    def forward(self, rows):
        self.calls += 1
        scores = CHANGED(rows)
        scores[:, 1] = scores[:, 0] + (-1) ** self.calls * 1e-7
        return scores


def test_last_bits_that_move_votes_are_no_randomness_and_small_randomness_is_found():
    x = [(3, torch.zeros(*SHAPE))]
    for classifiers in ((Trembling(), BEFORE), (CHANGED, Trembling())):
        assert len(list(PairedSampler(*classifiers, {3: known(0, False)}, K, NOISE, 64, SEED, CPU).run(x, PLAN))) == 1

    def random(rows):
        return 100.0 * nn.functional.one_hot((rows[:, 0] > 9.0).long(), K) + torch.rand(len(rows), K)

    for classifiers, alone in (((random, BEFORE), False), ((CHANGED, random), False), ((random, BEFORE), True)):
        with pytest.raises(ValueError, match="must answer to each row alone and always the same"):
            list(PairedSampler(*classifiers, {3: known(0, alone)}, K, NOISE, 64, SEED, CPU).run(x, PLAN))


def test_a_compiled_classifier_sees_whole_batches_alone():
    sizes = set()

    class Compiled(nn.Module):
        preparation = Preparation(compile=True)

        def forward(self, rows):
            sizes.add(len(rows))
            return CHANGED(rows)

    about = {3: known(0, False), 4: known(1, True)}
    images = [(3, torch.zeros(*SHAPE)), (4, torch.ones(*SHAPE))]
    list(PairedSampler(Compiled(), Compiled(), about, K, NOISE, 100, SEED, CPU).run(images, PLAN))
    assert sizes == {100}


def asked(n, changed=CHANGED):
    """Of a run of one image that is paired and one that is not."""
    about = {3: known(0, False), 4: known(1, True)}
    images = [(3, torch.zeros(*SHAPE)), (4, torch.ones(*SHAPE))]
    noise = make_noise("grid_gaussian:levels=16", 0.5)
    with Asked() as mode:
        samples = list(PairedSampler(changed, BEFORE, about, K, noise, 50, SEED, CPU).run(images, Plan((n,))))
    assert [sample.counts.sum() for sample in samples] == [n] * 2
    return +mode.times


def test_batches_ask_the_device_for_nothing(monkeypatch):
    """Neither does to compare two classifiers' answers: ten times as many batches wait no more often."""
    sample_as_on_a_gpu(monkeypatch)
    few = asked(200)
    assert asked(2000) == few

    def curious(rows):
        return CHANGED(rows) + 0.0 * float(rows.sum())

    assert asked(2000, curious)["item"] >= few["item"] + 80


def test_a_classifier_with_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"3 scores a row were expected, got \(6, 4\)"):
        PairedClassifier(CHANGED, nn.Linear(4, 4), K)(torch.zeros(6, *SHAPE))
