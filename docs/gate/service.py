"""A service's own way to call ONNX Runtime, in the shape that runoff's Python runners share."""

from __future__ import annotations

from typing import Any

import onnxruntime as ort

from runoff_runners.measure import carry_out
from runoff_runners.process import thread_count

FORMATS = ("onnx",)
MEASURES = ("once", "latency", "accuracy", "turns")
SETTINGS = ("threads",)


class Session:
    """The loaded model."""

    def __init__(self, request: dict[str, Any]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = request["settings"]["threads"]
        # a process that waits for its turn must not spin
        options.add_session_config_entry("session.force_spinning_stop", "1")
        before = thread_count() or 0
        self._session = ort.InferenceSession(request["model"]["path"], options, providers=["CPUExecutionProvider"])
        self._threads = (thread_count() or 0) - before + 1

    def run(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Run the model once."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, feed), strict=True))

    def effective(self) -> dict[str, Any]:
        """Return the settings in effect."""
        return {
            "runtime": "onnxruntime",
            "version": ort.__version__,
            "build": ort.get_build_info(),
            "language": "python",
            "provider": "cpu",
            "threads": self._threads,
        }


def capabilities() -> dict[str, Any]:
    """Return the capabilities for ``--probe``."""
    return {"runtime": "onnxruntime", "version": ort.__version__, "providers": ["cpu"]}


def perform(request: dict[str, Any], phases: Any) -> dict[str, Any]:  # noqa: ANN401 (runoff's stop-watch)
    """Execute the request."""
    return carry_out(request, phases, lambda: Session(request))
