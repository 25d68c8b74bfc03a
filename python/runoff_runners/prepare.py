"""``runner.py NAME prepare``: make a file of a model for this machine, once, which processes load faster."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

from runoff_runners.protocol import RunnerError, environment_hint, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Fields, PreparingTarget, Target

_USAGE = "usage: runner.py {} prepare --model PATH --folder DIR [--spec JSON] --json\n"


def prepare(name: str, arguments: list[str], load_target: Callable[[], Target]) -> int:
    """Make the file unless it is in the folder already; print its path as JSON. Return the exit code.

    Parameters
    ----------
    name
        The runner's name.
    arguments
        Arguments after the word ``prepare``. ``--spec`` has the inputs, with the shapes to prepare for, and for weights
        alone the builder: `runoff_runners.interfaces.Spec`.
    load_target
        Imports the runtime.
    """
    named = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=False))
    if arguments[-1:] != ["--json"] or named.keys() | {"--spec"} != {"--model", "--folder", "--spec"}:
        sys.stderr.write(_USAGE.format(name))
        return 2
    try:
        # compilers print
        with redirect_stdout(sys.stderr):
            target: PreparingTarget = load_target()  # type: ignore[assignment]  # runoff asks no other target
            made = _prepare(target, Path(named["--model"]).absolute(), Path(named["--folder"]).absolute(), named)
    except RunnerError as error:
        sys.stderr.write(f"{name}: {error.kind}: {one_line(error.message)}; {error.hint}\n")
        return error.exit_code
    except ImportError as error:
        sys.stderr.write(f"{name}: runtime-missing: {one_line(error)}; {environment_hint(name)}\n")
        return 3
    except OSError as error:
        sys.stderr.write(f"{name}: {one_line(error)}\n")
        return 1
    sys.stdout.write(json.dumps(made) + "\n")
    return 0


def digest(model: Path, base: Path | None = None) -> str:
    """Return the SHA-256 of a file; of a folder, that of the lines ``SHA-256  path`` of its files, sorted by path.

    The paths in a folder are relative to `base`; by default, they start at its own name.
    """
    if not model.is_dir():
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(path for path in model.rglob("*") if path.is_file())
    lines = "".join(f"{digest(path)}  {path.relative_to(base or model.parent)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _prepare(target: PreparingTarget, model: Path, folder: Path, named: dict[str, str]) -> Fields:
    if not model.exists():
        raise RunnerError("model-missing", f"--model: no such file or folder: {model}")
    spec = json.loads(named.get("--spec", "{}"))
    key = {"model_sha256": digest(model), **target.prepared_key(spec)}
    short = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{model.stem}-{short}.{target.PREPARES}"
    if path.exists():
        return {"path": str(path), "made": False, "key": key}
    folder.mkdir(parents=True, exist_ok=True)
    # renamed when it is complete
    temporary = folder / f".{model.stem}-{short}-{os.getpid()}.{target.PREPARES}"
    try:
        target.write_prepared(str(model), str(temporary), spec)
        temporary.rename(path)
    except BaseException:
        for left in folder.glob(f"{temporary.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        raise
    return {"path": str(path), "made": True, "key": key}
