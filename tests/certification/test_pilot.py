import dataclasses

import numpy as np
import pytest
from cases import make_certification
from half_spaces import certification_of
from torch import nn
from waiting import Asked, sample_as_on_a_gpu

from lightning_rs.certification import certify_examples, run_pilot
from lightning_rs.noise import Purpose, make_noise


def test_it_draws_other_noise_than_the_certification_of_random_images_and_the_same_again():
    certification = make_certification(limit=None, n=200, n0=200)
    pilot = run_pilot(certification, images=5, draws=200, shown=False)
    assert pilot.plan.purpose is Purpose.PILOT
    indices = [sample.index for sample in pilot.samples]
    assert len(set(indices)) == 5 and indices == sorted(indices) and indices != list(range(5))
    assert pilot.labels == [certification.image(index)[1] for index in indices]
    again = run_pilot(certification, images=5, draws=200, shown=False)
    records = list(certify_examples(certification, indices))
    for sample, same in zip(pilot.samples, again.samples, strict=True):
        assert sample.counts.sum() == sample.selection_counts.sum() == 200
        assert np.array_equal(sample.counts, same.counts)
    votes = [{i: int(count) for i, count in enumerate(sample.counts) if count} for sample in pilot.samples]
    assert votes != [record.counts for record in records]


def test_it_says_how_fast_rows_come_and_settles_what_is_left_open():
    pilot = run_pilot(make_certification(batch_size="auto", seed="random"), images=100, draws=50, shown=False)
    assert len(pilot.samples) == 6  # There are no more.
    assert isinstance(pilot.certification.settings.batch_size, int) and isinstance(pilot.certification.seed, int)
    assert 0 < pilot.slowest <= pilot.rows_per_second <= pilot.fastest
    assert pilot.reading > 0 and pilot.preparation > 0


def test_of_few_batches_no_quarter_says_how_fast_it_was():
    """All six images end with the same batch."""
    pilot = run_pilot(make_certification(batch_size=2000), images=6, draws=50, shown=False)
    assert pilot.slowest <= pilot.rows_per_second and pilot.fastest < 2 * pilot.rows_per_second


def test_it_collects_what_the_mechanisms_read_and_how_far_it_varies():
    certification = make_certification(mechanisms=["salman", "kumar_margin:band=naive"])
    sample = run_pilot(certification, images=1, draws=50, shown=False).samples[0]
    assert {"score_sum", "score_square_sum", "margin_sum", "margin_histogram"} == set(sample.fields)


class Curious(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 0.0 * float(x.sum())


def test_batches_ask_the_device_for_nothing(monkeypatch):
    """Whatever the mechanisms read: ten times as many batches wait for the device no more often."""
    sample_as_on_a_gpu(monkeypatch)
    certification = make_certification(mechanisms=["cohen", "salman", "kumar_margin:band=naive"])
    certification = dataclasses.replace(certification, noise=make_noise("grid_gaussian:levels=16", 0.25))

    def asked(certification, draws):
        with Asked() as mode:
            assert len(run_pilot(certification, images=3, draws=draws, shown=False).samples) == 3
        return +mode.times

    few = asked(certification, 300)
    assert asked(certification, 3000) == few
    curious = dataclasses.replace(certification, base_classifier=Curious(*certification.base_classifier))
    assert asked(curious, 3000)["item"] >= few["item"] + 90


@pytest.mark.parametrize("numbers", [{"images": 0, "draws": 10}, {"images": 1, "draws": 0}])
def test_no_images_or_draws_are_refused(numbers):
    with pytest.raises(ValueError, match=r"^(images|draws) must be an integer of at least 1, got 0$"):
        run_pilot(certification_of([0.9]), **numbers, shown=False)
