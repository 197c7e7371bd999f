"""Data sets of Hugging Face's `datasets`: from a folder, or by a name on its hub."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from lightning_rs.checks import check_flag, check_inside
from lightning_rs.data.checked import ImageError
from lightning_rs.data.image_files import DEEP, as_pixels, in_threads, read_file
from lightning_rs.data.learned import (
    MOST_FOR_STATISTICS,
    LearnedDataModule,
    evenly_spaced,
    held_out_of_classes,
    pixel_statistics,
)
from lightning_rs.data.transforms import Augmentation, ImageSteps, cropped
from lightning_rs.models import ImageFacts
from lightning_rs.models.hub import reach_hub
from lightning_rs.optional import optional_import

_VALIDATION = ("validation", "val", "valid", "dev")


class HuggingFace(LearnedDataModule):
    """A data set of images with labels: a folder of `save_to_disk`, of parquet files or of images, or a hub name.

    Nothing of a data set is run, and nothing is fetched unless `download` is true; images that only name an address
    are not. Validation images are those of a split of that name, or held out from the training images, of each class
    its share and evenly spaced. Classes, their number, statistics and levels are learnt from the training images.

    Args:
        path: the folder, or a name on the hub such as ylecun/mnist.
        subset: of a data set of several.
        image_column: with the images; the only one of images when left out.
        label_column: with the labels; the only one of classes, or `label`, when left out.
        test_split: name of the split that is certified.
        size: the shorter side is resized to this, and the centre cropped; images of one size may stay as they are.
        channels: 3, or 1 for grey.
        augmentation: of training images; see `lightning_rs.data.transforms`.
        padding: width of the border from which `crop` cuts.
        val_fraction: share of the validation images, where there is no split of them.
        download: fetch the data set from the hub when it is not there.
        batch_size: images per training step and process.
        num_workers: processes that load images.
    """

    def __init__(
        self,
        path: str,
        subset: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        test_split: str = "test",
        size: int | None = None,
        channels: int = 3,
        augmentation: Augmentation = "none",
        padding: int = 4,
        val_fraction: float = 0.1,
        download: bool = False,
        batch_size: int = 256,
        num_workers: int = 2,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.path, self.subset, self.test_split = path, subset, test_split
        self.image_column, self.label_column = image_column, label_column
        self.steps = ImageSteps(size, channels, augmentation, padding)
        self.val_fraction = check_inside("val_fraction", val_fraction)
        self.download = check_flag("download", download)
        self._splits: dict[str, Any] = {}

    def learn(self) -> ImageFacts:
        rows = self._rows("train" if "train" in self._load() else "test")
        images = _Rows(rows, *self._columns(rows), None, self.steps.channels, cropped(self.steps.size), self.path)
        chosen = evenly_spaced(len(rows), MOST_FOR_STATISTICS)
        shapes, deep = set(), False

        def pixels(index: int) -> Tensor:
            nonlocal deep
            image = images.image(index, rows[index])
            deep |= image.mode == "I"
            tensor = as_pixels(image, self.steps.channels)
            shapes.add(tuple(tensor.shape))
            if len(shapes) > 1:
                raise ValueError(f"images of {self.path} have several sizes: give size, for example 224")
            return tensor

        mean, std = pixel_statistics(in_threads(pixels, chosen, f"Statistics of {self.path}"), self.path)
        classes = self._classes(rows, images.label_column)
        count = len(classes) if classes else max(rows[images.label_column]) + 1
        return ImageFacts(count, shapes.pop(), mean, std, DEEP if deep else 255, classes)

    def load(self, split: str) -> Dataset:
        rows, facts = self._rows(split), self.facts
        steps = self.steps.of(split, facts.shape)
        columns = self._columns(rows)
        names = self._classes(rows, columns[1])
        other = [name for name in names or () if name not in (facts.classes or ())]
        if other:
            raise ValueError(f"{self.path}, {split}, has a class {other[0]!r} that the training images lack")
        label = None
        if names and facts.classes:  # By name: another file may number them otherwise.
            place = {name: i for i, name in enumerate(facts.classes)}
            numbered = getattr(rows.features[columns[1]], "names", None)
            label = {i: place[name] for i, name in enumerate(numbered)} if numbered else place
        return _Rows(rows, *columns, label, self.steps.channels, steps, f"{self.path}, {split}")

    def _rows(self, split: str) -> Any:
        splits = self._load()
        if split == "test":
            return self._split(self.test_split)
        validation = next((name for name in _VALIDATION if name in splits and name != self.test_split), None)
        if validation:
            return self._split(validation if split == "val" else "train")
        train = self._split("train")
        held = max(1, round(self.val_fraction * len(train)))
        stay, out = held_out_of_classes(train[self._columns(train)[1]][:], held)
        return train.select(stay if split == "train" else out)

    def _split(self, name: str) -> Any:
        splits = self._load()
        if name not in splits:
            held = ", ".join(splits)
            raise ValueError(f"{self.path} has no split {name!r}; it has {held}: give test_split, or split it first")
        return splits[name]

    def _columns(self, rows: Any) -> tuple[str, str]:
        datasets = optional_import("datasets", "hf")
        found = []
        for what, given, kind, usual in (
            ("image", self.image_column, datasets.Image, ("image", "img")),
            ("label", self.label_column, datasets.ClassLabel, ("label", "labels")),
        ):
            columns = list(rows.features)
            of_kind = [name for name, feature in rows.features.items() if isinstance(feature, kind)]
            named = [name for name in usual if name in columns]
            column = given or (of_kind[0] if len(of_kind) == 1 else next(iter(named), None))
            if column not in columns:
                raise ValueError(
                    f"{self.path}: which column holds the {what}s? give {what}_column: {', '.join(columns)}"
                )
            found.append(column)
        if not isinstance(rows.features[found[0]], datasets.Image):
            raise ValueError(f"{self.path}: column {found[0]!r} holds no images")
        return found[0], found[1]

    def _classes(self, rows: Any, column: str) -> list[str] | None:
        """Names of the classes: those that the column says, or its texts, sorted; None if it holds numbers."""
        names = getattr(rows.features[column], "names", None)
        if names is None and getattr(rows.features[column], "dtype", None) == "string":
            names = sorted(set(rows[column]))
        return names and list(names)

    def _load(self) -> Mapping[str, Any]:
        if not self._splits:
            datasets = optional_import("datasets", "hf")
            self._check_place()
            folder = Path(self.path).expanduser()
            try:
                loaded = self._read(datasets, folder) if folder.is_dir() else self._fetched(datasets)
            except ConnectionError:
                raise
            except (ValueError, TypeError, RuntimeError, OSError, KeyError) as error:
                reason = " ".join(str(error).split())[:200]
                raise ValueError(f"{self.path} cannot be read as a data set: {reason}") from None
            splits = loaded if isinstance(loaded, dict) else {"train": loaded}
            for name, rows in splits.items():
                for column, feature in rows.features.items():
                    if isinstance(feature, datasets.Image):
                        # Decoded here: a row that holds the address of an image would be fetched there.
                        rows = rows.cast_column(column, datasets.Image(decode=False))
                self._splits[name] = rows
        return self._splits

    def _read(self, datasets: Any, folder: Path) -> Any:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        kind = "parquet" if next(folder.rglob("*.parquet"), None) else "imagefolder"
        return datasets.load_dataset(kind, data_dir=str(folder))

    def _fetched(self, datasets: Any) -> Any:
        try:
            reach_hub()
        except OSError:
            datasets.config.HF_HUB_OFFLINE = True  # What was fetched before serves; else it would ask for minutes.
        try:
            return datasets.load_dataset(self.path, self.subset)
        except OSError as error:
            reason = " ".join(str(error).split())[:160]
            raise ConnectionError(f"{self.path} cannot be fetched ({reason}): {self._elsewhere()}") from None

    def _elsewhere(self) -> str:
        """How to get a data set where there is a network."""
        save = f"import datasets; datasets.load_dataset({self.path!r}).save_to_disk('FOLDER')"
        return f'save it where there is a network, python -c "{save}", and set path to that folder'

    def _check_place(self) -> None:
        """Refuse what is neither a folder nor a name that may be asked for."""
        named = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.path)
        if not (Path(self.path).expanduser().is_dir() or (self.download and named)):
            raise FileNotFoundError(
                f"no data set at {self.path}: set path to a folder of save_to_disk, of parquet files or of images; or, "
                f"if it is a name on the hub, set download: true to fetch it, or {self._elsewhere()}"
            )


class _Rows(Dataset):
    """Rows of a data set as pixels in [0, 1] and labels."""

    def __init__(
        self,
        rows: Any,
        image_column: str,
        label_column: str,
        label: Mapping[Any, int] | None,
        channels: int,
        steps: Sequence[Callable],
        name: str,
    ) -> None:
        self.rows, self.image_column, self.label_column, self.label = rows, image_column, label_column, label
        self.channels, self.steps, self.name = channels, steps, name

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int, row: Mapping[str, Any]) -> Any:
        """The image of a row, brought to size."""
        held, name = row[self.image_column], f"{self.name} row {index}"
        content = held and held.get("bytes")
        if content is None and not (held and held.get("path") and Path(held["path"]).is_file()):
            raise ImageError(f"{name} holds no image")
        path = Path(name if content is not None else held["path"])
        image: Any = read_file(path, self.channels, None if content is None else io.BytesIO(content))
        for step in self.steps:
            image = step(image)
        return image

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = self.rows[index]
        label = row[self.label_column]
        return as_pixels(self.image(index, row), self.channels), label if self.label is None else self.label[label]
