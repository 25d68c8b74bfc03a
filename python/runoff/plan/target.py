"""A target as runoff starts it, and what its runner can do on this machine."""

from __future__ import annotations

import os

from msgspec import Struct

from runoff.records.protocol import Capabilities  # noqa: TC001 (msgspec evaluates the annotations)
from runoff.records.reason import Reason  # noqa: TC001

_ADDED = {"ORT_DISABLE_TELEMETRY": "1", "NVIDIA_TF32_OVERRIDE": "0"}
"""ONNX Runtime's telemetry is on by default: a thread, a file and a connection that no measurement should hold.
NVIDIA's libraries are told that float32 is float32: some of them would else compute in TF32, some would not."""
_DROPPED = ("PYTHON", "VIRTUAL_ENV", "NOX_", "RUNOFF_", "ORT_TENSORRT_")
"""How variables begin that would change what is measured: Python's own switches (PYTHONDONTWRITEBYTECODE alone makes
every start slower), and those in which ONNX Runtime's TensorRT provider looks for its options, precision among them."""


class Target(Struct, frozen=True, kw_only=True):
    """A runner as runoff starts it."""

    name: str
    command: tuple[str, ...]
    """Absolute program and leading arguments; ``--request`` and ``--result`` follow."""
    env: dict[str, str] = {}
    """Added to the caller's environment."""
    format: str | None = None
    """The only model format to use, for runners that read several."""
    packages: bool = False
    """Whether it reads CoreML packages, which are made for a model when a target first needs them."""
    missing: Reason | None = None
    """Why it cannot be started here."""

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the runner: the caller's, without what would disturb it."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        return {**kept, **_ADDED, **self.env}


class TargetInfo(Struct, frozen=True):
    """A target and what its runner says it can do here, or the reason why it can do nothing."""

    target: Target
    capabilities: Capabilities | None
    reason: Reason | None = None
