"""Find a Rust toolchain, or download one with the package puccinialin; print cargo's environment variables as JSON.

``python rust/toolchain.py FOLDER``: a toolchain is downloaded to FOLDER. If none is available, the script prints one
line and exits with code 3. It runs in the environment of the nox session ``build``, which also contains cmake, for
building libjpeg-turbo.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (1, 92)
UNAVAILABLE = 3


def main() -> int:
    """Print the variables as the last line, or the reason why Rust is unavailable."""
    variables = environment(Path(sys.argv[1]))
    if variables is None:
        print("Rust is not installed and could not be fetched: https://rustup.rs")  # noqa: T201 (its output)
        return UNAVAILABLE
    variables["PATH"] = with_nasm(variables["PATH"], Path(sys.argv[1]) / "nasm")
    print(json.dumps(variables))  # noqa: T201 (its output)
    return 0


def environment(folder: Path) -> dict[str, str] | None:
    """Return cargo's environment variables; without a recent toolchain on the machine, download one to `folder`."""
    own = str(Path(sys.executable).parent)
    variables = {"PATH": own + os.pathsep + os.environ["PATH"], "PYO3_PYTHON": sys.executable}
    if installed_version() >= OLDEST:
        return variables
    folder.mkdir(parents=True, exist_ok=True)
    info = folder / "rust.json"
    fetch = [sys.executable, "-m", "puccinialin", "--location", str(folder / "rust"), "--info-json", str(info)]
    if subprocess.run(fetch, check=False).returncode:
        return None
    fetched: dict[str, str] = json.loads(info.read_text(encoding="utf-8"))["env"]
    path = os.pathsep.join(filter(None, (fetched.get("PATH"), variables["PATH"])))
    return {**fetched, **variables, "PATH": path}


def installed_version() -> tuple[int, ...]:
    """Return the version of the machine's rustc; (0,) if there is none."""
    if not shutil.which("cargo") or not shutil.which("rustc"):
        return (0,)
    text = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0,)


def with_nasm(path: str, folder: Path) -> str:
    """Return `path` with nasm, which assembles libjpeg-turbo's SIMD code; if missing, Debian's package is unpacked.

    Without nasm, the build succeeds with a scalar decoder, which `runoff doctor` and the audit of a report list.
    """
    found = f"{folder / 'usr' / 'bin'}{os.pathsep}{path}"
    if platform.machine() != "x86_64" or shutil.which("nasm", path=found):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    # does not need root, only the package lists
    with contextlib.suppress(OSError, subprocess.CalledProcessError, StopIteration):
        subprocess.run(["apt-get", "download", "--quiet", "nasm"], cwd=folder, check=True, capture_output=True)
        package = next(folder.glob("nasm_*.deb"))
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, capture_output=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
