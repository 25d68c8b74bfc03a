"""A target as runoff starts it, and the capabilities of its runner on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.records.protocol import Capabilities  # noqa: TC001 (msgspec evaluates the annotations)
from runoff.records.reason import Reason  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDED = {"ORT_DISABLE_TELEMETRY": "1", "NVIDIA_TF32_OVERRIDE": "0"}
"""ONNX Runtime's telemetry is on by default: a thread, a file and a connection that would be measured.
Some of NVIDIA's libraries compute float32 in TF32 by default, others do not: here none does."""
_POOLS = (
    *("ORT_INTRA_OP_NUM_THREADS", "ORT_INTER_OP_NUM_THREADS", "OMP_", "GOMP_", "KMP_"),
    *("MKL_NUM_THREADS", "MKL_DOMAIN_NUM_THREADS", "MKL_DYNAMIC", "MKL_THREADING_LAYER"),
    *("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_"),
    *("RAYON_NUM_THREADS", "RTEN_NUM_THREADS"),
)
"""Prefixes of variables with which a library sizes, binds or paces its threads, whatever a session's settings are."""
_DROPPED = ("PYTHON", "VIRTUAL_ENV", "NOX_", "RUNOFF_", "ORT_TENSORRT_", "TORCHINDUCTOR_", *_POOLS)
"""Prefixes of variables that change what is measured: Python's own switches (PYTHONDONTWRITEBYTECODE alone makes every
start slower), the options of ONNX Runtime's TensorRT provider and of PyTorch's compiler, precision and caches among
them, and `_POOLS`."""


def removed_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environment` that would resize or steer pools of threads: runners do not get them."""
    return {key: value for key, value in sorted(environment.items()) if key.startswith(_POOLS)}


class Preparation(Struct, frozen=True):
    """Files that are prepared on this machine, for one target's runtime: ``PROGRAM prepare`` makes them."""

    format: str
    target: str = ""
    """Target whose program makes them; with `environment`, a runner that only prepares. Empty: the target's own."""
    environment: str = ""
    """Environment in which the program makes them; empty: the target's own."""
    always: bool = False
    """Whether the target reads nothing else, so a case needs no setting for it."""


class Target(Struct, frozen=True, kw_only=True):
    """A runner as runoff starts it."""

    name: str
    command: tuple[str, ...]
    """Absolute program and leading arguments; ``--request`` and ``--result`` follow."""
    env: dict[str, str] = {}
    """Added to the caller's environment."""
    format: str | None = None
    """The only model format to use, for runners that read several."""
    provider: str | None = None
    """Provider that it computes on, which is its own: a suite that names none means this one. None: as settings say."""
    tolerance: float | None = None
    """Largest difference from the reference that counts as the same output from the same tensor, if not the usual."""
    converts: tuple[str, ...] = ()
    """Precisions in which its runtime computes the ONNX file in fp32 if requested; others need a file in them."""
    prepares: Preparation | None = None
    """What the setting `prepared` means for it, if not a file of ONNX Runtime or Core ML."""
    packages: bool = False
    """Whether it reads CoreML packages, which are converted when a target first needs them."""
    environments: tuple[str, ...] = ()
    """Names of the environments that it needs."""
    missing: Reason | None = None
    """Reason why it cannot be started on this machine."""

    def environment(self) -> dict[str, str]:
        """Return the environment of the runner: the caller's, without what would change the measurement."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        return {**kept, **_ADDED, **self.env}


class TargetInfo(Struct, frozen=True):
    """A target and the capabilities of its runner on this machine, or the reason why it has none."""

    target: Target
    capabilities: Capabilities | None
    reason: Reason | None = None
