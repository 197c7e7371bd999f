import pytest
import torch
from objective_checks import ARGUMENTS
from torch import nn

from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import Gaussian
from lightning_rs.objectives.freezing import freeze, keep_evaluating

RESNET = ("cifar_resnet20", 10, [3, 32, 32], [0.5] * 3, [0.5] * 3)


def trained(patterns):
    net = build_base_classifier(*RESNET)
    freeze(net, patterns, 10)
    keep_evaluating(net)
    return net, [name for name, p in net.named_parameters() if p.requires_grad]


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        (["net.conv1*", "net.bn1"], lambda name: not name.startswith(("net.conv1.", "net.bn1."))),
        (["net.layer[2-3].[01].*"], lambda name: not (name[:10] in ("net.layer2", "net.layer3") and name[11] in "01")),
        (["net.layer1"], lambda name: not name.startswith("net.layer1.")),
        (["*.weight"], lambda name: name.endswith(".bias")),
        (["all_but_head"], lambda name: name.startswith("net.fc.")),
        ([], lambda name: True),
    ],
)
def test_patterns_name_weights_and_modules(patterns, kept):
    net, left = trained(patterns)
    assert left == [name for name, _ in net.named_parameters() if kept(name)]


def test_frozen_batch_norms_keep_their_statistics():
    net, _ = trained(["net.layer1", "net.bn1.weight"])
    modes = {name: m.training for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(training != name.startswith("net.layer1.") for name, training in modes.items())


def test_so_do_those_without_weights_in_a_frozen_module_and_not_those_in_one_that_is_trained():
    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias, self.norm = nn.Parameter(torch.zeros(1)), nn.BatchNorm1d(4)
            self.register_buffer("index", torch.zeros(1))

    body, other = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)), Biased()
    body.requires_grad_(False)
    other.bias.requires_grad_(False)
    keep_evaluating(nn.Sequential(body, other))
    assert (body[1].training, other.norm.training) == (False, True)


def test_a_module_that_is_put_into_training_mode_leaves_them_so():
    arguments = dict(zip(("architecture", "num_classes", "input_shape", "mean", "std"), RESNET, strict=True))
    module = Gaussian(**arguments, freeze="net.layer1")
    x, norm = torch.rand(4, 3, 32, 32), module.base_classifier.net.layer1[0].bn1
    for _ in range(2):
        before = norm.running_mean.clone()
        module(x)
        assert torch.equal(norm.running_mean, before)
        assert module.base_classifier.net.layer2[0].bn1.training
        module.eval().train()


def test_frozen_weights_are_not_the_optimisers():
    module = Gaussian(**ARGUMENTS, freeze=["net.0"])
    (group,) = module.parameter_groups()
    assert [id(p) for p in group["params"]] == [id(p) for p in list(module.parameters())[2:]]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["net.0", "net.stem"], "freeze: no weight or module is called 'net.stem'; the first weights are net.0.wei"),
        (["net"], "freeze: net leaves nothing to train"),
        (["all_but_head", "net.7"], "freeze: all_but_head, net.7 leaves nothing to train"),
    ],
)
def test_bad_input(patterns, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**ARGUMENTS, freeze=patterns)
