import pytest
import torch
import torchvision

from lightning_rs.models import default_stages, get_architecture
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


def test_with_its_library_named_images_have_the_size_of_its_own_weights():
    named = {name: get_architecture(f"torchvision/{name}") for name in ("resnet18", "inception_v3", "vit_b_16")}
    assert [entry.prefers for entry in named.values()] == [224, 299, 224]
    assert [str(entry) for entry in named.values()] == ["3x1x1 or larger", "3x75x75 or larger", "3x224x224"]
    stages = ["channels:count=3", "resize:size=224", "normalize", "net"]
    assert default_stages("torchvision/resnet18", (1, 28, 28)) == stages
    assert default_stages("resnet18", (3, 32, 32)) == ["normalize", "net"]
    with pytest.raises(ValueError, match="unknown model 'resnet' of torchvision; known: alexnet, "):
        get_architecture("torchvision/resnet")


def test_its_weights_are_read_where_the_message_says_that_they_may_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # Where nobody listens.
    entry = get_architecture("torchvision/squeezenet1_1")
    place = tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    with pytest.raises(OSError, match=rf"https://\S+ cannot be fetched: download it elsewhere, and put it at {place} "):
        entry.pretrained("DEFAULT")
    assert not list(place.parent.glob("*"))
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, place)
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        found = entry.pretrained(name)
        assert all(torch.equal(found.weights[key], value) for key, value in state.items())
        assert (found.mean, found.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with pytest.raises(ValueError, match="squeezenet1_1 has the weights DEFAULT, IMAGENET1K_V1, got 'V9'"):
        entry.pretrained("V9")
