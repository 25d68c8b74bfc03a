"""Labelled images: a folder with a sub-folder per class, an ``.npz`` file, or the digits that come in scikit-learn.

It runs in the environments ``inspect`` and ``export``; no image is decoded here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from msgspec import Struct

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DIGITS = "digits"
"""The 1,797 handwritten digits of scikit-learn, 8x8 pixels: no file and no download is needed."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
_LAYOUT = "pass a folder with a sub-folder of images per class, or an .npz with arrays 'images' and 'labels'"
_DIGITS_MAXIMUM = 16
"""Value of full ink in scikit-learn's digits."""


class LabelledImages(Struct, frozen=True):
    """Image files with their classes."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    """Of each file, the index in `classes`."""
    classes: tuple[str, ...]

    def chosen(self, places: Sequence[int]) -> LabelledImages:
        """Return the images at `places`, in this order."""
        files, labels = tuple(self.files[place] for place in places), tuple(self.labels[place] for place in places)
        return LabelledImages(files, labels, self.classes)

    def name(self, place: int) -> str:
        """Return a name for an image: its class and the name of its file."""
        return f"{self.classes[self.labels[place]]}/{self.files[place].name}"


def read_labelled(source: str, folder: Path, classes: Sequence[str] = ()) -> LabelledImages:
    """Return the labelled images in `source`: a folder, an ``.npz`` file, or ``digits``.

    Parameters
    ----------
    folder
        Existing folder, where arrays are written as PNG files.
    classes
        The model's classes in the order of its output. By default, names of classes are sorted as text, and integers in
        a file are indices.

    Raises
    ------
    RunoffError
        If there are no images, a class is unknown, or the arrays do not fit.
    """
    if source == DIGITS:
        from sklearn.datasets import load_digits

        digits = load_digits()
        ink = digits.images * (255 / _DIGITS_MAXIMUM)
        return _of_arrays((255 - ink).round().astype("uint8"), digits.target, folder, ())
    path = Path(source)
    if path.is_dir():
        found = [(file, file.parent.name) for file in sorted(path.glob("*/*")) if file.suffix.lower() in _SUFFIXES]
        if not found:
            raise RunoffError(f"{path}: no images in its sub-folders", _LAYOUT)
        files, names = zip(*found, strict=True)
        return LabelledImages(tuple(file.absolute() for file in files), *_indices(names, classes, path))
    return _of_arrays(*_load(path), folder, classes, path)


def _indices(names: Sequence[str], classes: Sequence[str], path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    known = tuple(classes) or tuple(sorted(set(names)))
    place = {name: index for index, name in enumerate(known)}
    unknown = next((name for name in names if name not in place), None)
    if unknown is not None:
        raise RunoffError(
            f"{path}: class {unknown!r} is not one of the {len(known)} labels of the model",
            "name classes as in the file of --labels",
        )
    return tuple(place[name] for name in names), known


def _load(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    import numpy as np

    if not (path.is_file() and is_zipfile(path)):
        raise RunoffError(f"{path}: not an .npz file", _LAYOUT)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise RunoffError(f"{path}: not readable as labelled images: {error}", _LAYOUT) from error


def _of_arrays(
    images: NDArray[Any], labels: NDArray[Any], folder: Path, classes: Sequence[str], path: Path = Path(DIGITS)
) -> LabelledImages:
    """Write uint8 images [N, H, W] or [N, H, W, 3] as PNG files; `labels` [N] are indices or names."""
    from PIL import Image

    grey_or_rgb = images.ndim == 3 or images.shape[3:] == (3,)  # noqa: PLR2004 (count, height, width)
    if images.dtype != "uint8" or not grey_or_rgb or not images.size:
        found = f"{images.dtype} {list(images.shape)}"
        raise RunoffError(f"{path}: images are {found}", "write them as uint8 [N, H, W] or [N, H, W, 3]")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iuU":
        found = f"{labels.dtype} {list(labels.shape)}"
        raise RunoffError(f"{path}: labels are {found}", f"write an integer or a name for each of {len(images)} images")
    if labels.dtype.kind == "U":
        indices, known = _indices(labels.tolist(), classes, path)
    else:
        indices, known = tuple(labels.tolist()), tuple(classes) or tuple(map(str, range(int(labels.max()) + 1)))
        wrong = next((index for index in indices if not 0 <= index < len(known)), None)
        if wrong is not None:
            raise RunoffError(f"{path}: label {wrong}; the model has {len(known)} labels", "labels begin at 0")
    files = tuple(folder / f"{place:05}.png" for place in range(len(images)))
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    return LabelledImages(files, indices, known)
