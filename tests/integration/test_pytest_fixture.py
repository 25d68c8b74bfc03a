"""The pytest plugin on real runners: the page's example, an A/A that passes and an injected slowdown that fails."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from documents import python_of
from running import MODEL, environment

from machine import thorough
from runoff import paths
from runoff.records.files import read_run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.clock, thorough, pytest.mark.usefixtures("complete", "hyperfine")]

INJECTED = f"""
from runoff.selftest.suites import runner

def latency_of(runoff, name, share):
    target = runner("slow", share)
    return runoff.case("{MODEL}", dict(name=name, command=target.command, env=target.env))

def test_same(runoff):
    latency_of(runoff, "same", 0.0).latency().not_slower_than(latency_of(runoff, "main", 0.0), "50%")

def test_slow(runoff):
    latency_of(runoff, "slow", 2.0).latency().not_slower_than(latency_of(runoff, "main", 0.0), "50%")
"""


def test_the_example_of_the_page_an_a_a_and_a_slowdown(tmp_path: Path) -> None:
    (example,) = python_of(paths.root() / "docs" / "pytest.md")
    (tmp_path / "test_speed.py").write_text(example + INJECTED)
    command = (sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider")
    options = ("--runoff-time", "6s", "--runoff-results", "results", "test_speed.py")
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    summary = [line for line in done.stdout.splitlines() if line.startswith(("passed: ", "failed: "))]
    outcomes = [line.split(": ")[:2] for line in summary]
    names = ("latency", "rust_starts_faster", "same", "slow")
    expected = [["failed" if name == "slow" else "passed", f"test_speed.py::test_{name}"] for name in names]
    assert outcomes == expected, done.stdout
    assert "x slower than main (" in summary[-1], summary
    runs = {path.name.rsplit("-", 2)[0]: read_run(path) for path in (tmp_path / "results").iterdir()}
    assert runs.keys() == {f"test_{name}" for name in names}
    assert [case.target for case in runs["test_slow"].info.cases] == ["main", "main-again", "slow"]
