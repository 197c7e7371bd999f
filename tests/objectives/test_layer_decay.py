from collections import OrderedDict

import pytest
from objective_checks import ARGUMENTS
from torch import nn

from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import Gaussian, Optimizer
from lightning_rs.objectives.layer_decay import layer_depths

COLOUR = (10, [3, 32, 32], [0.5] * 3, [0.5] * 3)


def depths(name):
    return layer_depths(build_base_classifier(name, *COLOUR), 10)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cifar_resnet20",
            {"net.conv1.weight": 10, "net.layer1.0.conv1.weight": 9, "net.layer1.2.bn2.bias": 7}
            | {"net.layer3.2.conv2.weight": 1, "net.fc.bias": 0},
        ),
        ("resnet18", {"net.bn1.weight": 9, "net.layer1.0.conv1.weight": 8, "net.layer4.1.bn2.weight": 1}),
        ("vgg11", {"net.features.0.weight": 10, "net.classifier.0.weight": 2, "net.classifier.6.weight": 0}),
    ],
)
def test_layers_are_blocks_counted_from_the_head(name, expected):
    found = depths(name)
    assert {key: found[key] for key in expected} == expected


def test_a_net_without_lists_has_its_modules_as_layers():
    found = layer_depths(build_base_classifier("lenet", 10, [1, 28, 28], [0.1], [0.3]), 10)
    layers = {"conv1": 3, "conv2": 2, "fc1": 1, "fc2": 0}
    assert found == {f"net.{name}.{kind}": depth for name, depth in layers.items() for kind in ("weight", "bias")}


def test_what_stands_between_lists_belongs_to_the_layer_before_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(nn.Linear(2, 2).weight.data)
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8) for _ in range(3)])
            self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 10)

    found = layer_depths(nn.Sequential(OrderedDict(net=Net())), 10)
    assert (found["net.token"], found["net.blocks.0.linear1.weight"], found["net.blocks.2.norm1.bias"]) == (4, 3, 1)
    assert (found["net.norm.weight"], found["net.head.weight"]) == (1, 0)


def test_every_layer_has_its_rate():
    module = Gaussian(**ARGUMENTS, optimizer=Optimizer(lr=0.2, layer_decay=0.5), freeze="net.2")
    groups = module.parameter_groups()
    assert [group["lr"] for group in groups] == [0.2, 0.1, 0.025]
    assert [len(group["params"]) for group in groups] == [2, 2, 2]
    assert [group["lr"] for group in module.optimizer.build(groups).param_groups] == [0.2, 0.1, 0.025]
