"""Data sets of `datasets`, saved by it in the tests; nothing is fetched."""

import datasets
import numpy as np
import pyarrow.parquet
import pytest
from data.own_images import NAMES, digit_arrays, write_folders
from PIL import Image

from lightning_rs.data import HuggingFace, huggingface

XT, YT = digit_arrays(4, 20)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def made(labels=None, rows=20, **columns):
    images, numbers = digit_arrays(rows) if rows != 4 else (XT, YT)
    features = {"picture": datasets.Image(), "kind": labels or datasets.ClassLabel(names=list(NAMES))}
    content = {"picture": [Image.fromarray(image) for image in images], "kind": numbers.tolist()} | columns
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def write(folder, kind):
    if kind == "imagefolder":
        return write_folders(folder / kind)
    splits = datasets.DatasetDict({"train": made(), "test": made(rows=4)})
    if kind == "disk":
        splits.save_to_disk(str(folder / kind))
    else:
        (folder / kind).mkdir()
        for name, rows in splits.items():
            rows.to_parquet(str(folder / kind / f"{name}-00000-of-00001.parquet"))
    return folder / kind


@pytest.mark.parametrize("kind", ["disk", "parquet", "imagefolder"])
def test_a_folder_of_each_kind(tmp_path, kind):
    data = HuggingFace(str(write(tmp_path, kind)), channels=1)
    assert (data.num_classes, data.shape, data.levels, data.classes) == (3, (1, 8, 8), 255, NAMES)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [54, 6, 12]
    for i in (0, 5, 11):
        image, label = data.dataset("test")[i]
        assert label == YT[i] and np.array_equal((image[0] * 255).round().numpy(), XT[i])
    larger = HuggingFace(str(tmp_path / kind), size=16, augmentation="crop_flip")
    assert larger.dataset("train")[0][0].shape == (3, 16, 16)


def test_labels_are_numbers_or_texts_too(tmp_path):
    texts = [NAMES[label] for label in digit_arrays(20)[1]]
    kinds = ((datasets.Value("int64"), {}, None), (datasets.Value("string"), {"kind": texts}, NAMES))
    for labels, columns, classes in kinds:
        rows = made(labels, **columns)
        path = tmp_path / str(classes)
        datasets.DatasetDict({"train": rows, "validation": rows, "test": rows}).save_to_disk(str(path))
        data = HuggingFace(str(path), channels=1, label_column="kind", test_split="test")
        assert (data.num_classes, data.classes) == (3, classes)
        assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [60, 60, 60]
        assert [label for _, label in data.dataset("test")] == digit_arrays(20)[1].tolist()


def test_labels_mean_the_classes_of_the_checkpoint(tmp_path):
    facts = HuggingFace(str(write(tmp_path, "disk")), channels=1).facts
    names = datasets.ClassLabel(names=["two", "nought"])
    rows = made(names, rows=4, kind=[int(label == 0) for label in YT])
    datasets.DatasetDict({"test": rows}).save_to_disk(str(tmp_path / "other"))
    data = HuggingFace(str(tmp_path / "other"), channels=1)
    data.restore(facts)
    assert [label for _, label in data.dataset("test")] == [0] * 4 + [2] * 8


def test_columns_and_splits_that_are_not_there(tmp_path):
    path = str(write(tmp_path, "disk"))
    for arguments, message in (
        ({"image_column": "x"}, "which column holds the images. give image_column: picture, kind$"),
        ({"image_column": "kind"}, "column 'kind' holds no images"),
        ({"label_column": "x"}, "which column holds the labels. give label_column: picture, kind$"),
        ({"test_split": "x"}, "has no split 'x'; it has train, test: give test_split"),
    ):
        with pytest.raises(ValueError, match=message):
            HuggingFace(path, channels=1, **arguments).dataset("test")


def test_names_are_fetched_only_when_asked(tmp_path, monkeypatch):
    message = r"no data set at some/name: set path to a folder .* set download: true to fetch it, or save it where .*"
    with pytest.raises(FileNotFoundError, match=message + r"load_dataset\('some/name'\).save_to_disk\('FOLDER'\)"):
        HuggingFace("some/name").dataset("test")
    for path in ("http://127.0.0.1/x", "../x", str(tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match="no data set at"):
            HuggingFace(path, download=True).dataset("test")
    message = r"^some/name cannot be fetched \(.*\): save it where there is a network, .*, and set path to that folder$"
    with pytest.raises(OSError, match=message) as caught:
        HuggingFace("some/name", download=True).dataset("test")
    assert "\n" not in str(caught.value)

    def missing(module, extra):
        raise ValueError(f"{module} {extra}")

    monkeypatch.setattr(huggingface, "optional_import", missing)
    with pytest.raises(ValueError, match="^datasets hf$"):
        HuggingFace(str(tmp_path)).dataset("test")


def test_an_image_that_only_names_an_address_is_not_read(tmp_path):
    address = {"bytes": None, "path": "http://127.0.0.1:9/x.png"}
    rows = {"picture": [address] * 4, "kind": [0, 1, 2, 0]}
    (tmp_path / "x").mkdir()
    for split in ("train", "test"):
        table = pyarrow.table(rows, schema=made(rows=4).features.arrow_schema)
        pyarrow.parquet.write_table(table, tmp_path / "x" / f"{split}.parquet")
    with pytest.raises(ValueError, match="x row 0 holds no image"):
        HuggingFace(str(tmp_path / "x"), channels=1).dataset("test")


def test_images_of_several_sizes_need_a_size(tmp_path):
    rows = made(picture=[Image.new("L", (8 + i % 2, 8)) for i in range(60)])
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "x"))
    with pytest.raises(ValueError, match="have several sizes: give size"):
        HuggingFace(str(tmp_path / "x")).dataset("train")
