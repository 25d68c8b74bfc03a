"""Run the core's tests and the attacks on the extension under AddressSanitizer, and Miri where no C is called.

``python rust/sanitize.py PYTHON``, in the environment of the nox session ``build``, with RUNOFF_ORT_DYLIB set; PYTHON
is that of the extension's environment. It needs Rust's nightly, and gcc's AddressSanitizer.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from os import environ
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "target" / "sanitize"
STACK_BYTES = 2**26
# tests that call no C, where Miri cannot follow, and resize no image, which takes it minutes
PURE_MODULES = (
    "clock::",
    "dlpack::",
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
    return (
        cargo(miri, "runoff-core", "miri", "test", "--lib", "--", *PURE_MODULES)
        or cargo(address, "runoff-core", "test", "--target", host[1], "--tests")
        or cargo(address, "runoff-py", "build", "--target", host[1])
        or attack(Path(sys.argv[1]), TARGET / host[1] / "debug" / "librunoff_ort.so")
    )


def attack(python: Path, library: Path) -> int:
    """Run the attacks on the extension in `library`, which is built for AddressSanitizer; return pytest's exit code."""
    package = TARGET / "python" / "runoff_ort"
    shutil.copytree(ROOT / "rust" / "runoff-py" / "python" / "runoff_ort", package, dirs_exist_ok=True)
    shutil.copy(library, package / "runoff_ort.abi3.so")
    # A cdylib has no run time of its own, and it needs C++'s to follow exceptions. Python keeps memory to its end, and
    # attacks ask for more than there is.
    libraries = ("libasan.so", "libstdc++.so.6")
    runtime = " ".join(output_of("gcc", f"-print-file-name={name}").strip() for name in libraries)
    options = "detect_leaks=0:allocator_may_return_null=1:handle_segv=0"
    variables = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": options, "PYTHONPATH": str(package.parent)}
    # frames of such a build are large, and one attack is a recursion
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (most if 0 <= most < STACK_BYTES else STACK_BYTES, most))
    command = [str(python), "-m", "pytest", str(ROOT / "tests" / "extension" / "test_attacks.py")]
    return subprocess.run(command, env={**environ, **variables}, check=False).returncode


def cargo(variables: dict[str, str], package: str, *arguments: str) -> int:
    """Run a command of the nightly's cargo on a package; return its exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    common = ("--locked", "--quiet", "--package", package, "--target-dir", str(TARGET))
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
