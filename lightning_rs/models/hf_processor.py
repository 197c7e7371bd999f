"""What an image processor of transformers does to images: their size, and how they are normalised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_rs.optional import optional_import

PROCESSOR = "preprocessor_config.json"
_SIZES = (512, 640)  # Of images that no processor pads.


def images_of(folder: Path, channels: int) -> dict[str, Any]:
    """Height and width, mean and standard deviation: found by asking the processor about images of one colour.

    So all its options count, whatever they are called. Of black and white images it makes -mean / std and
    (1 - mean) / std.

    Args:
        folder: that holds its configuration.
        channels: of its images.

    Returns:
        `size`, None if it leaves images as large as they are, `mean` and `std` by channel, in pixel units.

    Raises:
        ValueError: it cannot be read, or does more than resize, crop and normalise each channel by itself.
    """
    try:
        with quiet_transformers():
            auto = optional_import("transformers", "hf").AutoImageProcessor
            ask = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            small, large = (_answers(ask, channels, size) for size in _SIZES)
    except Exception as error:  # transformers looks at few values of a configuration, and may raise anything.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder / PROCESSOR} does not serve: {type(error).__name__}: {reason}") from None
    if small.ndim == 4 and small.shape[1] == channels and bool((small == small[..., :1, :1]).all()):
        height, width = small.shape[2:]
        follows = (height, width, *large.shape[2:]) == (_SIZES[0],) * 2 + (_SIZES[1],) * 2
        black, white, grey, first = small[..., 0, 0]
        std = 1 / (white - black)
        linear = torch.allclose(grey, black + (white - black) * 128 / 255, atol=1e-4)
        apart = torch.allclose(first, torch.cat([white[:1], black[1:]]), atol=1e-4)
        square = small.shape == large.shape and height == width
        if (follows or square) and linear and apart and bool((std.isfinite() & (std > 0)).all()):
            mean, std = ([round(float(x), 7) for x in values] for values in (-black * std, std))  # Those of float32.
            return {"size": None if follows else height, "mean": mean, "std": std}
    raise ValueError(
        f"{folder / PROCESSOR} does more than to make images square and to normalise each channel: that takes a net of "
        "your own, named by its path"
    )


def _answers(ask: Any, channels: int, size: int) -> Tensor:
    """What becomes of a black, a white and a grey image, and of one that is white in its first channel alone."""
    one = [255] + [0] * (channels - 1)
    colours = torch.tensor([[0] * channels, [255] * channels, [128] * channels, one], dtype=torch.uint8)
    images = [colour.view(-1, 1, 1).expand(-1, size, size).numpy() for colour in colours]
    return ask(images, input_data_format="channels_first", return_tensors="pt")["pixel_values"].double()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers without its bars and remarks on weights that are new."""
    logging = optional_import("transformers.utils.logging", "hf")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
