"""Build the wheels of Rust code for publication: ``python rust/wheel.py FOLDER``; the last line is their paths.

It runs in the environment of the nox session ``wheel``, with maturin and cargo on the PATH.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# by crate, the feature that fails the build of a JPEG decoder without SIMD: such wheels are not published
CRATES = {
    "runoff-py": "require-simd",
    "runoff-ort": "runoff-core/require-simd",
    "runoff-capi": "turbojpeg/require-simd",
}
# by system and machine, the oldest glibc or macOS that the wheels run on; the markers in pyproject.toml name the same
PLATFORMS = {
    ("linux", "x86_64"): "manylinux_2_28",
    ("linux", "aarch64"): "manylinux_2_28",
    ("darwin", "arm64"): "macosx_11_0",
}
UNAVAILABLE = 3


def main() -> int:
    """Build the wheels in an empty folder; return maturin's exit code, or 3 if none are published for this platform."""
    folder, machine = Path(sys.argv[1]), platform.machine()
    oldest = PLATFORMS.get((sys.platform, machine))
    if oldest is None:
        print(f"no wheels are published for {sys.platform} on {machine}")  # noqa: T201 (its output)
        return UNAVAILABLE
    shutil.rmtree(folder, ignore_errors=True)
    # zig links against that glibc, which is older than this machine's
    tag = ["--zig", "--compatibility", oldest, "--auditwheel", "check"] if sys.platform == "linux" else []
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    where = ["--target-dir", str(Path(target) / "wheel"), "--out", str(folder)]
    env = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(without_local_paths())}
    if sys.platform == "darwin":
        env["MACOSX_DEPLOYMENT_TARGET"] = ".".join(oldest.split("_")[1:])
    for crate, simd in CRATES.items():
        what = ["--manifest-path", str(ROOT / "rust" / crate / "Cargo.toml"), "--features", simd]
        built = subprocess.run(["maturin", "build", "--release", "--quiet", *tag, *where, *what], env=env, check=False)
        if built.returncode:
            return built.returncode
    wheels = list(folder.glob(f"*-{oldest}_{machine}.whl"))
    print(*wheels)  # noqa: T201 (its output)
    # another tag would promise another platform
    return int(len(wheels) != len(CRATES))


def without_local_paths() -> list[str]:
    """Return rustc flags that keep this machine's paths out of panic messages."""
    cargo_home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    return [f"--remap-path-prefix={folder}=/{name}" for folder, name in ((cargo_home, "cargo"), (ROOT, "runoff"))]


if __name__ == "__main__":
    sys.exit(main())
