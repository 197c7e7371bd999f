"""Attacks on half-spaces, whose distances are known: what is found is no nearer, and little further."""

import dataclasses
import itertools
import math

import pytest
import torch
from half_space import (
    DISTANCE,
    IMAGE,
    SIGMA,
    HalfSpace,
    HardHalfSpace,
    certificates,
    expected_score,
    true_distance,
)
from scipy import optimize

from lightning_rs.attack.outcome import Example
from lightning_rs.attack.search import attack_examples
from lightning_rs.attack.settings import AttackSettings
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.mechanisms.base import Mechanism
from lightning_rs.noise import Gaussian, GridGaussian
from lightning_rs.random_state import random_state
from lightning_rs.results.records import ExampleCertificate

SETTINGS = AttackSettings(n=20_000, copies=32)
NORMS = MechanismSet(["cohen", "mohapatra_l1", "mohapatra_linf", "mohapatra_channel:top=1,height=2"])
NOISES = [Gaussian(SIGMA), GridGaussian(SIGMA, 16)]


def attack(certified, mechanisms=NORMS, classifier=None, noise=NOISES[0], settings=SETTINGS, index=0, **options):
    example = Example(index, IMAGE, 1, certified)
    classifier = HalfSpace() if classifier is None else classifier
    (outcome,) = attack_examples(classifier, 2, noise, mechanisms, [example], settings, **options)
    return outcome


def truth(label):
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1:3] = True
    return true_distance(NORMS[label].norm, mask.flatten())


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_right_certificates_hold_and_the_distances_are_the_true_ones_in_every_norm(noise):
    """Certified up to 98 % of the true radius; what n draws prove lies a few per cent beyond it."""
    outcome = attack(certificates(NORMS, 0.98), noise=noise)
    assert (outcome.index, outcome.label, outcome.method) == (0, 1, "gradient")
    assert outcome.points >= 2 and outcome.seconds > 0
    for label, attacked in outcome.attacked.items():
        assert not attacked.violated and attacked.prediction == 0
        assert truth(label) < attacked.distance < 1.09 * truth(label), label


def test_certificates_that_claim_too_much_are_found():
    outcome = attack(certificates(NORMS, 1.3))
    for label, attacked in outcome.attacked.items():
        assert attacked.violated and attacked.distance > truth(label), label


def test_a_wrong_class_is_broken_at_the_image_itself():
    outcome = attack({"cohen": ExampleCertificate(1, 0.1)}, settings=dataclasses.replace(SETTINGS, n=2000, steps=5))
    assert outcome.attacked["cohen"].distance < 0.01


def test_answers_alone_do_about_as_well():
    mechanisms = MechanismSet(["cohen"])
    settings = dataclasses.replace(SETTINGS, steps=15)
    outcome = attack(certificates(mechanisms, 0.98), mechanisms, HardHalfSpace(), settings=settings)
    assert outcome.method == "black_box"
    assert DISTANCE < outcome.attacked["cohen"].distance < 1.12 * DISTANCE


def test_claims_on_scores_break_where_their_expectations_say():
    """Logits so flat that scores are no votes: E[score of 0] is .7, and the margin .2, within the boundary."""
    slope = 8.0
    names = {"salman": 0.5, "kumar_score:confidence=0.7": 0.7, "kumar_margin:confidence=0.2": 0.6}
    true = {
        name: DISTANCE - optimize.brentq(lambda shift: expected_score(shift, slope) - score, -1.0, 2.0)  # noqa: B023
        for name, score in names.items()
    }
    mechanisms = MechanismSet(list(names))
    certified = {name: ExampleCertificate(0, 0.98 * true[name]) for name in names}
    outcome = attack(certified, mechanisms, HalfSpace(slope))
    for name, attacked in outcome.attacked.items():
        assert true[name] < attacked.distance < 1.12 * true[name], name
    broken = attack({name: ExampleCertificate(0, 1.3 * true[name]) for name in names}, mechanisms, HalfSpace(slope))
    assert all(attacked.violated for attacked in broken.attacked.values())


def test_mechanisms_with_the_same_claim_share_their_points():
    mechanisms = MechanismSet(["cohen", "cohen_two_sided", "lecuyer"])
    one = attack({"cohen": ExampleCertificate(0, 0.39)}, mechanisms)
    radii = {"cohen": 0.39, "cohen_two_sided": 0.3, "lecuyer": 0.1}
    all_of_them = attack({name: ExampleCertificate(0, radius) for name, radius in radii.items()}, mechanisms)
    assert all_of_them.points == one.points
    assert {a.distance for a in all_of_them.attacked.values()} == {one.attacked["cohen"].distance}
    assert {name: a.radius for name, a in all_of_them.attacked.items()} == radii


def test_who_abstains_is_not_attacked_and_further_than_said_nobody_looks():
    certified = {"cohen": ExampleCertificate(-1, 0.0), "mohapatra_l1": ExampleCertificate(0, 0.1, norm="l1")}
    near = dataclasses.replace(SETTINGS, furthest=0.5)
    outcome = attack(certified, settings=near)
    assert list(outcome.attacked) == ["mohapatra_l1"] and outcome.attacked["mohapatra_l1"].distance == math.inf
    nobody = attack({"cohen": ExampleCertificate(-1, 0.0)})
    assert nobody.attacked == {} and nobody.points == 0 and nobody.method == "auto"


def test_in_l_infinity_one_looks_further_than_sign_vectors_of_the_same_length_in_l2():
    far = 5.8 * SIGMA
    outcome = attack({"mohapatra_linf": ExampleCertificate(0, 0.1)}, classifier=HalfSpace(distance=far))
    truth = far / DISTANCE * true_distance("linf")
    assert truth > 6 * SIGMA / 4  # Of sixteen pixels.
    assert truth < outcome.attacked["mohapatra_linf"].distance < 1.1 * truth


def test_where_few_draws_screen_badly_a_point_is_still_proved():
    """Evidence that grows slowly: what a screening of so few draws says is off by more than a few per cent."""
    mechanisms = MechanismSet(["kumar_score:confidence=0.7"])
    certified = dict.fromkeys(mechanisms, ExampleCertificate(0, 0.0))
    for seed in range(12):
        few = AttackSettings(n=500, copies=16, steps=5, starts=1, seed=seed)
        outcome = attack(certified, mechanisms, HalfSpace(4.0), settings=few)
        assert all(attacked.distance < math.inf for attacked in outcome.attacked.values()), seed


def test_outcomes_do_not_depend_on_order_company_and_batches():
    light = dataclasses.replace(SETTINGS, steps=5, n=2000)
    mechanisms = MechanismSet(["cohen"])
    examples = [
        Example(index, IMAGE - 0.0625 * index, 0, {"cohen": ExampleCertificate(0, 0.3)}) for index in range(3)
    ]
    net = HalfSpace()

    def outcomes(given, settings=light):
        found = attack_examples(net, 2, NOISES[1], mechanisms, given, settings)
        return {outcome.index: dataclasses.replace(outcome, seconds=0.0) for outcome in found}

    together = outcomes(examples)
    assert list(together) == [0, 1, 2] and len({o.attacked["cohen"].distance for o in together.values()}) == 3
    assert outcomes(examples[::-1]) == together
    assert outcomes(examples[1:2], dataclasses.replace(light, batch_size=37)) == {1: together[1]}
    assert outcomes(examples[:1], dataclasses.replace(light, seed=1))[0] != together[0]


def test_outcomes_come_one_by_one():
    endless = (Example(index, IMAGE, 0, {"cohen": ExampleCertificate(-1, 0.0)}) for index in itertools.count())
    found = attack_examples(HalfSpace(), 2, NOISES[0], NORMS, endless, SETTINGS)
    assert [next(found).index for _ in range(3)] == [0, 1, 2]


def test_the_classifier_and_the_random_states_are_as_they_were():
    net = torch.nn.Sequential(torch.nn.Dropout(), HalfSpace())
    before = random_state()
    few = dataclasses.replace(SETTINGS, n=500, steps=3)
    attack({"cohen": ExampleCertificate(0, 0.3)}, classifier=net, settings=few)
    after = random_state()
    assert net.training and net[0].training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(before["torch"], after["torch"]) and before["python"] == after["python"]
    assert torch.equal(before["numpy"][1], after["numpy"][1])


@pytest.mark.usefixtures("known_randomness")
def test_stochastic_classifiers_are_attacked_through_their_randomness():
    class Dropped(HalfSpace):
        def forward(self, x):
            return torch.nn.functional.dropout(super().forward(x), 0.1, training=True)

    net, state = Dropped(), torch.get_rng_state()
    few = dataclasses.replace(SETTINGS, n=3000, steps=10)
    certified = {"cohen": ExampleCertificate(0, 0.3)}
    outcome = attack(certified, classifier=net, settings=few, stochastic=True)
    assert outcome.method == "gradient" and 0.3 < outcome.attacked["cohen"].distance < 0.5
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="stochastic true"):
        attack(certified, classifier=net, settings=few)


class Own(Mechanism):
    name = "own"
    keeps = "ranking"

    def _certify(self, statistics, alpha):
        raise AssertionError


class OwnGrid(GridGaussian):
    name = "own_grid"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mechanisms": {"own": Own()}}, "own keeps the ranking of a hard classifier"),
        ({"noise": OwnGrid(SIGMA, 16)}, "between the levels of own_grid noise nothing is known"),
        ({"noise": GridGaussian(SIGMA, 3)}, "example 0: grid_gaussian noise needs inputs that are multiples of 1/3"),
        ({"mechanisms": MechanismSet(["salman"])}, "example 0 has certificates of cohen, whose mechanism is not given"),
        (
            {"classifier": HardHalfSpace(), "settings": AttackSettings(method="gradient")},
            "no gradient of the base classifier reaches the image: take method black_box",
        ),
        ({"classifier": lambda x: x.flatten(1)}, "the base classifier must return 2 scores a row"),
    ],
    ids=["claim", "noise", "image", "mechanism", "gradient", "classes"],
)
def test_what_cannot_be_attacked_is_said_in_one_line(options, message):
    with pytest.raises(ValueError, match=f"^{message}.*$"):
        attack({"cohen": ExampleCertificate(0, 0.3)}, **options)
