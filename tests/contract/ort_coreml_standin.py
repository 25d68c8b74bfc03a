"""The runner of `ort-python` as on a Mac: its ONNX Runtime says that it has Core ML's provider.

STANDIN says whether that provider ``takes`` the whole model (the CPU computes in its place) or ``refuses`` a part of it
(the Azure provider stands in, which takes nothing: what ONNX Runtime then says is real). What a session was asked for
is written to the file STANDIN_ASKED.
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
        """A session whose provider is another than it says."""

        def __init__(self, path: str, options: Any, providers: list[Any], **more: Any) -> None:
            asked = {"providers": providers, "fallback": options.get_session_config_entry(FALLBACK), **more}
            Path(os.environ["STANDIN_ASKED"]).write_text(json.dumps(asked))
            if os.environ["STANDIN"] == "refuses":
                super().__init__(path, options, ["AzureExecutionProvider"], **more)
                return
            options.add_session_config_entry(FALLBACK, "0")
            super().__init__(path, options, ["CPUExecutionProvider"], **more)

        def get_providers(self) -> list[str]:
            """Return what a session on Core ML's provider says."""
            return [COREML, "CPUExecutionProvider"]

    ort.get_available_providers = lambda: [COREML, "AzureExecutionProvider", "CPUExecutionProvider"]
    ort.InferenceSession = Session
    from runoff_runners import target_ort_python

    return target_ort_python


if __name__ == "__main__":
    sys.exit(main("ort-python", load_target, BEGAN_NS))
