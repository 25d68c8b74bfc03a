"""Targets and tools are queried once; each response becomes capabilities or a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from orchestra import capabilities

from runoff.measure.discovery import query_capabilities, query_tool
from runoff.plan.target import Target
from runoff.probes.base import Tool
from runoff.processes import Spawner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.plan.target import TargetInfo
    from runoff.records.reason import Reason

ABLE = msgspec.json.encode(capabilities()).decode()


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with Spawner(tmp_path / "log") as made:
        yield made


def ask(spawner: Spawner, script: str) -> TargetInfo:
    return query_capabilities(Target(name="mine", command=("/bin/sh", "-c", script)), spawner)


def test_capabilities_of_a_runner(spawner: Spawner) -> None:
    target_info = ask(spawner, f"echo '{ABLE}'")
    assert target_info.capabilities == capabilities()
    assert target_info.reason is None


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("exit 1", "crashed", "mine --probe exited with code 1"),
        ("echo 'no library' >&2; exit 1", "crashed", "no library"),
        ("kill -SEGV $$", "crashed", "SIGSEGV"),
        ("echo hello", "garbage", "does not print capabilities"),
        ("true", "garbage", "does not print capabilities"),
        ("echo '{\"protocol\": 1}'", "garbage", "protocol"),
    ],
)
def test_a_runner_that_cannot_be_queried(script: str, kind: str, words: str, spawner: Spawner) -> None:
    target_info = ask(spawner, script)
    assert target_info.capabilities is None
    assert target_info.reason is not None
    assert target_info.reason.kind == kind
    assert words in target_info.reason.message


def test_a_runner_reports_that_it_is_unavailable(spawner: Spawner) -> None:
    response = {
        **msgspec.to_builtins(capabilities()),
        "unavailable": {"kind": "runtime-missing", "message": "m", "hint": "h"},
    }
    reason = ask(spawner, f"echo '{msgspec.json.encode(response).decode()}'; exit 3").reason
    assert reason is not None
    assert (reason.kind, reason.message, reason.hint) == ("runtime-missing", "m", "h")


def test_a_program_that_cannot_be_started(spawner: Spawner, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_text("neither a binary nor a script with a first line")
    path.chmod(0o755)
    reason = query_capabilities(Target(name="mine", command=(str(path),)), spawner).reason
    assert reason is not None
    assert reason.kind == "not-installed"
    assert str(path) in reason.message


def query_script(
    name: str, script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int = 0o755
) -> tuple[str | None, Reason | None]:
    folder = tmp_path / name / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    if script is not None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(mode)
    tool = Tool(name=name, wrap=lambda *_: (), read=lambda _: [], hint="get it", trial=("try",), allow="let it")
    with Spawner(tmp_path / "log") as spawner:
        return query_tool(tool, spawner)


@pytest.mark.parametrize("when", ["--version", "the trial"])
def test_a_tool_that_cannot_be_executed(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_it = 'printf "#!/no/such/shell" >"$0.new"; chmod +x "$0.new"; mv "$0.new" "$0"; echo 3.1'
    monkeypatch.setattr("runoff.probes.base.Tool.find", lambda _: str(tmp_path / "perf" / "bin" / "perf"))
    found, reason = query_script("perf", break_it, tmp_path, monkeypatch, 0o755 if when == "the trial" else 0o644)
    assert found is None
    assert reason is not None
    assert (reason.kind, reason.hint) == ("tool-failed", "get it")
    assert "perf cannot be started: " in reason.message


@pytest.mark.parametrize(
    ("name", "script", "version", "kind"),
    [
        ("hyperfine", "echo hyperfine 2.0.0", "2.0.0", None),
        ("hyperfine", "echo hyperfine 10.1", "10.1", None),
        ("hyperfine", "echo hyperfine 1.20.0", "1.20.0", "tool-too-old"),
        ("perf", "echo perf version 6.1.176", "6.1.176", None),
        ("perf", "echo no kernel >&2; exit 2", None, "tool-failed"),
        ("perf", "true", None, "tool-failed"),
        ("no-such-tool", None, None, "tool-missing"),
    ],
)
def test_tools(
    name: str,
    script: str | None,
    version: str | None,
    kind: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, reason = query_script(name, script, tmp_path, monkeypatch)
    assert found == version
    assert (reason.kind if reason else None) == kind
    assert reason is None or reason.hint == "get it"


def test_an_installed_tool_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "[ $1 = --version ] && echo perf version 6.1 || { echo No permission. >&2; exit 255; }"
    version, reason = query_script("perf", script, tmp_path, monkeypatch)
    assert version == "6.1"
    assert reason is not None
    assert (reason.kind, reason.hint) == ("tool-refused", "let it")
    assert (
        reason.message == "perf is not permitted to measure on this machine: perf exited with code 255: No permission."
    )


def test_a_tool_that_is_not_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reason = query_script("no-such-tool", "true", tmp_path, monkeypatch, 0o644)
    assert reason is not None
    assert reason.kind == "tool-missing"
