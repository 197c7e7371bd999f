import gzip
import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from lightning_rs.checkpoints import data_of, load_checkpoint, resumable
from lightning_rs.data import Digits


def test_a_checkpoint_of_train_loads_with_its_weights_and_data(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    loaded = load_checkpoint(checkpoint)
    assert (loaded.architecture, loaded.num_classes, loaded.input_shape) == ("digits_cnn", 10, (1, 8, 8))
    assert (loaded.sigma, loaded.objective) == (0.25, "Gaussian")
    assert not loaded.base_classifier.training
    weights = loaded.base_classifier.state_dict()
    for key, value in content["state_dict"].items():
        if key.startswith("base_classifier."):
            assert torch.equal(weights.pop(key.removeprefix("base_classifier.")), value)
    assert not weights
    data = data_of(loaded)
    assert isinstance(data, Digits)
    assert data.batch_size == 64
    accuracy = loaded.base_classifier(data.dataset("test").tensors[0]).argmax(1) == data.dataset("test").tensors[1]
    assert accuracy.float().mean() > 0.9


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_checkpoint_that_runs_code_is_refused_and_not_run(tmp_path):
    witness = tmp_path / "witness"
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Malicious(witness)}, path)
    with pytest.raises(ValueError, match="evil.ckpt is not a checkpoint that loads safely"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Malicious(witness)))
    with pytest.raises(ValueError, match="evil.ckpt is not a checkpoint that loads safely"):
        load_checkpoint(path)
    assert not witness.exists()


def test_what_is_not_a_checkpoint(tmp_path, checkpoint, monkeypatch):
    path = tmp_path / "file.ckpt"
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="is not a checkpoint that loads safely"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="is not a checkpoint of a known form: .* got a list"):
        load_checkpoint(path)
    content = torch.load(checkpoint, weights_only=True)
    torch.save({"lightning_rs": content["lightning_rs"]}, path)
    with pytest.raises(ValueError, match="lacks hyper_parameters, state_dict"):
        load_checkpoint(path)
    with pytest.raises(ValueError, match="holds arch and normalization: leave them out"):
        load_checkpoint(checkpoint, arch="digits_cnn")
    for change, message in (
        ({"architecture": "os.system"}, "unknown model 'os.system'; known: cifar_resnet110"),
        ({"num_classes": 7}, "does not fit the model that it names"),
        ({"stages": ["antigravity.Stage", "normalize", "net"]}, "unknown stage 'antigravity.Stage'; known: .*net"),
    ):
        torch.save(content | {"hyper_parameters": content["hyper_parameters"] | change}, path)
        called: list[str] = []
        monkeypatch.setattr("os.system", called.append)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(path)
        assert not called


def test_what_is_out_of_range_is_refused_at_once(checkpoint, tmp_path):
    """Before a net of that size is built, or a loader with that batch."""
    content, path = torch.load(checkpoint, weights_only=True), tmp_path / "file.ckpt"
    about, data, h = content["lightning_rs"], content["lightning_rs"]["data"], content["hyper_parameters"]
    std = {"base_classifier.normalize.std": torch.full((1, 1, 1), float("nan"))}
    bias = {"base_classifier.net.0.bias": torch.full((32,), float("inf"))}
    infinite = data | {"init_args": {"batch_size": float("inf")}}
    for change, message in (
        ({"hyper_parameters": h | {"num_classes": 2**31 - 1}}, r"net.7.weight float \[10, 128"),
        ({"hyper_parameters": h | {"num_classes": 2**40}}, "at `hyper_parameters.num_classes`"),
        ({"hyper_parameters": h | {"mean": [float("nan")]}}, "at `hyper_parameters.mean"),
        ({"state_dict": content["state_dict"] | std}, "normalize.std holds NaN"),
        ({"state_dict": content["state_dict"] | bias}, "net.0.bias holds NaN or infinities"),
        ({"lightning_rs": about | {"data": infinite}}, "lightning_rs.data.init_args.batch_size is inf"),
        ({"lightning_rs": about | {"data": data | {"init_args": []}}}, "at `lightning_rs.data.init_args`"),
    ):
        torch.save(content | change, path)
        start = time.process_time()
        with pytest.raises(ValueError, match=message) as caught:
            load_checkpoint(path)
        assert time.process_time() - start < 20.0
        assert str(caught.value).isprintable()
    for size in (0, "64", [64]):
        torch.save(content | {"lightning_rs": about | {"data": data | {"init_args": {"batch_size\n": size}}}}, path)
        with pytest.raises(ValueError, match="Digits does not take these arguments: ") as caught:
            data_of(load_checkpoint(path), batch_size=64)
        assert str(caught.value).isprintable()


def test_data_that_do_not_fit(checkpoint):
    loaded = load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="10 classes of 1x8x8 images apart; CIFAR10 has 10 classes of 3x32x32 images"):
        data_of(loaded, "CIFAR10")
    with pytest.raises(ValueError, match="unknown data set 'SVHN'"):
        data_of(loaded, "SVHN")
    with pytest.raises(ValueError, match="Digits does not take these arguments"):
        data_of(loaded, data_dir="/nowhere")


def test_the_data_set_of_a_checkpoint_has_its_facts_and_fetches_nothing(checkpoint):
    facts = {"num_classes": 10, "shape": [1, 8, 8], "mean": [0.1], "std": [0.2], "levels": 255}
    names = [str(i) for i in range(10)]
    own = {"name": "HuggingFace", "init_args": {"path": "some/name", "download": True}}
    own["facts"] = facts | {"classes": names}
    loaded = replace(load_checkpoint(checkpoint), data=own)
    data = data_of(loaded, channels="1")  # Nothing is learnt: there is nothing at that path.
    assert data.facts.classes == tuple(names) and data.facts.mean == (0.1,)
    assert not data.download and data.steps.channels == 1
    assert data_of(loaded, path="some/name", download="true").download
    by_path = data_of(loaded, "lightning_rs.data.HuggingFace", path="x", channels=1)
    assert by_path.facts == data.facts
    other = replace(loaded, data=own | {"name": "MNIST", "init_args": {"download": True}}, input_shape=(1, 28, 28))
    assert not data_of(other).download and data_of(other, download=True).download
    with pytest.raises(ValueError, match="the checkpoint's facts about its images are none: classes must be 10"):
        data_of(replace(loaded, data=own | {"facts": facts | {"classes": names[1:]}}))
    with pytest.raises(ValueError, match="HuggingFace does not take these arguments: unknown rot; known: augmentation"):
        data_of(loaded, rot="x")


def test_a_path_that_only_the_file_names_is_not_imported(checkpoint, tmp_path, monkeypatch):
    """A module that leaves a witness when it is imported, as architecture, stage and data set of a checkpoint."""
    lines = ("open('witness', 'w')", "def run(*arguments, **options):", "    open('ran', 'w')")
    (tmp_path / "sentinel.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    content, path = torch.load(checkpoint, weights_only=True), tmp_path / "file.ckpt"
    for change, way in (
        ({"architecture": "sentinel.run"}, "--arch sentinel.run to certify.py, .* to train.py"),
        ({"stages": ["sentinel.run", "net"]}, r"--stages '\[sentinel.run\]'"),
    ):
        torch.save(content | {"hyper_parameters": content["hyper_parameters"] | change}, path)
        with pytest.raises(ValueError, match=f"never imported: .* give {way} or --plugins sentinel if it is a class$"):
            load_checkpoint(path)
    data = content["lightning_rs"]["data"] | {"name": "sentinel.run"}
    torch.save(content | {"lightning_rs": content["lightning_rs"] | {"data": data}}, path)
    loaded = load_checkpoint(path)
    with pytest.raises(ValueError, match="give --data sentinel.run or --plugins sentinel"):
        data_of(loaded)
    assert not (tmp_path / "witness").exists()
    with pytest.raises(ValueError, match=r"sentinel.run is no data set"):  # Named by the user, it is imported.
        data_of(loaded, "sentinel.run")
    assert (tmp_path / "witness").exists()
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_version_1_loads_and_is_not_resumed(tmp_path):
    path = tmp_path / "version1.ckpt"
    path.write_bytes(gzip.decompress((ROOT / "tests" / "golden" / "version1.ckpt.gz").read_bytes()))
    weights = torch.load(path, weights_only=True)["state_dict"]
    loaded = load_checkpoint(path)
    own = loaded.base_classifier.state_dict()
    assert list(own)[:3] == ["normalize.mean", "normalize.std", "net.0.weight"]
    held = [value for key, value in weights.items() if key.startswith("base_classifier.")]
    assert all(torch.equal(a, b) for a, b in zip(own.values(), held, strict=True))
    assert data_of(loaded).facts.shape == (1, 8, 8)
    with pytest.raises(ValueError, match="is of version 0.1: it can be certified, but its training cannot be resumed"):
        resumable(path, None, data_of(loaded))
