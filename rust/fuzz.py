"""Feed the Rust core damaged images, models and requests.

``python rust/fuzz.py [SECONDS of each target] [TARGET ...]``

libFuzzer starts from ``rust/fuzz/corpus`` and keeps in ``target/fuzz/found`` each input that reaches other code. With
Rust's nightly, AddressSanitizer watches; any toolchain will do without it. RUNOFF_ORT_DYLIB must be set for the target
``ort``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "rust" / "fuzz"
BUILT = ROOT / "target" / "fuzz"
TARGETS = ("image", "onnx", "request")
MEMORY = "/dev/shm"  # noqa: S108 (a folder of random name is made in it)
# further inputs to start from
SEEDS = {"onnx": ("rust/runoff-core/tests/data",), "request": ("protocol/golden",)}
# what cargo-fuzz sets: coverage of every edge and comparison, for libFuzzer to follow
COVERAGE = (
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
)


def main() -> int:
    """Return 1 after the first input that a target does not survive; it is kept in ``target/fuzz``."""
    seconds, *names = sys.argv[1:] or ["60"]
    host = re.search(r"host: (\S+)", output_of("rustc", "-vV"))
    if host is None:
        sys.exit("rust/fuzz.py needs Rust: https://rustup.rs")
    nightly = bool(output_of("rustc", "+nightly", "-vV"))
    flags = (*COVERAGE, "-Zsanitizer=address") if nightly else COVERAGE
    cargo = ("cargo", *(["+nightly"] if nightly else []), "build", "--release", "--quiet", "--locked")
    where = ("--manifest-path", str(FOLDER / "Cargo.toml"), "--target-dir", str(BUILT), "--target", host[1])
    subprocess.run((*cargo, *where), env={**environ, "RUSTFLAGS": " ".join(flags)}, check=True)
    return max(run(BUILT / host[1] / "release", name, seconds) for name in names or TARGETS)


def run(programs: Path, name: str, seconds: str) -> int:
    """Return whether the target failed within so many seconds."""
    found = BUILT / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=65536")
    prints = (f"-artifact_prefix={BUILT}/{name}-", "-print_final_stats=1", "-verbosity=0")
    memory = MEMORY if Path(MEMORY).is_dir() else None
    with TemporaryDirectory(dir=memory) as scratch:
        seeds = (FOLDER / "corpus" / name, *(ROOT / seed for seed in SEEDS.get(name, ())))
        command: tuple[str | Path, ...] = (
            programs / name,
            *limits,
            *prints,
            found,
            *(seed for seed in seeds if seed.is_dir()),
        )
        return int(subprocess.run(command, env={**environ, "TMPDIR": scratch}, check=False).returncode != 0)


def output_of(*command: str) -> str:
    """Return what a command prints; nothing if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
