"""Runner of the target `webnn-compute`: pywebnn's own `compute`."""
# The clock is read before any import:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import sys

from runoff_runners.program import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Target


def load_target() -> "Target":
    """Import the target and its runtime."""
    from runoff_runners import target_webnn

    return target_webnn


if __name__ == "__main__":
    sys.exit(main("webnn-compute", load_target, BEGAN_NS))
