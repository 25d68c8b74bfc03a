"""Pictures for `segment`: read, scaled to the frame of the encoder, with their prompts. Pillow and NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from runoff_runners.preprocess import read_image
from runoff_runners.protocol import RunnerError
from runoff_runners.tensors import read_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff_runners.interfaces import Array, Prompt, Request, Segment

    Floats = NDArray[np.float32]
    Pixels = NDArray[np.uint8]

_HOLDS_BOTH = ("pt", "pt2")
"""Formats whose runtime normalises and pads itself."""


class PromptArrays(NamedTuple):
    """A prompt, in pixels of the picture."""

    points: NDArray[np.float64]
    """[n, 2]: x, y."""
    labels: NDArray[np.int64]
    """[n]: 1 or 0."""
    box: NDArray[np.float64] | None
    """[4]: left, upper, right, lower edge."""
    mask: Floats | None
    """[1, s, s]: logits of an earlier mask."""


class Picture(NamedTuple):
    """A picture, and what is wanted of it."""

    pixels: Pixels
    """[height, width, 3], RGB, upright."""
    scaled: Pixels
    """[rows, columns, 3]: scaled to the frame."""
    tensor: Floats | None
    """[1, 3, size, size]: normalised and padded; None if the runtime does that."""
    prompts: list[PromptArrays] | None
    """None: everything is segmented."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width in the frame of the encoder."""
        return self.scaled.shape[0], self.scaled.shape[1]


def read_picture(request: Request, number: int) -> Picture:
    """Return the picture of item `number` with its prompts.

    Raises
    ------
    RunnerError
        ``image-missing``, ``image-unreadable``, ``image-too-large``; ``bad-request``: a prompt outside the picture;
        ``tensor-unreadable``: a prompt's mask.
    """
    item, spec = request["inputs"][number], request["segment"]
    image = read_image(item["image"], lambda upright: upright)
    where = f"inputs[{number}].prompts"
    given = item.get("prompts")
    prompts = [_arrays(one, f"{where}[{place}]", image.size) for place, one in enumerate(given)] if given else None
    pixels = np.asarray(image)
    return _picture(image, pixels, prompts, spec, normalised=request["model"]["format"] not in _HOLDS_BOTH)


def part_of(picture: Picture, box: Sequence[int], spec: Segment) -> Picture:
    """Return the part of a picture within `box` (left, upper, right, lower), scaled to the whole frame."""
    left, upper, right, lower = box
    pixels = picture.pixels[upper:lower, left:right]
    return _picture(Image.fromarray(pixels), pixels, None, spec, normalised=True)


def frame_of(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width of a picture whose longer side is scaled to `size`, rounded half up."""
    scale = size / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def prompt_points(prompt: PromptArrays, picture: Picture) -> tuple[Floats, Floats]:
    """Return the points of a prompt in the frame, float32 [p, 2], and their labels, float32 [p].

    The corners of a box are two more points, with labels 2 and 3; without a box, a point at 0, 0 with the label -1 is
    added, as in segment_anything.
    """
    points, labels = prompt.points, prompt.labels
    if prompt.box is not None:
        points = np.concatenate([points, prompt.box.reshape(2, 2)])
        labels = np.concatenate([labels, [2, 3]])
    coordinates = in_frame(points, picture)
    if prompt.box is None:
        coordinates = np.concatenate([coordinates, np.zeros((1, 2))])
        labels = np.concatenate([labels, [-1]])
    return coordinates.astype(np.float32), labels.astype(np.float32)


def in_frame(points: NDArray[np.float64], picture: Picture) -> NDArray[np.float64]:
    """Return points, float64 [..., 2] in pixels of the picture, in its frame."""
    (height, width), (rows, columns) = picture.size, picture.frame
    framed: NDArray[np.float64] = points * np.array([columns / width, rows / height])
    return framed


def _picture(
    image: Image.Image, pixels: Pixels, prompts: list[PromptArrays] | None, spec: Segment, *, normalised: bool
) -> Picture:
    rows, columns = frame_of(image.height, image.width, spec["size"])
    scaled = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))
    return Picture(pixels, scaled, _normalised(scaled, spec) if normalised else None, prompts)


def _normalised(scaled: Pixels, spec: Segment) -> Floats:
    tensor = np.zeros((1, 3, spec["size"], spec["size"]), np.float32)
    part = tensor[0, :, : scaled.shape[0], : scaled.shape[1]]
    part[...] = scaled.transpose(2, 0, 1)
    part -= np.array(spec["mean"], np.float32)[:, None, None]
    part /= np.array(spec["std"], np.float32)[:, None, None]
    return tensor


def _arrays(prompt: Prompt, where: str, size: tuple[int, int]) -> PromptArrays:
    """Return a prompt as arrays, checked against the width and height of its picture."""
    width, height = size
    points = np.array(prompt.get("points") or [], np.float64).reshape(-1, 2)
    for place, (x, y) in enumerate(points):
        if not (0 <= x < width and 0 <= y < height):
            raise _outside(f"{where}.points[{place}]: {x:g}, {y:g}", size)
    given = prompt.get("box")
    box = None if given is None else np.array(given, np.float64)
    if box is not None and not (box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height):
        raise _outside(f"{where}.box: {', '.join(f'{edge:g}' for edge in box)}", size)
    labels = np.array(prompt.get("labels") or [], np.int64)
    return PromptArrays(points, labels, box, _mask(prompt, f"{where}.mask"))


def _mask(prompt: Prompt, where: str) -> Array | None:
    file = prompt.get("mask")
    if file is None:
        return None
    shape = file["shape"]
    if file["dtype"] != "float32" or len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2]:  # noqa: PLR2004
        message = f"{where}: is {file['dtype']} {shape}, not float32 [1, s, s]"
        raise RunnerError("bad-request", message, "give the low_res_masks of an earlier prompt")
    return read_tensor(file, "mask", where)


def _outside(what: str, size: tuple[int, int]) -> RunnerError:
    message = f"{what} is outside the picture, which has {size[0]} x {size[1]} pixels"
    return RunnerError("bad-request", message, "x counts from the left, y from the top; after EXIF orientation")
