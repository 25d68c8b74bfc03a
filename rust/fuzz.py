"""Fuzz the Rust core with images, models and requests.

``python rust/fuzz.py [SECONDS per target] [TARGET ...]``

libFuzzer starts from ``rust/fuzz/corpus`` and ``rust/fuzz/corpus.tar.xz``, the smallest set of inputs that reach the
code that was reached in an hour, and stores inputs that reach new code in ``target/fuzz/found``. With nightly
Rust, the targets are built with AddressSanitizer; other toolchains work without it. The target ``ort`` needs the
environment variable RUNOFF_ORT_DYLIB.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "rust" / "fuzz"
BUILT = ROOT / "target" / "fuzz"
TARGETS = ("image", "onnx", "request")
MEMORY = "/dev/shm"  # noqa: S108 (a folder with a random name is created in it)
# additional seeds
SEEDS = {"onnx": ("rust/runoff-session/tests/data",), "request": ("protocol/golden",)}
# the flags of cargo-fuzz: coverage of edges and comparisons, which guides libFuzzer
COVERAGE = (
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
)


def main() -> int:
    """Run the targets; return 1 if any of them crashed, with the input stored in ``target/fuzz``."""
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
    """Run a target for `seconds`; return 1 if it failed, else 0."""
    found = BUILT / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=65536")
    prints = (f"-artifact_prefix={BUILT}/{name}-", "-print_final_stats=1", "-verbosity=0")
    memory = MEMORY if Path(MEMORY).is_dir() else None
    with TemporaryDirectory(dir=memory) as scratch:
        kept = Path(scratch) / "corpus"
        with tarfile.open(FOLDER / "corpus.tar.xz") as archive:
            archive.extractall(kept, filter="data")
        seeds = (FOLDER / "corpus" / name, kept / name, *(ROOT / seed for seed in SEEDS.get(name, ())))
        command: tuple[str | Path, ...] = (
            programs / name,
            *limits,
            *prints,
            found,
            *(seed for seed in seeds if seed.is_dir()),
        )
        return int(subprocess.run(command, env={**environ, "TMPDIR": scratch}, check=False).returncode != 0)


def output_of(*command: str) -> str:
    """Return the output of a command; an empty string if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
