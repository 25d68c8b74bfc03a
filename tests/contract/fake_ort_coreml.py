"""The runner of `ort-python` as on a Mac: its ONNX Runtime reports Core ML's provider.

FAKE_PROVIDER is ``takes`` if that provider takes the whole model (the CPU computes), or ``refuses`` if it refuses a
part: the Azure provider is used, which takes nothing, so ONNX Runtime's error is real. The options of the session are
written to the file FAKE_SESSION_FILE.
"""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runoff_runners.program import main

if TYPE_CHECKING:
    from runoff_runners.interfaces import Target

COREML = "CoreMLExecutionProvider"
FALLBACK = "session.disable_cpu_ep_fallback"


def load_target() -> "Target":
    """Import the runtime, changed."""
    import onnxruntime as ort

    class Session(ort.InferenceSession):  # type: ignore[misc]
        """A session that reports a different provider than it uses."""

        def __init__(self, path: str, options: Any, providers: list[Any], **more: Any) -> None:
            requested = {"providers": providers, "fallback": options.get_session_config_entry(FALLBACK), **more}
            Path(os.environ["FAKE_SESSION_FILE"]).write_text(json.dumps(requested))
            if os.environ["FAKE_PROVIDER"] == "refuses":
                super().__init__(path, options, ["AzureExecutionProvider"], **more)
                return
            options.add_session_config_entry(FALLBACK, "0")
            super().__init__(path, options, ["CPUExecutionProvider"], **more)

        def get_providers(self) -> list[str]:
            """Return the providers of a session on Core ML."""
            return [COREML, "CPUExecutionProvider"]

    ort.get_available_providers = lambda: [COREML, "AzureExecutionProvider", "CPUExecutionProvider"]
    ort.InferenceSession = Session
    from runoff_runners import target_ort_python

    return target_ort_python


if __name__ == "__main__":
    sys.exit(main("ort-python", load_target, BEGAN_NS))
