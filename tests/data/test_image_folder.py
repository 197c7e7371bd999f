"""Folders of classes: what is learnt from them, how they are split, and what is refused before a run."""

import shutil

import numpy as np
import pytest
import torch
from conftest import run_script
from data.own_images import NAMES, digit_arrays, write_classes, write_folders
from PIL import Image

from lightning_rs.certify import main as certify
from lightning_rs.data import ImageError, ImageFolder, image_folder
from lightning_rs.results import RunDirectory
from lightning_rs.train import main as train

QUICK = ("--trainer.max_epochs=1", "--live_certification.every_n_epochs=0", "--certification.limit=2")
QUICK = (*QUICK, "--certification.n=100", "--wandb.mode=disabled", "--trainer.accelerator=cpu", "--name=run")
CERTIFY = ("--n=100", "--limit=6", "--wandb_mode=disabled", "--accelerator=cpu", "--output=out")
NET = ("--model.architecture=digits_cnn", "--data.channels=1", "--data.batch_size=16", "--data.num_workers=0")


@pytest.fixture
def root(tmp_path):
    return write_folders(tmp_path / "images")


def test_facts_are_learnt_from_the_training_images(root):
    write_classes(root / "val", 2, start=30)
    data = ImageFolder(str(root), channels=1)
    images = digit_arrays(20)[0] / 255.0
    facts = data.facts
    assert (facts.num_classes, facts.shape, facts.levels, facts.classes) == (3, (1, 8, 8), 255, NAMES)
    assert facts.mean[0] == pytest.approx(images.mean(), abs=1e-6)
    assert facts.std[0] == pytest.approx(images.std(), abs=1e-6)
    assert (data.num_classes, data.classes) == (3, NAMES)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [60, 6, 12]
    test, labels = zip(*data.dataset("test"), strict=True)
    assert np.array_equal(torch.stack(test)[:, 0].numpy() * 255, digit_arrays(4, 20)[0])
    assert labels == (0,) * 4 + (1,) * 4 + (2,) * 4
    assert ImageFolder(str(root)).facts.shape == (3, 8, 8)


def names_of(data, split):
    dataset = data.dataset(split)
    return set(dataset.names)


def test_splits_depend_on_the_names_alone(tmp_path):
    one = write_classes(tmp_path / "one", 30)
    data = ImageFolder(str(one), val_fraction=0.2, test_fraction=0.3)
    before = {split: names_of(data, split) for split in ("train", "val", "test")}
    assert sum(map(len, before.values())) == 90 and len(set.union(*before.values())) == 90
    assert all(10 <= len(names) for names in before.values())
    write_classes(one, 40)
    after = ImageFolder(str(one), val_fraction=0.2, test_fraction=0.3)
    assert all(names_of(after, split) > before[split] for split in before)
    # Another share of validation images moves no test image.
    assert names_of(ImageFolder(str(one), val_fraction=0.1, test_fraction=0.3), "test") == names_of(after, "test")
    root = write_folders(tmp_path / "root")
    held_out = names_of(ImageFolder(str(root)), "val")
    write_classes(root / "val", 2, start=30)
    assert held_out and names_of(ImageFolder(str(root)), "val") == {f"{c}/0{i}.png" for c in NAMES for i in (30, 31)}
    assert len(ImageFolder(str(root)).dataset("train")) == 60


def test_size_and_augmentation(tmp_path):
    root = write_folders(tmp_path / "images", train=4)
    generator = np.random.default_rng(0)
    for number, shape in enumerate(((12, 20), (30, 16), (16, 16))):
        pixels = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "train" / "one" / f"other{number}.png")
    with pytest.raises(ValueError, match=r"4 sizes, such as 8x8 \(.*nought/000.png\) and 12x20 .*give size"):
        ImageFolder(str(root)).dataset("train")
    data = ImageFolder(str(root), size=16, augmentation="crop_flip", padding=2, val_fraction=0.3)
    assert data.facts.shape == (3, 16, 16)
    for augmentation in ("none", "flip", "crop", "crop_flip", "random_resized_crop"):
        data = ImageFolder(str(root), size=16, augmentation=augmentation, padding=2, val_fraction=0.3)
        train, val = data.dataset("train"), data.dataset("val")
        index = next(i for i, name in enumerate(train.names) if "other" in name)
        torch.manual_seed(0)
        draws = [train[index][0] for _ in range(8)]
        assert all(draw.shape == (3, 16, 16) for draw in draws)
        assert len({draw.numpy().tobytes() for draw in draws}) == 1 if augmentation == "none" else 2
        torch.manual_seed(0)  # Of torch's generator, so that a training is resumed to the bit.
        assert torch.equal(train[index][0], draws[0])
        assert torch.equal(val[0][0], val[0][0])
        scaled = draws[0] * 255
        assert torch.allclose(scaled, scaled.round(), atol=1e-4)


def test_images_of_sixteen_bits_have_their_own_grid(tmp_path):
    root = write_folders(tmp_path / "images")
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1023
    Image.fromarray(deep).save(root / "train" / "one" / "deep.png")
    for channels in (1, 3):
        data = ImageFolder(str(root), channels=channels, val_fraction=0.01)
        assert data.facts.levels == 65535
        train = data.dataset("train")
        pixels = train[train.names.index("one/deep.png")][0]
        assert pixels.shape == (channels, 8, 8)
        assert np.array_equal((pixels[-1].double() * 65535).round().numpy(), deep)


BAD = [
    (lambda root: shutil.rmtree(root), "the images not found at .*: set root to a folder with train and test"),
    (lambda root: shutil.rmtree(root / "train"), "train images not found at .*images/train: set root to a folder with"),
    (lambda root: shutil.rmtree(root / "test"), "test images not found at .*images/test: set root to a folder with"),
    (lambda root: [shutil.rmtree(root / "train" / name) for name in NAMES], "classes; it holds none$"),
    (lambda root: [shutil.rmtree(root / "train" / name) for name in NAMES[1:]], "classes; it holds only 'nought'$"),
    (lambda root: (root / "train" / "zero").mkdir(), "train/zero is a class folder without images$"),
    (lambda root: write_classes(root / "test" / "zebra", 1), "has a class 'zebra' that is none of the 3 classes of"),
    (lambda root: (root / "train" / "one" / "a.txt").write_text("x"), "one/a.txt cannot be read: it is no image$"),
    (lambda root: (root / "test" / "one" / "a.png").touch(), "test/one/a.png cannot be read: it is no image$"),
    (lambda root: cut(root / "train" / "one" / "003.png"), "train/one/003.png cannot be read: .*truncated"),
    (lambda root: cut(root / "test" / "two" / "021.png"), "test/two/021.png cannot be read: .*truncated"),
    (lambda root: Image.new("L", (9, 8)).save(root / "test" / "two" / "x.png"), r"2 sizes, such as 8x8 .* and 8x9 \("),
    (lambda root: [Image.new("L", (9, 8)).save(path) for path in (root / "test").glob("*/*")],
     "test are 8x9, expected 8x8 as in the training: give size"),
    (lambda root: [Image.new("L", (8, 8)).save(path) for path in (root / "train").glob("*/*")],
     "train: all pixels of a channel are the same"),
    (lambda root: Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(root / "test" / "one" / "deep.png"),
     "test/one/deep.png has 16 bits, and those of the training have 8: save it with 8$"),
]  # fmt: skip


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_what_cannot_serve_is_named_before_the_run(root, spoil, message):
    spoil(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        data = ImageFolder(str(root), channels=1)
        for split in ("train", "val", "test"):
            data.dataset(split)
    assert "\n" not in str(caught.value)


def test_arguments_that_cannot_serve(root):
    for arguments, message in (
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"size": 0}, "size must be an integer of at least 1, got 0"),
        ({"augmentation": "mixup"}, "unknown augmentation 'mixup'; known: crop, crop_flip, flip, none, random_resized"),
        ({"val_fraction": 1.5}, r"val_fraction must lie in \(0, 1\), got 1.5"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "must leave training images, got 0.5 and 0.5"),
        ({"check_files": "no"}, "check_files must be true or false, got 'no'"),
    ):
        with pytest.raises(ValueError, match=message):
            ImageFolder(str(root), **arguments)
    with pytest.raises(ValueError, match="has folders train and test: leave test_fraction out"):
        ImageFolder(str(root), test_fraction=0.2).dataset("test")
    (root / "test").rename(root / "val")
    with pytest.raises(ValueError, match="has folders train and val: leave test_fraction out"):
        ImageFolder(str(root), test_fraction=0.2).dataset("test")
    (root / "val").rename(root / "test")
    with pytest.raises(ValueError, match="none of the 60 images of .* falls to val: give it a larger share"):
        ImageFolder(str(root), val_fraction=1e-6).dataset("val")


def test_without_a_look_at_all_headers_a_file_is_named_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "_SAMPLE", 5)
    root = write_folders(tmp_path / "images")
    bad = root / "train" / "two" / "001.png"
    bad.write_text("x")
    data = ImageFolder(str(root), channels=1, check_files=False)
    data.restore(ImageFolder(str(write_folders(tmp_path / "whole")), channels=1).facts)
    train = data.dataset("train")
    with pytest.raises(ImageError, match="two/001.png cannot be read: it is no image"):
        train[train.names.index("two/001.png")]


def test_validation_images_that_do_not_fit_are_named_even_if_none_is_certified(root, monkeypatch, capsys):
    write_classes(root / "val" / "zebra", 1)
    monkeypatch.chdir(root.parent)
    of_test = ("--live_certification.split=test", "--certification.split=test")
    with pytest.raises(SystemExit) as ended:
        train([*QUICK, "--data=ImageFolder:root=images", *NET, *of_test])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "has a class 'zebra'" in said and len(said.splitlines()) == 1, said
    assert not (root.parent / "runs").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Working directory with images, and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("run")
    write_folders(folder / "images")
    run_script("train.py", *QUICK, "--data=ImageFolder:root=images,augmentation=flip", *NET, cwd=folder)
    return folder


CHECKPOINT = "runs/run/checkpoints/last.ckpt"


def test_the_checkpoint_keeps_what_was_learnt(run):
    data = torch.load(run / CHECKPOINT, weights_only=True)["lightning_rs"]["data"]
    assert data["init_args"]["root"] == "images"
    assert (data["facts"]["classes"], data["facts"]["levels"]) == (list(NAMES), 255)


def test_certifying_takes_the_test_images_alone(run, tmp_path):
    """Of which a class may lack: labels are those of the training."""
    write_classes(tmp_path / "there" / "test", 4, start=20)
    shutil.rmtree(tmp_path / "there" / "test" / "nought")
    options = (f"--checkpoint={run / CHECKPOINT}", *CERTIFY)
    run_script("certify.py", *options, "--data.root", "there", cwd=tmp_path)
    records = RunDirectory(tmp_path / "out").read()
    assert {record.label for record in records} == {1, 2}
    run_script("certify.py", *options[:1], "--output=b", *CERTIFY[:4], "--data=ImageFolder:root=there", cwd=tmp_path)
    again = RunDirectory(tmp_path / "b").read()
    assert [record.counts for record in again] == [record.counts for record in records]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (("--data.root=nowhere",), "the images not found at nowhere: set root to a folder with train and test"),
        (("--data.rot=x",), "ImageFolder does not take these arguments: unknown rot; known: augmentation, batch_size"),
        (("--data.size", "x"), 'ImageFolder does not take these arguments: argument "size"'),
        (("--data.size",), "--data.size expects a value"),
        (("--data=ImageFolder:root",), "a data set must read name or name:option=value,option=value, got 'ImageFol"),
        (("--data=ImageFolder:root=other",), "has a class 'zebra' that is none of the 3 classes of the training"),
        (("--data=ImageFolder:root=fewer",), "train has 2 classes, the training had 3: it lacks 'two'"),
    ],
)
def test_what_does_not_fit_the_checkpoint(run, tmp_path, monkeypatch, capsys, named, message):
    write_classes(write_folders(tmp_path / "other") / "test" / "zebra", 1)
    shutil.rmtree(write_folders(tmp_path / "fewer") / "train" / "two")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        certify([f"--checkpoint={run / CHECKPOINT}", *CERTIFY, *named])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and message in said and len(said.splitlines()) == 1, said
    assert not (tmp_path / "out").exists()


def test_a_run_goes_on_with_its_images_elsewhere_and_not_with_others(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "images").rename(tmp_path / "copy" / "moved")
    resume = ("--resume=runs/run", "--data.root=moved", "--trainer.max_epochs=1")
    run_script("train.py", *resume, cwd=tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "moved")
    (write_folders(tmp_path / "copy" / "moved") / "train" / "one").rename(tmp_path / "copy" / "moved" / "train" / "ten")
    shutil.rmtree(tmp_path / "copy" / "moved" / "test" / "one")
    done = run_script("train.py", *resume, cwd=tmp_path / "copy", status=2)
    assert "cannot be resumed with another " in done.stderr
