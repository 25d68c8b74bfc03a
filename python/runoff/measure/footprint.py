"""Disk space of a case: its environment or program, the shared library, and the model's file. Only reads."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from runoff import paths
from runoff.records import untrusted
from runoff.records.errors import RunoffError
from runoff.records.files import write_atomically
from runoff.records.manifest import base_format
from runoff.records.schema import Footprint
from runoff.targets.base import FASTAPI, OPENCV

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runoff.models.store import StoredModel
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.protocol import ModelFile
    from runoff.records.schema import Case, Run

_LIBRARY, _OPENVINO = "RUNOFF_ORT_DYLIB", "RUNOFF_OPENVINO_DYLIB"
_MOST_BYTES = 8 * 2**30
"""Of a library; the largest of PyTorch for GPUs have 2 GiB."""
_KEPT = "compressed.json"
_PIECE = 8 * 2**20
_ANNOUNCED = 50_000_000
"""Bytes that take a noticeable time to compress."""


class Size(Struct, frozen=True):
    """The size of a file, or of all files below a folder; symbolic links are not followed."""

    bytes: int
    files: int
    newest_ns: int
    """Latest modification time: with the other two, it decides whether `compressed` still holds."""
    compressed: int = 0


def footprints(
    cases: Iterable[Case],
    targets: Mapping[str, TargetInfo],
    models: Mapping[str, StoredModel],
    say: Callable[[str], None],
    *,
    compressed: bool,
) -> dict[str, Footprint]:
    """Return the disk space of each case that can run, by its id.

    If the `compressed` sizes are requested, `say` announces what is compressed, once: gigabytes take minutes.
    """
    by_case, size = {}, cache(partial(compressed_size, say=say) if compressed else size_of)
    for case in cases:
        if case.skipped is None:
            model = models[case.model].model_file(case.format, case.made_from) if case.format else None
            target = targets[case.target].target
            opencv = target.env.get(OPENCV) if case.workload == "segment" else None
            fastapi = target.env.get(FASTAPI) if ("transport", "http") in case.load else None
            others = {name: Path(path) for name, path in (("opencv", opencv), ("fastapi", fastapi)) if path}
            found = footprint(target, Path(model.path) if model else None, size, others)
            by_case[case.id] = _with_files(found, models[case.model], model) if model and found.parts else found
    return by_case


def _with_files(found: Footprint, stored: StoredModel, model: ModelFile) -> Footprint:
    """Return a footprint with the external data and the decoder of a model that has them."""
    data = stored.manifest.data if base_format(model.format) == "onnx" else ()
    paths = [stored.folder / file.path for file in data] + ([Path(model.decoder.path)] if model.decoder else [])
    # compressed sizes of these files are not measured: weights hardly shrink
    size = sum(size_of(path).bytes for path in paths)
    more = {"model": found.parts["model"] + size}
    compressed = found.compressed
    if compressed and paths:
        compressed = {**compressed, "model": compressed["model"] + size}
    return replace(found, parts=found.parts | more, compressed=compressed, files=(found.files or 0) + len(paths))


def footprint(
    target: Target, model: Path | None, size: Callable[[Path], Size], others: Mapping[str, Path] | None = None
) -> Footprint:
    """Return the disk space that `target` needs to run the model in the file or folder `model`, with `others`."""
    program, library = Path(target.command[0]), target.env.get(_LIBRARY)
    packages = None
    if program.is_relative_to(paths.environments()):
        top = paths.environments() / program.relative_to(paths.environments()).parts[0]
        parts, packages = {"environment": top}, len(list(top.glob("lib/python*/site-packages/*.dist-info")))
        # the environment of the extension contains the wheel of the same release: the library counts once
        library = None if library and any(top.rglob(Path(library).name)) else library
    elif program.parent == paths.binaries():
        parts = {"program": program}
    else:
        return Footprint(reason=f"runoff does not know what else {program.name} needs")
    if library:
        parts["library"] = Path(library)
    elif _OPENVINO in target.env:
        # next to it are the libraries that it loads
        parts["library"] = Path(target.env[_OPENVINO]).parent
    if model is not None:
        parts["model"] = model
    parts |= others or {}
    sizes = {name: size(path) for name, path in parts.items()}
    return Footprint(
        {name: one.bytes for name, one in sizes.items()},
        {name: one.compressed for name, one in sizes.items() if one.compressed},
        sum(one.files for one in sizes.values()),
        packages,
    )


def _files(path: Path) -> list[tuple[Path, os.stat_result]]:
    """Return a file, or all files below a folder; a file with several names counts once."""
    found = ((one, one.lstat()) for one in (path.rglob("*") if path.is_dir() else [path]))
    files = {(status.st_dev, status.st_ino): (one, status) for one, status in found if not S_ISDIR(status.st_mode)}
    return list(files.values())


def size_of(path: Path) -> Size:
    """Return the size of a file or folder as it is on disk; a file with several names counts once."""
    files = _files(path)
    return Size(
        sum(status.st_size for _, status in files),
        len(files),
        max((status.st_mtime_ns for _, status in files), default=0),
    )


def compressed_size(path: Path, say: Callable[[str], None]) -> Size:
    """Return the size of a file or folder, also compressed; that is kept in runoff's folder until it changes."""
    now = size_of(path)
    kept: dict[str, Size] = {}
    with suppress(OSError, msgspec.DecodeError):
        kept = msgspec.json.decode((paths.home() / _KEPT).read_bytes(), type=dict[str, Size])
    known = kept.get(str(path))
    if known and known == replace(now, compressed=known.compressed):
        return known
    if now.bytes > _ANNOUNCED:
        say(f"compressing {paths.shown(path)} to learn its size in a download ({now.bytes / 1e6:,.0f} MB, once)")
    made = replace(now, compressed=sum(_zstd(one) for one, status in _files(path) if S_ISREG(status.st_mode)))
    # a folder that cannot be written to costs the time again
    with suppress(RunoffError, OSError):
        paths.home().mkdir(parents=True, exist_ok=True)
        write_atomically(paths.home() / _KEPT, msgspec.json.encode({**kept, str(path): made}))
    return made


def _zstd(path: Path) -> int:
    """Return the bytes of a file compressed with zstd, level 3, in pieces; 0 if it cannot be read."""
    from pyarrow import Codec  # late: it takes a while to import

    codec, size = Codec("zstd", compression_level=3), 0
    with suppress(OSError), path.open("rb") as file:
        while piece := file.read(_PIECE):
            size += len(codec.compress(piece))
    return size


def library_hashes(run: Run) -> dict[str, str]:
    """Return the SHA-256 of the shared libraries that runners named; one that cannot be read is omitted."""
    named = {can.library for can in run.info.capabilities.values()}
    named |= {record.result.effective.library for record in run.records if record.result and record.result.effective}
    hashes = {}
    for library in sorted(path for path in named if path):
        with suppress(OSError), untrusted.opened(os.path.realpath(library), _MOST_BYTES) as file:
            hashes[library] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
