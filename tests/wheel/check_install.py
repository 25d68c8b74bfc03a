"""Check an installation from wheels: ``python check_install.py WHEELS FOLDER``.

runoff is installed into a fresh environment below FOLDER, with a home of its own there, and makes its environments.
Runs in the environment of the nox session ``wheel``; exits with 1 on a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

from check_wheel import CheckFailedError, check_paths, run, uv

MODEL = Path(__file__).parents[1] / "contract" / "any_models" / "two-inputs.onnx"
LIGHT = {"ort-python", "ort-rust", "ort-pyo3", "capi-rust", "null-python", "null-rust"}


def main() -> int:
    """Install runoff from the wheels that the command line names, and check its commands."""
    wheels, folder = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                check_paths({name: archive.read(name) for name in archive.namelist()})
        began = time.monotonic()
        uv("venv", "--quiet", str(folder / "venv"))
        find = ("--find-links", str(wheels), "--python", str(folder / "venv" / "bin" / "python"))
        # wheels of the same version, built again
        new = (f"--refresh-package={name}" for name in ("runoff", "runoff-capi", "runoff-programs"))
        uv("pip", "install", "--quiet", *find, *new, "runoff")
        sys.stdout.write(f"runoff is installed: {seconds(began)}, {megabytes(folder)} MB\n")
        sys.stdout.write(check_commands(wheels, folder))
    except CheckFailedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def check_commands(wheels: Path, folder: Path) -> str:
    """Check setup, doctor, bench and clean as a user with an empty home starts them; return times and sizes."""
    home = folder / "home"
    work = home / "my folder"
    work.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNOFF_", "XDG_", "PYTHON"))}
    env = {**kept, "HOME": str(home), "UV_FIND_LINKS": str(wheels)}
    command = ["env", "--chdir", str(work), str(folder / "venv" / "bin" / "runoff")]
    began = time.monotonic()
    printed = run([*command, "setup"], "runoff setup", env)
    needed, size = seconds(began), megabytes(home)
    if "not installed: torch: torch" not in printed:
        raise CheckFailedError(f"runoff setup does not name PyTorch and its size: {printed}")
    targets = json.loads(run([*command, "list", "targets", "--json"], "runoff list", env))
    unavailable = {row["target"]: row["runtime"] for row in targets if "unavailable" in row["runtime"]}
    if found := LIGHT & unavailable.keys():
        raise CheckFailedError(f"{found}: {unavailable}")
    if "run: runoff setup torch" not in unavailable["torch"]:
        raise CheckFailedError(f"torch has no hint: {unavailable['torch']}")
    if "quick" not in run([*command, "list", "suites"], "runoff list", env):
        raise CheckFailedError("the wheel has no suites")
    shutil.copy(MODEL, work / "model.onnx")
    results = folder / "results"
    options = ("--time", "5s", "--profile", "default", "--results", str(results))
    began = time.monotonic()
    run([*command, "bench", "model.onnx", *options], "runoff bench model.onnx", env)
    benched = seconds(began)
    if not list(results.glob("model-*/report.html")):
        raise CheckFailedError("runoff bench model.onnx wrote no page")
    run([*command, "clean", "--all"], "runoff clean", env)
    if megabytes(home):
        raise CheckFailedError(f"runoff clean --all leaves {megabytes(home)} MB")
    made = f"environments of {len(targets) - len(unavailable)} targets: {needed}, {size} MB, and removed again"
    return f"{made}; bench of a small model for 5 s: {benched}\n"


def seconds(began: float) -> str:
    """Return the time since `began`, as text."""
    return f"{time.monotonic() - began:.1f} s"


def megabytes(folder: Path) -> int:
    """Return the size of the files below `folder`, each counted once."""
    files = {status.st_ino: status.st_size for status in (path.lstat() for path in folder.rglob("*"))}
    return sum(files.values()) // 10**6


if __name__ == "__main__":
    sys.exit(main())
