"""Disk space of a case: its environment or program, the shared library, and the model's file. Only reads."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

from runoff import paths
from runoff.records import untrusted
from runoff.records.schema import Footprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runoff.models.store import StoredModel
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.schema import Case, Run

_LIBRARY = "RUNOFF_ORT_DYLIB"
_MOST_BYTES = 8 * 2**30
"""Of a library; the largest of PyTorch for GPUs have 2 GiB."""


def footprints(
    cases: Iterable[Case], targets: Mapping[str, TargetInfo], models: Mapping[str, StoredModel]
) -> dict[str, Footprint]:
    """Return the disk space of each case that can run, by its id."""
    by_case = {}
    for case in cases:
        if case.skipped is None:
            model = models[case.model].model_file(case.format, case.made_from) if case.format else None
            by_case[case.id] = footprint(targets[case.target].target, Path(model.path) if model else None)
    return by_case


def footprint(target: Target, model: Path | None) -> Footprint:
    """Return the disk space that `target` needs to run the model in the file or folder `model`."""
    program, library = Path(target.command[0]), target.env.get(_LIBRARY)
    if program.is_relative_to(paths.environments()):
        top = paths.environments() / program.relative_to(paths.environments()).parts[0]
        parts = {"environment": disk_bytes(top)}
        # the environment of the extension contains the wheel of the same release: the library counts once
        library = None if library and any(top.rglob(Path(library).name)) else library
    elif program.parent == paths.binaries():
        parts = {"program": disk_bytes(program)}
    else:
        return Footprint(reason=f"runoff does not know what else {program.name} needs")
    if library:
        parts["library"] = disk_bytes(Path(library))
    if model is not None:
        parts["model"] = disk_bytes(model)
    return Footprint(parts)


@cache
def disk_bytes(path: Path) -> int:
    """Return the size of a file, or of all files below a folder, in bytes.

    Symbolic links are not followed, and a file with several names counts once.
    """
    statuses = [found.lstat() for found in (path.rglob("*") if path.is_dir() else [path])]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in statuses if not S_ISDIR(one.st_mode)}.values())


def library_hashes(run: Run) -> dict[str, str]:
    """Return the SHA-256 of the shared libraries that runners named; one that cannot be read is omitted."""
    named = {can.library for can in run.info.capabilities.values()}
    named |= {record.result.effective.library for record in run.records if record.result and record.result.effective}
    hashes = {}
    for library in sorted(path for path in named if path):
        with suppress(OSError), untrusted.opened(os.path.realpath(library), _MOST_BYTES) as file:
            hashes[library] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
