"""From image files to a tensor, with Pillow and NumPy."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError

from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff_runners.interfaces import Preprocess

MAX_PIXELS = 178_956_970
"""Where Pillow refuses an image as a decompression bomb, unless it is told otherwise."""

# The size is checked below, before anything is decoded; Pillow would warn at half of it already.
Image.MAX_IMAGE_PIXELS = None
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def preprocess(paths: Sequence[str], spec: Preprocess) -> NDArray[np.float32]:
    """Return the images as one batch: float32 [len(paths), 3, crop, crop], RGB, ``(pixel - mean) / std``.

    Raises
    ------
    RunnerError
        ``image-missing``, ``image-unreadable`` or ``image-too-large``.
    """
    crop = spec["crop"]
    batch = np.empty((len(paths), 3, crop, crop), np.float32)
    mean = np.array(spec["mean"], np.float32)[:, None, None]
    std = np.array(spec["std"], np.float32)[:, None, None]
    for path, tensor in zip(paths, batch, strict=True):
        tensor[...] = np.asarray(_read(path, spec)).transpose(2, 0, 1)
        np.subtract(tensor, mean, out=tensor)
        np.divide(tensor, std, out=tensor)
    return batch


def crop_box(width: int, height: int, resize: int, crop: int) -> tuple[float, float, float, float]:
    """Return the part of a `width` x `height` image that resizing and cutting out the middle would keep.

    Resizing only this part gives the same pixels for less work, up to rounding: Pillow rounds to whole steps between
    its horizontal and its vertical pass, and which of them comes first depends on the sizes.

    Returns
    -------
    tuple
        Left, upper, right and lower edge in pixels of the image.
    """
    shorter = min(width, height)
    new_width, new_height = resize * width // shorter, resize * height // shorter
    left, upper = (new_width - crop) // 2, (new_height - crop) // 2
    across, down = width / new_width, height / new_height
    return left * across, upper * down, min((left + crop) * across, width), min((upper + crop) * down, height)


def _read(path: str, spec: Preprocess) -> Image.Image:
    """Return the image cut to size, RGB."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path, image.width, image.height)
            box = crop_box(image.width, image.height, spec["resize"], spec["crop"])
            size = (spec["crop"], spec["crop"])
            return image.convert("RGB").resize(size, _FILTERS[spec["interpolation"]], box=box)
    except FileNotFoundError:
        raise RunnerError("image-missing", f"image {path}: no such file") from None
    except UnidentifiedImageError:
        raise _unreadable(path, "not a picture in a format that Pillow knows") from None
    # The plugins of Pillow raise all of these for broken files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise _unreadable(path, one_line(error)) from error


def _too_large(path: str, width: int, height: int) -> RunnerError:
    message = f"image {path}: {width} x {height} is more than {MAX_PIXELS} pixels"
    return RunnerError("image-too-large", message, "scale it down first")


def _unreadable(path: str, reason: str) -> RunnerError:
    return RunnerError("image-unreadable", f"image {path}: {reason}", "check that the file is a whole picture")
