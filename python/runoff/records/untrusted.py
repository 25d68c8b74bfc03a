"""Files and text from a runner, which may be a pipe, endless, or written to confuse a terminal."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

MOST_BYTES = 256 * 2**20
"""Default size limit of a file that a runner or a tool wrote."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, line separators, overrides of the direction of writing, lone surrogates."""


def clean(text: str) -> str:
    r"""Return `text` on one line, without characters that control a terminal or reorder what is read.

    White space becomes a space, any other such character its escape: ESC becomes ``\x1b``.
    """
    return _CONTROL.sub(lambda found: _harmless(found[0]), text)


def _harmless(character: str) -> str:
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f\x85":
        return " "
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"  # noqa: PLR2004


def decode(data: bytes | str, kind: Any) -> Any:  # noqa: ANN401 (a type of msgspec's, and a value of it)
    """Return JSON from a runner as a value of the type `kind`, all its text cleaned.

    Raises
    ------
    msgspec.DecodeError
        If `data` is not JSON, or not such a value.
    UnicodeDecodeError
        If `data` is not UTF-8.
    """
    return msgspec.convert(_cleaned(msgspec.json.decode(data)), kind)


def _cleaned(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(part) for key, part in value.items()}
    return value


def read_file(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file, under the conditions of `opened`."""
    with opened(path, most) as file:
        return file.read(min(most, os.fstat(file.fileno()).st_size))


@contextmanager
def opened(path: str | Path, most: int = MOST_BYTES) -> Iterator[BufferedReader]:
    """Open a regular file of at most `most` bytes; never waits for a writer.

    Raises
    ------
    FileNotFoundError
        If there is none.
    OSError
        If it cannot be read, is a link, a pipe, a device or a folder, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        if status.st_size > most:
            raise OSError(f"{path} has {status.st_size:,} bytes, more than the limit of {most:,}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)
