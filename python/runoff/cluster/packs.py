"""What is sent to the machines of a run: runoff itself, models of the store, and a suite with its files.

Each is a tar file called by its SHA-256, the same for the same content, so a machine gets it once.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from runoff import paths
from runoff.environments import find_uv
from runoff.records.errors import RunoffError
from runoff.records.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runoff.plan.suite import Suite

Files = dict[str, Path | bytes]
"""By name in the tar file: a file, or its content."""
_LEFT_OUT = {"__pycache__", "node_modules"}


def folder() -> Path:
    """Return the folder of the tar files on this machine."""
    return paths.home() / "cluster" / "packs"


def pack(files: Mapping[str, Path | bytes]) -> str:
    """Write a tar file of `files`, and return its SHA-256; times and owners are not in it."""
    folder().mkdir(parents=True, exist_ok=True)
    temporary = folder() / f".{os.getpid()}.tar"
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, source in sorted(files.items()):
                _add(archive, name, source)
        sha256 = sha256_of(temporary)
        temporary.replace(folder() / f"{sha256}.tar")
    finally:
        temporary.unlink(missing_ok=True)
    return sha256


def _add(archive: tarfile.TarFile, name: str, source: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    if isinstance(source, bytes):
        entry.size, entry.mode = len(source), 0o644
        archive.addfile(entry, io.BytesIO(source))
        return
    entry.size, entry.mode = source.stat().st_size, 0o755 if os.access(source, os.X_OK) else 0o644
    with source.open("rb") as file:
        archive.addfile(entry, file)


def runoff() -> Files:
    """Return runoff's files as a wheel has them, with uv, the Rust programs and the extension that were built here."""
    sources = {
        "runoff": Path(__file__).parents[1],
        "runoff_runners": paths.runners(),
        "requirements": paths.root() / "requirements",
        "suites": paths.suites(),
        "web": paths.web(),
        "protocol/request.schema.json": paths.root() / "protocol" / "request.schema.json",
    }
    files: Files = {}
    for name, source in sources.items():
        files |= {str(Path(name, below)): path for below, path in _below(source)}
    programs = f"bin-{platform.system()}-{platform.machine()}"
    for path in sorted(paths.binaries().glob("runoff-*")):
        if path.is_file() and os.access(path, os.X_OK):
            files[f"{programs}/{path.name}"] = path
    files[f"{programs}/uv"] = Path(find_uv())  # it makes the first environment there
    files |= {f"wheels/{path.name}": path for path in sorted((paths.home() / "wheels").glob("runoff_ort-*.whl"))}
    return files


def model(name: str) -> Files:
    """Return the files of a model in the store."""
    return {str(below): path for below, path in _below(paths.models() / name)}


def suite(parsed: Suite, text: str, start: Path) -> Files:
    """Return a suite with the files that it names: models, their data, labels, runners and profiles.

    `text` is that of the suite, and relative paths in it start at the folder `start`. An ONNX file brings those next to
    it whose names begin with its own: its external data.

    Raises
    ------
    RunoffError
        If a file is missing, or the suite needs code that cannot be sent.
    """
    files: Files = {}
    for place, (key, word) in enumerate(_named(parsed, start)):
        path = start / word
        new = f"files/{place}/{path.name}"
        if not path.exists():
            raise RunoffError(f"{key}: {path}: no such file", "a relative path starts at the suite's folder")
        files |= {str(Path(new, below)): found for below, found in _below(path)}
        if path.suffix.lower() == ".onnx":
            files |= {f"files/{place}/{one.name}": one for one in path.parent.glob(f"{path.name}[._]*")}
        quoted = [(json.dumps(word, ensure_ascii=False), f'"{new}"'), (f"'{word}'", f"'{new}'")]
        if not any(old in text for old, _ in quoted):
            raise RunoffError(f"{key}: {word!r} cannot be found in the suite's text", "write the path without escapes")
        for old, changed in quoted:
            text = text.replace(old, changed)
    return {**files, "suite.toml": text.encode()}


def _named(parsed: Suite, start: Path) -> Iterator[tuple[str, str]]:
    """Yield the files that a suite names, each once, with their keys."""
    found: dict[str, str] = {}
    for name, own in parsed.models.items():
        where = f"[models.{name}]"
        for key in ("factory", "python"):
            if getattr(own, key):
                raise RunoffError(
                    f"{where} {key}: code of a network cannot be sent to other machines",
                    "save a program of torch.export (.pt2) or an ONNX file, and name that",
                )
        words = (own.path, own.program, own.weights, own.labels, own.labelled, *own.examples, *own.versions.values())
        found |= {word: where for word in words if word}
    for name, target in parsed.targets.items():
        found |= {word: f"[targets.{name}] command" for word in target.command if (start / word).is_file()}
    for group in parsed.groups:
        given = group.settings.get("profile", [])
        profiles = given if isinstance(given, list) else [given]
        found |= {word: "[settings] profile" for word in profiles if str(word).endswith(".toml")}
    for word, key in found.items():
        yield key, word


def _below(source: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file of a folder with its relative path; a file is its own only one."""
    if source.is_file():
        yield Path(), source
    for path in sorted(source.rglob("*")):
        if path.is_file() and not _LEFT_OUT.intersection(path.relative_to(source).parts):
            yield path.relative_to(source), path
