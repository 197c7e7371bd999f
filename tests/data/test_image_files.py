import numpy as np
import pytest
import torch
from data.own_images import NAMES, write_classes
from PIL import ExifTags, Image

from lightning_rs.data import image_files
from lightning_rs.data.checked import ImageError
from lightning_rs.data.image_files import (
    ImageFiles,
    as_pixels,
    class_folders,
    files_of_class,
    in_threads,
    look_at,
    place_of,
    read_file,
)


def test_folders_and_files_are_listed_by_name(tmp_path):
    root = write_classes(tmp_path, 2)
    (root / ".hidden").mkdir()
    (root / "notes.txt").touch()
    (root / "one" / ".DS_Store").touch()
    (root / "one" / "more").mkdir()
    (root / "one" / "000.png").rename(root / "one" / "more" / "9.png")
    assert class_folders(root) == list(NAMES)
    assert files_of_class(root, "one") == ["one/001.png", "one/more/9.png"]


def test_places_are_fixed_and_uniform():
    # Of the first eight bytes that sha256sum says.
    assert place_of("cat/1.png") == int("6a3b843cf66c4612", 16) / 2.0**64
    places = np.array([place_of(f"cat/{i}.png") for i in range(4000)])
    assert np.abs(np.histogram(places, bins=4, range=(0, 1))[0] - 1000).max() < 110  # Four standard deviations.


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes_of_eight_bits_become_grey_or_colour(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new("RGB", (3, 2), (255, 0, 255)).convert(mode).save(path)
    for channels in (1, 3):
        pixels = as_pixels(read_file(path, channels), channels)
        assert pixels.shape == (channels, 2, 3)
        assert torch.equal((pixels * 255).round() / 255, pixels)
    assert look_at(tmp_path, [path.name], "x").sizes == {(2, 3): path.name}


def test_floating_point_and_broken_images_are_named(tmp_path):
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "f.tif")
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(ImageError, match=r"f.tif cannot be read: it has floating-point pixels"):
        read_file(tmp_path / "f.tif", 1)
    with pytest.raises(ValueError, match=r"f.tif cannot .*; .*a cannot be read: it is no image; .*; and 1 more$"):
        look_at(tmp_path, ["f.tif", "a", "b", "c"], "x")


def test_integers_beyond_sixteen_bits_and_programs_are_named(tmp_path):
    Image.fromarray(np.full((2, 2), 65536, dtype=np.int32)).save(tmp_path / "i.tif")
    Image.new("RGB", (2, 2)).save(tmp_path / "e.eps")
    with pytest.raises(ImageError, match=r"i.tif .*: its pixels must have 16 bits, and lie in \[65536, 65536\]"):
        read_file(tmp_path / "i.tif", 1)
    for read in (lambda: read_file(tmp_path / "e.eps", 3), lambda: look_at(tmp_path, ["e.eps"], "x")):
        with pytest.raises(ValueError, match="e.eps cannot be read: it is a program of PostScript"):
            read()


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif"])
def test_images_are_turned_as_the_camera_notes(tmp_path, name):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # To be turned by 90 degrees, clockwise.
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).convert("RGB").save(tmp_path / name, exif=exif)
    assert look_at(tmp_path, [name], "x").sizes == {(16, 8): name}
    upright = as_pixels(read_file(tmp_path / name, 1), 1)[0]
    assert upright.shape == (16, 8) and upright[:8].min() > 0.9 and upright[8:].max() < 0.1


def test_a_link_to_a_folder_that_is_listed_already(tmp_path):
    root = write_classes(tmp_path, 1)
    (root / "one" / "again").symlink_to(root / "one")
    with pytest.raises(ValueError, match="one/again is a link to .*one, whose images are in this class already"):
        files_of_class(root, "one")


def test_items_are_decoded_when_they_are_asked_for(tmp_path):
    write_classes(tmp_path, 1)
    images = ImageFiles(tmp_path, ["one/000.png", "two/none.png"], [1, 2], 1, [lambda image: image.rotate(180)])
    pixels, label = images[0]
    expected = np.array(Image.open(tmp_path / "one" / "000.png"))[::-1, ::-1]
    assert label == 1 and np.array_equal((pixels[0] * 255).round().numpy(), expected)
    with pytest.raises(ImageError, match=r"two/none.png cannot be read"):
        images[1]


def test_threads_keep_the_order():
    assert list(in_threads(lambda i: i * i, range(2500), "x")) == [i * i for i in range(2500)]


def test_threads_are_not_far_ahead():
    begun = []
    results = in_threads(begun.append, range(1000), "x")
    next(results)
    assert len(begun) <= image_files._AHEAD
    results.close()
    assert len(begun) <= image_files._AHEAD
