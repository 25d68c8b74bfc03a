"""The command line: exit codes, one-line errors for bad input, and a fast ``--help``."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from orchestra import HEAD, info_of

from runoff import __version__
from runoff.cli import main as cli
from runoff.cli.program_exit import run_program
from runoff.probes import PROBES
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import RunWriter

if TYPE_CHECKING:
    from pathlib import Path

HELP = """
import sys
from runoff.cli.main import main
try:
    main(["--help"])
finally:
    print(*{"pandas", "numpy", "rich", "altair", "scipy", "msgspec"} & set(sys.modules), file=sys.stderr)
"""


def runoff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr."""
    code: str | int | None = 0
    try:
        cli.main(list(arguments))
    except SystemExit as left:
        code = left.code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return int(code or 0), printed.out, printed.err


def test_help_imports_no_heavy_library() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "runoff bench" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "bench",
        "run",
        "export",
        "report",
        "compare",
        "gate",
        "convert",
        "history",
        "selftest",
        "list",
        "doctor",
        "setup",
        "clean",
    ],
)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = runoff(capsys, command, "--help")
    assert code == 0
    assert f"  runoff {command} " in out or f"  runoff {command}\n" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert runoff(capsys, "--version") == (0, f"runoff, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Usage"),
        (("bnch",), "No such command"),
        (("bench", "--fast"), "No such option"),
        (("bench", "quik"), "did you mean 'quick'?"),
        (("bench", "none.toml"), "suite file not found: none.toml"),
        (("bench", "--resume", "none"), "none is not a run"),
        (("bench", "quick", "--resume", "none"), "--resume cannot be combined with SUITE"),
        (("report", "none"), "none is not a run"),
        (("run",), "--target"),
        (("run", "--target", "trch"), "did you mean 'torch'?"),
        (("run", "--target", "torch", "--image", "none.jpg"), "--image none.jpg"),
        (("run", "--target", "torch", "--set", "threads"), "--set threads=2"),
        (("run", "--target", "torch", "--set", "thread=2"), "did you mean 'threads'?"),
        (("run", "--target", "torch", "--model", "mobilenet"), "mobilenet"),
        (("export", "mobilenet_v3"), "mobilenet_v2"),
        (("export",), "MODELS"),
        (("list", "modles"), "modles"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = runoff(capsys, *arguments)
    assert code == ExitCode.BAD_INPUT
    assert words in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_bad_suite_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(HEAD.replace("models", "modles"))
    code, _, err = runoff(capsys, "bench", str(path), "--results", str(tmp_path))
    assert code == ExitCode.BAD_INPUT
    first, second = err.splitlines()
    assert first.startswith(f"runoff: {path}: ")
    assert second.strip() == "did you mean 'models'?"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RunoffError("m", "h", ExitCode.NOTHING_RUNS_HERE), 3, "runoff: m\n        h\n"),
        (RunoffError("m", "", ExitCode.CASE_FAILED), 1, "runoff: m\n"),
        (KeyboardInterrupt(), 130, "runoff: interrupted\n"),
        (click.Abort(), 130, "runoff: interrupted\n"),
        (click.BadParameter("m"), 2, "Error: Invalid value: m\n"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("runoff.cli.listing.show", fail)
    left, out, err = runoff(capsys, "list", "models")
    assert (left, out) == (code, "")
    assert err.endswith(words)


@pytest.mark.parametrize("what", ["suites", "probes"])
def test_lists_as_json(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = runoff(capsys, "list", what, "--json")
    rows = json.loads(out)
    assert code == 0
    assert all(list(row) == list(rows[0]) for row in rows)
    assert {"quick", "seeds"} <= {row.get("suite") for row in rows} or len(rows) == len(PROBES)


def test_past_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_RESULTS", str(tmp_path))
    assert "no runs yet" in runoff(capsys, "list")[1]
    half, done = info_of(), info_of()
    done.started = done.finished = "2026-11-23T00:00:00+00:00"
    RunWriter(tmp_path / "half", half)
    RunWriter(tmp_path / "done", done)
    (tmp_path / "corrupted").mkdir()
    (tmp_path / "corrupted" / "run.json").write_text("{")
    rows = json.loads(runoff(capsys, "list", "--json")[1])
    assert rows == json.loads(runoff(capsys, "list", "runs", "--json")[1])
    newest, interrupted, corrupted = (row["state"] for row in rows)
    assert newest == "finished"
    assert "run.json cannot be read" in corrupted
    assert interrupted == f"interrupted; runoff bench --resume {tmp_path / 'half'}"
    text = runoff(capsys, "list")[1]
    assert text.splitlines()[0] == "abacus, 2 cores, L 1"
    assert interrupted in text


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def command() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/new\nline")

    with pytest.raises(SystemExit) as caught:
        run_program(command, "runoff", [])
    assert caught.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "runoff: /data/new line cannot be written: No space left on device",
        "        free space there; results so far are saved",
    ]
