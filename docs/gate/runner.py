"""The runner that runoff starts: ``runner.py --request FILE --result FILE``, or ``--probe``."""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import sys
from types import ModuleType

from runoff_runners.program import main


def load_target() -> ModuleType:
    """Import the runtime."""
    import service

    return service


if __name__ == "__main__":
    sys.exit(main("service", load_target, BEGAN_NS))
