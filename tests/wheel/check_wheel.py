"""Check a wheel of the extension: its contents, then ``smoke.py`` in a fresh environment of every installed Python.

``python check_wheel.py WHEEL FOLDER``: environments are created below FOLDER, with ``uv``; exits with 1 on a failure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).parent / "smoke.py"
OLDEST_PYTHON = (3, 10)
# the last release that is too old for the extension, for any Python
OLD_RUNTIME = "1.20.1"
OLD_RUNTIME_PYTHON = "3.12"


class CheckFailedError(Exception):
    """A fault of the wheel, in one or more lines."""


@dataclass(frozen=True)
class Python:
    """A CPython on this machine."""

    version: str
    path: str
    is_free_threaded: bool

    @property
    def name(self) -> str:
        """Version, with a ``t`` if there is no GIL."""
        return self.version + "t" * self.is_free_threaded


def main() -> int:
    """Check the wheel that the command line names; print a line for the wheel and one for each Python."""
    wheel, folder = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        sys.stdout.write(f"{check_contents(wheel)}\n")
        old = install_old_runtime(folder)
    except CheckFailedError as error:
        sys.stderr.write(f"{wheel.name}: {error}\n")
        return 1
    failures = 0
    # the newest last: its runtime is used if a Python has no onnxruntime wheel
    runtime: Path | None = None
    for python in find_pythons():
        try:
            runtime, result = check_python(python, wheel, folder / python.name, old, runtime)
        except CheckFailedError as error:
            failures += 1
            result = f"FAILED: {error}"
        sys.stdout.write(f"Python {python.name:9} {result}\n")
        sys.stdout.flush()
    return min(failures, 1)


def check_contents(wheel: Path) -> str:
    """Return sizes in one line, after checking required and forbidden files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for needed in ("runoff_ort/py.typed", "runoff_ort/__init__.pyi"):
        if needed not in files:
            raise CheckFailedError(f"it has no {needed}")
    check_paths(files)
    (library,) = (len(content) for name, content in files.items() if name.endswith(".so"))
    return (
        f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, its library {library / 1e6:.2f} MB, typed, no local paths"
    )


def check_paths(files: dict[str, bytes]) -> None:
    """Check that no file has a path of this machine."""
    cargo_home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    private = [f"{folder}/".encode() for folder in (ROOT, cargo_home, Path.home())]
    for name, content in files.items():
        if found := next(filter(None, (re.search(re.escape(path) + rb"[ -~]*", content) for path in private)), None):
            raise CheckFailedError(f"{name} holds a path of this machine: {found[0].decode()}")


def find_pythons() -> list[Python]:
    """Return the CPythons that uv sees on the PATH and that pyenv keeps, oldest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    path = os.pathsep.join([*map(str, pyenv.glob("versions/*/bin")), os.environ["PATH"]])
    listing = uv("python", "list", "--only-installed", "--output-format", "json", env={**os.environ, "PATH": path})
    found: dict[tuple[tuple[int, ...], str, bool], str] = {}
    for entry in json.loads(listing):
        parts = entry["version_parts"]
        number = (parts["major"], parts["minor"], parts["patch"])
        if entry["implementation"] == "cpython" and number >= OLDEST_PYTHON:
            found.setdefault((number, entry["version"], entry["variant"] == "freethreaded"), entry["path"])
    return [Python(key[1], path, key[2]) for key, path in sorted(found.items())]


def install_old_runtime(folder: Path) -> Path:
    """Return the library of an ONNX Runtime that is too old; nothing runs it, so any Python's wheel is suitable."""
    target = folder / f"onnxruntime-{OLD_RUNTIME}"
    options = ("--quiet", "--no-deps", "--python-version", OLD_RUNTIME_PYTHON, "--target", str(target))
    uv("pip", "install", *options, f"onnxruntime=={OLD_RUNTIME}")
    return library_in(target)


def check_python(python: Python, wheel: Path, folder: Path, old: Path, other: Path | None) -> tuple[Path | None, str]:
    """Run every check in a fresh environment; return its ONNX Runtime library, for later calls, and a readable line.

    `other` is the library used if this Python has no wheel of ONNX Runtime.
    """
    if python.is_free_threaded:
        return other, "not checked: an abi3 wheel is not for a free-threaded Python"
    uv("venv", "--quiet", "--python", python.path, str(folder))
    program = folder / "bin" / "python"
    install = ("pip", "install", "--quiet", "--python", str(program))
    uv(*install, "numpy")
    uv(*install, "--no-deps", str(wheel))
    for check in ("missing", "no_library", "sub_interpreters"):
        smoke(program, check)
    smoke(program, "too_old", RUNOFF_ORT_DYLIB=str(old), OLD_VERSION=OLD_RUNTIME)
    try:
        uv(*install, str(wheel))
    except CheckFailedError:
        if other is None:
            raise
        result = smoke(program, "works", RUNOFF_ORT_DYLIB=str(other))
        return other, line(result, "no onnxruntime for this Python, another one's library")
    return library_in(next(folder.glob("lib/python3*/site-packages"))), line(smoke(program, "works"), "its own")


def line(result: dict[str, object], runtime_from: str) -> str:
    """Return the results of a Python's checks as a readable line."""
    versions = f"onnxruntime {result['runtime']} ({runtime_from}), numpy {result['numpy']}"
    return f"ok: {versions}, import {result['import_ms']:.1f} ms"


def library_in(packages: Path) -> Path:
    """Return the library of the ONNX Runtime that is installed in the folder `packages`."""
    return next(packages.glob("onnxruntime/capi/libonnxruntime.*"))


def smoke(program: Path, check: str, **changes: str) -> dict[str, object]:
    """Run one check of ``smoke.py``, with no Python switches from outside."""
    foreign = ("PYTHONPATH", "RUNOFF_ORT_DYLIB")
    env = {name: value for name, value in os.environ.items() if name not in foreign} | changes
    result: dict[str, object] = json.loads(run([str(program), "-I", str(SMOKE), check], f"check {check}", env))
    return result


def uv(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Run uv; return its output."""
    return run(["uv", *arguments], f"uv {arguments[0]}", env)


def run(command: list[str], what: str, env: dict[str, str] | None) -> str:
    """Run a program; its last output becomes the error if it fails."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailedError(f"{what} ended with {done.returncode}: {' '.join(done.stderr.splitlines()[-3:])}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
