"""Each format is written here as the program that has it writes it, from nets written out independently of ours."""

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from conftest import run_script

from lightning_rs.checkpoints import data_of, doubt_about_normalization, load_checkpoint
from lightning_rs.data import CIFAR10, MNIST, ImageNet
from lightning_rs.models import get_architecture

CIFAR_MEAN, CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]


def standardized(x, mean, std):
    """As NormalizeLayer of the field computes it."""
    rows, _, height, width = x.shape
    mean = torch.tensor(mean).repeat((rows, height, width, 1)).permute(0, 3, 1, 2)
    std = torch.tensor(std).repeat((rows, height, width, 1)).permute(0, 3, 1, 2)
    return (x - mean) / std


def centered(x, mean):
    rows, _, height, width = x.shape
    return x - torch.tensor(mean).repeat((rows, height, width, 1)).permute(0, 3, 1, 2)


def thin_resnet(w, x, blocks):
    """The field's thin ResNet, from weights by name."""

    def norm(y, name):
        return F.batch_norm(
            y, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"]
        )

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and not block else 1
            y = F.relu(norm(F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
            y = norm(F.conv2d(y, w[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in w:
                x = norm(F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            elif stride > 1:
                nothing = torch.zeros(len(x), x.shape[1] // 2, x.shape[2] // 2, x.shape[3] // 2)
                x = torch.cat([nothing, x[:, :, ::2, ::2], nothing], 1)
            x = F.relu(y + x)
    return F.linear(F.avg_pool2d(x, 8).view(len(x), -1), w["fc.weight"], w["fc.bias"])


def thin_resnet_weights(blocks, classes=10, seed=0, projections=True):
    """Weights under the names of the field's code, written out here; batch norms with statistics of their own."""
    g = torch.Generator().manual_seed(seed)
    w = {}

    def conv(name, outputs, inputs, size):
        w[f"{name}.weight"] = torch.randn(outputs, inputs, size, size, generator=g) * (2 / (size**2 * outputs)) ** 0.5

    def norm(name, channels):
        w[f"{name}.weight"] = torch.rand(channels, generator=g) + 0.5
        w[f"{name}.bias"] = torch.randn(channels, generator=g) * 0.1
        w[f"{name}.running_mean"] = torch.randn(channels, generator=g) * 0.1
        w[f"{name}.running_var"] = torch.rand(channels, generator=g) + 0.5
        w[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", 16, 3, 3)
    norm("bn1", 16)
    inputs = 16
    for stage, channels in ((1, 16), (2, 32), (3, 64)):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", channels, inputs, 3)
            norm(f"{name}.bn1", channels)
            conv(f"{name}.conv2", channels, channels, 3)
            norm(f"{name}.bn2", channels)
            if inputs != channels and projections:
                conv(f"{name}.downsample.0", channels, inputs, 1)
                norm(f"{name}.downsample.1", channels)
            inputs = channels
    w["fc.weight"], w["fc.bias"] = torch.randn(classes, 64, generator=g) * 0.1, torch.randn(classes, generator=g)
    return w


def prefixed(weights, prefix):
    return {prefix + key: value for key, value in weights.items()}


def images(*shape, rows=3):
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(1))


def smoothing_line(path, arch, state):
    """{epoch, arch, state_dict, optimizer}, as their train.py saves it."""
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 90, "arch": arch, "state_dict": state, "optimizer": optimizer}, path)
    return path


@pytest.mark.parametrize(
    ("blocks", "prefix"), [(3, "1."), (3, "1.module."), (3, "module.1."), (3, "module.1.module."), (18, "1.module.")]
)
def test_thin_resnets_of_the_smoothing_line(tmp_path, blocks, prefix):
    arch = f"cifar_resnet{6 * blocks + 2}"
    w = thin_resnet_weights(blocks)
    path = smoothing_line(tmp_path / "checkpoint.pth.tar", arch, prefixed(w, prefix))
    x = images(3, 32, 32)
    for normalization, normalized in (
        ("standardize", standardized(x, CIFAR_MEAN, CIFAR_STD)),
        ("center", centered(x, CIFAR_MEAN)),
        ("none", x),
        ("0.5,0.5,0.5/0.25,0.5,1", standardized(x, [0.5, 0.5, 0.5], [0.25, 0.5, 1.0])),
    ):
        loaded = load_checkpoint(path, data="CIFAR10", normalization=normalization)
        assert (loaded.architecture, loaded.sigma, loaded.foreign) == (arch, None, True)
        with torch.inference_mode():
            assert torch.equal(loaded.base_classifier(x), thin_resnet(w, normalized, blocks))
    assert isinstance(data_of(loaded), CIFAR10)


@pytest.mark.parametrize(("blocks", "prefix"), [(18, "module."), (3, ""), (3, "_orig_mod.module.")])
def test_macer(tmp_path, blocks, prefix):
    """{net, epoch}: no architecture, no normalisation."""
    w = thin_resnet_weights(blocks)
    torch.save({"net": prefixed(w, prefix), "epoch": 440}, tmp_path / "440.pth")
    loaded = load_checkpoint(tmp_path / "440.pth", data="CIFAR10")
    assert loaded.architecture == f"cifar_resnet{6 * blocks + 2}"
    x = images(3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), thin_resnet(w, x, blocks))


@pytest.mark.parametrize(
    ("place", "prefix"),
    [
        *((None, ""), (None, "model."), (None, "backbone."), (None, "_orig_mod.1.encoder."), ("state_dict", "net.")),
        *(("state_dict", "model.module."), ("model", ""), ("model", "module.")),
        *(("model_state_dict", ""), ("params", "")),
    ],
)
def test_weights_where_other_programs_put_them(tmp_path, place, prefix):
    w = thin_resnet_weights(3)
    state = prefixed(w, prefix)
    torch.save(state if place is None else {"epoch": 3, place: state, "optimizer": {"lr": [0.1]}}, tmp_path / "file")
    loaded = load_checkpoint(tmp_path / "file", data="CIFAR10", normalization="none")
    assert loaded.architecture == "cifar_resnet20"
    x = images(3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), thin_resnet(w, x, 3))


def test_safetensors(tmp_path):
    w = thin_resnet_weights(3)
    safetensors.torch.save_file(prefixed(w, "model."), tmp_path / "model.safetensors", {"format": "pt"})
    loaded = load_checkpoint(tmp_path / "model.safetensors", data="CIFAR10", normalization="standardize")
    x = images(3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), thin_resnet(w, standardized(x, CIFAR_MEAN, CIFAR_STD), 3))


@pytest.mark.parametrize("depth", [20, 110])
def test_thin_resnets_with_padded_shortcuts(tmp_path, depth):
    """{state_dict, best_prec1}: in parallel, the last layer is `linear`."""
    blocks = (depth - 2) // 6
    w = thin_resnet_weights(blocks, projections=False)
    state = {f"module.{key.replace('fc.', 'linear.')}": value for key, value in w.items()}
    torch.save({"state_dict": state, "best_prec1": 91.7}, tmp_path / "file.th")
    loaded = load_checkpoint(tmp_path / "file.th", data="CIFAR10", normalization="none")
    assert loaded.architecture == f"cifar_resnet{depth}_a"
    x = images(3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), thin_resnet(w, x, blocks))
    w = thin_resnet_weights(3)
    renamed = {key.replace("fc.", "linear.").replace("downsample", "shortcut"): value for key, value in w.items()}
    torch.save(renamed, tmp_path / "file.th")
    assert load_checkpoint(tmp_path / "file.th", data="CIFAR10", normalization="none").architecture == "cifar_resnet20"


def test_weights_of_torch_before_it_counted_batches(tmp_path):
    w = thin_resnet_weights(3)
    torch.save({key: value for key, value in w.items() if "num_batches" not in key}, tmp_path / "file")
    loaded = load_checkpoint(tmp_path / "file", data="CIFAR10", normalization="none")
    x = images(3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), thin_resnet(w, x, 3))


def lenet(w, x):
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"])), 2, 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"])), 2, 2)
    x = F.relu(F.linear(x.view(-1, 4 * 4 * 50), w["fc1.weight"], w["fc1.bias"]))
    return F.linear(x, w["fc2.weight"], w["fc2.bias"])


def test_lenet_of_consistency_and_macer(tmp_path):
    g = torch.Generator().manual_seed(0)
    shapes = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)}
    w = {f"{name}.weight": torch.randn(shape, generator=g) * 0.05 for name, shape in shapes.items()}
    w |= {f"{name}.bias": torch.randn(shape[0], generator=g) for name, shape in shapes.items()}
    smoothing_line(tmp_path / "consistency.pth.tar", "lenet", prefixed(w, "1."))
    torch.save({"net": w, "epoch": 1}, tmp_path / "macer.pth")
    x = images(1, 28, 28)
    for loaded in (
        load_checkpoint(tmp_path / "consistency.pth.tar", data="MNIST", normalization="none"),
        load_checkpoint(tmp_path / "macer.pth", data="MNIST"),
    ):
        assert loaded.architecture == "lenet"
        with torch.inference_mode():
            assert torch.equal(loaded.base_classifier(x), lenet(w, x))
    assert isinstance(data_of(loaded), MNIST)


@pytest.mark.parametrize("prefix", ["1.module.", "1.", ""])
def test_imagenet_resnet50_and_torchvision(tmp_path, prefix):
    """`1.module.`: DataParallel around torchvision's net; no prefix: a file of torchvision's own."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    net = resnet50().eval()
    for name, buffer in net.named_buffers():
        if "running_var" in name:
            buffer.uniform_(0.5, 1.5)
    path = tmp_path / "file.pth"
    if prefix:
        smoothing_line(path, "resnet50", prefixed(net.state_dict(), prefix))
    else:
        torch.save(net.state_dict(), path)
    loaded = load_checkpoint(path, arch="resnet50", data="ImageNet", normalization="center")
    x = images(3, 224, 224, rows=1)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), net(centered(x, list(ImageNet.mean))))
    assert loaded.num_classes == 1000


def test_any_torchvision_model_by_name(tmp_path):
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    net = squeezenet1_1(num_classes=10).eval()
    torch.save({"arch": "squeezenet1_1", "state_dict": net.state_dict()}, tmp_path / "file.pth")
    loaded = load_checkpoint(tmp_path / "file.pth", data="CIFAR10", normalization="none")
    x = images(3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.base_classifier(x), net(x))
    with pytest.raises(ValueError, match="unknown model 'resnet99'; known: cifar_resnet110, .*torchvision's: alexnet"):
        get_architecture("resnet99")


def test_a_normalisation_in_the_file_is_found(tmp_path):
    w = thin_resnet_weights(3)
    x = images(3, 32, 32)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    for held, expected in (
        ({"0.means": torch.tensor(mean), "0.sds": torch.tensor(std)}, standardized(x, mean, std)),
        ({"0.mean": torch.tensor(mean).view(1, 3, 1, 1)}, centered(x, mean)),
    ):
        path = smoothing_line(tmp_path / "file", "cifar_resnet20", held | prefixed(w, "1."))
        with torch.inference_mode():
            assert torch.equal(load_checkpoint(path, data="CIFAR10").base_classifier(x), thin_resnet(w, expected, 3))
        with pytest.raises(ValueError, match="holds its own normalisation"):
            load_checkpoint(path, data="CIFAR10", normalization="none")
    path = smoothing_line(tmp_path / "file", "cifar_resnet20", {"0.weight": torch.ones(3)} | prefixed(w, "1."))
    with pytest.raises(ValueError, match="begins with a layer that is no normalisation: it holds 0.weight"):
        load_checkpoint(path, data="CIFAR10")


def test_what_the_file_does_not_say_is_asked_for(tmp_path):
    w = thin_resnet_weights(3)
    path = smoothing_line(tmp_path / "file", "cifar_resnet20", prefixed(w, "1."))
    with pytest.raises(ValueError, match="does not say which data set .* give data"):
        load_checkpoint(path)
    with pytest.raises(ValueError, match=r"does not say how images are normalised: give normalization, standardize \("):
        load_checkpoint(path, data="CIFAR10")
    with pytest.raises(ValueError, match="normalization must be standardize .* got 'standardise'"):
        load_checkpoint(path, data="CIFAR10", normalization="standardise")
    with pytest.raises(ValueError, match="must have 3 means and 3 positive stds, got '0.5/0.5'"):
        load_checkpoint(path, data="CIFAR10", normalization="0.5/0.5")
    with pytest.raises(ValueError, match="unknown data set 'SVHN'"):
        load_checkpoint(path, data="SVHN", normalization="none")
    torch.save({"arch": "digits_cnn", "state_dict": get_architecture("digits_cnn").build(10).state_dict()}, path)
    arguments = (f"--checkpoint={path}", "--data=Digits", "--normalization=none", "--accelerator=cpu")
    done = run_script("certify.py", *arguments, cwd=tmp_path, status=2)
    assert "does not say the noise of its training: give sigma" in done.stderr
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "weights")
    with pytest.raises(ValueError, match="does not name its architecture: give arch"):
        load_checkpoint(tmp_path / "weights", data="CIFAR10")


def test_what_does_not_fit(tmp_path):
    w = thin_resnet_weights(3)
    path = smoothing_line(tmp_path / "file", "wrn40", prefixed(w, "1."))
    with pytest.raises(ValueError, match="unknown model 'wrn40'; known: cifar_resnet110, cifar_resnet110_a"):
        load_checkpoint(path, data="CIFAR10", normalization="none")
    for arguments, message in (
        (
            {"arch": "cifar_resnet56"},
            "does not fit cifar_resnet56 for CIFAR10: [0-9]+ missing: net.layer1.3.conv1.weight, net.layer1.3.bn1",
        ),
        (
            {"arch": "cifar_resnet20_a"},
            r"for CIFAR10: 12 unexpected: net.layer2.0.downsample.0.weight, net.layer2.0.downsample.1.*, \.\.\.$",
        ),
        ({"arch": "lenet"}, "lenet takes 1x28x28 images"),
        ({"arch": "vit_b_16"}, "does not fit vit_b_16"),
    ):
        with pytest.raises(ValueError, match=message):
            load_checkpoint(path, data="CIFAR10", normalization="none", **arguments)
    torch.save({"weights": prefixed(w, "1."), "epoch": 3}, path)
    with pytest.raises(ValueError, match=r"not a checkpoint of a known form: .*got a dictionary with weights, epoch"):
        load_checkpoint(path, data="CIFAR10", normalization="none")
    torch.save({"model": w, "state_dict": w}, path)
    with pytest.raises(ValueError, match="weights of more than one net: state_dict, model; save the one to certify"):
        load_checkpoint(path, data="CIFAR10", normalization="none")
    torch.save(thin_resnet_weights(3, classes=100) | {"conv1.weight": torch.zeros(16, 3, 3, 3).to(torch.int64)}, path)
    message = r"3 of another shape or type: net.conv1.weight integer .*, net.fc.weight float \[100, 64\] for float"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, data="CIFAR10", normalization="none")
    torch.save(w | {"bn1.running_var": -w["bn1.running_var"]}, path)
    with pytest.raises(ValueError, match="for CIFAR10: net.bn1.running_var holds negative numbers"):
        load_checkpoint(path, data="CIFAR10", normalization="none")
    torch.save(w | {"fc.bias": w["fc.bias"] / 0}, path)
    with pytest.raises(ValueError, match=r"for CIFAR10: net.fc.bias holds NaN or infinities"):
        load_checkpoint(path, data="CIFAR10", normalization="none")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("key", ["state_dict", "net", "arch", "optimizer"])
def test_code_in_a_foreign_file_is_refused_and_not_run(tmp_path, key):
    witness, path = tmp_path / "witness", tmp_path / "evil.pth"
    content = {"arch": "cifar_resnet20", "state_dict": {}, "epoch": 1} | {key: Malicious(witness)}
    torch.save(content, path)
    pickle.loads(pickle.dumps(Malicious(witness)))
    assert witness.exists()  # So the file would do it, if anything in it ran.
    witness.unlink()
    for save in (lambda: None, lambda: torch.save(content, path, _use_new_zipfile_serialization=False)):
        save()
        with pytest.raises(ValueError, match="evil.pth is not a checkpoint that loads safely"):
            load_checkpoint(path, data="CIFAR10", normalization="none")
        assert not witness.exists()


def test_a_function_that_a_foreign_file_names_is_not_called(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr("os.system", called.append)
    path = smoothing_line(tmp_path / "file", "os.system", prefixed(thin_resnet_weights(3), "1."))
    with pytest.raises(ValueError, match="unknown model 'os.system'; known: cifar_resnet110, .* is never imported"):
        load_checkpoint(path, data="CIFAR10", normalization="none")
    assert not called


def test_nets_of_timm_bring_their_own_normalisation_and_the_stages_that_make_images_fit(tmp_path):
    path, net = tmp_path / "theirs.safetensors", get_architecture("timm/test_vit").build(10).eval()
    safetensors.torch.save_file(net.state_dict(), path)
    loaded = load_checkpoint(path, "timm/test_vit", "Digits")
    stages = [name for name, _ in loaded.base_classifier.named_children()]
    assert stages == ["channels", "resize", "normalize", "net"]
    x = torch.rand(2, 1, 8, 8)
    big = F.interpolate(x.expand(-1, 3, -1, -1), (160, 160), mode="bilinear")
    with torch.no_grad():
        assert torch.equal(loaded.base_classifier(x), net((big - 0.5) / 0.5))
        # Numbers are of the channels that the net sees, three of them.
        other = load_checkpoint(path, "timm/test_vit", "Digits", "0.1,0.2,0.3/0.5,0.5,0.5").base_classifier
        means = torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1)
        assert torch.equal(other(x), net((big - means) / 0.5))
        asked = load_checkpoint(path, "timm/test_vit", "Digits", "none").base_classifier
        assert torch.equal(asked(x), net(big))
    data = data_of(loaded)
    doubt = doubt_about_normalization(loaded.base_classifier, data.dataset("test"), data.facts, images=4)
    assert doubt is None or "no better than guessing" in doubt


def test_classes_that_differ_are_said_in_numbers(tmp_path):
    path = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file(get_architecture("timm/test_vit").build(1000).state_dict(), path)
    with pytest.raises(ValueError, match="fit timm/test_vit: its head tells 1000 classes apart, Digits has 10$"):
        load_checkpoint(path, "timm/test_vit", "Digits")
