"""Build the extension's wheel for publication: ``python rust/wheel.py FOLDER``; the last line is its path.

It runs in the environment of the nox session ``wheel``, with maturin and cargo on the PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTENSION = ROOT / "rust" / "runoff-py" / "Cargo.toml"


def main() -> int:
    """Build the wheel in an empty folder; return maturin's exit code."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    # zig links against the tag's glibc, which is older than this machine's
    tag = ["--zig", "--compatibility", "manylinux_2_28", "--auditwheel", "check"] if sys.platform == "linux" else []
    where = ["--target-dir", str(ROOT / "target" / "wheel"), "--out", str(folder), "--manifest-path", str(EXTENSION)]
    # wheels without SIMD are not published
    where += ["--features", "require-simd"]
    env = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(without_local_paths())}
    built = subprocess.run(["maturin", "build", "--release", "--quiet", *tag, *where], env=env, check=False)
    if built.returncode == 0:
        print(*folder.glob("*.whl"))  # noqa: T201 (its output)
    return built.returncode


def without_local_paths() -> list[str]:
    """Return rustc flags that keep this machine's paths out of panic messages."""
    cargo_home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    return [f"--remap-path-prefix={folder}=/{name}" for folder, name in ((cargo_home, "cargo"), (ROOT, "runoff"))]


if __name__ == "__main__":
    sys.exit(main())
