"""The custom runners of ``suites/speed.toml``: ``runners.py WHAT --request FILE --result FILE``.

`WHAT` is the work of one inference; `LIBRARY` selects one of two compared libraries:

- ``calls LIBRARY``: `CALLS` calls of `FLAT`, by `run`
- ``bound LIBRARY``: the same with inputs and outputs bound
- ``callers LIBRARY``: `INFERENCES` calls of the model from each of ``settings.threads`` threads, of one session
- ``pillow``: the target `ort-python` with an image resized as a whole before it is cropped
- ``released``: the target `ort-python` that takes ONNX Runtime's code out of memory where `ort-rust` does

`FLAT` computes the same as the model `one_node`, so its outputs are checked as usual, on a one-dimensional tensor: each
further dimension adds to the cost of a call. It is `onnx.helper`'s ``Add`` of ``x`` [12] and ``x`` to ``y``, opset 17.
"""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import os
import sys
from itertools import repeat

import numpy as np

from runoff_runners.program import main
from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from runoff_runners.interfaces import Array, Feed, Fields, Marks, Preprocess, Request, Target

    class Library(Protocol):
        """A session of a library."""

        def effective(self) -> Fields:
            """Return the effective settings."""

        def calls(self, feed: Feed, count: int) -> Array:
            """Run the model `count` times; return the last output."""

        def bind(self, feed: Feed, output: Array) -> tuple[Callable[[], object], Callable[[], Array]]:
            """Return a function that runs the model on fixed arrays, and one that reads the output."""


FLAT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flat.onnx")  # noqa: PTH100, PTH118, PTH120
CALLS, INFERENCES = 250, 4
"""Calls per inference, enough to make the cost of the clock negligible."""
THREADS_IN_AN_OPERATION = 1
MADV_DONTNEED = 4
"""Of Linux; ``mmap.MADV_DONTNEED`` would be a further import."""


class OnnxRuntime:
    """Its Python package."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        self._library = onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS_IN_AN_OPERATION
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self._output = self._session.get_outputs()[0].name

    def effective(self) -> "Fields":
        """Return the effective settings."""
        return {"version": self._library.__version__, "build": self._library.get_build_info()}

    def calls(self, feed: "Feed", count: int) -> "Array":
        """Run the model `count` times; return the last output."""
        run = self._session.run
        for _ in repeat(None, count):
            outputs = run(None, feed)
        output: Array = outputs[0]
        return output

    def bind(self, feed: "Feed", output: "Array") -> "tuple[Callable[[], object], Callable[[], Array]]":
        """Return a function that runs the model on fixed arrays, and one that reads the output."""
        place = self._library.OrtValue.ortvalue_from_numpy(output)
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        binding.bind_ortvalue_output(self._output, place)
        session = self._session
        return lambda: session.run_with_iobinding(binding), place.numpy


class RunoffOrt:
    """The Rust core's extension."""

    def __init__(self, path: str) -> None:
        import runoff_ort

        self._library = runoff_ort
        self._session = runoff_ort.Session(path, threads=THREADS_IN_AN_OPERATION, force_spinning_stop=True)
        self._output = self._session.outputs[0].name

    def effective(self) -> "Fields":
        """Return the effective settings."""
        library = self._library
        path = library.library_path()
        return {"version": library.runtime_version(), "build": library.runtime_build(), "library": path}

    def calls(self, feed: "Feed", count: int) -> "Array":
        """Run the model `count` times; return the last output."""
        run = self._session.run
        for _ in repeat(None, count):
            outputs = run(feed)
        output: Array = outputs[self._output]
        return output

    def bind(self, feed: "Feed", output: "Array") -> "tuple[Callable[[], object], Callable[[], Array]]":
        """Return a function that runs the model on fixed arrays, and one that reads the output."""
        binding = self._session.bind(feed, {self._output: output})
        return binding.run, lambda: output


LIBRARIES: "dict[str, Callable[[str], Library]]" = {"onnxruntime": OnnxRuntime, "runoff_ort": RunoffOrt}


class Calls:
    """An inference is many calls of `FLAT`."""

    def __init__(self, load: "Callable[[str], Library]", request: "Request") -> None:
        self.library = load(self.path(request))
        self.output = request["model"]["outputs"][0]["name"]

    def path(self, request: "Request") -> str:  # noqa: ARG002 (others run the request's model)
        """Return the model's file."""
        return FLAT

    def run(self, feed: "Feed") -> "Feed":
        """Call."""
        (pixels,) = feed.values()
        return {self.output: self.library.calls({"x": pixels.reshape(-1)}, CALLS).reshape(pixels.shape)}

    def effective(self) -> "Fields":
        """Return the effective settings."""
        return {"runtime": "onnxruntime", "language": "python", "provider": "cpu", **self.library.effective()}


class Bound(Calls):
    """The same, with input and output bound."""

    _place: "Array | None" = None

    def run(self, feed: "Feed") -> "Feed":
        """Write the input into its buffer and call."""
        (pixels,) = feed.values()
        if self._place is None:
            self._place = np.zeros(pixels.size, np.float32)
            self._call, self._read = self.library.bind({"x": self._place}, np.zeros_like(self._place))
        np.copyto(self._place, pixels.reshape(-1))
        call = self._call
        for _ in repeat(None, CALLS):
            call()
        return {self.output: self._read().reshape(pixels.shape)}


class Callers(Calls):
    """Concurrent threads that call one session of the request's model."""

    def __init__(self, load: "Callable[[str], Library]", request: "Request") -> None:
        from concurrent.futures import ThreadPoolExecutor

        super().__init__(load, request)
        self._count = request["settings"]["threads"]
        self._pool = ThreadPoolExecutor(self._count)

    def path(self, request: "Request") -> str:
        """Return the model's file."""
        return request["model"]["path"]

    def run(self, feed: "Feed") -> "Feed":
        """Call from all threads at the same time."""
        calls = [self._pool.submit(self.library.calls, feed, INFERENCES) for _ in range(self._count)]
        outputs = [call.result() for call in calls]
        if any(not np.array_equal(output, outputs[0]) for output in outputs):
            raise RunnerError("internal", "two threads got different outputs from one session")
        return {self.output: outputs[0]}


KINDS: "dict[str, type[Calls]]" = {"calls": Calls, "bound": Bound, "callers": Callers}


class Repeated:
    """A target with one of `KINDS` as its inference; a `runoff_runners.interfaces.Target`."""

    MEASURES: "tuple[str, ...]" = ("once", "accuracy", "turns")
    FORMATS: "tuple[str, ...]" = ("onnx",)
    SETTINGS: "tuple[str, ...]" = ("threads",)

    def __init__(self, kind: str, library: str) -> None:
        from importlib import import_module

        self._kind = KINDS[kind]
        self._library = LIBRARIES[library]
        module = {"onnxruntime": "target_ort_python", "runoff_ort": "target_ort_pyo3"}[library]
        self._target: Target = import_module(f"runoff_runners.{module}")

    def capabilities(self) -> "Fields":
        """Return the library's capabilities, on the CPU, for tensors."""
        return {**self._target.capabilities(), "workloads": ["tensor"], "providers": ["cpu"], "max_batch": 1}

    def perform(self, request: "Request", phases: "Marks") -> "Fields":
        """Execute the request."""
        from runoff_runners.measure import measure

        phases.end("imports")
        session = self._kind(self._library, request)
        phases.end("load")
        return measure(request, session, None, phases)


def pillow(paths: "list[str]", spec: "Preprocess") -> "Array":
    """Return images preprocessed as in most programs: resize the whole image, crop the centre, normalise."""
    from PIL import Image

    tensors = []
    for path in paths:
        with Image.open(path) as image:
            shorter, crop = min(image.size), spec["crop"]
            width, height = (spec["resize"] * side // shorter for side in image.size)
            filter_ = getattr(Image.Resampling, spec["interpolation"].upper())
            resized = image.convert("RGB").resize((width, height), filter_)
        left, upper = (width - crop) // 2, (height - crop) // 2
        array = np.asarray(resized.crop((left, upper, left + crop, upper + crop)), np.float32)
        normalised = (array - np.asarray(spec["mean"], np.float32)) / np.asarray(spec["std"], np.float32)
        tensors.append(normalised.transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(tensors))


def release_code() -> None:
    """Take the code of ONNX Runtime's module out of resident memory; what is used again is mapped again."""
    import ctypes

    with open("/proc/self/maps") as maps:  # noqa: PTH123 (no import that is not needed)
        places = [line.split()[0] for line in maps if "onnxruntime_pybind11_state" in line and " r-xp " in line]
    for place in places:
        start, end = (int(address, 16) for address in place.split("-"))
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def released() -> "Target":
    """Return the target `ort-python` that releases code after the import and after the model was loaded."""
    from runoff_runners import measure, target_ort_python

    usual = measure.measure
    release_code()

    def released_measure(*arguments: "Any") -> "Fields":
        release_code()
        fields = usual(*arguments)
        fields["effective"]["practices"].append("released-code")
        return fields

    vars(measure)["measure"] = released_measure
    return target_ort_python


def load_target(words: "list[str]") -> "Target":
    """Return the target named on the command line."""
    if words == ["released"]:
        return released()
    if words == ["pillow"]:
        from runoff_runners import preprocess, target_ort_python

        preprocess.preprocess = pillow  # type: ignore[assignment]
        return target_ort_python
    kind, library = words
    return Repeated(kind, library)


def take_words() -> "list[str]":
    """Remove the runner's own arguments; the protocol's remain."""
    words = []
    while len(sys.argv) > 1 and not sys.argv[1].startswith("--"):
        words.append(sys.argv.pop(1))
    known = [["pillow"], ["released"], *([kind, library] for kind in KINDS for library in LIBRARIES)]
    if words not in known:
        sys.exit(f"usage: runners.py {'|'.join(' '.join(names) for names in known)} --request FILE --result FILE")
    return words


if __name__ == "__main__":
    WORDS = take_words()
    sys.exit(main(f"speed-{'-'.join(WORDS)}", lambda: load_target(WORDS), BEGAN_NS))
