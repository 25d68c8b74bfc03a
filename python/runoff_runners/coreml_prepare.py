"""``coreml_runner.py prepare``: compile a package once, so processes can load it without compiling."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

from runoff_runners.protocol import COMPILED, RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Fields, Target

_USAGE = "usage: coreml_runner.py prepare --model PACKAGE --folder DIR --json\n"


def prepare(arguments: list[str], load_target: Callable[[], Target]) -> int:
    """Compile a package into a folder unless it is there already; print its path as JSON. Return the exit code.

    Parameters
    ----------
    arguments
        Arguments after the word ``prepare``.
    load_target
        Imports the runtime.
    """
    named = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=False))
    if arguments[-1:] != ["--json"] or named.keys() != {"--model", "--folder"}:
        sys.stderr.write(_USAGE)
        return 2
    try:
        load_target()
        prepared = _prepare(Path(named["--model"]).absolute(), Path(named["--folder"]).absolute())
    except RunnerError as error:
        sys.stderr.write(f"coreml: {error.kind}: {one_line(error.message)}\n")
        return error.exit_code
    except ImportError as error:
        sys.stderr.write(f"coreml: runtime-missing: {one_line(error)}; make the environment: nox -s coreml\n")
        return 3
    except OSError as error:
        sys.stderr.write(f"coreml: {one_line(error)}\n")
        return 1
    sys.stdout.write(json.dumps(prepared) + "\n")
    return 0


def digest(folder: Path) -> str:
    """Return the SHA-256 of the lines ``SHA-256  path`` of all files, sorted by path; paths start at `folder`."""
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{own}  {path.relative_to(folder.parent)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _prepare(package: Path, folder: Path) -> Fields:
    from runoff_runners import coreml_native as native
    from runoff_runners.target_coreml import reason

    if not package.is_dir():
        raise RunnerError("model-missing", f"--model: no such folder: {package}")
    key = {
        "model_sha256": digest(package),
        "runtime": ".".join(map(str, native.system())),
        "tools": native.TOOLS,
        "machine": platform.machine(),
    }
    short = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{package.stem}-{short}.{COMPILED}"
    if path.is_dir():
        return {"path": str(path), "made": False, "key": key}
    folder.mkdir(parents=True, exist_ok=True)
    # renamed when it is complete
    temporary = folder / f".{package.stem}-{short}-{os.getpid()}.{COMPILED}"
    try:
        native.compile_package(str(package), str(temporary))
    except Exception as error:  # coremltools raises bare Exceptions, Core ML RuntimeErrors
        raise RunnerError("model-unreadable", f"{package} cannot be compiled: {reason(error)}") from error
    temporary.rename(path)
    return {"path": str(path), "made": True, "key": key}
