"""A user's own images: files in folders of classes."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import Dataset

from lightning_rs.checks import check_flag, check_inside, shown
from lightning_rs.data.base import require_folder
from lightning_rs.data.image_files import (
    DEEP,
    Headers,
    ImageFiles,
    class_folders,
    files_of_class,
    in_threads,
    look_at,
    place_of,
)
from lightning_rs.data.learned import MOST_FOR_STATISTICS, LearnedDataModule, evenly_spaced, pixel_statistics
from lightning_rs.data.transforms import Augmentation, ImageSteps, cropped
from lightning_rs.models import ImageFacts

_ADVICE = (
    "set root to a folder with train and test, each with one folder of images per class, or to one folder of class "
    "folders with test_fraction, the share of its images that are test"
)
_SAMPLE = 500  # Images of a split that are decoded before the run; of the training images, those of the statistics are.


class ImageFolder(LearnedDataModule):
    """Images from `root`/train/CLASS/*, `root`/test/CLASS/* and, if it is there, `root`/val/CLASS/*.

    Without `val`, validation images are held out from the training images; with `test_fraction`, `root`/CLASS/* are
    split in three. Either is by a hash of a file's name within its folder: files that are added move no others.

    Classes are the folders' names, sorted. Mean and std are those of the training images, or of 10,000 evenly spaced
    ones. Images of 8 bits have 255 levels; if one has 16 (grey ones alone: PIL reads colours with 8), 65,535. All are
    kept in the checkpoint, so that certifying takes the test images alone; without `train` they are learnt from `test`.

    Before a run the header of every file is read, and some images decoded; each is checked again when it is read.

    Args:
        root: the folder.
        size: the shorter side is resized to this, and the centre cropped; images of one size may stay as they are.
        channels: 3, or 1 for grey.
        augmentation: of training images; see `lightning_rs.data.transforms`.
        padding: width of the border from which `crop` cuts.
        val_fraction: share of the validation images, where there is no folder of them.
        test_fraction: share of the test images, where all lie in one folder.
        check_files: read every header; without it only those files are looked at that are decoded before the run.
        batch_size: images per training step and process.
        num_workers: processes that load images.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    def __init__(
        self,
        root: str,
        size: int | None = None,
        channels: int = 3,
        augmentation: Augmentation = "none",
        padding: int = 4,
        val_fraction: float = 0.1,
        test_fraction: float | None = None,
        check_files: bool = True,
        batch_size: int = 256,
        num_workers: int = 2,
        on_device: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, on_device)
        self.root = Path(root).expanduser()
        self.steps = ImageSteps(size, channels, augmentation, padding)
        self.val_fraction = check_inside("val_fraction", val_fraction)
        self.test_fraction = None if test_fraction is None else check_inside("test_fraction", test_fraction)
        if val_fraction + (test_fraction or 0.0) >= 1.0:
            raise ValueError(
                f"val_fraction and test_fraction must leave training images, got {shown(val_fraction)} "
                f"and {shown(test_fraction)}"
            )
        self.check_files = check_flag("check_files", check_files)
        self._listed: dict[str, list[str]] = {}
        self._headers: dict[str, Headers] = {}

    def learn(self) -> ImageFacts:
        known = "train" if self.test_fraction is not None or (self.root / "train").is_dir() else "test"
        folder = self._folder(known)
        classes = class_folders(folder, 2)
        names = self._names(known)
        chosen = [names[i] for i in evenly_spaced(len(names), MOST_FOR_STATISTICS)]
        headers = self._look(known, chosen)
        channels, side = self.steps.channels, self.steps.size
        size = (side, side) if side else self._one_size(known, headers)
        images = ImageFiles(folder, chosen, [0] * len(chosen), channels, cropped(side))
        read = in_threads(lambda i: images[i][0], range(len(images)), f"Statistics of {folder}")
        mean, std = pixel_statistics(read, str(folder))
        levels = DEEP if headers.deep else 255
        return ImageFacts(len(classes), (channels, *size), mean, std, levels, classes)

    def load(self, split: str) -> Dataset:
        facts, folder, names = self.facts, self._folder(split), self._names(split)
        label = {name: i for i, name in enumerate(facts.classes or ())}
        self._check_classes(split, folder, label)
        if self.test_fraction is None and (self.root / "train").is_dir():
            self._check_classes("train", self.root / "train", label)
        labels = [label[name.partition("/")[0]] for name in names]
        if split == "train" and (missing := label.keys() - {name.partition("/")[0] for name in names}):
            raise ValueError(f"of class {min(missing)!r} no image of {folder} falls to train: hold out a smaller share")
        if not rank_zero_only.rank:
            self._check_sample(split, names)
        return ImageFiles(folder, names, labels, self.steps.channels, self.image_steps(split))

    def _check_sample(self, split: str, names: list[str]) -> None:
        """Look at the headers of a split, and decode some of its images."""
        facts, folder = self.facts, self._folder(split)
        some = [names[i] for i in evenly_spaced(len(names), _SAMPLE)]
        headers = self._look(split, some)
        if headers.deep and facts.levels != DEEP:
            raise ValueError(f"{folder / headers.deep} has 16 bits, and those of the training have 8: save it with 8")
        if self.steps.size is None and (shape := self._one_size(split, headers)) != facts.shape[1:]:
            said, expected = ("x".join(map(str, sides)) for sides in (shape, facts.shape[1:]))
            raise ValueError(f"images of {folder} are {said}, expected {expected} as in the training: give size")
        sample = ImageFiles(folder, some, [0] * len(some), self.steps.channels, [])
        for _ in in_threads(lambda i: sample[i], range(len(some)), f"Sample of {folder}"):
            pass  # Reading it is the check.

    def _folder(self, split: str) -> Path:
        """That holds the class folders of a split."""
        require_folder(self.root, "the images", _ADVICE)
        if self.test_fraction is None:
            held_out = split == "val" and not (self.root / "val").is_dir()
            return require_folder(self.root / ("train" if held_out else split), f"{split} images", _ADVICE)
        for other in ("test", "val"):  # Each alone may be a class.
            if (self.root / "train").is_dir() and (self.root / other).is_dir():
                raise ValueError(f"{self.root} has folders train and {other}: leave test_fraction out")
        return self.root

    def _names(self, split: str) -> list[str]:
        """The files of a split, by class and name."""
        folder = self._folder(split)
        names = self._all_names(folder)
        if self.test_fraction is not None:
            first, second = self.test_fraction, self.test_fraction + self.val_fraction
            low, high = {"test": (0.0, first), "val": (first, second), "train": (second, 1.0)}[split]
        elif split != "test" and not (self.root / "val").is_dir():
            low, high = (0.0, self.val_fraction) if split == "val" else (self.val_fraction, 1.0)
        else:
            return names
        chosen = [name for name in names if low <= place_of(name) < high]
        if not chosen:
            raise ValueError(f"none of the {len(names)} images of {folder} falls to {split}: give it a larger share")
        return chosen

    def _all_names(self, folder: Path) -> list[str]:
        if (key := str(folder)) not in self._listed:
            self._listed[key] = [
                name for of_class in class_folders(folder) for name in files_of_class(folder, of_class)
            ]
        return self._listed[key]

    def _look(self, split: str, sample: list[str]) -> Headers:
        """Headers of all files of the split's folder, or of a sample."""
        folder = self._folder(split)
        if not self.check_files:
            return look_at(folder, sample, f"Headers of {folder}")
        if (key := str(folder)) not in self._headers:
            self._headers[key] = look_at(folder, self._all_names(folder), f"Headers of {folder}")
        return self._headers[key]

    def _one_size(self, split: str, headers: Headers) -> tuple[int, int]:
        if len(headers.sizes) > 1:
            folder = self._folder(split)
            said = " and ".join(f"{h}x{w} ({folder / name})" for (h, w), name in list(headers.sizes.items())[:2])
            raise ValueError(f"images have {len(headers.sizes)} sizes, such as {said}: give size, for example 224")
        return next(iter(headers.sizes))

    def _check_classes(self, split: str, folder: Path, label: dict[str, int]) -> None:
        """Refuse other classes than those of the training; test and validation images may be of fewer."""
        held = class_folders(folder)
        other = [name for name in held if name not in label]
        if other:
            raise ValueError(
                f"{folder} has a class {other[0]!r} that is none of the {len(label)} classes of the "
                f"training: {shown(', '.join(label))}"
            )
        if (split == "train" or self.test_fraction is not None) and len(held) < len(label):
            raise ValueError(
                f"{folder} has {len(held)} classes, the training had {len(label)}: it lacks "
                f"{min(label.keys() - set(held))!r}"
            )
