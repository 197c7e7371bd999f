import pytest
import torch
from cases import make_subject

from lightning_rs.certification import CertificationSettings, load_subject

CPU = torch.device("cpu")


def test_a_subject_is_certified_under_its_own_noise_or_the_one_that_is_given():
    subject, settings = make_subject(), CertificationSettings(n=300, limit=3)
    own = subject.certification(settings, CPU)
    assert (own.noise.label, own.noise.scale) == ("grid_gaussian:levels=16", 0.25)
    assert (own.data, own.split, own.indices, own.num_classes) == ("Digits", "test", [0, 1, 2], 10)
    assert subject.certification(settings, CPU, sigma=0.5).noise.scale == 0.5
    assert len(subject.certification(settings, CPU, split="val").dataset) != len(own.dataset)


def test_a_noise_that_nobody_says_is_asked_for():
    with pytest.raises(ValueError, match=r"^last.ckpt does not say the noise of its training: give sigma$"):
        make_subject(sigma=None).certification(CertificationSettings(n=300), CPU)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give --checkpoint FILE, or with --arch a net that has its weights, such as onnx/FILE"),
        ({"checkpoint": "a.ckpt", "weights": "pretrained"}, "the weights are those of a.ckpt: leave weights out"),
        ({"arch": "digits_cnn", "stages": ["denoiser"]}, "leave stages out"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        load_subject(**given)
