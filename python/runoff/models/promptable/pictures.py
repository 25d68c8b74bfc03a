"""Pictures to segment: geometric ones made by code, a large natural one, and random shapes with their true masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from runoff.models.photos import photo_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

GEOMETRIC = {"geometric": (512, 512), "wide": (640, 360), "tall": (300, 480)}
"""Width and height by name."""
LARGE = "large"
LARGE_SIZE = (1280, 854)
_PAPER = (238, 236, 230)
_FEWEST, _MOST = 3, 7
"""Random shapes in a picture."""
_APART = 110
"""Smallest sum of the differences of two colours over the channels."""
_NOISE = 2.0


def write_pictures(folder: Path) -> dict[str, Path]:
    """Write the pictures into `folder`; return their files by name. Geometric ones are PNG, the natural one is JPEG."""
    files = {}
    for name, size in GEOMETRIC.items():
        files[name] = folder / f"{name}.png"
        geometric(*size).save(files[name])
    files[LARGE] = folder / f"{LARGE}.jpg"
    with Image.open(photo_file("china")) as photo:
        photo.resize(LARGE_SIZE, Image.Resampling.BICUBIC).save(files[LARGE], quality=95)
    return files


def geometric(width: int, height: int) -> Image.Image:
    """Return five flat shapes on paper: a disc, a square, a triangle, an ellipse and a bar."""
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)

    def place(*shares: float) -> list[float]:
        return [share * (height if number % 2 else width) for number, share in enumerate(shares)]

    draw.ellipse(place(0.08, 0.08, 0.42, 0.42), fill=(200, 40, 40))
    draw.rectangle(place(0.55, 0.1, 0.9, 0.38), fill=(40, 70, 190))
    draw.polygon(place(0.08, 0.9, 0.27, 0.52, 0.46, 0.9), fill=(30, 140, 60))
    draw.ellipse(place(0.55, 0.48, 0.93, 0.7), fill=(235, 190, 30))
    draw.rectangle(place(0.52, 0.78, 0.94, 0.92), fill=(120, 40, 140))
    return image


def random_shapes(size: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Return a square picture of random shapes, uint8 [size, size, 3], and the number of the shape at each pixel."""
    image, numbers = Image.new("RGB", (size, size)), Image.new("L", (size, size))
    background, *colours = _colours(int(rng.integers(_FEWEST, _MOST + 1)) + 1, rng)
    image.paste(background, (0, 0, size, size))
    for number, colour in enumerate(colours):
        kind, corners = _shape(size, rng)
        getattr(ImageDraw.Draw(image), kind)(corners, fill=colour)
        getattr(ImageDraw.Draw(numbers), kind)(corners, fill=number + 1)
    noisy = np.asarray(image, float) + rng.normal(0, _NOISE, (size, size, 3))
    return noisy.clip(0, 255).round().astype(np.uint8), np.asarray(numbers)


def thumbnail(pixels: Pixels, longest: int) -> Pixels:
    """Return a picture, uint8 [height, width, 3], with its longer side scaled down to `longest`."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest))
    return np.asarray(image)


def _colours(count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Return distinct colours."""
    found: list[tuple[int, ...]] = []
    while len(found) < count:
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if all(sum(abs(a - b) for a, b in zip(colour, other, strict=True)) >= _APART for other in found):
            found.append(colour)
    return found


def _shape(size: int, rng: np.random.Generator) -> tuple[str, list[float]]:
    """Return Pillow's name of a shape, and its corners or box."""
    kind, reach = str(rng.choice(["ellipse", "rectangle", "polygon"])), size * rng.uniform(0.08, 0.28)
    x, y = rng.uniform(0.1, 0.9, 2) * size
    height = reach * rng.uniform(0.5, 1)
    if kind != "polygon":
        return kind, [x - reach, y - height, x + reach, y + height]
    angles = rng.uniform(0, 2 * np.pi) + np.array([0, 2.1, 4.2])
    corners = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
    return kind, [float(value) for value in corners.ravel()]
