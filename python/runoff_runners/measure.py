"""The loops of the measures, shared by all runtimes; that of `load` is in `runoff_runners.serving`."""

from __future__ import annotations

import sys
from json import dumps
from os import confstr, environ
from time import monotonic_ns

import numpy as np

from runoff_runners.process import is_mapped
from runoff_runners.protocol import PREPARED, RunnerError
from runoff_runners.tensors import joined, read_tensor, write_tensors
from runoff_runners.topk import read_labels, top_classes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import (
        Feed,
        Fields,
        Images,
        Marks,
        ModelFile,
        ProfiledSession,
        Request,
        SegmentSession,
        Session,
    )
    from runoff_runners.prefetch import Prefetch


def carry_out(request: Request, phases: Marks, open_session: Callable[[], Session], phase: str = "load") -> Fields:
    """Carry out the request with the session that `open_session` makes; return the target's fields of the result.

    Images are read by Pillow. What is imported before belongs to the phase ``imports``, what `open_session` does to the
    phase called `phase`; it may end phases before that one.
    """
    images = pillow_images(request)
    phases.end("imports")
    # not earlier: imports hold the GIL, and a thread waiting for it slows them down
    prefetch = begin_prefetch(request, images)
    session = open_session()
    phases.end(phase)
    return measure(request, session, images, phases, prefetch)


def opener(request: Request, open_session: Callable[[Request], Any]) -> Callable[[], Any]:
    """Return what loads the request's ONNX model: a session, or to segment, a pair of them; imports what that needs."""
    if request["workload"] == "segment":
        from runoff_runners.segment_onnx import OnnxSegmenter

        return lambda: OnnxSegmenter(request, open_session)
    return lambda: open_session(request)


_IN_PLACE = (PREPARED, "openvino", "pt")


def measure(
    request: Request, session: Session, images: Images | None, phases: Marks, prefetch: Prefetch | None = None
) -> Fields:
    """Carry out the request's `measure`; return its fields of the result.

    Parameters
    ----------
    request
        The request.
    session
        The loaded model.
    images
        Reads and preprocesses image files (`classify` only).
    phases
        Records ``preprocess``, ``inference`` and ``warm``.
    prefetch
        The first batch, if a thread is already preparing it.
    """
    loop = _Loop(request, session, images, phases, prefetch)
    kind = request["measure"]["kind"]
    if kind == "latency":
        loop.latency()
    elif kind == "accuracy":
        loop.accuracy()
    elif kind == "turns":
        loop.turns()
    elif kind == "operators":
        loop.operators()
    elif kind == "load":
        loop.load()
    else:
        loop.first()
    found = {"denormals": denormals(), "allocator": allocator(), "practices": practices(request["model"])}
    if decoder := image_decoder():
        found["image_decoder"] = decoder
    return {**loop.fields(), "effective": {**session.effective(), **found}}


def practices(model: ModelFile) -> list[str]:
    """Return the practice ``mapped-model`` if the model's file is mapped now and its weights are used in place.

    Only formats that a runtime can use in place are checked.
    """
    return ["mapped-model"] if model["format"] in _IN_PLACE and is_mapped(model["path"]) else []


def denormals() -> str:
    """Return how this thread treats denormal numbers: ``kept``, or ``flushed`` to zero.

    The test halves the smallest normal float32, 2 ** -126.
    """
    half = np.full(1, 2.0**-126, np.float32) * np.float32(0.5)
    return "kept" if half[0] else "flushed"


def allocator() -> str | None:
    """Return the library that provides ``malloc`` in this process: a preloaded one, else the C library.

    ``None`` if neither is known.
    """
    preloaded = environ.get("LD_PRELOAD")
    if preloaded:
        try:
            with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123 (pathlib takes milliseconds)
                names = {line.rpartition("/")[2].partition(".so")[0] for line in maps if "malloc" in line}
        except OSError:
            return None
        if names:
            return " and ".join(sorted(names))
    try:
        return confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def image_decoder() -> str | None:
    """Return Pillow's JPEG library and its version; ``None`` if Pillow was not used."""
    image = sys.modules.get("PIL.Image")
    version = getattr(image.core, "libjpeg_turbo_version", None) if image else None
    return f"libjpeg-turbo {version}" if version else None


def pillow_images(request: Request) -> Images | None:
    """Return the function that preprocesses images with Pillow, which is not imported for `tensor`."""
    if request["workload"] == "segment":
        from runoff_runners.pictures import read_picture

        return lambda items: read_picture(request, *items)
    if request["workload"] == "tensor":
        return None
    from runoff_runners.preprocess import preprocess

    spec = request["preprocess"]
    return lambda paths: preprocess(paths, spec)


def begin_prefetch(request: Request, images: Images | None) -> Prefetch | None:
    """Start preparing the first batch of images in a thread if the setting `overlap` is on."""
    if images is None or not request["settings"]["overlap"]:
        return None
    from runoff_runners.prefetch import Prefetch

    return Prefetch(images, _image_sources(request, _first_items(request)))


def _image_sources(request: Request, items: list[int]) -> list[Any]:
    """Return what `Images` takes: paths; or for `segment`, whose items also have prompts, the indices."""
    if request["workload"] == "segment":
        return items
    return [request["inputs"][number]["image"] for number in items]


def _first_items(request: Request) -> list[int]:
    """Return the item indices of the first batch; for `accuracy` it does not wrap around."""
    items = _batch_items(request, 0)
    return items[: len(request["inputs"])] if request["measure"]["kind"] == "accuracy" else items


def _batch_items(request: Request, first: int) -> list[int]:
    """Return the item indices of a batch that starts with `first` and wraps around."""
    count = len(request["inputs"])
    return [(first + offset) % count for offset in range(request["settings"]["batch"])]


class _Loop:
    """Iterations of one session, with their durations and outputs."""

    def __init__(
        self, request: Request, session: Session, images: Images | None, phases: Marks, prefetch: Prefetch | None
    ) -> None:
        self._request = request
        self._session = session
        self._images = images
        self._phases = phases
        self._prefetch = prefetch
        self._read: dict[int, Feed] = {}
        self._preprocess_ns: list[int] = []
        self._inference_ns: list[int] = []
        # durations of the parts of each inference on a device, or of a segmentation
        self._parts: dict[str, list[int]] = getattr(session, "parts", {})
        self._classifies = request["workload"] == "classify"
        self._items: list[int] = []
        self._feed: Feed = {}
        self._outputs: Feed = {}
        self._written: dict[str, Fields] = {}
        self._written_inputs: list[Fields] = []
        self._profile: Fields | None = None
        self._served: Fields = {"outputs": []}

    def first(self) -> None:
        """Run the first iteration and end the phases ``preprocess`` and ``inference``."""
        items = _first_items(self._request)
        feed, took_ns = self._first_feed(items)
        self._phases.end("preprocess")
        self._preprocess_ns.append(took_ns)
        began = monotonic_ns()
        outputs = self._session.run(feed)
        self._inference_ns.append(self._phases.end("inference") - began)
        self._items, self._feed, self._outputs = items, feed, outputs

    def latency(self) -> None:
        """Run the first and second iteration, the warm-up, then warm iterations until both minima are met."""
        measured = self._request["measure"]
        first, batch = self._warm_up(), self._request["settings"]["batch"]
        enough, until = 2 + measured["min_samples"], monotonic_ns() + measured["min_ns"]
        while len(self._inference_ns) < enough or monotonic_ns() < until:
            self._iterate(_batch_items(self._request, first))
            first += batch
        self._phases.end("warm")

    def turns(self) -> None:
        """Write ``ready``, then respond to each line of stdin: the items of a turn, or ``outputs``."""
        self._warm_up()
        items = {str(number): number for number in range(len(self._request["inputs"]))}
        _tell("ready")
        for raw in sys.stdin.buffer:
            line = raw.decode(errors="replace")
            answer = self._write_latest() if line.strip() == "outputs" else self._turn(_read_items(line, items))
            _tell(dumps(answer))
        self._phases.end("warm")

    def operators(self) -> None:
        """Run the first and second iteration, the warm-up, then those whose nodes are reported."""
        first, count, batch = (
            self._warm_up(),
            self._request["measure"]["inferences"],
            self._request["settings"]["batch"],
        )
        for begin in range(first, first + count * batch, batch):
            self._iterate(_batch_items(self._request, begin))
        self._phases.end("warm")
        # only runners with a profiler declare this measure
        session: ProfiledSession = self._session  # type: ignore[assignment]
        self._profile = {"path": session.end_profile(), "format": "chrome-trace"}

    def load(self) -> None:
        """Run the first iterations, then serve requests until stdin ends."""
        self._warm_up()
        from runoff_runners.serving import Server

        self._served = Server(self._request, self._session, self._images, self._read).run()
        self._phases.end("warm")

    def accuracy(self) -> None:
        """Run every item once, in order; the last batch may be smaller."""
        batch, count = self._request["settings"]["batch"], len(self._request["inputs"])
        for begin in range(0, count, batch):
            if begin == 0:
                self.first()
            else:
                self._iterate(list(range(begin, min(begin + batch, count))))
            self._write()
            if self._classifies:
                folder = self._request["outputs_dir"]
                self._written_inputs += write_tensors(folder, self._items, self._feed, "input.")
        self._phases.end("warm")

    def fields(self) -> Fields:
        """Write the last outputs; return samples, written tensors and top-k."""
        self._write()
        samples = {"inference": _timings(self._inference_ns)}
        samples |= {name: _timings(ns) for name, ns in self._parts.items()}
        found: Fields = {"top": []}
        if self._images is not None:
            samples["preprocess"] = _timings(self._preprocess_ns)
        if self._classifies:
            labels = read_labels(self._request["labels"])
            found["top"] = top_classes(next(iter(self._outputs.values())), self._request["top_k"], labels)
        elif self._request["workload"] == "segment":
            session: SegmentSession = self._session  # type: ignore[assignment]
            found["segmentations"] = [session.segmentation]
        outputs = [*self._written.values(), *self._served.pop("outputs")]
        return {
            **self._served,
            "samples": samples,
            "outputs": outputs,
            "tensors": self._written_inputs,
            **found,
            "profile": self._profile,
        }

    def _turn(self, firsts: list[int]) -> Fields:
        """Run one iteration starting at each item of `firsts`; return the durations in nanoseconds by part."""
        before = len(self._inference_ns)
        for first in firsts:
            self._iterate(_batch_items(self._request, first))
        took = {"inference": self._inference_ns[before:]}
        took |= {name: ns[before:] for name, ns in self._parts.items()}
        if self._images is not None:
            took["preprocess"] = self._preprocess_ns[before:]
        return took

    def _warm_up(self) -> int:
        """Run the first two iterations and the warm-up, which is not kept; return the first item of the next one."""
        if self._images is None:
            self._read = {number: self._read_item(number) for number in range(len(self._request["inputs"]))}
        self.first()
        self._write()
        batch = self._request["settings"]["batch"]
        next_one = (2 + self._request["measure"]["warmup"]) * batch
        for first in range(batch, next_one, batch):
            self._iterate(_batch_items(self._request, first))
        for kept in (self._preprocess_ns, self._inference_ns, *self._parts.values()):
            del kept[2:]
        return next_one

    def _first_feed(self, items: list[int]) -> tuple[Feed, int]:
        """Return the first batch, and the time to prepare it in nanoseconds."""
        if self._prefetch is not None:
            batch, took_ns = self._prefetch.take()
            return self._image_feed(batch), took_ns
        began = monotonic_ns()
        return self._make_feed(items), monotonic_ns() - began

    def _iterate(self, items: list[int]) -> None:
        began = monotonic_ns()
        feed = self._make_feed(items)
        ready = monotonic_ns()
        outputs = self._session.run(feed)
        done = monotonic_ns()
        self._preprocess_ns.append(ready - began)
        self._inference_ns.append(done - ready)
        self._items, self._feed, self._outputs = items, feed, outputs

    def _make_feed(self, items: list[int]) -> Feed:
        if self._images is not None:
            return self._image_feed(self._images(_image_sources(self._request, items)))
        return joined([self._read.get(number) or self._read_item(number) for number in items])

    def _image_feed(self, batch: Any) -> Feed:  # noqa: ANN401 (an array, or a picture)
        return {self._request["model"]["inputs"][0]["name"]: batch}

    def _read_item(self, number: int) -> Feed:
        files = self._request["inputs"][number]["tensors"]
        names = (spec["name"] for spec in self._request["model"]["inputs"])
        return {name: read_tensor(files[name], name, f"inputs[{number}].tensors.{name}") for name in names}

    def _write(self) -> None:
        """Write the outputs of the latest iteration for the result, replacing an earlier entry of the same batch."""
        self._written |= {entry["path"]: entry for entry in self._write_latest()}

    def _write_latest(self) -> list[Fields]:
        """Write the outputs of the latest iteration, replacing earlier files of the same batch."""
        return write_tensors(self._request["outputs_dir"], self._items, self._outputs)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _read_items(line: str, items: dict[str, int]) -> list[int]:
    """Parse a line of stdin into item indices.

    Raises
    ------
    RunnerError
        ``bad-request``: a word is not among `items`.
    """
    try:
        return [items[word] for word in line.split()]
    except KeyError as error:
        message = f"stdin: {error.args[0][:80]!r} is not an index of the {len(items)} items"
        raise RunnerError("bad-request", message, "a turn's line holds indices of items, or the word outputs") from None


def _timings(samples: list[int]) -> Fields:
    """Return `runoff.records.protocol.Timings` for durations in the order of measurement."""
    second = samples[1] if len(samples) > 1 else None
    return {"first_ns": samples[0], "second_ns": second, "warm_ns": samples[2:]}
