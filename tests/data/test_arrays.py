"""Arrays in files: layouts, types, levels, splits, and what is refused."""

import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from data.own_images import digit_arrays

from lightning_rs.data import Arrays

X, Y = digit_arrays(20)
XT, YT = digit_arrays(4, 20)
SPLIT = {"train_images": X, "train_labels": Y, "test_images": XT, "test_labels": YT}


def tensors(arrays):
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


def write(folder, kind):
    path = folder / f"data.{kind}"
    if kind == "npz":
        np.savez(path, **SPLIT)
    elif kind == "pt":
        torch.save(tensors(SPLIT), path)
    elif kind == "safetensors":
        safetensors.torch.save_file(tensors(SPLIT), path)
    elif kind == "npy":
        path.mkdir()
        for key, value in SPLIT.items():
            np.save(path / key, value)
    elif kind == "files":
        path.mkdir()
        np.savez(path / "train.npz", images=X, labels=Y)
        np.savez(path / "test.npz", images=XT, labels=YT)
        (path / "test.npz").rename(path / "test.npy")  # What a file holds counts, not what its name says.
    else:
        np.savez(path := folder / "mnist.npz", x_train=X, y_train=Y[:, None], x_test=XT, y_test=YT)
    return str(path)


@pytest.mark.parametrize("kind", ["npz", "pt", "safetensors", "npy", "files", "keras"])
def test_every_kind_of_file_gives_the_same_images(tmp_path, kind):
    data = Arrays(write(tmp_path, kind))
    facts = data.facts
    assert (facts.num_classes, facts.shape, facts.levels, facts.classes) == (3, (1, 8, 8), 255, None)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [54, 6, 12]
    image, label = data.dataset("test")[5]
    assert label == YT[5] and np.array_equal((image[0] * 255).round().numpy(), XT[5])
    images = torch.stack([image for image, _ in data.dataset("train")])
    assert facts.mean[0] == pytest.approx(float(images.mean()), abs=1e-5)


def test_layouts(tmp_path):
    colour = np.repeat(X[..., None], 3, axis=-1)
    for name, images in (("nhwc", colour), ("nchw", colour.transpose(0, 3, 1, 2))):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=Y)
        data = Arrays(str(tmp_path / f"{name}.npz"), test_fraction=0.2)
        assert data.facts.shape == (3, 8, 8)
        assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [42, 6, 12]
        seen = [image.numpy().tobytes() for split in ("train", "val", "test") for image, _ in data.dataset(split)]
        expected = colour.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        assert sorted(seen) == sorted(image.tobytes() for image in expected)


@pytest.mark.parametrize(
    ("images", "levels"),
    [
        (X > 100, 1),
        ((X // 17 / 15).astype(np.float32), 15),
        (X // 16 / 16, 16),
        (X.astype(np.float32) / np.float32(255), 255),
        (X.astype(np.uint16) * 200, 65535),
        ((X.astype(np.float64) * 200 / 65535).astype(np.float32), 65535),
        (np.sqrt(X / 255), None),
    ],
)
def test_levels_are_those_of_the_least_grid(tmp_path, images, levels):
    np.savez(tmp_path / "x.npz", images=images, labels=Y)
    data = Arrays(str(tmp_path / "x.npz"), test_fraction=0.2)
    assert data.facts.levels == levels
    if levels:
        pixels = torch.stack([image for image, _ in data.dataset("test")]).double() * levels
        assert float((pixels - pixels.round()).abs().max()) <= levels * 2.0**-22


def test_levels_serve_the_images_of_all_splits(tmp_path):
    for train, test, levels in (
        (X // 17 / 15, XT, 255),
        (X, XT.astype(np.uint16) * 200, 65535),
        (X, np.sqrt(XT / 255), None),
        (X > 100, XT > 100, 1),
    ):
        np.savez(tmp_path / "x.npz", **SPLIT | {"train_images": train, "test_images": test})
        assert Arrays(str(tmp_path / "x.npz")).facts.levels == levels


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.uint64])
def test_classes_that_take_turns_are_in_every_split(tmp_path, kind):
    order = np.argsort(np.tile(np.arange(20), 3), kind="stable")
    np.savez(tmp_path / "x.npz", images=X[order], labels=Y[order].astype(kind))
    data = Arrays(str(tmp_path / "x.npz"), test_fraction=1 / 3, val_fraction=1 / 6)
    for split, share in (("train", 1 / 2), ("val", 1 / 6), ("test", 1 / 3)):
        counts = np.bincount([label for _, label in data.dataset(split)], minlength=3)
        assert np.abs(counts - 20 * share).max() <= 1


def test_training_images_are_augmented(tmp_path):
    path = write(tmp_path, "npz")
    for augmentation in ("crop_flip", "random_resized_crop"):
        train = Arrays(path, augmentation=augmentation, padding=2).dataset("train")
        draws = [train[7][0] for _ in range(10)]
        assert not all(torch.equal(draws[0], draw) for draw in draws)
        assert all(0.0 <= float(draw.min()) and float(draw.max()) <= 1.0 for draw in draws)


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def changed(**arrays):
    def make(folder):
        held = {key: value for key, value in (SPLIT | arrays).items() if value is not None}
        np.savez(folder / "x.npz", **held)
        return folder / "x.npz"

    return make


def evil_npz(folder):
    np.savez(folder / "x.npz", images=np.array([Evil()], dtype=object))
    return folder / "x.npz"


def evil_pt(folder):
    torch.save({"images": Evil()}, folder / "x.pt")
    return folder / "x.pt"


def cut(folder):
    path = changed()(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def spoilt(folder):
    path = folder / "x.npz"
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8), labels=Y)
    content = bytearray(path.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(content)
    return path


def mixed_pt(folder):
    torch.save({"images": torch.from_numpy(X), "names": ["a", "b"]}, folder / "x.pt")
    return folder / "x.pt"


def pickled(folder):
    (folder / "x.npz").write_bytes(pickle.dumps(Evil()))
    return folder / "x.npz"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.npz", r"no arrays at .*none.npz: set path to a file \(.npz, .pt"),
        (lambda folder: folder, "must hold arrays train_images and train_labels.* it holds none$"),
        (changed(train_labels=None), "must hold arrays train_images and train_labels.* it holds test_images, "),
        (changed(train_labels=Y[:-1]), r"must be 60 integers, one for each .* got int64 of the shape \(59,"),
        (changed(train_labels=Y / 2), "train_labels must be 60 integers, .* got float64"),
        (changed(train_images=X.astype(np.int64)), "train_images must be bool, uint8, uint16 or float.* got int64$"),
        (changed(train_images=X * 1.0), r"pixels must lie in \[0, 1\], got \["),
        (changed(train_images=X[:, :, :, None, None]), r"NHW, NCHW or NHWC .* got the shape \(60, 8, 8, 1, 1\)"),
        (changed(train_images=X[:, None, :, :1]), r"must be NHW, NCHW or NHWC .* got the shape \(60, 1, 8, 1\)|shape"),
        (changed(train_labels=Y * 0), "num_classes must be an integer of at least 2, got 1"),
        (changed(test_labels=YT + 1), "label must be less than the number of classes|Arrays, test"),
        (evil_npz, "x.npz cannot be read as arrays: Object arrays cannot be loaded when allow_pickle=False"),
        (evil_pt, "x.pt holds more than tensors, and is not loaded: it could run code"),
        (pickled, "x.npz cannot be read as arrays"),
        (cut, "x.npz cannot be read as arrays"),
        (spoilt, "x.npz cannot be read as arrays"),
        (mixed_pt, "x.pt must hold tensors by name, got a list as 'names'"),
    ],
)
def test_what_cannot_serve(tmp_path, make, message, capsys):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        data = Arrays(str(make(tmp_path)))
        for split in ("train", "val", "test"):
            list(data._loader(split))
    assert "\n" not in str(caught.value)
    assert "ran" not in capsys.readouterr().out
