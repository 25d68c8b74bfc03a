"""ONNX models in Python through a Rust core.

ONNX Runtime's shared library is looked for in the environment variable ``RUNOFF_ORT_DYLIB`` (an absolute path), then in
the installed `onnxruntime` package, which is found without being imported. It is loaded, and its environment made, when
the first session is made; `load_runtime` and `make_environment` do so ahead of time.

Every failure of this module is a `RunoffOrtError`. The GIL is released while a model is loaded or run and while images
are decoded.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "RunoffOrtError",
    "Session",
    "library_path",
    "load_runtime",
    "make_environment",
    "preprocess",
    "runtime_build",
    "runtime_version",
]

class RunoffOrtError(RuntimeError):
    """A failure with a way out."""

    kind: str
    """Kind of failure, one of the runner protocol's: ``model-missing``, ``image-unreadable``, ..."""
    message: str
    """What went wrong, and which file or argument is at fault."""
    hint: str
    """What to do next; empty where the message says it already."""

@type_check_only
class PreprocessSpec(TypedDict):
    """From pixels to tensor. This class exists for type checkers only: pass a plain dict.

    The shorter side is resized to `resize` (the longer one to ``resize * longer // shorter``), a square of `crop`
    pixels is cut from the middle, and every channel becomes ``(pixel - mean) / std``; `mean` and `std` are in pixel
    units (0 to 255).
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: Sequence[float]
    std: Sequence[float]

@final
class Session:
    """A model, loaded and ready. It may be used from many threads; calls run one at a time.

    Parameters
    ----------
    path
        An ONNX file.
    threads
        Threads that compute one operation.
    inter_threads
        Threads that run independent operations side by side, with ``execution="parallel"``.
    optimization
        Graph optimisation level.
    spinning
        Whether waiting worker threads burn CPU to answer sooner.
    arena
        Whether the CPU memory arena is used.
    prepacking
        Whether weights are repacked for the CPU when the model is loaded.
    execution
        Order in which operations run.
    provider
        Execution provider; one that is not in this build is an error.
    precision
        Number format that the model computes in.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing``, ``model-missing``, ``model-unreadable``, ``provider-unavailable``,
        ``bad-request`` or ``runtime-failed``.

    Notes
    -----
    A setting that is None is left at ONNX Runtime's own default.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        threads: int = 1,
        inter_threads: int | None = None,
        optimization: Literal["disable", "basic", "extended", "all"] | None = None,
        spinning: bool | None = None,
        arena: bool | None = None,
        prepacking: bool | None = None,
        execution: Literal["sequential", "parallel"] | None = None,
        provider: str = "cpu",
        precision: str = "fp32",
    ) -> Session: ...
    @property
    def inputs(self) -> list[tuple[str, str, list[int | None]]]:
        """Inputs in the order of the graph: name, dtype, and shape with None for a dynamic dimension."""

    @property
    def outputs(self) -> list[tuple[str, str, list[int | None]]]:
        """Outputs in the order of the graph: name, dtype, and shape with None for a dynamic dimension."""

    @property
    def threads(self) -> int | None:
        """Threads that compute, counted after the session was made; None where the system does not count them."""

    def run(self, inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Run the model once.

        Parameters
        ----------
        inputs
            An array for each input, by name, of the dtype and shape that the model takes: float32, float64, a signed or
            unsigned integer of 8 to 64 bits, or bool. C-contiguous arrays are not copied; do not write to them from
            another thread meanwhile.

        Returns
        -------
        dict
            A new array for each output, by name, in the order of the graph.

        Raises
        ------
        TypeError
            When a value is not an array of the input's dtype.
        RunoffOrtError
            `kind` is ``model-mismatch`` when names or shapes do not fit, ``runtime-failed`` when the model fails.
        """

    def classify(
        self, image_path: str | PathLike[str], preprocess: PreprocessSpec | Mapping[str, object], top: int = 5
    ) -> list[tuple[int, float]]:
        """Classify the image in a file.

        Parameters
        ----------
        image_path
            A JPEG or PNG file.
        preprocess
            How the image becomes the model's input, float32 of shape ``[1, 3, crop, crop]``.
        top
            How many classes are returned.

        Returns
        -------
        list
            Index and confidence (softmax over all classes of the first output), best first.

        Raises
        ------
        RunoffOrtError
            As `preprocess` and `run` do.
        """

def preprocess(
    paths: Sequence[str | PathLike[str]],
    resize: int,
    crop: int,
    interpolation: Literal["bilinear", "bicubic"],
    mean: Sequence[float],
    std: Sequence[float],
) -> NDArray[np.float32]:
    """Read, decode, resize, crop and normalise images.

    Parameters
    ----------
    paths
        JPEG or PNG files. Orientation (EXIF) and colour profiles are not applied; transparency is dropped.
    resize, crop, interpolation, mean, std
        See `PreprocessSpec`.

    Returns
    -------
    numpy.ndarray
        float32 of shape ``[len(paths), 3, crop, crop]``, RGB. Before normalisation it is within 2 of 255 of what
        Pillow's `resize` with ``box`` gives: both decode with libjpeg-turbo, and only the resizers round apart.

    Raises
    ------
    RunoffOrtError
        `kind` is ``image-missing``, ``image-unreadable``, ``image-too-large`` or ``bad-request``.
    """

def load_runtime() -> None:
    """Load ONNX Runtime's shared library, unless that was done already.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` when it is not there, is not ONNX Runtime, or is too old.
    """

def make_environment() -> None:
    """Make ONNX Runtime's environment, unless that was done already; loads the library first.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` or ``runtime-failed``.
    """

def runtime_version() -> str:
    """Return the version of the loaded library, as in ``1.32.0``; loads it first."""

def runtime_build() -> str:
    """Return how the loaded library was built, in its own words; loads it first."""

def library_path() -> str:
    """Return the absolute path that the library was loaded from; loads it first."""
