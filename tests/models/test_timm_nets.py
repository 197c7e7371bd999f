import sys

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from lightning_rs.models import build_base_classifier, default_stages, get_architecture


def test_size_and_normalisation_are_those_of_its_data_configuration():
    fixed, free = get_architecture("timm/test_vit.r160_in1k"), get_architecture("timm/test_resnet")
    assert (str(fixed), fixed.prefers) == ("3x160x160", 160)
    assert (str(free), free.prefers) == ("3xanyxany", 160)
    assert fixed.mean == fixed.std == (0.5, 0.5, 0.5)
    assert default_stages("timm/test_vit", (1, 8, 8)) == ["channels:count=3", "resize:size=160", "normalize", "net"]
    assert get_architecture("timm/resnet18").mean == (0.485, 0.456, 0.406)


def test_it_is_timms_net_with_fresh_weights_for_other_classes():
    torch.manual_seed(0)
    classifier = build_base_classifier("timm/test_resnet", 7, (3, 32, 32), [0.1] * 3, [0.1] * 3, ["normalize", "net"])
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=7).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(classifier.eval()(x), theirs((x - 0.5) / 0.5))
    with pytest.raises(ValueError, match="timm/test_vit takes 3x160x160 images, the data set has 3x32x32"):
        build_base_classifier("timm/test_vit", 7, (3, 32, 32), [0.1] * 3, [0.1] * 3, ["normalize", "net"])


@pytest.mark.parametrize("name", ["hf-hub:timm/test_vit", "local-dir:/tmp", "../test_vit", "", "test_vit.r160_in1k/x"])
def test_what_leads_elsewhere_is_no_name(name):
    with pytest.raises(ValueError, match="timm has no net"):
        get_architecture(f"timm/{name}")


def test_misspelt_names():
    with pytest.raises(ValueError, match=r"timm has no net 'tset_vit'; near are test_vit, "):
        get_architecture("timm/tset_vit")
    with pytest.raises(ValueError, match=r"timm has no net 'test_vit.mine': Invalid pretrained tag"):
        get_architecture("timm/test_vit.mine")


def test_its_own_weights_are_read_where_the_message_says_that_they_may_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    entry = get_architecture("timm/test_vit")
    with pytest.raises(OSError, match=r"model.safetensors of \S+ elsewhere.* folder timm/test_vit.r160_in1k here"):
        entry.pretrained("pretrained")
    folder = tmp_path / "timm" / "test_vit.r160_in1k"
    folder.mkdir(parents=True)
    theirs = timm.create_model("test_vit").state_dict()
    save_file(theirs, folder / "model.safetensors")
    found = entry.pretrained("pretrained")
    assert found.mean == (0.5, 0.5, 0.5) and found.weights.keys() == theirs.keys()
    assert all(torch.equal(found.weights[key], value) for key, value in theirs.items())
    with pytest.raises(ValueError, match="timm/test_vit has the weights 'pretrained', got 'best'"):
        entry.pretrained("best")
    with pytest.raises(ValueError, match=r"no weights of gcvit_base on the hub: download https://\S+ and name"):
        get_architecture("timm/gcvit_base").pretrained("pretrained")


def test_without_timm_its_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm, which is not installed: pip install 'lightning_rs\[timm\]'"):
        get_architecture("timm/test_vit")
