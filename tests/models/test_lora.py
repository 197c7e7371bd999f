import pytest
import torch
from torch import nn

from lightning_rs.models import build_base_classifier, with_lora
from lightning_rs.models.lora import add_lora, is_adapter, without_wrapper

DIGITS = ("digits_cnn", 10, [1, 8, 8], [0.3], [0.4])


def built(stages=None):
    torch.manual_seed(0)
    return build_base_classifier(*DIGITS, stages)


def test_adapters_begin_as_nothing_and_only_they_and_the_head_are_trained():
    plain, adapted = built(), built(["normalize", "net:lora=2"])
    x = torch.rand(5, 1, 8, 8)
    weights = plain.state_dict()
    adapted.load_state_dict({key: weights.get(without_wrapper(key), x) for key, x in adapted.state_dict().items()})
    assert torch.equal(adapted(x), plain(x))
    trained = {name: tuple(p.shape) for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {
        "net.5.lora_A.default.weight": (2, 1024),
        "net.5.lora_B.default.weight": (128, 2),
        "net.7.weight": (10, 128),
        "net.7.bias": (10,),
    }
    assert [name for name in trained if is_adapter(name)] == list(trained)[:2]
    assert {without_wrapper(name) for name in adapted.state_dict() if not is_adapter(name)} == set(plain.state_dict())


def test_a_layer_has_w_plus_2_b_a():
    net = add_lora(nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3)), 2, 3)
    layer = net[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.ones_(b)
    x = torch.rand(5, 6)
    expected = x @ (layer.base_layer.weight + 2 * b @ a).T
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_layers_inside_of_what_does_not_call_them_are_left():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16)
            self.middle, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    net = add_lora(Net(), 2, 3)
    assert {name.partition(".")[0] for name, _ in net.named_parameters() if is_adapter(name)} == {"middle"}


def test_stages_name_the_rank_once():
    assert with_lora(["normalize", "net"], None) == ["normalize", "net"]
    assert with_lora(["resize:size=16", "net"], 8) == ["resize:size=16", "net:lora=8"]
    assert with_lora(["net:lora=8"], 8) == ["net:lora=8"]
    with pytest.raises(ValueError, match="lora must be one number, got 8, and 4 in stages"):
        with_lora(["net:lora=4"], 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar_resnet20", 10, [3, 32, 32], [0.5] * 3, [0.5] * 3, ["net:lora=2"]), "lora needs linear layers before"),
        ((*DIGITS, ["normalize", "net:lora=0"]), "lora must be an integer of at least 1, got 0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_base_classifier(*arguments)
