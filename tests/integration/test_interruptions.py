"""Results are kept however the run ends, and ``--resume`` measures only what is missing."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from running import RUNOFF, environment, only_run, runoff, write_suite

from runoff import paths
from runoff.records.files import in_progress, read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BLOCKS = 40
MEASURE = f"[measure]\npause_s = 0.02\n[measure.blocks]\nlife = {BLOCKS}\n"
KILOBYTES = 16


def start(suite: Path, results: Path) -> subprocess.Popen[str]:
    """Start a bench in a separate process group, as a shell does."""
    return subprocess.Popen(
        [RUNOFF, "bench", suite, "--results", results],
        env=environment(),
        cwd=paths.root(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lines_in(results: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in results.glob("*/raw/*.life.jsonl"))


def wait_for(results: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while lines_in(results) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def test_ctrl_c_while_a_process_hangs(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    suite = write_suite(tmp_path, "bad-hang", more="[measure]\ntimeout_s = 100\n")
    process = start(suite, tmp_path / "results")
    deadline = time.monotonic() + 60
    while not (tmp_path / "pids").is_file() or not (tmp_path / "pids").read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "runoff: interrupted"
    assert all(is_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_run_resumes(number: int, code: int, tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    results = tmp_path / "results"
    process = start(write_suite(tmp_path, "null-python", more=MEASURE), results)
    wait_for(results, 5)
    while not (children := children_of(process.pid)):
        assert process.poll() is None
    (folder,) = results.iterdir()
    assert in_progress(folder)
    os.kill(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert not in_progress(folder)
    assert all(is_gone(pid) for pid in children)
    before = only_run(results)
    assert before.info.finished is None
    assert 5 <= len(before.records) < BLOCKS
    ended = runoff("bench", "--resume", before.folder)
    assert ended.code == 0, ended.err
    after = read_run(before.folder)
    assert after.info.finished is not None
    assert after.records[: len(before.records)] == before.records
    assert [record.block for record in after.records if record.probe == "life"] == list(range(BLOCKS))
    assert only_run(results).folder == before.folder


def test_a_finished_run_has_nothing_left_to_measure(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "null-python", more="[measure.blocks]\nlife = 2\n")
    assert runoff("bench", suite, "--results", tmp_path / "results").code == 0
    before = only_run(tmp_path / "results")
    assert runoff("bench", "--resume", before.folder).code == 0
    assert read_run(before.folder).records == before.records


def test_a_full_disk(tmp_path: Path) -> None:
    results = tmp_path / "results"
    suite = write_suite(tmp_path, "null-python", more=MEASURE)
    command = shlex.join(map(str, (RUNOFF, "bench", suite, "--results", results)))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f {KILOBYTES}; exec {command}"],
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        cwd=paths.root(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    first, second = done.stderr.splitlines()
    assert "cannot be written" in first
    run = only_run(results)
    assert second.strip() == f"free disk space, then: runoff bench --resume {run.folder}"
    kept = len(run.records)
    assert 5 < kept < BLOCKS
    assert runoff("bench", "--resume", run.folder).code == 0
    assert read_run(run.folder).records[:kept] == run.records
    assert len([record for record in read_run(run.folder).records if record.probe == "life"]) == BLOCKS


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    suite = write_suite(tmp_path, "null-python")
    ended = runoff("bench", suite, "--results", tmp_path / "results" / "below")
    assert ended.code == 2
    assert "cannot write results" in ended.err
