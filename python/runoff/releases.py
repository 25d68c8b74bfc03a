"""Releases of the package that an environment is for: which there are, and an environment with each of them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from runoff import paths
from runoff.environments import (
    CHECK_NETWORK,
    environments,
    find_environment,
    find_uv,
    made_once,
    own_python,
    summary,
    uv_variables,
)
from runoff.records.errors import ExitCode, RunoffError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.environments import Say

_SPAN = re.compile(r"(?P<oldest>\d+(?:\.\d+)*)\.\.(?P<newest>\d+(?:\.\d+)*)")
_RELEASE = re.compile(r"\d+(?:\.\d+)*(?:[a-z]+\d+|\.(?:post|dev)\d+)*(?:\+[a-z0-9.]+)?")
_SAME = ("numpy", "pillow")
"""Packages that stay at the versions of the environment's pins: they make the input."""
_NONE_LEFT = "No solution found"


def environment_of(package: str) -> str:
    """Return the environment whose package is `package`.

    Raises
    ------
    RunoffError
        If there is none.
    """
    known = {environment.package: name for name, environment in reversed(environments().items())}
    if package not in known:
        raise RunoffError(f"no target is known to need the package {package!r}", did_you_mean(package, known))
    return known[package]


def find_releases(package: str, span: str) -> list[str]:
    """Return the releases in `span`, oldest first: ``1.20..1.32`` includes 1.32.1, ``1.20,1.25.1`` are two.

    Those of a span are the ones that the index has for this machine; both ends are included.

    Raises
    ------
    RunoffError
        If `span` cannot be read, or the index not be reached.
    """
    match = _SPAN.fullmatch(span)
    if match is None:
        return [_checked(release.strip()) for release in dict.fromkeys(span.split(","))]
    *most, last = match["newest"].split(".")
    below = ".".join([*most, str(int(last) + 1)])
    found: list[str] = []
    while (release := _newest(package, f">={match['oldest']},<{found[0] if found else below}")) is not None:
        found.insert(0, release)
    return found


def _checked(release: str) -> str:
    """Return a release, which becomes the name of a folder.

    Raises
    ------
    RunoffError
        If it is none.
    """
    if not _RELEASE.fullmatch(release):
        raise RunoffError(f"{release!r} is no release", "for example: 1.20..1.32, or 1.20.1,1.25.1,1.32.0")
    return release


def _newest(package: str, versions: str) -> str | None:
    """Return the newest release among `versions` that can be installed here; None if there is none."""
    options = ("--no-deps", "--only-binary", ":all:", "--no-header", "--no-annotate", "--quiet")
    python = own_python(environment_of(package)) or f"{sys.version_info.major}.{sys.version_info.minor}"
    done = _uv("pip", "compile", *options, "--python-version", python, "-", text=f"{package}{versions}\n")
    found = re.search(rf"^{re.escape(package)}==(\S+)", done.stdout, re.MULTILINE)
    if found:
        return found[1]
    if _NONE_LEFT in done.stderr:
        return None
    raise RunoffError(
        f"cannot list the releases of {package}: {summary(done.stderr)}", CHECK_NETWORK, ExitCode.NOTHING_RUNS_HERE
    )


def install_release(package: str, release: str, say: Say) -> Path:
    """Return the folder of the environment for `package` with another release of it; it is kept.

    Raises
    ------
    RunoffError
        If it is no release, or the environment cannot be made.
    """
    name = environment_of(package)
    folder = paths.home() / "releases" / f"{package}-{_checked(release)}"

    def make() -> None:
        say(f"installing {package} {release}")
        pins, kept = _requirements(name, package)
        python = own_python(name) or sys.executable
        _install("venv", "--python", python, str(folder), what=folder.name)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(kept), encoding="utf-8")
        where = ("--python", str(folder), "--constraint", str(constraints))
        _install("pip", "install", *where, f"{package}=={release}", *pins, what=folder.name)

    return made_once(folder, say, make)


def _requirements(name: str, package: str) -> tuple[list[str], list[str]]:
    """Return what the environment `name` needs beside its package, and the versions that stay."""
    environment = find_environment(name)
    pins = (environment and environment.pins) or paths.requirements(name)
    lines = pins.with_suffix(".in").read_text(encoding="utf-8").splitlines()
    needed = [line.partition("#")[0].strip() for line in lines if re.match(r"[A-Za-z]", line)]
    text = pins.read_text(encoding="utf-8")
    kept = [line for one in _SAME for line in re.findall(rf"^{one}==[^\\\n]+", text, re.MULTILINE)]
    return [one for one in needed if not one.startswith(package)], kept


def _install(*arguments: str, what: str) -> None:
    done = _uv(*arguments, "--quiet")
    if done.returncode:
        raise RunoffError(f"cannot install {what}: {summary(done.stderr)}", CHECK_NETWORK, ExitCode.NOTHING_RUNS_HERE)


def _uv(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = (find_uv(), *arguments)
    variables = {**uv_variables(), "VIRTUAL_ENV": ""}
    return subprocess.run(
        command, env=variables, cwd=paths.home(), input=text, capture_output=True, text=True, check=False
    )
