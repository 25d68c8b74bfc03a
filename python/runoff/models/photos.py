"""Eight photos from the wheels of scikit-learn and scikit-image: nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from msgspec import Struct

from runoff.records.errors import RunoffError

JPEG_QUALITY = 95
JPEG_SUBSAMPLING = "4:2:0"


class Photo(Struct, frozen=True):
    """A photo in an installed package. `path` is relative to the package's folder."""

    name: str
    package: str
    path: str


PHOTOS = (
    Photo("china", "sklearn", "datasets/images/china.jpg"),
    Photo("flower", "sklearn", "datasets/images/flower.jpg"),
    Photo("chelsea", "skimage", "data/chelsea.png"),
    Photo("coffee", "skimage", "data/coffee.png"),
    Photo("rocket", "skimage", "data/rocket.jpg"),
    Photo("motorcycle", "skimage", "data/motorcycle_left.png"),
    Photo("astronaut", "skimage", "data/astronaut.png"),
    Photo("camera", "skimage", "data/camera.png"),
)


def write_photos(folder: Path) -> tuple[Path, ...]:
    """Write the photos into `folder` as ``<name>.jpg`` and return their paths, in the order of `PHOTOS`.

    JPEG files are copied unchanged; other formats are re-encoded.

    Raises
    ------
    RunoffError
        If a package, or the photo in it, is missing.
    """
    return tuple(_write_photo(photo, folder / f"{photo.name}.jpg") for photo in PHOTOS)


def photo_file(name: str) -> Path:
    """Return the file of a photo in its package, by its name in `PHOTOS`.

    Raises
    ------
    RunoffError
        If it is not installed.
    """
    return _source(next(photo for photo in PHOTOS if photo.name == name))


def _write_photo(photo: Photo, target: Path) -> Path:
    source = _source(photo)
    if source.suffix == ".jpg":
        target.write_bytes(source.read_bytes())
        return target
    from PIL import Image

    with Image.open(source) as image:
        image.convert("RGB").save(target, quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING)
    return target


def _source(photo: Photo) -> Path:
    """Return the path of `photo`, found without importing its package."""
    spec = importlib.util.find_spec(photo.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, photo.path)
        if path.is_file():
            return path
    raise RunoffError(
        f"the photo {photo.path} of the package {photo.package} is not installed",
        "recreate the export environment from requirements/export.txt",
    )
