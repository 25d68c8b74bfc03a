"""Memory in huge pages, which makes processes of one program differ less.

The kernel gives a process any free 4 KiB pages, and their addresses decide which data share a place in the caches: one
process can be a percent or two slower than another for its whole lifetime. With pages of 2 MiB, little is left to
chance. glibc requests them through a tunable, mimalloc, which ``runoff-ort`` contains, through a variable; the kernel
provides them if transparent huge pages are set to ``madvise`` or ``always``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from runoff.plan.target import Target

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.hugetlb=1"
_MIMALLOC = {"MIMALLOC_ALLOW_THP": "1"}
_FIELD = "AnonHugePages:"


def with_huge_pages(target: Target) -> Target:
    """Return `target` with its memory in huge pages; other tunables are kept."""
    before = target.environment().get(_VARIABLE)
    tunables = f"{before}:{_TUNABLE}" if before else _TUNABLE
    return msgspec.structs.replace(target, env={**target.env, _VARIABLE: tunables, **_MIMALLOC})


def huge_bytes(pid: int) -> int:
    """Return the bytes of a process's memory in huge pages; 0 if the system does not report them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_FIELD))
