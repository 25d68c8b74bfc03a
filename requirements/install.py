"""Install the pins of an environment, unless it is up to date: ``python requirements/install.py NAME FOLDER HOME``.

FOLDER is the environment, HOME the folder with built wheels (``RUNOFF_HOME``). Runs in nox's own environment, where uv
is. For ``ort-python``, ONNX Runtime's GPU build is installed if that is wanted.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# these contain runoff itself, from this checkout, or the extension's wheel
EDITABLE = {"runoff", "dev"}
WITH_WHEEL = {"ort-pyo3", "extension"}


def main(name: str, environment: Path, wheels: Path) -> int:
    """Sync `environment` with the pins of `name`; return the exit code of uv."""
    pins = pins_of(name)
    wheel = newest(wheels) if name in WITH_WHEEL else []
    index = os.environ.get("RUNOFF_TORCH_INDEX") if name == "torch" else None
    sources = [pins, *wheel, *([ROOT / "pyproject.toml"] if name in EDITABLE else [])]
    wanted = "\n".join([*(hashlib.sha256(source.read_bytes()).hexdigest() for source in sources), index or "PyPI"])
    stamp = environment / ".installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return 0
    # until all is installed, the environment is that of no pins
    stamp.unlink(missing_ok=True)
    print(f"installing {pins.stem}", flush=True)  # noqa: T201 (its output)
    commands = separately(index, pins) if index else [["sync", "--require-hashes", str(pins)]]
    if name in EDITABLE:
        commands.append(["install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    commands += [["install", "--no-deps", str(file)] for file in wheel]
    for command in commands:
        code = uv(environment, *command)
        if code:
            return code
    stamp.write_text(wanted, encoding="utf-8")
    return 0


def pins_of(name: str) -> Path:
    """Return the file that pins an environment; ``ort-python`` is ONNX Runtime's GPU build if that is wanted."""
    return ROOT / "requirements" / f"{'ort-cuda' if name == 'ort-python' and wants_cuda() else name}.txt"


def wants_cuda() -> bool:
    """Return whether ONNX Runtime's GPU build is wanted: RUNOFF_CUDA decides, else the presence of an NVIDIA driver.

    Its wheel is for x86-64 only.
    """
    requested = os.environ.get("RUNOFF_CUDA")
    here = Path("/proc/driver/nvidia/version").exists() and os.uname().machine == "x86_64"
    return here if requested is None else requested == "1"


def newest(wheels: Path) -> list[Path]:
    """Return the latest built wheel of the extension; empty if there is none."""
    return sorted(wheels.glob("runoff_ort-*.whl"), key=lambda path: path.stat().st_mtime)[-1:]


def separately(index: str, pins: Path) -> list[list[str]]:
    """Return the commands for PyTorch from a separate index (e.g. the CPU wheels), the rest as pinned.

    Hashes differ there, so none are required.
    """
    versions = re.findall(r"^(?:torch|torchvision)==[^ ;\\]+", pins.read_text(encoding="utf-8"), re.MULTILINE)
    rest = ["install", "-r", str(pins.with_suffix(".in")), "--constraint", str(pins)]
    return [["install", *versions, "--index-url", index], rest]


def uv(environment: Path, *arguments: str) -> int:
    """Run ``uv pip`` for `environment`; return its exit code. The first start must not compile the bytecode."""
    variables = {"UV_COMPILE_BYTECODE": "1", **os.environ, "VIRTUAL_ENV": str(environment)}
    command = [sys.executable, "-m", "uv", "pip", *arguments, "--quiet"]
    return subprocess.run(command, env=variables, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) / "wheels"))
