"""WebNN's graph as pywebnn converts it, kept in one session of ONNX Runtime: what `compute` leaves to be gained."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH118

from __future__ import annotations

import os
import tempfile

from runoff_runners import target_ort_python as ort
from runoff_runners.measure import carry_out
from runoff_runners.protocol import RunnerError, one_line
from runoff_runners.target_webnn_compute import Graphs, runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Feed, Fields, Marks, Request

FORMATS: tuple[str, ...] = ("onnx",)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns")
SETTINGS: tuple[str, ...] = tuple(name for name in ort.SETTINGS if name != "prepared")
_HOW = "graph converted to ONNX once, in one session of ONNX Runtime {}"


def capabilities() -> Fields:
    """Return the capabilities of this pywebnn, with those of ONNX Runtime."""
    return {**runtime(_HOW), "library": ort.capabilities()["library"], "providers": ["cpu"]}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""

    def open_session() -> _Session:
        graphs = Graphs(request)
        phases.end("convert")
        return _Session(request, graphs)

    return carry_out(request, phases, open_session)


class _Session:
    """Converted graphs, each in a session of ONNX Runtime."""

    def __init__(self, request: Request, graphs: Graphs) -> None:
        self._graphs = graphs
        self._sessions = {}
        batched = request["workload"] == "classify" or request["settings"]["batch"] > 1
        for shapes, graph in graphs.by_shapes.items():
            # a folder for each: the file of the weights always has the same name
            with tempfile.TemporaryDirectory(prefix="webnn-", dir=request["outputs_dir"]) as folder:
                path = os.path.join(folder, "model.onnx")
                try:
                    graphs.context.convert_to_onnx(graph, path)
                except Exception as error:  # pywebnn has no exceptions of its own
                    raise RunnerError("runtime-failed", one_line(error)) from error
                settings = {**request["settings"], **({"batch": shapes[0][0]} if batched else {})}
                converted = {**request, "model": {**request["model"], "path": path}, "settings": settings}
                self._sessions[shapes] = ort.Session(converted)  # type: ignore[arg-type]  # still a request

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        session = self._sessions[tuple(array.shape for array in feed.values())]
        return self._graphs.as_declared(session.run(feed))

    def effective(self) -> Fields:
        """Return the settings in effect, as ONNX Runtime reports them."""
        return next(iter(self._sessions.values())).effective()
