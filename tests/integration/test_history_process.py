"""``runoff history`` as a process: the commands of its page, and interruption."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from documents import commands_of, run_as_written
from running import RUNOFF, environment, runoff

from runoff import paths

PAGE = paths.root() / "docs" / "history.md"
PUBLISHED = paths.root() / "results" / "reference" / "quick"
ENDLESS = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range * b.range = 7"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the published run, and a copy dated one day later with a newer runtime."""
    folder = tmp_path_factory.mktemp("results")
    for day, name in ((23, "first"), (24, "second")):
        (folder / name).mkdir()
        for file in ("summary.csv", "samples.parquet"):
            shutil.copy(PUBLISHED / file, folder / name / file)
        info = json.loads((PUBLISHED / "run.json").read_text())
        info |= {"run_id": name, "started": f"2026-11-{day}T12:00:00+00:00"}
        for capabilities in info["capabilities"].values():
            capabilities["version"] += ".1" if day == 24 and capabilities["runtime"] == "onnxruntime" else ""
        (folder / name / "run.json").write_text(json.dumps(info))
    return folder


def test_there_are_tested_commands() -> None:
    assert len(commands_of(PAGE)) == 6


@pytest.mark.parametrize("command", commands_of(PAGE))
def test_a_command_of_the_page(command: str, results: Path) -> None:
    done = run_as_written(command, results)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == f"runs in {results}\n"
    assert "ort-rust" in done.stdout or "runtime_version" in done.stdout


def test_the_page_names_every_column(results: Path) -> None:
    lines = json.loads(runoff("history", results, "--sql", "DESCRIBE history", "--json").out)
    text = PAGE.read_text()
    assert [line["column_name"] for line in lines if f"`{line['column_name']}`" not in text.replace('"', "")] == []


def test_published_runs_name_the_new_runtime(results: Path, tmp_path: Path) -> None:
    ended = runoff("history", results, "--case", "*ort-rust.cold*", "--by", "runtime", "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    whole = json.loads(ended.out)
    assert [one["metric"] for one in whole["series"]] == ["latency.median", "process.wall"]
    for one in whole["series"]:
        before, after = one["points"]
        assert before["change"] is None
        assert [new.split()[0] for new in after["new"]] == ["onnxruntime"]
        assert after["change"]["verdict"].startswith("no difference")
        assert after["change"]["how"] == "raw"  # the baseline has the new runtime, too
    assert len(list(tmp_path.glob("*.svg"))) == 1


def test_ctrl_c_while_a_query_runs(results: Path) -> None:
    process = subprocess.Popen(
        [RUNOFF, "history", results, "--sql", ENDLESS],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while "duckdb" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.5)  # until the query runs
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "\nrunoff: interrupted\n")
