"""Runner of the target `coreml`: Core ML through coremltools, on a Mac. ``prepare`` compiles a package."""
# The clock is read before any import:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import sys

from runoff_runners.program import main
from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Target


def load_target() -> "Target":
    """Import the target and its runtime.

    Raises
    ------
    RunnerError
        ``needs-macos`` on other systems, before any import.
    """
    if not _is_macos():
        raise RunnerError("needs-macos", "execution not run: needs macOS", "run: nox -s bench, on a Mac")
    from runoff_runners import target_coreml

    return target_coreml


def _is_macos() -> bool:
    return sys.platform == "darwin"


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        from runoff_runners.coreml_prepare import prepare

        sys.exit(prepare(sys.argv[2:], load_target))
    sys.exit(main("coreml", load_target, BEGAN_NS))
