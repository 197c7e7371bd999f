import torch
import torchvision

from lightning_rs.models.torchvision_nets import RESNET18, list_torchvision, torchvision_architecture


def test_it_is_torchvisions_net_with_fresh_weights_for_other_classes():
    torch.manual_seed(0)
    net = RESNET18.build(7).eval()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None, num_classes=7).eval()
    assert list(net.state_dict()) == list(theirs.state_dict())
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(x), theirs(x))


def test_classification_models_alone_are_known():
    names = list_torchvision()
    assert {"alexnet", "resnet18", "vit_b_16", "wide_resnet50_2"} <= set(names)
    assert not {"fcn_resnet50", "fasterrcnn_resnet50_fpn", "r3d_18", "raft_large"} & set(names)  # Segment, detect, ...
    entry = torchvision_architecture("squeezenet1_1")
    assert str(entry) == "3x32x32 or larger"
    with torch.no_grad():
        assert entry.build(4).eval()(torch.rand(1, 3, 40, 36)).shape == (1, 4)
