import dataclasses

import numpy as np
import pytest
import torch
from cases import make_certification
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from lightning_rs import SmoothedClassifier
from lightning_rs.certification import certify_examples
from lightning_rs.noise import GridGaussian
from lightning_rs.smoothing import capacity


def plain(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


def test_records_are_those_of_the_smoothed_classifier():
    certification = make_certification(mechanisms=["cohen", "salman", "voracek"], seed=4)
    records = list(certify_examples(certification, certification.indices))
    images, labels = certification.dataset.tensors
    smoothed = SmoothedClassifier(certification.base_classifier, 10, 0.25, seed=4)
    expected = smoothed.certify(images[:6], 50, 300, 0.001, ["cohen", "salman", "voracek"])
    for label, certificate in expected.items():
        assert [r.certificates[label].prediction for r in records] == certificate.prediction.tolist()
        radii = [r.certificates[label].radius for r in records]
        assert np.allclose(radii, certificate.radius, rtol=1e-12, atol=0)
    assert [r.label for r in records] == labels[:6].tolist()
    clean = certification.base_classifier(images[:6]).argmax(1)
    assert [r.clean_prediction for r in records] == clean.tolist()


def test_a_record_depends_on_its_example_alone():
    certification = make_certification()
    forwards = plain(certify_examples(certification, [0, 1, 2, 3]))
    backwards = plain(certify_examples(certification, [3, 1]))
    assert backwards == [forwards[3], forwards[1]]
    assert list(certify_examples(certification, [])) == []


def test_a_batch_size_is_found_in_the_place_of_auto():
    certification = make_certification(batch_size="auto")
    assert certification.environment().batch_size is None
    settled = certification.settled()
    size = settled.settings.batch_size
    assert isinstance(size, int) and size >= 50 and settled.environment().batch_size == size
    given = make_certification()
    assert given.settled() is given


def test_the_description_says_what_makes_runs_comparable():
    run = make_certification(mechanisms=["cohen"], skip=2, limit=3).describe()
    assert (run.data, run.split, run.architecture, run.num_classes) == ("Digits", "test", "linear", 10)
    assert run.indices == (0, 2, 4)
    assert (run.sigma, run.noise, run.n0, run.n, run.alpha, run.seed) == (0.25, "gaussian", 50, 300, 0.001, 0)
    assert run.mechanisms == ("cohen",) and run.radii is None and run.normalization is None
    assert (run.precision, run.channels_last, run.fold_batch_norm, run.compile) == ("float32", False, False, False)
    assert (run.weights, run.pixel_range) == ("float32", (0, 1))
    # Another environment is no other certification.
    assert not run.to_dict().keys() & {"device", "driver", "batch_size", "versions", "commit"}
    sequential = make_certification(mechanisms=["sequential_betting"]).describe()
    assert sequential.radii == (0.0, 0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((2, 1, 8, 8), 2.0), r"pixels must lie in \[0, 1\], got \[2, 2\]"),
        (torch.zeros((2, 1, 8, 8), dtype=torch.int64), "images must be floating-point tensors"),
    ],
)
def test_images_of_another_kind_are_refused(images, message):
    certification = dataclasses.replace(
        make_certification(limit=2), dataset=TensorDataset(images, torch.zeros(2, dtype=torch.int64))
    )
    with pytest.raises(ValueError, match=message):
        list(certify_examples(certification, [0, 1]))


@pytest.mark.parametrize("label", [-1, 10, 0.5])
def test_a_label_that_is_no_class_is_refused_by_the_name_of_its_image(label):
    """-1 is what an abstention is recorded as."""
    images = torch.zeros(6, 1, 8, 8)
    labels = torch.tensor([0.0, 1.0, 2.0, label, 4.0, 5.0])
    certification = dataclasses.replace(make_certification(), dataset=TensorDataset(images, labels))
    message = r"^Digits, test image 3: label must be .*, got "
    with pytest.raises(ValueError, match=message):
        certification.check()
    with pytest.raises(ValueError, match=message):
        list(certify_examples(certification, [2, 3]))


class Counted(Dataset):
    """Digits that count how often they are read, and of which one cannot be."""

    def __init__(self, broken=None):
        self.digits, self.read, self.broken = make_certification().dataset, [], broken

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        self.read.append(index)
        if index == self.broken:
            raise OSError("broken data stream when reading image file")
        return self.digits[index]


def test_a_limit_bounds_the_images_that_are_read():
    dataset = Counted()
    certification = dataclasses.replace(make_certification(limit=1), dataset=dataset)
    certification.check()
    certification.describe()
    assert len(list(certify_examples(certification, certification.indices))) == 1
    assert set(dataset.read) == {0} and len(dataset.read) < 10


def test_an_image_that_cannot_be_read_is_named():
    certification = dataclasses.replace(make_certification(), dataset=Counted(broken=4))
    message = "^Digits, test image 4 cannot be read: OSError: broken data stream when reading image file$"
    with pytest.raises(ValueError, match=message):
        certification.check()
    with pytest.raises(ValueError, match=message):
        list(certify_examples(certification, [3, 4]))


def test_batches_that_no_memory_holds_are_refused_before_any_work(monkeypatch):
    """Whichever device will classify: a training checks while the model is still on the CPU."""
    with pytest.raises(ValueError, match=r"not enough memory: .* most of all for a batch of 1000000000000 rows"):
        make_certification(batch_size=10**12).check()
    monkeypatch.setattr(capacity, "available_memory", lambda device: 2**35)
    with pytest.raises(ValueError, match="most of all for a bound on 2147483647 single scores"):
        make_certification(mechanisms=["salman:bound=betting"], n=2**31 - 1).check()
    make_certification(batch_size="auto").check()


def test_an_index_outside_the_data_set_is_refused():
    with pytest.raises(ValueError, match=r"indices must be one or more in \[0, 363\], got \[364\]"):
        make_certification(indices=[364], limit=None).check()


def test_a_precision_is_refused_where_it_would_run_and_not_before():
    """A training checks its settings while the model is still on the CPU."""
    certification = make_certification(precision="tf32")
    certification.check()
    with pytest.raises(ValueError, match="precision tf32 needs a CUDA device, got cpu"):
        certification.describe()


def test_images_off_the_grid_are_refused_or_rounded():
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    off = TensorDataset(images, torch.arange(6))
    on = TensorDataset((images * 16).round() / 16, torch.arange(6))
    noise = GridGaussian(0.25, 16)
    given = dataclasses.replace(make_certification(), noise=noise, dataset=off)
    with pytest.raises(ValueError, match=r"^Digits, test image 0: .*; pixel \(0, 0, 0\) is 0\.4962"):
        given.check()
    later = torch.cat([on.tensors[0][:5], images[5:]])  # Not the first is off.
    with pytest.raises(ValueError, match=r"^Digits, test image 5: "):
        dataclasses.replace(given, dataset=TensorDataset(later, torch.arange(6))).check()
    with pytest.raises(ValueError, match=r"^Digits, test image 2: .*; set the levels of the data set"):
        list(certify_examples(given, [2]))
    rounded = dataclasses.replace(make_certification(quantize=True), noise=noise, dataset=off)
    rounded.check()
    assert rounded.describe().quantized and "to which the images were rounded" in rounded.describe().title
    plain_ones = dataclasses.replace(make_certification(), noise=noise, dataset=on)
    assert plain(certify_examples(rounded, range(6))) == plain(certify_examples(plain_ones, range(6)))
    with pytest.raises(ValueError, match="gaussian noise has none: give --noise grid_gaussian:levels=255"):
        make_certification(quantize=True).check()


def test_validation_images_have_noise_of_their_own():
    certification = make_certification()
    on_test, on_val = (
        [r.counts for r in certify_examples(dataclasses.replace(certification, split=split), range(6))]
        for split in ("test", "val")
    )
    assert on_test != on_val


def test_the_error_of_random_bits_is_said():
    run = dataclasses.replace(make_certification(), noise=GridGaussian(0.25, 16)).describe()
    assert (run.noise, run.sampling_error) == ("grid_gaussian:levels=16", 350 * 64 * (2 * 37 + 1) / 2**64)


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (nn.LSTM(8, 10), "the base classifier failed on 1 rows of shape|got tuple"),
        (nn.Conv2d(1, 10, 3), r"must return 10 scores a row, \(1, 10\) in all; got \(1, 10, 6, 6\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1000)), r"must return 10 scores a row.*; got \(1, 1000\)"),
        (nn.Linear(3, 10), "the base classifier failed on 1 rows of shape"),
    ],
)
def test_what_makes_no_scores_is_found_with_one_image(classifier, message):
    certification = dataclasses.replace(make_certification(), base_classifier=classifier)
    with pytest.raises(ValueError, match=message):
        certification.ask()


@pytest.mark.usefixtures("known_randomness")
def test_a_random_classifier_is_found_with_one_image_unless_it_is_said_to_be_one():
    class MCDropout(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x, 0.5, training=True)

    plain = make_certification()
    classifier = nn.Sequential(MCDropout(), plain.base_classifier)
    certification = dataclasses.replace(plain, base_classifier=classifier)
    with pytest.raises(ValueError, match="for each row by itself: stochastic true$"):
        certification.ask()
    settings = dataclasses.replace(plain.settings, stochastic=True)
    dataclasses.replace(certification, settings=settings).ask()


def test_to_ask_leaves_no_trace():
    certification = make_certification()
    certification.base_classifier.train().append(nn.BatchNorm1d(10)).append(nn.Dropout())
    before, state = {k: v.clone() for k, v in certification.base_classifier.state_dict().items()}, torch.get_rng_state()
    certification.ask()
    assert all(torch.equal(v, before[k]) for k, v in certification.base_classifier.state_dict().items())
    assert certification.base_classifier.training and torch.equal(torch.get_rng_state(), state)


def test_indices_are_asked_for_when_there_is_room_for_one_more():
    certification, asked = make_certification(), []

    def indices():
        for index in range(6):
            asked.append(index)
            yield index

    records, ahead = [], []
    for record in certify_examples(certification, indices()):
        records.append(record)
        ahead.append(len(asked) - len(records))
    assert [record.index for record in records] == list(range(6))
    assert max(ahead) <= 1  # 351 rows of each fill more than the two batches of 100 that are on their way.


def test_none_for_the_moment_is_asked_again_and_changes_no_record():
    certification = make_certification(n=60, mechanisms=["cohen"], batch_size=400)
    held = []

    def one_at_a_time():
        for index in range(6):
            while held:
                yield None
            held.append(index)
            yield index

    records = []
    for record in certify_examples(certification, one_at_a_time()):
        records.append(record)
        held.clear()
    assert plain(records) == plain(certify_examples(certification, range(6)))
