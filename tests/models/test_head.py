import pytest
from torch import nn

from lightning_rs.models import get_architecture, head_of


@pytest.mark.parametrize(
    ("name", "head"),
    [("digits_cnn", "7"), ("lenet", "fc2"), ("cifar_resnet20", "fc"), ("resnet18", "fc"), ("vgg11", "classifier.6")],
)
def test_the_head_is_the_last_layer(name, head):
    assert head_of(get_architecture(name).build(10), 10) == head


def test_a_layer_of_another_width_is_no_head():
    net = nn.ModuleDict({"scores": nn.Linear(4, 3), "auxiliary": nn.Linear(4, 7)})
    assert head_of(net, 3) == "scores"
    with pytest.raises(ValueError, match="no layer of the net has 5 outputs, one for each class, so none is its head"):
        head_of(net, 5)
