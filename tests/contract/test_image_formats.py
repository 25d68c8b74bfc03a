"""Python and Rust read the same image formats with the same result: `protocol/README.md`, Images."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageCms
from runners_under_test import MODEL, Runner, execute, golden

from runoff.targets.onnxruntime import ort_rust
from runoff_runners.preprocess import preprocess
from runoff_runners.protocol import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from runners_under_test import Outcome

    Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 300, 260
LARGEST_STEP, MEAN_STEP = 2.0 + 1e-3, 0.5
"""Differences from Pillow, in steps of 255, with room for the rounding of float32."""
ORIENTATION = 0x0112
UPRIGHT = 1


def test_same_tensor_from_every_format(implementation: Runner, models: Path, tmp_path: Path) -> None:
    """The pixels of each file are known; lossless files must decode exactly."""
    made = {name: file for name, file in _readable().items() if implementation.reads_image(name)}
    paths = [_write(tmp_path, name, content) for name, (content, _) in made.items()]
    outcome = _read(implementation, models, tmp_path, paths)
    assert outcome.exit_code == 0, outcome.result.message
    for (name, (_, expected)), written in zip(made.items(), outcome.result.tensors, strict=True):
        tensor = np.fromfile(written.path, np.float32).reshape(written.shape)
        steps = np.abs(tensor - _tensor(expected)) * 128
        assert steps.max() <= LARGEST_STEP, name
        assert steps.mean() <= MEAN_STEP, name


def test_refused_images_have_the_same_message(models: Path, tmp_path: Path) -> None:
    """Check both implementations; `test_failures` checks that runners report the messages."""
    paths = [_write(tmp_path, name, content) for name, content in _refused().items()]
    paths += [tmp_path / "nothing.jpg", tmp_path]
    spec = json.loads((models / MODEL / "manifest.json").read_bytes())["preprocess"]
    messages = []
    for path in paths:
        with pytest.raises(RunnerError) as failure:
            preprocess([str(path)], spec)
        messages.append(f"error: {failure.value.message} ({failure.value.hint})")
        assert failure.value.kind == ("image-missing" if path.name == "nothing.jpg" else "image-unreadable")
        assert failure.value.message.startswith(f"image {path}: ")
    target = ort_rust()
    command = [target.command[0], "classify", "--model", str(models / MODEL / "model.onnx"), *map(str, paths)]
    rust = subprocess.run(command, env=target.environment(), capture_output=True, text=True, check=False)
    assert rust.stderr.splitlines() == messages


def _read(program: Runner, models: Path, folder: Path, paths: list[Path]) -> Outcome:
    request = golden("accuracy-classify", program, models, folder)
    request["preprocess"] |= {"resize": 224, "crop": 224, "mean": [127.0] * 3, "std": [128.0] * 3}
    request["inputs"] = [{"image": str(path)} for path in paths]
    request["settings"] = {"batch": 1}
    return execute(program, request, folder)


def _tensor(pixels: Pixels) -> NDArray[np.float32]:
    """Return the preprocessed tensor of upright RGB pixels, float32 [1, 3, 224, 224], in steps of 1 / 128."""
    height, width, _ = pixels.shape
    side = min(width, height)
    # as the crop of `runoff_runners.preprocess`, whose own tests compare it with resizing everything
    left, upper = ((224 * size // side - 224) // 2 * size / (224 * size // side) for size in (width, height))
    across, down = width / (224 * width // side), height / (224 * height // side)
    box = (left, upper, min(left + 224 * across, width), min(upper + 224 * down, height))
    resized = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32)
    return ((resized - np.float32(127)) / np.float32(128)).transpose(2, 0, 1)[None]


def _readable() -> dict[str, tuple[bytes, Pixels]]:
    """Return files and their decoded pixels, by name."""
    return {**_jpegs(), **_pngs(), **_others(), **_tiffs(), **_turned()}


def _jpegs() -> dict[str, tuple[bytes, Pixels]]:
    picture = Image.fromarray(_picture())
    made = {
        "grey.jpg": _save(picture.convert("L"), "JPEG"),
        "progressive.jpg": _save(picture, "JPEG", progressive=True, subsampling=2),
        "cmyk.jpg": _save(picture.convert("CMYK"), "JPEG"),
    }
    made["stray.jpg"] = made["progressive.jpg"][:-2] + b"\0\0\0" + made["progressive.jpg"][-2:]
    return {
        name: (content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))) for name, content in made.items()
    }


def _pngs() -> dict[str, tuple[bytes, Pixels]]:
    pixels = _picture()
    grey, alpha = pixels[..., :1], np.full((HEIGHT, WIDTH, 1), 99, np.uint8)
    three = np.repeat(grey, 3, axis=2)
    palette = Image.fromarray(pixels).quantize(200)
    return {
        "grey16.png": (_png(_wide(grey), 0), three),
        "grey-alpha16.png": (_png(_wide(np.concatenate([grey, alpha], 2)), 4), three),
        "rgb16.png": (_png(_wide(pixels), 2), pixels),
        "rgba16.png": (_png(_wide(np.concatenate([pixels, alpha], 2)), 6), pixels),
        "palette.png": (_save(palette, "PNG"), np.asarray(palette.convert("RGB"))),
        "palette-alpha.png": (_save(palette, "PNG", transparency=b"\0\x80"), np.asarray(palette.convert("RGB"))),
        "bilevel.png": (_save(Image.fromarray(pixels).convert("1"), "PNG"), _rgb(Image.fromarray(pixels).convert("1"))),
        "frames.png": (
            _save(Image.fromarray(pixels), "PNG", save_all=True, append_images=[Image.fromarray(pixels[::-1])]),
            pixels,
        ),
        "profile.png": (_save(Image.fromarray(pixels), "PNG", icc_profile=_profile()), pixels),
    }


def _others() -> dict[str, tuple[bytes, Pixels]]:
    pixels = _picture()
    picture = Image.fromarray(pixels)
    lossy, bmp = _save(picture, "WEBP", quality=80), _save(picture, "BMP")
    clear = picture.copy()
    clear.putalpha(Image.fromarray(np.full((HEIGHT, WIDTH), 99, np.uint8)))
    again = Image.fromarray(pixels[::-1])
    grey = picture.convert("L")
    palette = picture.quantize(200)
    return {
        "lossless.webp": (_save(picture, "WEBP", lossless=True), pixels),
        "alpha.webp": (_save(clear, "WEBP", lossless=True, exact=True), pixels),
        "lossy.webp": (lossy, _rgb(Image.open(io.BytesIO(lossy)))),
        "frames.webp": (_save(picture, "WEBP", save_all=True, append_images=[again], lossless=True), pixels),
        "rgb.bmp": (bmp, pixels),
        "rgba.bmp": (_save(clear, "BMP"), pixels),
        "grey.bmp": (_save(grey, "BMP"), _rgb(grey)),
        "palette.bmp": (_save(palette, "BMP"), _rgb(palette)),
        "top-down.bmp": (bmp[:22] + struct.pack("<i", -HEIGHT) + bmp[26:], pixels[::-1]),
    }


def _tiffs() -> dict[str, tuple[bytes, Pixels]]:
    pixels = _picture()
    picture = Image.fromarray(pixels)
    clear = picture.copy()
    clear.putalpha(Image.fromarray(np.full((HEIGHT, WIDTH), 99, np.uint8)))
    grey = picture.convert("L")
    frames = _save(picture, "TIFF", save_all=True, append_images=[Image.fromarray(pixels[::-1])])
    made = {
        f"{compression}.tif": (_save(picture, "TIFF", compression=compression), pixels)
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
    }
    return made | {
        "alpha.tif": (_save(clear, "TIFF"), pixels),
        "grey.tif": (_save(grey, "TIFF"), _rgb(grey)),
        "grey16.tif": (_tiff(_wide(pixels[..., :1])), np.repeat(pixels[..., :1], 3, axis=2)),
        "rgb16.tif": (_tiff(_wide(pixels)), pixels),
        "frames.tif": (frames, pixels),
    }


def _turned() -> dict[str, tuple[bytes, Pixels]]:
    """Return one picture as all eight orientations store it, and in every format that has them."""
    stored: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda seen: seen,
        2: lambda seen: seen[:, ::-1],
        3: lambda seen: seen[::-1, ::-1],
        4: lambda seen: seen[::-1],
        5: lambda seen: seen.transpose(1, 0, 2),
        6: lambda seen: seen.transpose(1, 0, 2)[::-1],
        7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
        8: lambda seen: seen.transpose(1, 0, 2)[:, ::-1],
    }
    # all but two are their own inverse
    seen = {**stored, 6: stored[8], 8: stored[6]}
    pixels = _picture()
    made = {}
    for orientation, store in stored.items():
        options = {"exif": _exif(orientation)}
        picture = Image.fromarray(np.ascontiguousarray(store(pixels)))
        made[f"turned{orientation}.png"] = (_save(picture, "PNG", **options), pixels)
        jpeg = _save(picture, "JPEG", quality=95, subsampling=0, **options)
        made[f"turned{orientation}.jpg"] = (jpeg, seen[orientation](_rgb(Image.open(io.BytesIO(jpeg)))))
        if orientation in (UPRIGHT, 6):
            made[f"turned{orientation}.webp"] = (_save(picture, "WEBP", lossless=True, **options), pixels)
            made[f"turned{orientation}.tif"] = (_save(picture, "TIFF", **options), pixels)
    return made


def _exif(orientation: int) -> bytes:
    """Return an EXIF block with the orientation alone."""
    return b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)


def _refused() -> dict[str, bytes]:
    picture = Image.fromarray(_picture())
    whole = {
        "cut.jpg": _save(picture, "JPEG"),
        "cut.png": _save(picture, "PNG"),
        "cut.webp": _save(picture, "WEBP", lossless=True),
        "cut.bmp": _save(picture, "BMP"),
        "cut.tif": _save(picture, "TIFF"),
    }
    return {name: content[: len(content) // 2] for name, content in whole.items()} | {
        "gif": _save(picture.quantize(8), "GIF"),
        "text": b"no picture\n" * 50,
        "empty": b"",
        "bilevel.bmp": _save(picture.convert("1"), "BMP"),
        "cmyk.tif": _save(picture.convert("CMYK"), "TIFF"),
        "float.tif": _save(picture.convert("F"), "TIFF"),
    }


def _picture() -> Pixels:
    """Return a smooth RGB picture without symmetry, [HEIGHT, WIDTH, 3]."""
    across, down = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    waves = 120 + 100 * np.sin(6 * across**2 + 3 * down)
    return np.stack([255 * across, 255 * down, waves], axis=-1).round().astype(np.uint8)


def _wide(pixels: Pixels) -> NDArray[np.uint16]:
    """Return 16-bit values whose upper 8 bits are `pixels`."""
    return np.asarray(pixels.astype(np.uint16) << 8 | 200, np.uint16)


def _rgb(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"))


def _profile() -> bytes:
    """Return a colour profile that is not sRGB: readers must not convert the values."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def _save(picture: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def _write(folder: Path, name: str, content: bytes) -> Path:
    (folder / "out").mkdir(exist_ok=True)
    path = folder / "out" / name
    path.write_bytes(content)
    return path


def _png(values: NDArray[np.uint16], color_type: int) -> bytes:
    """Return a PNG file of 16 bits per channel, most of which Pillow does not write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"".join((b"\x89PNG\r\n\x1a\n", *parts))


def _tiff(values: NDArray[np.uint16]) -> bytes:
    """Return a big-endian TIFF file of 16 bits per channel, which Pillow does not write."""
    height, width, channels = values.shape
    short, long = 3, 4
    after = 8 + 2 + 12 * 9 + 4
    bits = after if channels > 2 else 16 << 16
    data = after + 2 * channels
    photometric = 2 if channels > 1 else 1
    entries = (
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, channels, bits),
        (259, short, 1, 1 << 16),
        (262, short, 1, photometric << 16),
        (273, long, 1, data),
        (277, short, 1, channels << 16),
        (278, long, 1, height),
        (279, long, 1, values.size * 2),
    )
    directory = b"".join(struct.pack(">HHII", *entry) for entry in entries)
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries)) + directory + struct.pack(">I", 0)
    return b"".join((head, struct.pack(">H", 16) * channels, values.astype(">u2").tobytes()))
