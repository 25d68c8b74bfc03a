"""Memory and threads of this process; `None` if the system does not report them."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH119, PTH123, PTH208

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap

_LONGEST_LIST = 64 << 20
"""Bytes; pages that are not written are not resident."""


def resident_bytes() -> int | None:
    """Return the resident set size of this process in bytes (Linux)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def peak_bytes() -> int | None:
    """Return the peak resident set size in bytes.

    This is ``VmHWM`` on Linux, because ``ru_maxrss`` of a child starts at its parent's value, and ``ru_maxrss`` on
    macOS, where it is in bytes.
    """
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        if sys.platform == "darwin":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def read_mappings() -> tuple[mmap, int] | None:
    """Return the kernel's list of this process's mappings, with its length in bytes (Linux).

    It is read past `malloc`, whose use changes how much memory the runtime needs later.
    """
    from mmap import mmap

    buffer, size = mmap(-1, _LONGEST_LIST), 0
    try:
        file = os.open("/proc/self/smaps", os.O_RDONLY)
    except OSError:
        return None
    with memoryview(buffer) as view:
        while got := os.readv(file, [view[size:]]):
            size += got
    os.close(file)
    return buffer, size


def sum_mappings(listed: tuple[mmap, int]) -> dict[str, int]:
    """Return the resident bytes by name of what `read_mappings` has read.

    The name is a file's path, the kernel's such as ``[heap]``, or empty for other memory.
    """
    buffer, size = listed
    found: dict[str, int] = {}
    name = ""
    for line in buffer[:size].decode(errors="replace").splitlines():
        if line.startswith("Rss:"):
            kib = int(line.split()[1])
            if kib:
                found[name] = found.get(name, 0) + kib * 1024
        elif not line[0].isupper():
            # address, permissions, offset, device, inode, name
            name = line.split(" ", 5)[5].strip()
    return found


def thread_count() -> int | None:
    """Return the number of threads of this process (Linux)."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None


def mapped_library(*names: str) -> str | None:
    """Return the path of the first mapped file whose name starts with one of `names`, tried in order (Linux)."""
    mapped = _mapped_files()
    found = (path for name in names for path in mapped if os.path.basename(path).startswith(name))
    return next(found, None)


def is_mapped(path: str) -> bool:
    """Return whether the file `path` is mapped into memory; true if the system does not list mapped files (macOS)."""
    mapped = _mapped_files()
    return os.path.realpath(path) in mapped or not mapped


def _mapped_files() -> list[str]:
    """Return the path of every mapping of this process, with duplicates; empty if the system does not list them."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            return [line[line.index("/") :].rstrip("\n") for line in file if "/" in line]
    except OSError:
        return []
