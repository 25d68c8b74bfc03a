"""The runner of `torch` as on a machine with an NVIDIA GPU, for which the CPU and its memory stand in."""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import sys
from typing import TYPE_CHECKING

from runoff_runners.program import main

if TYPE_CHECKING:
    from runoff_runners.interfaces import Target


def load_target() -> "Target":
    """Import the runtime, changed."""
    import torch

    from runoff_runners import target_torch

    torch.cuda.is_available = lambda: True
    torch.cuda.synchronize = lambda: None
    torch.cuda.get_device_name = lambda _index: "Stand-in"
    target_torch._DEVICES["cuda"] = "cpu"
    told = target_torch._Session.effective
    # parameters on the CPU say that they are
    with_device = lambda session: {**told(session), "provider": "cuda"}  # noqa: E731
    setattr(target_torch._Session, "effective", with_device)  # noqa: B010
    return target_torch


if __name__ == "__main__":
    sys.exit(main("torch", load_target, BEGAN_NS))
