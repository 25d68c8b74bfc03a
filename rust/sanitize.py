"""Run the Rust tests and the attacks on the extension under AddressSanitizer, and tests without C code under Miri.

``python rust/sanitize.py PYTHON``, in the environment of the nox session ``build``, with RUNOFF_ORT_DYLIB set; PYTHON
is the interpreter of the extension's environment. It needs nightly Rust, and gcc's AddressSanitizer.
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
# tests without calls of C code, which Miri does not support, and without resizing, which takes minutes under Miri
PURE_MODULES = (
    "clock::",
    "dlpack::",
    "dtype::",
    "handles::",
    "image::orientation",
    "onnx::",
    "preprocess::tests::the_span",
    "read::",
    "session::device",
    "segment::bits",
    "segment::frame",
    "segment::grid",
    "segment::nms",
    "segment::prompt",
    "segment::regions",
    "segment::rle",
    "segment::sieve",
    "settings::",
    "tensor::",
    "tensor_file::",
    "topk::",
)


def main() -> int:
    """Return the exit code of the first failed run; without nightly Rust, print a line and return 0."""
    host = re.search(r"host: (\S+)", output_of("rustc", "+nightly", "-vV"))
    if host is None or not output_of("cargo", "+nightly", "miri", "--version"):
        print("nothing was run; needed: rustup toolchain install nightly --component miri,rust-src")  # noqa: T201
        return 0
    # tests read files and clocks, which Miri isolates by default, and compare the results of two calls of exp
    miri = {"MIRIFLAGS": "-Zmiri-disable-isolation -Zmiri-deterministic-floats"}
    address = {"RUSTFLAGS": "-Zsanitizer=address"}
    return (
        cargo(miri, "runoff-session", "miri", "test", "--lib", "--", *PURE_MODULES)
        or cargo(miri, "runoff-core", "miri", "test", "--lib", "--", *PURE_MODULES)
        or cargo(address, "runoff-session", "test", "--target", host[1], "--tests")
        or cargo(address, "runoff-core", "test", "--target", host[1], "--tests")
        # the sanitizer's allocator is linked into the program
        or cargo(address, "runoff-runner", "test", "--target", host[1], "--lib", "--", "--skip", "malloc::")
        or cargo(
            address, "runoff-ort", "test", "--target", host[1], "--no-default-features", "--bins", "--", "runner::"
        )
        or cargo(address, "runoff-py", "build", "--target", host[1])
        or attack(Path(sys.argv[1]), TARGET / host[1] / "debug" / "librunoff_ort.so")
    )


def attack(python: Path, library: Path) -> int:
    """Run the attacks on the extension `library`, built with AddressSanitizer; return pytest's exit code."""
    package = TARGET / "python" / "runoff_ort"
    shutil.copytree(ROOT / "rust" / "runoff-py" / "python" / "runoff_ort", package, dirs_exist_ok=True)
    shutil.copy(library, package / "runoff_ort.abi3.so")
    # A cdylib does not contain the sanitizer's runtime, which needs that of C++ for exceptions. Python does not free
    # all memory at exit, and attacks request more memory than there is.
    libraries = ("libasan.so", "libstdc++.so.6")
    runtime = " ".join(output_of("gcc", f"-print-file-name={name}").strip() for name in libraries)
    options = "detect_leaks=0:allocator_may_return_null=1:handle_segv=0"
    variables = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": options, "PYTHONPATH": str(package.parent)}
    # such a build has large stack frames, and one attack is a recursion
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (most if 0 <= most < STACK_BYTES else STACK_BYTES, most))
    command = [str(python), "-m", "pytest", str(ROOT / "tests" / "extension" / "test_attacks.py")]
    return subprocess.run(command, env={**environ, **variables}, check=False).returncode


def cargo(variables: dict[str, str], package: str, *arguments: str) -> int:
    """Run a nightly cargo command on a package; return its exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    common = ("--locked", "--quiet", "--package", package, "--target-dir", str(TARGET))
    command = ("cargo", "+nightly", *arguments[:split], *common, *arguments[split:])
    return subprocess.run(command, env={**environ, "PROPTEST_CASES": "4", **variables}, check=False).returncode


def output_of(*command: str) -> str:
    """Return the output of a command; an empty string if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
