"""The runner of `torch` as on a machine with an NVIDIA GPU; the CPU and its memory are used instead.

FAKE_FULL names the call that runs out of GPU memory: ``synchronize``, or ``move_to_device_pass``.
"""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import os
import sys
from typing import TYPE_CHECKING, Any

from runoff_runners.program import main

if TYPE_CHECKING:
    from runoff_runners.interfaces import Target


FULL = os.environ.get("FAKE_FULL")


def fail(*_given: Any) -> None:
    """Raise PyTorch's out-of-memory error."""
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.\nFake GPU")


def load_target() -> "Target":
    """Import the runtime, changed."""
    import torch
    from torch.export import passes

    from runoff_runners import target_torch

    torch.cuda.is_available = lambda: True
    torch.cuda.synchronize = fail if FULL == "synchronize" else lambda: None
    torch.cuda.get_device_name = lambda _index: "Fake GPU"
    target_torch._DEVICES["cuda"] = "cpu"
    if FULL == "move_to_device_pass":
        # the pass moves nothing on the CPU
        target_torch._DEVICES["cuda"] = "meta"
        passes.move_to_device_pass = fail
    effective = target_torch.Session.effective
    # parameters on the CPU report the CPU
    with_device = lambda session: {**effective(session), "provider": "cuda"}  # noqa: E731
    setattr(target_torch.Session, "effective", with_device)  # noqa: B010
    return target_torch


if __name__ == "__main__":
    sys.exit(main("torch", load_target, BEGAN_NS))
