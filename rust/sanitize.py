"""Run the tests of runoff-core under AddressSanitizer, and Miri where they call no C. It needs Rust's nightly.

``python rust/sanitize.py``, in the environment of the nox session ``build``, with RUNOFF_ORT_DYLIB set.
"""

from __future__ import annotations

import re
import subprocess
import sys
from os import environ
from pathlib import Path

TARGET = Path(__file__).parents[1] / "target" / "sanitize"
# tests that call no C, where Miri cannot follow, and resize no image, which takes it minutes
PURE_MODULES = (
    "clock::",
    "dtype::",
    "handles::",
    "image::orientation",
    "memory::",
    "onnx::",
    "preprocess::tests::the_span",
    "read::",
    "session::device",
    "tensor::",
    "topk::",
)


def main() -> int:
    """Return the exit code of the first run that failed; 0 too, after a line, if there is no nightly."""
    host = re.search(r"host: (\S+)", output_of("rustc", "+nightly", "-vV"))
    if host is None or not output_of("cargo", "+nightly", "miri", "--version"):
        print("nothing was run; needed: rustup toolchain install nightly --component miri,rust-src")  # noqa: T201
        return 0
    # tests read files and clocks, which Miri keeps from them by default, and compare what two calls of exp give
    miri = {"MIRIFLAGS": "-Zmiri-disable-isolation -Zmiri-deterministic-floats"}
    address = {"RUSTFLAGS": "-Zsanitizer=address"}
    return cargo(miri, "miri", "test", "--lib", "--", *PURE_MODULES) or cargo(
        address, "test", "--target", host[1], "--tests"
    )


def cargo(variables: dict[str, str], *arguments: str) -> int:
    """Run a command of the nightly's cargo on runoff-core; return its exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    common = ("--locked", "--quiet", "--package", "runoff-core", "--target-dir", str(TARGET))
    command = ("cargo", "+nightly", *arguments[:split], *common, *arguments[split:])
    return subprocess.run(command, env={**environ, "PROPTEST_CASES": "4", **variables}, check=False).returncode


def output_of(*command: str) -> str:
    """Return what a command prints; nothing if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
