import copy
import pickle
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lightning_rs.models import get_architecture, load_named, weights_digest
from lightning_rs.models.onnx_nets import onnx_architecture
from lightning_rs.smoothing import Preparation, SmoothedClassifier, prepare

WEIGHTS = np.random.default_rng(0).standard_normal((64, 10)).astype("float32")
IMAGES = torch.from_numpy(np.random.default_rng(1).random((7, 1, 8, 8), dtype="float32"))
SCORES = IMAGES.flatten(1) @ torch.from_numpy(WEIGHTS)


def save(
    path, batch="batch", image=(1, 8, 8), classes=10, kind=TensorProto.FLOAT, inputs=1, outputs=1, domain="", **options
):
    """A linear net as an ONNX file."""
    weights = numpy_helper.from_array(WEIGHTS.astype(helper.tensor_dtype_to_np_dtype(kind)), "weights")
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"], domain=domain),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(("images", "more")[i], kind, [batch, *image]) for i in range(inputs)],
        [helper.make_tensor_value_info(("scores", "flat")[i], kind, [batch, (classes, 64)[i]]) for i in range(outputs)],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("theirs", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path, **options)
    return path


def net(path):
    return onnx_architecture(str(path)).build(10)


def test_it_answers_as_the_net_and_says_which_images_it_takes(tmp_path):
    entry = onnx_architecture(str(save(tmp_path / "net.onnx")))
    assert (entry.channels, entry.size, entry.prefers, entry.carries) == (1, 8, 8, True)
    built = entry.build(10)
    assert torch.allclose(built(IMAGES), SCORES, atol=1e-5)
    assert torch.equal(built(IMAGES[3:5]), built(IMAGES)[3:5])
    assert built(IMAGES.double()).dtype == torch.float32  # The file's own type.
    assert built(IMAGES[:, :, :, torch.arange(7, -1, -1)]).shape == (7, 10)  # Not in order in memory.
    assert not list(built.parameters())


def test_a_net_that_torch_exported(tmp_path):
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    path, images = tmp_path / "net.onnx", torch.rand(5, 3, 16, 16)
    options = {"dynamo": True, "dynamic_shapes": ({0: "batch"},), "verbose": False}
    torch.onnx.export(theirs.eval(), (images[:2],), path, **options)
    with torch.no_grad():
        assert torch.allclose(onnx_architecture(str(path)).build(4)(images), theirs(images), atol=1e-5)


def test_half_precision(tmp_path):
    built = net(save(tmp_path / "net.onnx", kind=TensorProto.FLOAT16))
    assert built(IMAGES).dtype == torch.float16
    assert torch.allclose(built(IMAGES).float(), SCORES, atol=0.1)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_runs_in_parts_with_a_warning_that_says_how_to_export_it(tmp_path, batch):
    path = save(tmp_path / "net.onnx", batch=batch)
    with pytest.warns(UserWarning, match=f"takes {batch} images? a call, .*: torch.onnx.export.*dynamic_shapes"):
        built = net(path)
    assert torch.allclose(built(IMAGES), SCORES, atol=1e-5)
    assert torch.allclose(built(IMAGES[:2]), SCORES[:2], atol=1e-5)


@pytest.mark.parametrize("classes", [10, "classes"])
def test_another_number_of_classes(tmp_path, classes):
    """Where the file does not say it, the model is asked."""
    path = save(tmp_path / "net.onnx", classes=classes)
    with pytest.raises(ValueError, match=r"net\.onnx tells 10 classes apart, not 7$"):
        onnx_architecture(str(path)).build(7)


def test_images_of_any_size(tmp_path):
    path = save(tmp_path / "net.onnx", image=(1, "height", "width"), classes="classes")
    entry = onnx_architecture(str(path))
    assert (entry.size, entry.prefers) == (None, None)
    assert torch.allclose(entry.build(10)(IMAGES), SCORES, atol=1e-5)


def test_copies_answer_the_same(tmp_path):
    built = net(save(tmp_path / "net.onnx"))
    for other in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
        assert torch.equal(other(IMAGES), built(IMAGES))
        assert weights_digest(other) == weights_digest(built)


def test_files_are_told_apart_by_all_that_they_hold(tmp_path):
    digests = [weights_digest(net(save(tmp_path / f"{batch}.onnx", batch=batch))) for batch in ("rows", "n")]
    options = {"save_as_external_data": True, "location": "net.data", "size_threshold": 0}
    path = save(tmp_path / "net.onnx", **options)
    digests.append(weights_digest(net(path)))
    data = bytearray((tmp_path / "net.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "net.data").write_bytes(data)
    digests.append(weights_digest(net(path)))
    assert len(set(digests)) == 4
    (tmp_path / "net.data").unlink()
    with pytest.raises(ValueError, match=r"net\.onnx has weights in 'net\.data', which is no file beside it$"):
        net(path)


def test_weights_elsewhere_are_not_read(tmp_path):
    (tmp_path / "folder").mkdir()
    path = save(tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "folder" / "net.onnx").write_bytes(path.read_bytes().replace(b"net.data", b"../n.dat"))
    (tmp_path / "net.data").rename(tmp_path / "n.dat")
    with pytest.raises(ValueError, match=r"has weights in '\.\./n\.dat', which is no file beside it$"):
        net(tmp_path / "folder" / "net.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 2}, r"must have one input, \(images, channels, height, width\), got 2: images, more$"),
        ({"outputs": 2}, r"must have one output, \(images, classes\), got 2: scores, flat$"),
        ({"image": (64,)}, r"the input of .* must be floats \(images, channels, height, width\), got tensor\(float\)"),
        ({"domain": "theirs"}, r"is not a model that ONNX Runtime can run: .*theirs"),
        ({"image": (1, 8, 9)}, r"fails on an image of zeros|can run: "),
    ],
)
def test_what_cannot_serve(tmp_path, options, message):
    path = save(tmp_path / "net.onnx", **options)
    with pytest.raises(ValueError, match=message) as raised:
        net(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no ONNX file at .*net\.onnx$"):
        onnx_architecture(str(tmp_path / "net.onnx"))
    for content in (b"", b"no model" * 9):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"net\.onnx is not an? (ONNX )?model"):
            onnx_architecture(str(tmp_path / "net.onnx"))


def test_it_is_known_once_the_user_named_it(tmp_path):
    name = f"onnx/{save(tmp_path / 'net.onnx')}"
    with pytest.raises(ValueError, match=f"never read: if {name} is yours, give --arch {name} to certify.py, "):
        get_architecture(name)
    with pytest.raises(ValueError, match="is a file: no checkpoint holds what it is built from"):
        get_architecture(name, {})  # As a checkpoint would say it.
    load_named(name)
    assert get_architecture(name).name == name


@pytest.mark.parametrize(
    "option", [{"precision": "bfloat16"}, {"channels_last": True}, {"fold_batch_norm": True}, {"compile": True}]
)
def test_nothing_makes_it_faster(tmp_path, option):
    classifier = nn.Sequential(net(save(tmp_path / "net.onnx")))
    message = f"^ONNX Runtime runs the model of the file as it is: leave {next(iter(option))} out$"
    with pytest.raises(ValueError, match=message):
        prepare(classifier, Preparation(**option), IMAGES)


def test_it_is_sampled_as_any_classifier(tmp_path):
    """Where no two scores are near each other the votes are those of the same net in torch."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    linear[1].weight.data = torch.from_numpy(WEIGHTS.T.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [
            SmoothedClassifier(classifier, 10, 0.25, batch_size=100).sample(IMAGES, n0=10, n=500).counts
            for classifier in (net(save(tmp_path / "net.onnx")), linear)
        ]
    np.testing.assert_array_equal(*results)
