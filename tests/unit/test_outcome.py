"""Outcomes of a runner: kind and message of every failure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from orchestra import finished, result_of

from runoff.measure.result import read_result
from runoff.processes import describe_exit

if TYPE_CHECKING:
    from pathlib import Path

WELL = result_of(("start", 1000, 1100), ("load", 1100, 1900))

FAILURES: dict[str, tuple[dict[str, Any], bytes | None, str, str]] = {
    "timeout": ({"timed_out": True, "exit_code": -9}, None, "timeout", "raise timeout_s"),
    "timeout after a result": (
        {"timed_out": True, "exit_code": -9},
        msgspec.json.encode(WELL),
        "timeout",
        "killed after",
    ),
    "no result": ({}, None, "no-result", "exited with code 0"),
    "exit without result": ({"exit_code": 1, "stderr": "a\nlast words\n\n"}, None, "crashed", "code 1: last words"),
    "crash": ({"exit_code": -signal.SIGSEGV}, None, "crashed", "SIGSEGV"),
    "killed": ({"exit_code": -signal.SIGKILL}, None, "killed", "SIGKILL"),
    "a signal without a name": ({"exit_code": -(signal.SIGRTMIN + 3)}, None, "crashed", "signal"),
    "empty": ({}, b"", "garbage", "protocol/result.schema.json"),
    "half": ({}, msgspec.json.encode(WELL)[:-9], "garbage", "is invalid"),
    "not JSON": ({}, b"hello", "garbage", "is invalid"),
    "not text": ({}, b'{"protocol": 1, "case": "\xff\xfe"}', "garbage", "is invalid"),
    "another version": ({}, b'{"protocol": 2, "case": "c", "status": "ok"}', "garbage", "protocol"),
    "unknown status": ({}, b'{"protocol": 1, "case": "c", "status": "fine"}', "garbage", "status"),
    "a time that is not a whole number": (
        {},
        b'{"protocol": 1, "case": "c", "status": "ok", "phases": [{"name": "a", "start_ns": 1.5, "end_ns": 2}]}',
        "garbage",
        "phases",
    ),
    "another case": ({}, msgspec.json.encode(result_of(case="d")), "garbage", "for case 'd'"),
    "ok, but a bad exit": ({"exit_code": 5}, msgspec.json.encode(WELL), "crashed", "has status ok, but"),
    "ok, but a crash": ({"exit_code": -11}, msgspec.json.encode(WELL), "crashed", "SIGSEGV"),
    "stdout": ({"stdout": "loading ...\n"}, msgspec.json.encode(WELL), "garbage", "stdout"),
    "a phase before the spawn": ({}, msgspec.json.encode(result_of(("a", 999, 1001))), "clock", "'a'"),
    "a phase after the exit": ({}, msgspec.json.encode(result_of(("a", 1000, 2001))), "clock", "'a'"),
    "a phase that ends before it starts": ({}, msgspec.json.encode(result_of(("a", 1500, 1400))), "clock", "'a'"),
    "phases that overlap": (
        {},
        msgspec.json.encode(result_of(("a", 1000, 1500), ("b", 1499, 1600))),
        "clock",
        "'b'",
    ),
    "a clock of its own": ({}, msgspec.json.encode(result_of(("a", 0, 10))), "clock", "CLOCK_MONOTONIC"),
    "an error": (
        {"exit_code": 1},
        msgspec.json.encode(result_of(status="error", kind="model-missing", message="m", hint="h")),
        "model-missing",
        "m (h)",
    ),
    "an error without words": (
        {"exit_code": 1},
        msgspec.json.encode(result_of(status="error")),
        "internal",
        "no message",
    ),
    "unsupported": (
        {"exit_code": 3},
        msgspec.json.encode(result_of(status="unsupported", kind="provider-unavailable", message="m")),
        "provider-unavailable",
        "m",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_a_kind_and_one_line(failure: str, tmp_path: Path) -> None:
    changes, content, kind, words = FAILURES[failure]
    path = tmp_path / "result.json"
    if content is not None:
        path.write_bytes(content)
    _, reason = read_result(finished(**changes), path, "c", watched=False)
    assert reason is not None
    assert reason.kind == kind
    assert words in str(reason)
    assert "\n" not in str(reason)


@pytest.mark.parametrize("watched", [False, True])
def test_a_good_result(watched: bool, tmp_path: Path) -> None:  # noqa: FBT001 (a parameter of the test)
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(WELL))
    assert read_result(finished(), path, "c", watched=watched) == (WELL, None)


def test_output_of_a_tool_is_not_attributed_to_the_runner(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(WELL))
    assert read_result(finished(stdout="Benchmark 1"), path, "c", watched=True) == (WELL, None)


def test_fields_of_later_versions_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b'{"protocol": 1, "case": "c", "status": "ok", "mood": "good"}')
    assert read_result(finished(), path, "c", watched=False) == (result_of(), None)


def test_only_the_last_output_is_quoted() -> None:
    assert describe_exit(finished(exit_code=1, stderr="x" * 5000)).endswith("x" * 300)
    assert len(describe_exit(finished(exit_code=1, stderr="x" * 5000))) < 330
