"""The runner of `ort-python` as on a machine with an NVIDIA GPU; the CPU and its memory are used instead.

The driver's results and the providers' names are fake; sessions, bindings and buffers are ONNX Runtime's own. The
options of a session are written to the file FAKE_SESSION_FILE. FAKE_PROVIDER is the provider reported for the model.
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
        """A session that reports different providers than it uses."""

        def __init__(self, path: str, options: Any, providers: list[Any], **more: Any) -> None:
            self._requested = [name for name, _ in providers]
            entries = {name: options.get_session_config_entry(name) for name in ENTRIES if options.has_entry(name)}
            requested = {"providers": providers, "entries": entries, **more}
            Path(os.environ["FAKE_SESSION_FILE"]).write_text(json.dumps(requested))
            options.add_session_config_entry(ENTRIES[0], "0")
            super().__init__(path, options, ["CPUExecutionProvider"], **more)

        def get_providers(self) -> list[str]:
            """Return the providers of a session on a GPU."""
            return [*self._requested, "CPUExecutionProvider"]

        def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
            """Return the provider that took the model."""
            return [SimpleNamespace(ep_name=os.environ["FAKE_PROVIDER"])]

    class Options(ort.SessionOptions):  # type: ignore[misc]
        """Session options that report which entries were set."""

        def has_entry(self, name: str) -> bool:
            """Return whether an entry was set; reading a missing entry raises an error."""
            try:
                self.get_session_config_entry(name)
            except RuntimeError:
                return False
            return True

    ort.get_available_providers = lambda: NAMES
    ort.InferenceSession, ort.SessionOptions = Session, Options
    ort.cuda_version = "13.0"
    cuda_driver.unavailable_reason = lambda cuda: None  # noqa: ARG005
    cuda_driver.device = lambda: "Fake GPU (0)"
    ort_cuda._load_cuda = ort_cuda._load_tensorrt = list
    ort_cuda.DEVICE = "cpu"
    return target_ort_python


if __name__ == "__main__":
    sys.exit(main("ort-python", load_target, BEGAN_NS))
