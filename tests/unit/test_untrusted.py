"""Files and text from a runner: they cannot stop runoff or control a terminal."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import finished

from runoff.measure.result import read_result
from runoff.probes.counters import PERF
from runoff.probes.process import HYPERFINE
from runoff.processes import describe_exit
from runoff.records.protocol import Capabilities, Result
from runoff.records.reason import Reason
from runoff.records.untrusted import clean, decode, read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # the length of its path is limited


ODD: dict[str, Callable[[Path], Any]] = {
    "FIFO": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "socket": listen,
    "huge": huge,
}


@pytest.mark.parametrize("kind", ODD)
def test_special_files_are_not_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    ODD[kind](path)
    with pytest.raises(OSError, match=r"result\.json"):
        read_file(path)
    result, reason = read_result(finished(), path, "c", watched=False)
    assert result is None
    assert reason is not None
    assert reason.kind == "garbage"
    assert reason.message.startswith("the runner's result is invalid: ")


@pytest.mark.parametrize("tool", [HYPERFINE, PERF], ids=lambda tool: tool.name)
def test_reports_of_tools_are_read_alike(tool: Any, tmp_path: Path) -> None:
    for name in ("hyperfine.json", "perf.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="not a regular file"):
        tool.read(tmp_path)


@pytest.mark.parametrize(
    "report",
    [
        "[]",
        '{"results": []}',
        '{"results": 1}',
        '{"results": [{"measurements": [5]}]}',
        '{"results": [{"measurements": [{"time_wall_clock": 0.5}]}]}',
        '{"results": [{"measurements": [{"time_wall_clock": {"value": "fast"}}]}]}',
        '{"results": [{"measurements": [{"time_wall_clock": {"value": -1}}]}]}',
        '{"event": 5}',
        '{"event": "cycles", "counter-value": [1]}',
        '{"event": "cycles", "counter-',
    ],
)
def test_a_report_that_is_no_report_is_refused(report: str, tmp_path: Path) -> None:
    tool = PERF if report.startswith('{"event"') else HYPERFINE
    for name in ("hyperfine.json", "perf.json"):
        (tmp_path / name).write_text(report)
    with pytest.raises(ValueError, match=r"Expected|truncated"):
        tool.read(tmp_path)


def test_a_plain_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than the limit of 4"):
        read_file(path, 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("one\ntwo\r\n\tthree", "one two   three"),
        ("a\x00b\x7f\x9b2J", r"a\x00b\x7f\x9b2J"),
        ("\u202egnp.exe\u202c \u2066x\u2069", r"\u202egnp.exe\u202c \u2066x\u2069"),
        ("\ud800", r"\ud800"),
        ("café, 日本語, 👩‍🔬, [/opt] <b> |", "café, 日本語, 👩‍🔬, [/opt] <b> |"),
    ],
)
def test_control_characters_are_shown_not_sent(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert str(Reason("kind", text, text)) == f"{shown} ({shown})"


@given(st.text())
def test_cleaned_text_is_one_line_that_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert clean(cleaned) == cleaned
    assert not any(ord(character) < 32 for character in cleaned)
    cleaned.encode()


def test_all_text_of_a_message_is_cleaned() -> None:
    odd = "\x1b]0;title\x07"
    message = {
        "protocol": 1,
        "case": odd,
        "status": "error",
        "hint": odd,
        "phases": [{"name": odd, "start_ns": 1, "end_ns": 2}],
        "samples": {odd: {"first_ns": 1}},
        "top": [[{"index": 1, "confidence": 1, "label": odd}]],
    }
    result = decode(msgspec.json.encode(message), Result)
    assert "\x1b" not in repr(msgspec.to_builtins(result)).replace("\\\\x1b", "")
    assert result.top[0][0].label == r"\x1b]0;title\x07"
    assert list(result.samples) == [r"\x1b]0;title\x07"]
    runner = {"protocol": [1], "runner": odd, "language": "c", "runtime": odd, "lacking": {odd: odd}}
    can = decode(msgspec.json.encode(runner).decode(), Capabilities)
    assert can.runtime == r"\x1b]0;title\x07"
    assert can.unavailable_providers == {can.runtime: can.runtime}
    assert "\x1b" not in describe_exit(finished(exit_code=1, stderr=f"fine\n{odd}\n"))
