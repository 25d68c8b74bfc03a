"""``runoff history`` and ``runoff list`` as commands: output, files and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from histories import OTHER, day_run

from runoff.cli.main import cli
from runoff.records.errors import ExitCode, RunoffError

CHANGE = "net.classify.change.default.t1.b1"


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run on each of two machines, an interrupted one and one that cannot be read."""
    folder = tmp_path_factory.mktemp("days")
    day_run(folder, 1, {"main": 10.0, "change": 10.0})
    day_run(folder, 2, {"main": 10.0, "change": 8.0})
    day_run(folder, 3, {"main": 10.0, "change": 8.0}, machine=OTHER)
    day_run(folder, 4, {"main": 10.0, "change": 8.0}, finished=False)
    (folder / "old").mkdir()
    (folder / "old" / "run.json").write_text('{"version": 0}')
    return folder


def run_history(*words: object) -> Result:
    return CliRunner().invoke(cli, ["history", *map(str, words)])


def refused(*words: object) -> RunoffError:
    error = run_history(*words).exception
    assert isinstance(error, RunoffError)
    return error


def test_the_tables_have_values_changes_and_machines(days: Path) -> None:
    done = run_history(days, "--case", CHANGE)
    assert done.exit_code == 0
    assert "machine B: Other CPU, 2 cores, virtual, Linux 6.9" in done.stdout
    assert "1.25x faster" in done.stdout
    assert done.stdout.count("first") == 2
    assert f"no values: process.wall of {CHANGE}: process.wall was not measured" in done.stdout
    old, half = done.stderr.splitlines()
    assert old.startswith(f"skipped: {days / 'old'}: ")
    assert "missing required field" in old
    assert half.startswith(f"skipped: {days / 'days-20261104-120000'}: not finished (runoff bench --resume ")


def test_json_goes_to_stdout_and_the_rest_to_stderr(days: Path, tmp_path: Path) -> None:
    done = run_history(days, "--json", "--out", tmp_path / "out")
    plain = json.loads(done.stdout)
    assert plain == json.loads((tmp_path / "out" / "history.json").read_text())
    assert [one["folder"] for one in plain["left_out"]] == [str(days / "old"), str(days / "days-20261104-120000")]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    cases = [f"net.classify.{target}.default.t1.b1.svg" for target in ("change", "main")]
    assert names == sorted(["history.json", "history.md", *cases])
    assert "history.md and 2 plots" in done.stderr


def test_one_run_is_a_history_too(days: Path) -> None:
    done = run_history(days / "days-20261101-120000")
    assert done.exit_code == 0
    assert done.stdout.count("first") == 2
    assert "faster" not in done.stdout
    assert done.stderr == ""


def test_a_null_runner_and_a_control_are_shown_if_named_and_have_no_change(days: Path) -> None:
    done = run_history(days, "--case", "*again*")
    assert "not compared" in done.stdout
    assert "faster" not in done.stdout


def test_different_machines_are_compared_if_allowed(days: Path) -> None:
    done = run_history(days, "--unlike-machines")
    assert done.stdout.count("first") == 2
    assert "different machines: days-20261102-120000 (Test CPU" in done.stdout


def test_without_the_usual_metrics_the_others_are_shown(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.cli.history.DEFAULT", ("process.wall",))
    done = run_history(days, "--case", CHANGE)
    assert "latency.median" in done.stdout
    assert "no values" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--case", "nix"), "--case nix: no such case", "known: net."),
        (("--case", CHANGE.replace("change", "chnge")), "no such case", f"did you mean '{CHANGE}'?"),
        (("--metric", "latency.warm"), "no run has latency.warm of these cases", "did you mean 'latency."),
        (("--metric", "memory.peak"), "no run has memory.peak of these cases", "probes that have values: latency"),
        (("--metric", "wall"), "metric 'wall' is not PROBE.NAME", "for example"),
        (("--metric", "proces.wall"), "no probe 'proces'", "did you mean 'process'?"),
        (("--metric", "latency.p99.9"), "no run has latency.p99.9 of", "omitted, too few samples: p99.9 needs 6,636"),
        (("--suite", "dayz"), "--suite dayz: no run of that suite", "did you mean 'days'?"),
        (("--sql", "SELECT 1", "--case", "x"), "--sql can only be combined with FOLDER and --json", ""),
        (
            ("--sql", "SELECT nix FROM history"),
            '--sql: Binder Error: Referenced column "nix" not found',
            "docs/history",
        ),
        (("--sql", "SELEC"), "--sql: Parser Error: syntax error", "DESCRIBE history"),
        (("--sql", "SELECT case FROM history"), "--sql: Parser Error", 'write "case", in double quotes'),
        (("--sql", "SELECT CASE WHEN true FROM history"), "--sql: Parser Error", "DESCRIBE history"),
        (("--sql", ""), "--sql: no statements", "use one SELECT"),
        (("--sql", "-- nothing"), "--sql: no statements", "use one SELECT"),
        (("--sql", "SELECT 1; SELECT 2"), "--sql: 2 statements", "use one SELECT"),
        (("--sql", "DROP VIEW history"), "--sql: DROP is not permitted", "use one SELECT"),
        (
            ("--sql", "PIVOT history ON run"),
            "--sql: a PIVOT without values becomes several statements",
            "ON run IN (...)",
        ),
        (("--out", Path(__file__) / "x"), "cannot be created", ""),
    ],
)
def test_errors_have_a_hint(days: Path, words: tuple[str, ...], message: str, hint: str) -> None:
    error = refused(days, *words)
    assert message in error.message
    assert hint in error.hint
    assert error.code == ExitCode.BAD_INPUT


def test_no_folder_and_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path / "none").message == f"{tmp_path / 'none'}: no such folder"
    monkeypatch.setenv("RUNOFF_RESULTS", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    error = refused()
    assert error.message == f"no finished run in {tmp_path.name}"
    assert error.hint == "measure: runoff bench"
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_the_default_is_printed(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_RESULTS", str(days))
    assert run_history().stderr.splitlines()[0] == f"runs in {days}"
    assert CliRunner().invoke(cli, ["list"]).stderr == f"runs in {days}\n"
    monkeypatch.setenv("RUNOFF_RESULTS", str(days / "none"))
    done = CliRunner().invoke(cli, ["list", "--results", str(days), "--json"])
    assert [row["run"] for row in json.loads(done.stdout)][-1] == "old"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runs", "--results", "none"), "none: no such folder"),
        (("models", "--results", "."), "--results cannot be combined with models"),
    ],
)
def test_a_missing_or_unexpected_folder_of_runs(words: tuple[str, ...], message: str) -> None:
    error = CliRunner().invoke(cli, ["list", *words]).exception
    assert isinstance(error, RunoffError)
    assert error.message == message


def test_a_query_returns_rows(days: Path) -> None:
    sql = 'SELECT run, count(DISTINCT "case") AS cases FROM history GROUP BY run ORDER BY run'
    done = run_history(days, "--sql", sql)
    cells = [cell for day in (1, 2, 3) for cell in (f"days-2026110{day}-120000", "3")]
    assert done.stdout.split() == ["run", "cases", *cells]
    lines = json.loads(run_history(days, "--json", "--sql", sql).stdout)
    assert lines[0] == {"run": "days-20261101-120000", "cases": 3}
    assert run_history(days, "--sql", "SELECT run FROM history WHERE false").stdout.strip() == "no lines"


@pytest.mark.parametrize("words", ["COPY", "EXPLAIN ANALYZE COPY"])
def test_a_query_writes_no_file(days: Path, tmp_path: Path, words: str) -> None:
    error = refused(days, "--sql", f"{words} (SELECT 1) TO '{tmp_path / 'out.csv'}'")
    assert error.message == f"--sql: {words.split(maxsplit=1)[0]} is not permitted: it can do more than read"
    assert list(tmp_path.iterdir()) == []


def test_a_wide_result_is_printed_as_records(days: Path) -> None:
    done = run_history(
        days,
        "--sql",
        "SELECT *, NULL AS none, 251234567e-1 AS large, 1234567e-7 AS small FROM history ORDER BY started LIMIT 2",
    )
    records = [dict(line.split(maxsplit=1) for line in part.splitlines()) for part in _records(done.stdout)]
    assert [record["run"] for record in records] == ["days-20261101-120000"] * 2
    assert (records[0]["large"], records[0]["small"]) == ("25123500", "0.123457")
    assert records[0]["machine"] == "Test CPU, 2 cores, virtual, Linux 6.1"


def _records(text: str) -> list[str]:
    """Return the records of a result without empty values."""
    return ["\n".join(line for line in part.splitlines() if len(line.split()) > 1) for part in text.split("\n\n")]


def test_a_query_downloads_nothing(days: Path) -> None:
    error = refused(days, "--sql", "SELECT * FROM 'https://localhost:9/none.csv'")
    assert "--sql: " in error.message


def test_the_list_of_runs_is_newest_first_with_the_outcome_of_the_cases(
    days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNOFF_RESULTS", str(days))
    rows = json.loads(CliRunner().invoke(cli, ["list", "--json"]).stdout)
    assert [row["run"] for row in rows] == [f"days-2026110{day}-120000" for day in (4, 3, 2, 1)] + ["old"]
    assert [row["ok"] for row in rows] == [3, 3, 3, 3, None]
    assert rows[1]["machine"] == "Other CPU, 2 cores, virtual, Linux 6.9"
    assert rows[2]["best"] == "change (default): warm inference 8 ms, 1.25x faster than main"
    assert rows[0]["state"].startswith("interrupted; runoff bench --resume ")
    text = CliRunner().invoke(cli, ["list"]).stdout
    assert "machine B: Other CPU" in text
    assert text.splitlines()[-1].startswith("old: ")


def test_the_command_line_starts_without_the_libraries_of_the_history() -> None:
    code = "import sys, runoff.cli.main; print(*{'duckdb', 'pyarrow', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
