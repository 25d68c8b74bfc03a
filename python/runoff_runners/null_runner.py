"""Runner of the target `null-python`: computes nothing, to show the cost of a Python process."""
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
    """Import the target; there is no runtime."""
    from runoff_runners import target_null

    return target_null


if __name__ == "__main__":
    sys.exit(main("null-python", load_target, BEGAN_NS))
