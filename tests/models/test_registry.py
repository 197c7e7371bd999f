import pytest
import torch

from lightning_rs.models import (
    ARCHITECTURES,
    STAGES,
    Architecture,
    Stage,
    build_base_classifier,
    get_architecture,
    is_place,
    list_architectures,
    load_named,
)

MINE = Architecture("mine", torch.nn.Identity, channels=1, size=8)
SCALE = Stage("scale", lambda images, factor=2.0: torch.nn.Identity())


def make_net(num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))


class NoModule:
    pass


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """What one test names is unknown to the next."""
    for registry in (ARCHITECTURES, STAGES):
        monkeypatch.setattr(registry, "_users", {})


def test_ours_are_found_by_file():
    cifar = sorted([f"cifar_resnet{d}" for d in (20, 56, 110)] + [f"cifar_resnet{d}_a" for d in (20, 32, 44, 56, 110)])
    assert list_architectures() == [*cifar, "digits_cnn", "lenet", "resnet18", "resnet50"]
    assert {"channels", "net", "normalize", "resize"} <= set(STAGES)


def test_torchvisions_are_known_beside_ours():
    assert get_architecture("resnet50") is ARCHITECTURES["resnet50"]
    assert get_architecture("vgg11_bn").takes((3, 32, 32))
    with pytest.raises(ValueError, match="unknown model 'vgg'; known: .*, resnet50; and torchvision's: alexnet, .*"):
        get_architecture("vgg")


def test_places_and_libraries():
    names = ("hf/owner/net", "timm/test_vit", "torchvision/resnet18", "resnet18", "hf")
    assert [name for name in names if is_place(name)] == ["hf/owner/net"]
    with pytest.raises(ValueError, match="unknown model 'keras/x'; before the / .* hf/.*timm/, torchvision/"):
        get_architecture("keras/x")


def test_what_a_user_names_by_path():
    load_named(f"{__name__}.MINE", [f"{__name__}.SCALE:factor=3"])
    assert get_architecture(f"{__name__}.MINE") is MINE
    assert STAGES.get(f"{__name__}.SCALE") is SCALE
    load_named(f"{__name__}.make_net")
    classifier = build_base_classifier(f"{__name__}.make_net", 5, (1, 8, 8), [0.5], [0.5])
    assert classifier(torch.rand(2, 1, 8, 8)).shape == (2, 5)


def test_a_path_that_only_a_file_names_is_not_followed():
    path = f"{__name__}.make_net"
    way = f"--arch {path} to certify.py, --model.architecture {path} to train.py or --plugins {__name__}"
    with pytest.raises(ValueError, match=f"unknown model '{path}'.*: if it is yours, give {way} if it is a class$"):
        get_architecture(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((f"{__name__}.NoModule",), "NoModule is no architecture: it must map the number of classes to a module"),
        ((f"{__name__}.SCALE",), "SCALE is no architecture"),
        ((None, [f"{__name__}.NoModule"]), "NoModule is no stage: it must map the facts about the images to a module"),
        ((None, [f"{__name__}.nothing"]), "has no nothing"),
    ],
)
def test_what_cannot_serve(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_named(*arguments)
