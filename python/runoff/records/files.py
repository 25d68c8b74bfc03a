"""A run's folder: the plan, and every raw result, appended as it is measured."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path  # noqa: TC003 (msgspec evaluates the annotations)
from typing import TYPE_CHECKING

import msgspec

from runoff.records.errors import ExitCode, RunoffError
from runoff.records.machine_states import MACHINE_FILE
from runoff.records.schema import Record, Run, RunInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FILE = "run.json"
RAW = "raw"
SUMMARY = "summary.csv"
SAMPLES, PUBLISHED_SAMPLES = "samples.csv", "samples.parquet"
"""The samples of a run, and of a published run: the same table in a twentieth of the bytes."""
_MOST_AT_ONCE = 100
"""Runs that may begin in the same second."""


def to_resume(folder: Path) -> Path:
    """Return the folder to resume the run in `folder` with: for one machine of many, that of the run on all of them."""
    return folder.parent if (folder / MACHINE_FILE).exists() else folder


def machine_runs(folder: Path) -> list[Path]:
    """Return the folders of the machines' runs in a run on many machines."""
    return sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))


class RunWriter:
    """Writes a run's folder. Written records survive a crash of the process."""

    def __init__(self, folder: Path, info: RunInfo) -> None:
        self.folder = folder
        self.info = info
        (folder / RAW).mkdir(parents=True, exist_ok=True)
        self.save_info()

    def save_info(self) -> None:
        """Write ``run.json``."""
        text = msgspec.json.format(msgspec.json.encode(self.info), indent=1)
        write_atomically(self.folder / RUN_FILE, text)

    def append(self, record: Record) -> None:
        """Append `record` to its raw file, completely or not at all.

        Raises
        ------
        RunoffError
            If the disk is full; earlier records stay readable.
        """
        path = self.folder / RAW / f"{record.case}.{record.probe}.jsonl"
        line = msgspec.json.encode(record) + b"\n"
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                complete = file.write(line) == len(line)
                problem = "" if complete else os.strerror(errno.ENOSPC)
            except OSError as error:
                problem = str(error.strerror)
            if problem:
                file.truncate(before)
                raise RunoffError(
                    f"{path} cannot be written: {problem}",
                    f"free disk space, then: runoff bench --resume {self.folder}",
                    ExitCode.CASE_FAILED,
                )


def new_folder(parent: Path, name: str) -> Path:
    """Create the folder `name` in `parent`, with a number appended if it exists, and return it.

    Raises
    ------
    OSError
        If it cannot be created.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for folder in (parent / name, *(parent / f"{name}-{number}" for number in range(2, _MOST_AT_ONCE))):
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(parent / name))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name next to `path`, then rename it.

    Raises
    ------
    RunoffError
        If the disk is full or the folder is not writable; the old content of `path` is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunoffError(
            f"{path} cannot be written: {error.strerror}", "free disk space there, and try again", ExitCode.CASE_FAILED
        ) from error


@contextmanager
def measuring(folder: Path) -> Iterator[None]:
    """Mark the run in `folder` as being measured, until the block or the process ends.

    The mark is a lock that the system releases with the process: a crash leaves no stale mark.

    Raises
    ------
    RunoffError
        If another process is measuring it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(descriptor, fcntl.LOCK_EX):
            raise RunoffError(f"{folder} is being measured by another process", "wait until it has ended")
        yield
    finally:
        os.close(descriptor)


def in_progress(folder: Path) -> bool:
    """Return whether a process on this machine is measuring the run in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    """Return whether the lock was free; always true on a file system without locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def read_run(folder: Path) -> Run:
    """Read a run's folder, without a last line that was cut off by an interruption.

    Raises
    ------
    RunoffError
        If the folder is not a run, or a file in it is invalid.
    """
    info = read_info(folder)
    records = [record for file in sorted((folder / RAW).glob("*.jsonl")) for record in _read_records(file)]
    return Run(folder, info, tuple(sorted(records, key=lambda record: record.order)))


def read_info(folder: Path) -> RunInfo:
    """Read the description of the run in `folder`.

    Raises
    ------
    RunoffError
        If the folder is not a run, or its ``run.json`` is invalid.
    """
    path = folder / RUN_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunInfo)
    except (FileNotFoundError, NotADirectoryError):
        raise RunoffError(f"{folder} is not a run: it has no {RUN_FILE}", "past runs: runoff list runs") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunoffError(f"{path} cannot be read: {error}") from error


def repair(folder: Path) -> None:
    """Remove an incomplete last line, left by an interruption, from each raw file."""
    for path in (folder / RAW).glob("*.jsonl"):
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            path.write_bytes(data[: data.rfind(b"\n") + 1])


def _read_records(path: Path) -> list[Record]:
    complete_lines, _, _ = path.read_bytes().rpartition(b"\n")
    try:
        return msgspec.json.Decoder(Record).decode_lines(complete_lines)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunoffError(
            f"{path} is not a raw result: {error}", "remove the file; --resume measures it again"
        ) from error
