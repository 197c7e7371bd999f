import json
import shutil
import socket
import sys

import pytest
import torch
from models.hf_folders import MEAN, SIZES, STD, save_tiny_vit
from transformers import ViTConfig, ViTModel

from lightning_rs.models import ARCHITECTURES, build_base_classifier, configs_of, get_architecture, load_named
from lightning_rs.models.hf_nets import hf_architecture

FACTS = ((1, 8, 8), [0.5], [0.25])
VIT = {"model_type": "vit", **SIZES, "image_size": 16, "patch_size": 4}
IMAGES = {"size": 16, "mean": MEAN, "std": STD}


@pytest.fixture(autouse=True)
def cut_off(monkeypatch):
    """What one test names is unknown to the next, and any connection fails the test."""
    monkeypatch.setattr(ARCHITECTURES, "_users", {})
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))


def test_logits_weights_size_and_normalisation_are_its_own(tmp_path):
    theirs = save_tiny_vit(tmp_path)
    entry = hf_architecture(str(tmp_path))
    assert (entry.channels, entry.prefers, entry.mean, entry.std) == (3, 16, MEAN, STD) and entry.carries
    found, net = entry.pretrained("pretrained"), entry.build(10).eval()
    net.load_state_dict(found.weights)
    assert (found.mean, found.std) == (MEAN, STD)
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(net(x), theirs(x).logits)
    with pytest.raises(ValueError, match="has the weights 'pretrained', got 'best'"):
        entry.pretrained("best")


def test_it_is_built_again_from_plain_values_without_its_folder(tmp_path):
    save_tiny_vit(tmp_path / "vit")
    name = f"hf/{tmp_path / 'vit'}"
    with pytest.raises(ValueError, match=f"only a file names is never read: if {name} is yours, give --arch {name}"):
        get_architecture(name)
    load_named(name)
    classifier = build_base_classifier(name, 7, *FACTS).eval()
    assert [stage for stage, _ in classifier.named_children()] == ["channels", "resize", "normalize", "net"]
    assert classifier.normalize.mean.flatten().tolist() == pytest.approx(MEAN)
    configs = json.loads(json.dumps(configs_of(classifier)))
    shutil.rmtree(tmp_path / "vit")
    ARCHITECTURES._users.clear()
    again = build_base_classifier(name, 7, *FACTS, configs=configs).eval()
    again.load_state_dict(classifier.state_dict())
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(again(x), classifier(x))
    assert get_architecture(name, configs["net"]).pretrained is None


def test_folders_that_say_less(tmp_path):
    save_tiny_vit(tmp_path, processor=False, weights=False)
    entry = hf_architecture(str(tmp_path))
    assert (entry.prefers, entry.mean, entry.std, entry.carries) == (16, None, None, False)
    with pytest.raises(ValueError, match=r"holds no model\*.safetensors"):
        entry.pretrained("pretrained")
    ViTModel(ViTConfig(**SIZES, image_size=16, patch_size=4)).save_pretrained(tmp_path)
    held = hf_architecture(str(tmp_path)).pretrained("pretrained").weights
    lacking = [key for key in entry.build(10).state_dict() if key not in held]
    assert lacking == ["model.classifier.weight", "model.classifier.bias"]
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/net"}')
    with pytest.raises(ValueError, match="holds an adapter to other weights"):
        entry.pretrained("pretrained")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "bert"}', "'bert' is no image classifier of transformers; known: beit, "),
        ('{"model_type": "timm_wrapper", "architecture": "hf-hub:owner/net"}', "a net of timm: name it timm/NAME"),
        ("{}", "None is no image classifier"),
        ("[]", "is no configuration: expected a mapping, got a list"),
        ("{", "config.json is no JSON"),
    ],
)
def test_what_is_no_image_classifier(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        hf_architecture(str(tmp_path))


MALICIOUS = {
    "auto_map": {"AutoModelForImageClassification": "owner/net--evil.Evil", "AutoConfig": "owner/net--evil.Config"},
    "_attn_implementation": "kernels-community/flash-attn",
    "attn_implementation": "kernels-community/flash-attn",
    "_attn_implementation_internal": "owner/kernel",
    "experts_implementation": "owner/kernel",
    "_name_or_path": "owner/net",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "use_pretrained_backbone": True,
    "use_timm_backbone": True,
    "backbone": "hf-hub:owner/net",
    "backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:owner/net", "use_pretrained_backbone": True},
    "per_layer_config": {"0": {"attn_implementation": "owner/kernel"}},
    "custom_pipelines": {"evil": {"impl": "evil.Evil"}},
    "use_kernels": True,
    "dtype": "__loader__",
    "torch_dtype": "float16",
    "return_dict": False,
    "output_attentions": True,
    "num_labels": 3,
    "id2label": {"x": "y"},
    "architectures": ["os.system"],
    "__class__": "os.system",
}


@pytest.mark.parametrize("key", MALICIOUS)
def test_a_configuration_of_a_file_does_nothing_but_say_sizes(key):
    entry = hf_architecture("owner/net", {"model": VIT | {key: MALICIOUS[key]}, "images": IMAGES})
    if key != "architectures":  # Looked up, and not found.
        assert key not in entry.config["model"]
    net = entry.build(5).eval()
    assert all(weight.dtype == torch.float32 for weight in net.parameters())
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 5)


def test_parts_of_a_configuration_are_looked_through_as_the_whole_is():
    parts = {"vision_config": VIT | MALICIOUS, "text_config": SIZES | MALICIOUS}
    entry = hf_architecture("x", {"model": {"model_type": "clip", **parts}, "images": IMAGES})
    assert not MALICIOUS.keys() & {*entry.config["model"]["text_config"], *entry.config["model"]["vision_config"]} - {
        "architectures"
    }
    assert entry.build(4).eval()(torch.rand(1, 3, 16, 16)).shape == (1, 4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "hf/x has no whole configuration: Object missing required field `model`"),
        ({"model": "vit", "images": IMAGES}, r"no whole configuration: Expected `object`, got `str` - at `\$.model`"),
        ({"model": VIT, "images": IMAGES | {"size": 0}}, r"`int` >= 1 - at `\$.images.size`"),
        ({"model": VIT, "images": IMAGES | {"mean": 0.5}}, r"Expected `array \| null`, got `float`"),
        ({"model": {"model_type": ["vit"]}, "images": IMAGES}, "is no image classifier"),
        ({"model": VIT | {"num_hidden_layers": 10**9}, "images": IMAGES}, "num_hidden_layers must be at most 1000"),
        ({"model": {"model_type": "resnet", "depths": [900] * 900}, "images": IMAGES}, "depths must be at most 1000"),
        ({"model": {"model_type": "shieldgemma2", "vision_config": {}}, "images": IMAGES}, "parts that may be any"),
        ({"model": VIT | {"patch_size": 0}, "images": IMAGES}, "transformers cannot build vit: ZeroDivisionError"),
        ({"model": VIT | {"hidden_size": "os.system"}, "images": IMAGES}, "transformers cannot build vit: "),
        ({"model": VIT | {"hidden_act": "os.system"}, "images": IMAGES}, "transformers cannot build vit: "),
    ],
)
def test_configurations_that_no_net_has_end_in_one_line(config, message):
    with pytest.raises(ValueError, match=message) as raised:
        hf_architecture("x", config).build(4)
    assert "\n" not in str(raised.value)


def test_without_transformers_its_install_line_is_said(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"transformers, which is not installed: pip install 'lightning_rs\[hf\]'"):
        hf_architecture(str(tmp_path))
