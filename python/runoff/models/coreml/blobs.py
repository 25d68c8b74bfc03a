"""Is a package's weight file whole? Core ML's reader maps the file and would read past the end of a short one.

Layout (MLModel's ``StorageFormat.hpp``, in coremltools): a header of 64 bytes that begins with the number of entries
and the version; an entry's own header of 64 bytes begins with a mark, the type of its elements, its size in bytes and
where its data begins.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ENTRY = struct.Struct("<IIQQ")
_MARK = 0xDEADBEEF
_VERSION = 2


def check_blobs(path: Path, offsets: Iterable[int]) -> None:
    """Check that the entries at `offsets` of the weight file at `path` lie within it.

    Raises
    ------
    RunoffError
        When the file is missing, is no weight file, or ends before an entry does.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if struct.unpack("<II", file.read(8))[1] != _VERSION:
                raise _broken(path, "it is no weight file of version 2")
            for offset in offsets:
                file.seek(offset)
                mark, _, length, begin = _ENTRY.unpack(file.read(_ENTRY.size))
                if mark != _MARK:
                    raise _broken(path, f"there is no entry at {offset}")
                if begin + length > size:
                    raise _broken(path, f"it has {size} bytes; the entry at {offset} ends at {begin + length}")
    except FileNotFoundError:
        raise _broken(path, "it is missing") from None
    except struct.error:
        raise _broken(path, f"it ends too early, at {path.stat().st_size} bytes") from None


def _broken(path: Path, message: str) -> RunoffError:
    return RunoffError(f"the weight file {path} is broken: {message}", "convert the model again")
