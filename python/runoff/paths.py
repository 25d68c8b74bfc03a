"""The folders that runoff uses; an environment variable can move each of them."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ[variable]).absolute() if os.environ.get(variable) else default


def root() -> Path:
    """Return the checkout: the folder with ``noxfile.py``, ``suites/`` and ``rust/`` (``RUNOFF_ROOT``)."""
    return _folder("RUNOFF_ROOT", _PACKAGE.parent.parent)


def home() -> Path:
    """Return the folder of the models and tools that runoff creates (``RUNOFF_HOME``)."""
    return _folder("RUNOFF_HOME", root() / ".runoff")


def environments() -> Path:
    """Return the folder with one Python environment per target (``RUNOFF_ENVS``); nox creates them."""
    return _folder("RUNOFF_ENVS", root() / ".nox")


def binaries() -> Path:
    """Return the folder of the built Rust programs (``RUNOFF_BIN``)."""
    return _folder("RUNOFF_BIN", root() / "target" / "release")


def results() -> Path:
    """Return the folder of the runs (``RUNOFF_RESULTS``)."""
    return _folder("RUNOFF_RESULTS", root() / "results")


def models() -> Path:
    """Return the model store's folder."""
    return home() / "models"


def prepared() -> Path:
    """Return the folder of the models that were prepared on this machine."""
    return home() / "prepared"


def suites() -> Path:
    """Return the folder of the suites that come with runoff."""
    return root() / "suites"


def runners() -> Path:
    """Return the folder of the Python runners."""
    return _PACKAGE.parent / "runoff_runners"


def profile(name: str) -> Path:
    """Return the file of the settings profile `name`; a name with a suffix is a path already."""
    return Path(name) if name.endswith(".toml") else _PACKAGE / "profiles" / f"{name}.toml"


def shown(path: Path) -> str:
    """Return `path` as a user would type it: relative to the working folder if it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
