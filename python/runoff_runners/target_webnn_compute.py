"""WebNN as pywebnn computes it: a graph of its builder, and `compute` for each inference."""

from __future__ import annotations

import os
from importlib.metadata import version

import onnxruntime
import webnn

from runoff_runners.measure import carry_out
from runoff_runners.model import check_cpu, check_inputs, input_shapes, model_path, output_names, unreadable
from runoff_runners.process import mapped_library
from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runoff_runners.interfaces import Feed, Fields, Marks, Request, Shapes

FORMATS: tuple[str, ...] = ("onnx",)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns")
SETTINGS: tuple[str, ...] = ("threads", "teardown", "overlap")
_HOW = "ONNX Runtime {} without graph optimisation, a new session in every compute(), tensors as Python lists"


def capabilities() -> Fields:
    """Return the capabilities of this pywebnn on this machine."""
    return {**runtime(), "library": mapped_library("libonnxruntime."), "providers": ["cpu"]}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    # a session of `compute` has no other setting
    os.environ["ORT_INTRA_OP_NUM_THREADS"] = str(request["settings"]["threads"])
    return carry_out(request, phases, lambda: Session(Graphs(request)), "convert")


class Graphs:
    """The model of a request, converted: a graph for each set of input shapes.

    Raises
    ------
    RunnerError
        ``provider-unavailable``, ``model-missing``, ``model-unreadable``, ``model-mismatch``, ``type-unsupported``,
        ``model-unsupported``.
    """

    def __init__(self, request: Request) -> None:
        check_cpu(request, "pywebnn computes on the CPU on this machine")
        # a program that builds its graph itself needs no ONNX: its import is part of the conversion
        from google.protobuf.message import DecodeError

        from runoff_runners.webnn_convert import Model
        from runoff_runners.webnn_operators import DTYPES

        path = model_path(request)
        try:
            model = Model(path)
        except (DecodeError, ValueError, OSError) as error:
            raise unreadable(request, one_line(error)) from error
        if not model.outputs:
            raise unreadable(request, "it is not an ONNX model")
        check_inputs(model.inputs, request, DTYPES)
        outputs = output_names(request, model.outputs, DTYPES | {"bool"})
        dtypes = {spec["name"]: spec["dtype"] for spec in model.outputs}
        self._outputs = {name: dtypes[name] for name in outputs}
        self.context = create_context()
        self.by_shapes: dict[Shapes, Any] = {}
        names = [spec["name"] for spec in request["model"]["inputs"]]
        for shapes in input_shapes(request):
            builder = self.context.create_graph_builder()
            self.by_shapes[shapes] = model.build(builder, dict(zip(names, shapes, strict=True)), outputs)

    def as_declared(self, found: Feed) -> Feed:
        """Return the outputs in the order and with the dtypes of the ONNX model.

        `compute` returns float64 whatever the dtype, and WebNN has no bool.
        """
        return {name: found[name].astype(dtype, copy=False) for name, dtype in self._outputs.items()}


class Session:
    """Graphs that pywebnn computes itself."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._compute = graphs.context.compute

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        graph = self._graphs.by_shapes[tuple(array.shape for array in feed.values())]
        try:
            found = self._compute(graph, feed)
        except Exception as error:  # pywebnn has no exceptions of its own
            raise RunnerError("runtime-failed", one_line(error)) from error
        return self._graphs.as_declared(found)

    def effective(self) -> Fields:
        """Return the settings in effect; the threads of a session that ends with `compute` cannot be counted."""
        library = mapped_library("libonnxruntime.")
        return {**runtime(), "language": "python", "provider": "cpu", "threads": None, "library": library}


def create_context() -> Any:  # noqa: ANN401 (webnn.MLContext)
    """Return a context on the CPU."""
    return webnn.ML().create_context(accelerated=False, device_type="cpu")


def runtime(how: str = _HOW) -> Fields:
    """Return the name and version of pywebnn, with the backend that it reports and `how` that computes."""
    backend = create_context().backend_info()["backend"]
    return {
        "runtime": "pywebnn",
        "version": version("pywebnn"),
        "build": f"backend {backend}: {how.format(onnxruntime.__version__)}",
    }
