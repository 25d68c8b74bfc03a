"""The outcome of a process: its result if it is complete and plausible, else the reason in one line."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff.processes import describe_exit
from runoff.records import untrusted
from runoff.records.protocol import Result
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.processes import Finished
    from runoff.records.schema import Record


class Outcome(Struct, frozen=True):
    """How a process ended, and its result or the reason why the result does not count."""

    finished: Finished
    result: Result | None
    reason: Reason | None

    @property
    def status(self) -> str:
        """``ok``, ``unsupported`` or ``error``."""
        if self.reason is None:
            return "ok"
        return "unsupported" if self.result and self.result.status == "unsupported" else "error"

    def record(self, blank: Record, **fields: Any) -> Record:
        """Return `blank` with this outcome and with `fields`."""
        result = self.result
        if result and result.segmentations and blank.probe != "accuracy":
            # each has been compared, and is large
            result = msgspec.structs.replace(result, segmentations=())
        own: dict[str, Any] = {
            "status": self.status,
            "reason": self.reason,
            "spawn_ns": self.finished.spawn_ns,
            "exit_ns": self.finished.exit_ns,
            "exit_code": self.finished.exit_code,
            "result": result,
        }
        return msgspec.structs.replace(blank, **{**own, **fields})


def read_result(finished: Finished, path: Path, case: str, *, watched: bool) -> tuple[Result | None, Reason | None]:
    """Return a runner's result for `case` in the file `path`, and the reason why it does not count.

    `finished` is the process that runoff started: the runner, or if `watched` the tool that started it. Its stamps are
    then the tool's.
    """
    if finished.timed_out:
        return None, Reason(
            "timeout",
            f"killed after {finished.elapsed_ns / 1e9:.0f} s",
            "raise timeout_s in [measure], or remove the case",
        )
    result, reason = _read(path, finished)
    if result is None:
        return None, reason
    if result.status != "ok":
        return result, Reason(result.kind or "internal", result.message or "no message", result.hint or "")
    return result, _check(result, finished, case, watched=watched)


def _read(path: Path, finished: Finished) -> tuple[Result | None, Reason | None]:
    try:
        return untrusted.decode(untrusted.read_file(path), Result), None
    except FileNotFoundError:
        kind = (
            "no-result" if finished.exit_code == 0 else "killed" if finished.exit_code == -signal.SIGKILL else "crashed"
        )
        return None, Reason(kind, f"the runner wrote no result and {describe_exit(finished)}")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, Reason("garbage", f"the runner's result is invalid: {error}", "see protocol/result.schema.json")


def _check(result: Result, finished: Finished, case: str, *, watched: bool) -> Reason | None:
    if result.case != case:
        return Reason("garbage", f"the result is for case {result.case!r}")
    if finished.exit_code:
        return Reason("crashed", f"the result has status ok, but the runner {describe_exit(finished)}")
    if finished.stdout and not watched:
        return Reason("garbage", f"the runner wrote to stdout: {finished.stdout[:80]!r}", "logs go to stderr")
    return _check_phases(result, finished)


def _check_phases(result: Result, finished: Finished) -> Reason | None:
    earliest_ns = finished.spawn_ns
    for phase in result.phases:
        if not earliest_ns <= phase.start_ns <= phase.end_ns <= finished.exit_ns:
            return Reason(
                "clock",
                f"phase {phase.name!r} is outside the lifetime of the process or overlaps the phase before",
                "stamps are CLOCK_MONOTONIC in nanoseconds, in order",
            )
        earliest_ns = phase.end_ns
    return None
