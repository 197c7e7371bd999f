import pytest
from transformers import CLIPImageProcessor, EfficientNetImageProcessor, MobileViTImageProcessor, ViTImageProcessor

from lightning_rs.models.hf_processor import images_of

SQUARE = {"size": {"height": 24, "width": 24}}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
MEAN, STD = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
NAMED = {"image_mean": MEAN, "image_std": STD}
HALF, ONE = [0.5] * 3, [1.0] * 3


@pytest.mark.parametrize(
    ("processor", "size", "mean", "std"),
    [
        (ViTImageProcessor(**SQUARE, **NAMED), 24, MEAN, STD),
        (ViTImageProcessor(**SQUARE, do_normalize=False), 24, [0] * 3, ONE),
        (ViTImageProcessor(**SQUARE, rescale_factor=1 / 127.5, image_mean=ONE, image_std=ONE), 24, HALF, HALF),
        (ViTImageProcessor(**SQUARE, do_rescale=False, image_mean=[51] * 3, image_std=[255] * 3), 24, [0.2] * 3, ONE),
        (ViTImageProcessor(do_resize=False, **NAMED), None, MEAN, STD),
        (CLIPImageProcessor(**CROP, **NAMED), 28, MEAN, STD),
        (EfficientNetImageProcessor(**SQUARE, image_mean=HALF, image_std=HALF, include_top=True), 24, HALF, [0.25] * 3),
    ],
)
def test_what_it_does_is_found_whatever_its_options_are_called(tmp_path, processor, size, mean, std):
    processor.save_pretrained(tmp_path)
    found = images_of(tmp_path, 3)
    assert found["size"] == size
    assert found["mean"] == pytest.approx(mean, abs=1e-6) and found["std"] == pytest.approx(std, abs=1e-6)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (MobileViTImageProcessor(do_flip_channel_order=True), "does more than to make images square"),
        (ViTImageProcessor(size={"height": 24, "width": 32}), "does more than to make images square"),
        (ViTImageProcessor(**SQUARE, image_std=[0.0] * 3), "does more than|does not serve"),
    ],
)
def test_what_cannot_be_said_as_size_mean_and_std_is_refused(tmp_path, processor, message):
    processor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"preprocessor_config.json {message}"):
        images_of(tmp_path, 3)


def test_others_code_is_not_run(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('code was run')")
    named = '{"image_processor_type": "Evil", "auto_map": {"AutoImageProcessor": "evil.Evil"}}'
    (tmp_path / "preprocessor_config.json").write_text(named)
    with pytest.raises(ValueError, match=r"preprocessor_config.json does not serve"):
        images_of(tmp_path, 3)
