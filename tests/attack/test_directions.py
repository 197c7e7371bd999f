import math

import pytest
import torch
from half_space import IMAGE, NORMAL, SHAPE, SIGMA, HalfSpace, HardHalfSpace

from lightning_rs.attack.claims import LargestScore, MajorityVote
from lightning_rs.attack.directions import Surroundings, by_answers, by_gradient, method_for
from lightning_rs.noise import Gaussian, Purpose, RoundedGaussian
from lightning_rs.smoothing.sampler import Sampler

NOISES = [Gaussian(SIGMA), RoundedGaussian(SIGMA, 16, 9)]


def around(classifier, noise=NOISES[0], index=0, batch_size=1000):
    sampler = Sampler(classifier, 2, noise, batch_size, 0, torch.device("cpu"))
    return Surroundings(sampler, noise.source(0, SHAPE, purpose=Purpose.ATTACK), index)


def cosine(gradients):
    return torch.nn.functional.cosine_similarity(-gradients.double(), NORMAL[None].double(), dim=1)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
@pytest.mark.parametrize(
    ("way", "classifier", "least"),
    [(by_gradient, HalfSpace(3.0), 1 - 1e-6), (by_answers, HalfSpace(3.0), 0.97), (by_answers, HardHalfSpace(), 0.95)],
    ids=["gradient", "answers", "hard answers"],
)
def test_margins_fall_along_the_normal(way, classifier, least, noise):
    """At both sides of the boundary, and where all answers agree; gradients are straight through the rounding."""
    points = torch.stack([IMAGE, IMAGE + 0.5 * (NORMAL / NORMAL.norm()).view(SHAPE), IMAGE - 1.0])
    values, gradients = way(around(classifier, noise), MajorityVote(), 0, 400)(points)
    assert values.shape == (3,) and values[0] > 0 > values[1]
    assert gradients.shape == (3, 16) and gradients.dtype == torch.float32
    assert (cosine(gradients)[:2] > least).all() and cosine(gradients)[2] > least - 0.2


def test_gradients_of_answers_have_the_size_of_gradients():
    """Stein's identity, where both are known: scores that no step makes hard."""
    net, claim = HalfSpace(2.0), LargestScore()
    _, exact = by_gradient(around(net), claim, 0, 4000)(IMAGE[None])
    _, found = by_answers(around(net), claim, 0, 4000)(IMAGE[None])
    assert torch.allclose(found.norm(), exact.norm(), rtol=0.1)


def test_draws_are_fresh_in_every_call_and_shared_by_points():
    here = around(HalfSpace())
    first, second = (here.copies(torch.stack([IMAGE, IMAGE + 1]), 30)[0] for _ in range(2))
    assert torch.allclose(first[0] + 1, first[1], atol=1e-6) and not torch.isin(first[0], second[0]).any()
    assert torch.equal(here.copies(IMAGE[None], 30, 0)[0][0], first[0])
    assert not torch.isin(around(HalfSpace(), index=1).copies(IMAGE[None], 30)[0], first).any()


def test_no_gradient_reaches_the_weights_and_calls_have_the_size_of_batches():
    net, sizes = HalfSpace(), []
    net.register_forward_hook(lambda _, rows, __: sizes.append(len(rows[0])))
    values, gradients = by_gradient(around(net, batch_size=50), MajorityVote(), 0, 60)(torch.stack([IMAGE, IMAGE]))
    assert sizes == [50, 50, 20]
    assert not values.requires_grad and not gradients.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


def test_answers_that_are_no_numbers_lead_nowhere():
    def classifier(x):
        return torch.where(x.flatten(1)[:, :1] > 0.5, torch.nan, HalfSpace(3.0)(x))

    for way in (by_gradient, by_answers):
        values, gradients = way(around(classifier), MajorityVote(), 0, 50)(IMAGE[None])
        assert values.isfinite().all() and gradients.isfinite().all() and gradients.any()


@pytest.mark.parametrize(
    "classifier",
    [HardHalfSpace(), lambda x: HalfSpace()(x).detach(), lambda x: HalfSpace()(x).sign(), torch.no_grad()(HalfSpace())],
    ids=["one hot", "detached", "zero", "no_grad"],
)
def test_without_a_gradient_answers_are_taken(classifier):
    given = (around(classifier), MajorityVote(), 0, IMAGE)
    assert method_for("auto", *given) == method_for("black_box", *given) == "black_box"
    with pytest.raises(ValueError, match="^no gradient of the base classifier reaches the image: take method bl"):
        method_for("gradient", *given)


def test_with_a_gradient_it_is_taken_unless_answers_are_wanted():
    given = (around(HalfSpace()), MajorityVote(), 0, IMAGE)
    assert method_for("auto", *given) == method_for("gradient", *given) == "gradient"
    assert method_for("black_box", *given) == "black_box"


def test_too_little_memory_is_said_in_one_line():
    class Greedy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB\nmore")

    with pytest.raises(ValueError, match="^not enough memory for gradients of 5 rows at once, take fewer copies or"):
        by_gradient(around(lambda x: Greedy.apply(HalfSpace()(x))), MajorityVote(), 0, 5)(IMAGE[None])


def test_hopeless_flatness_gives_no_direction():
    values, gradients = by_answers(around(lambda x: x.new_zeros(len(x), 2)), MajorityVote(), 0, 20)(IMAGE[None])
    assert values.tolist() == [0.0] and not gradients.any() and math.isfinite(float(values))
