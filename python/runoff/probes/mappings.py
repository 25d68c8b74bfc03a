"""``mappings``: what holds the resident memory after the first inference, by the kernel's list of mappings.

Reading it takes memory itself, so the processes are not those of the probe ``memory``.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from runoff.probes.base import Probe, Sample
from runoff.records.protocol import Mappings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runoff.records.schema import MeterInfo, Record

ALLOCATED = "allocated"
"""Memory of no file: heaps, stacks, buffers."""
RUNTIME, LANGUAGE, PROGRAM, FILES = "runtime", "language", "program", "files"
HOLDERS = (RUNTIME, LANGUAGE, PROGRAM, FILES, ALLOCATED)
END = "inference"
"""The phase after which the holders are reported."""
_LIBRARY = re.compile(r"\.(so|dylib)(\.[\d.]+)?( \(deleted\))?$")
_PYTHON = re.compile(r"/lib/(lib)?python3[^/]*(/|\.so)|/bin/python[\d.]*$|\.cpython-")


def holder(name: str, runtime: str) -> str:
    """Return what a mapping called `name` belongs to, in a process that runs on `runtime` (``onnxruntime``)."""
    if not name.startswith("/"):
        return ALLOCATED
    path = PurePosixPath(name)
    if runtime in path.parts or path.name.startswith(f"lib{runtime}"):
        return RUNTIME
    if _PYTHON.search(name):
        return LANGUAGE
    return PROGRAM if _LIBRARY.search(name) or "bin" in path.parts or not path.suffix else FILES


def by_holder(mappings: Mapping[str, int], runtime: str) -> dict[str, int]:
    """Return the bytes of each of `HOLDERS`."""
    found = dict.fromkeys(HOLDERS, 0)
    for name, size in mappings.items():
        found[holder(name, runtime)] += size
    return found


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    result = record.result
    if result is None or result.memory is None or result.effective is None or END not in result.memory.mappings:
        return
    for name, size in by_holder(result.memory.mappings[END], result.effective.runtime).items():
        yield Sample("held", "bytes", size, name)


MAPPINGS = Probe(
    name="mappings",
    summary="resident memory by what holds it",
    measure=Mappings(),
    blocks=5,
    needs_model=True,
    optional=True,
    headline=(f"held.{ALLOCATED}", "bytes"),
    read=_read,
)
