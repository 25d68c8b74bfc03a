"""Image files to a tensor, with Pillow and NumPy.

``protocol/README.md`` defines the formats. Messages are the same as in the Rust core, ``image/mod.rs``.
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

from importlib import import_module
from io import BytesIO

import numpy as np
from PIL import Image

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import ImageFile

    from runoff_runners.interfaces import Preprocess

MAX_PIXELS = 178_956_970
"""Maximum image size: Pillow's default limit for decompression bombs."""

# The size is checked below, before decoding; Pillow would already warn at half the limit.
Image.MAX_IMAGE_PIXELS = None
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_HEAD = 34
"""Bytes of a file that show its format."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def preprocess(paths: Sequence[str | bytes], spec: Preprocess) -> NDArray[np.float32]:
    """Return the images as one batch: float32 [len(paths), 3, crop, crop], RGB, ``(pixel - mean) / std``.

    In place of a path may be the bytes of a file.

    Raises
    ------
    RunnerError
        ``image-missing``, ``image-unreadable`` or ``image-too-large``.
    """
    crop = spec["crop"]
    batch = np.empty((len(paths), 3, crop, crop), np.float32)
    mean = np.array(spec["mean"], np.float32)[:, None, None]
    std = np.array(spec["std"], np.float32)[:, None, None]
    size, filter_ = (crop, crop), _FILTERS[spec["interpolation"]]

    def finish(image: Image.Image) -> Image.Image:
        box = crop_box(image.width, image.height, spec["resize"], crop)
        return image.resize(size, filter_, box=box)

    for path, tensor in zip(paths, batch, strict=True):
        tensor[...] = np.asarray(read_image(path, finish)).transpose(2, 0, 1)
        np.subtract(tensor, mean, out=tensor)
        np.divide(tensor, std, out=tensor)
    return batch


def crop_box(width: int, height: int, resize: int, crop: int) -> tuple[float, float, float, float]:
    """Return the part of a `width` x `height` image that resizing and centre cropping keep.

    Resizing only this part gives the same pixels for less work, except for rounding: Pillow rounds to integers between
    its horizontal and its vertical pass, and their order depends on the sizes.

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


def read_image(path: str | bytes, finish: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return what `finish` makes of the upright image in RGB; `path` may be the bytes of a file.

    Raises
    ------
    RunnerError
        ``image-missing``, ``image-unreadable`` or ``image-too-large``.
    """
    head, shown = (_head(path), f"image {path}") if isinstance(path, str) else (path[:_HEAD], "image")
    name = _format_of(head)
    if name is None:
        raise _unreadable(f"{shown}: not a JPEG, PNG, WebP, BMP or TIFF file")
    try:
        _check_bmp(head, name)
        return _decode(path, name, shown, finish)
    except RunnerError:
        raise
    except Exception as error:  # Pillow's plugins raise all kinds of exceptions
        raise _unreadable(f"{shown}: damaged, truncated or unsupported {name} file") from error


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        raise RunnerError("image-missing", f"image {path}: not found", "check the path") from None
    except OSError as error:
        raise RunnerError("image-unreadable", f"image {path}: {error.strerror}", "check the path") from None


def _decode(path: str | bytes, name: str, shown: str, finish: Callable[[Image.Image], Image.Image]) -> Image.Image:
    # if the file has another extension, Pillow would import all of its plugins to find the right one
    import_module(f"PIL.{name if name == 'WebP' else name.capitalize()}ImagePlugin")
    # open by path: for an open file, Pillow does not see the name and imports five plugins
    with Image.open(path if isinstance(path, str) else BytesIO(path), formats=(name,)) as image:
        if image.width * image.height > MAX_PIXELS:
            message = f"{shown}: {image.width} x {image.height} is more than {MAX_PIXELS} pixels"
            raise RunnerError("image-too-large", message, "scale it down first")
        if name == "TIFF":
            _check_tiff(image)
        return finish(_upright(image).convert("RGB"))


def _format_of(head: bytes) -> str | None:
    """Return the format of a file that starts with `head`; None if it is not supported."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for beginning, name in _BEGINNINGS.items() if head.startswith(beginning)), None)


def _upright(image: Image.Image) -> Image.Image:
    """Load the image; return it upright, with 8 bits per channel."""
    image.load()
    block, upright = image.info.get("exif"), image
    if image.mode.startswith("I;16"):
        # Pillow would clip the values to 255
        upright = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    # for TIFF files, Pillow applied the orientation when it loaded the image
    turn = _TURNS.get(_orientation(block)) if block else None
    return upright if turn is None else upright.transpose(turn)


def _orientation(block: bytes) -> int:
    """Return the orientation in an EXIF block, 1 if it has none or is damaged."""
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 (the reader raises all kinds of exceptions for a damaged block)
        return 1


def _check_bmp(head: bytes, name: str) -> None:
    """Check that the Rust core also supports the BMP file, by bits per pixel and compression."""
    if name == "BMP" and not (head[28:30] in (b"\x08\0", b"\x18\0", b"\x20\0") and head[30:34] == bytes(4)):
        raise ValueError("a BMP file of a kind that is not read")


def _check_tiff(image: ImageFile.ImageFile) -> None:
    """Check that the Rust core also supports the TIFF file: see ``protocol/README.md``, Images."""
    from PIL.TiffImagePlugin import TiffImageFile

    assert isinstance(image, TiffImageFile)  # noqa: S101 (for the type checker)

    def values(tag: int, *default: int) -> tuple[int, ...]:
        value = image.tag_v2.get(tag, default)
        return value if isinstance(value, tuple) else (value,)

    bits, photometric, extra = values(258), values(262), values(338)
    layout = (photometric, len(bits))
    known = extra == () if layout in (((1,), 1), ((2,), 3)) else layout == ((2,), 4) and extra in ((), (0,), (2,))
    plain = set(bits) in ({8}, {16}) and set(values(339, 1)) == {1} and values(284, 1) == values(266, 1) == (1,)
    if not known or not plain or values(259, 1) not in ((1,), (5,), (8,), (32773,), (32946,)):
        raise ValueError("a TIFF file of a kind that is not read")


def _unreadable(message: str) -> RunnerError:
    return RunnerError("image-unreadable", message, "convert it to an RGB JPEG or PNG file")
