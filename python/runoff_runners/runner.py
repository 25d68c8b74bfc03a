"""The program of every runner in Python: ``runner.py NAME ...`` runs the target of the module ``target_NAME``.

A NAME that is a path is a file of the same form, of a plug-in. ``runner.py NAME prepare`` makes a prepared file.
"""
# The clock is read before any import:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import sys

from runoff_runners.program import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Target


def load_target(name: str) -> "Target":
    """Import the target called `name`, or the one in the file `name`, and its runtime."""
    if not name.endswith(".py"):
        module = f"runoff_runners.target_{name.replace('-', '_')}"
        __import__(module)
        return sys.modules[module]
    from runoff_runners.plugin_file import load

    return load(name)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.stderr.write("usage: runner.py NAME --request FILE --result FILE | --capabilities | prepare ...\n")
        sys.exit(2)
    NAME = sys.argv.pop(1)
    SHORT = NAME.rpartition("/")[2].removeprefix("target_").removesuffix(".py")
    if sys.argv[1:2] == ["prepare"]:
        from runoff_runners.prepare import prepare

        sys.exit(prepare(SHORT, sys.argv[2:], lambda: load_target(NAME)))
    sys.exit(main(SHORT, lambda: load_target(NAME), BEGAN_NS))
