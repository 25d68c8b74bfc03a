"""The runner of `ort-python` as on a machine with an NVIDIA GPU, for which the CPU and its memory stand in.

The driver's answers and the providers' names stand in; sessions, bindings and buffers are ONNX Runtime's own. What a
session was asked for is written to the file STANDIN_ASKED. STANDIN names the provider that says it took the model.
"""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from runoff_runners.program import main

if TYPE_CHECKING:
    from runoff_runners.interfaces import Target

NAMES = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
ENTRIES = ("session.disable_cpu_ep_fallback", "session.record_ep_graph_assignment_info")


def load_target() -> "Target":
    """Import the runtime, changed."""
    import onnxruntime as ort

    from runoff_runners import cuda_driver, ort_cuda, target_ort_python

    class Session(ort.InferenceSession):  # type: ignore[misc]
        """A session whose providers are others than it says."""

        def __init__(self, path: str, options: Any, providers: list[Any], **more: Any) -> None:
            self._told = [name for name, _ in providers]
            entries = {name: options.get_session_config_entry(name) for name in ENTRIES if options.has_entry(name)}
            asked = {"providers": providers, "entries": entries, **more}
            Path(os.environ["STANDIN_ASKED"]).write_text(json.dumps(asked))
            options.add_session_config_entry(ENTRIES[0], "0")
            super().__init__(path, options, ["CPUExecutionProvider"], **more)

        def get_providers(self) -> list[str]:
            """Return what a session on these providers says."""
            return [*self._told, "CPUExecutionProvider"]

        def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
            """Return who took the model."""
            return [SimpleNamespace(ep_name=os.environ["STANDIN"])]

    class Options(ort.SessionOptions):  # type: ignore[misc]
        """Session options that know what was set."""

        def has_entry(self, name: str) -> bool:
            """Return whether an entry was set; asking for one that was not is an error."""
            try:
                self.get_session_config_entry(name)
            except RuntimeError:
                return False
            return True

    ort.get_available_providers = lambda: NAMES
    ort.InferenceSession, ort.SessionOptions = Session, Options
    ort.cuda_version = "13.0"
    cuda_driver.unavailable_reason = lambda cuda: None  # noqa: ARG005
    cuda_driver.device = lambda: "Stand-in (0)"
    ort_cuda._load_cuda = ort_cuda._load_tensorrt = list
    ort_cuda.DEVICE = "cpu"
    return target_ort_python


if __name__ == "__main__":
    sys.exit(main("ort-python", load_target, BEGAN_NS))
