"""What became of a runner: its result if it is whole and believable, and one line of reason if not."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import msgspec

from runoff.processes import describe_exit
from runoff.records.protocol import Result
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.processes import Finished


def read_result(finished: Finished, path: Path, case: str, *, watched: bool) -> tuple[Result | None, Reason | None]:
    """Return a runner's result, and the reason why it does not count.

    Parameters
    ----------
    finished
        The process that runoff started: the runner, or the tool that started it.
    path
        Where the result should be.
    case
        The case that was asked for.
    watched
        Whether a tool stood between runoff and the runner: then the stamps of `finished` are the tool's.
    """
    if finished.timed_out:
        return None, Reason(
            "timeout",
            f"killed after {finished.elapsed_ns / 1e9:.0f} s",
            "raise timeout_s in [measure], or leave the case out",
        )
    result, reason = _read(path, finished)
    if result is None:
        return None, reason
    if result.status != "ok":
        return result, Reason(result.kind or "internal", result.message or "no message", result.hint or "")
    return result, _doubt(result, finished, case, watched=watched)


def _read(path: Path, finished: Finished) -> tuple[Result | None, Reason | None]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result), None
    except FileNotFoundError:
        kind = (
            "no-result" if finished.exit_code == 0 else "killed" if finished.exit_code == -signal.SIGKILL else "crashed"
        )
        return None, Reason(kind, f"the runner wrote no result and {describe_exit(finished)}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, Reason("garbage", f"the runner's result is not one: {error}", "see protocol/result.schema.json")


def _doubt(result: Result, finished: Finished, case: str, *, watched: bool) -> Reason | None:
    if result.case != case:
        return Reason("garbage", f"the result is for case {result.case!r}")
    if finished.exit_code:
        return Reason("crashed", f"the result says ok, but the runner {describe_exit(finished)}")
    if finished.stdout and not watched:
        return Reason("garbage", f"the runner wrote to stdout: {finished.stdout[:80]!r}", "logs go to stderr")
    return _clock_doubt(result, finished)


def _clock_doubt(result: Result, finished: Finished) -> Reason | None:
    now = finished.spawn_ns
    for phase in result.phases:
        if not now <= phase.start_ns <= phase.end_ns <= finished.exit_ns:
            return Reason(
                "clock",
                f"phase {phase.name!r} lies outside the process's life or overlaps the one before",
                "stamps are CLOCK_MONOTONIC in nanoseconds, in order",
            )
        now = phase.end_ns
    return None
