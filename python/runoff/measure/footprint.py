"""What a case needs on disk: its environment or program, the shared library, and the model's file. Only reads."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from runoff import paths
from runoff.records.files import sha256_of
from runoff.records.schema import Footprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runoff.models.store import StoredModel
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.schema import Case, Run

_LIBRARY = "RUNOFF_ORT_DYLIB"


def footprints(
    cases: Iterable[Case], targets_info: Mapping[str, TargetInfo], models: Mapping[str, StoredModel]
) -> dict[str, Footprint]:
    """Return what each case that can run needs on disk, by its id."""
    found = {}
    for case in cases:
        if case.skipped is None:
            model = models[case.model].model_file(case.format, case.made_from) if case.format else None
            found[case.id] = footprint(targets_info[case.target].target, Path(model.path) if model else None)
    return found


def footprint(target: Target, model: Path | None) -> Footprint:
    """Return what `target` needs on disk to run the model in the file or folder `model`."""
    program, library = Path(target.command[0]), target.env.get(_LIBRARY)
    if program.is_relative_to(paths.environments()):
        top = paths.environments() / program.relative_to(paths.environments()).parts[0]
        parts = {"environment": disk_bytes(top)}
        # the environment of the extension comes with a wheel of the same release: its user has the library once
        library = None if library and any(top.rglob(Path(library).name)) else library
    elif program.parent == paths.binaries():
        parts = {"program": disk_bytes(program)}
    else:
        return Footprint(reason=f"runoff does not know what {program.name} needs beside itself")
    if library:
        parts["library"] = disk_bytes(Path(library))
    if model is not None:
        parts["model"] = disk_bytes(model)
    return Footprint(parts)


@cache
def disk_bytes(path: Path) -> int:
    """Return the sizes of a file, or of all files below a folder, in bytes.

    Symbolic links are not followed, and a file with several names counts once.
    """
    seen: set[tuple[int, int]] = set()
    return sum(_own_bytes(Path(folder) / name, seen) for folder, names in _below(path) for name in names)


def _below(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder with what is in it; links to folders count as files."""
    if not path.is_dir():
        yield str(path.parent), [path.name]
        return
    for folder, folders, files in os.walk(path):
        yield folder, [*files, *(name for name in folders if (Path(folder) / name).is_symlink())]


def _own_bytes(path: Path, seen: set[tuple[int, int]]) -> int:
    status = path.lstat()
    name = (status.st_dev, status.st_ino)
    if name in seen:
        return 0
    seen.add(name)
    return status.st_size


def library_hashes(run: Run) -> dict[str, str]:
    """Return the SHA-256 of the shared libraries that runners named; one that cannot be read is omitted."""
    named = {can.library for can in run.info.capabilities.values()}
    named |= {record.result.effective.library for record in run.records if record.result and record.result.effective}
    hashes = {}
    for library in sorted(path for path in named if path):
        with suppress(OSError):
            hashes[library] = sha256_of(Path(library))
    return hashes
