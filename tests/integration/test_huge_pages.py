"""Huge pages in a real run: if the system grants them, the records and the report show it."""

from __future__ import annotations

import re
from pathlib import Path

from running import only_run, runoff, write_suite

SUITE = """
[measure.blocks]
latency = 1
[measure.latency]
min_samples = 5
min_time_s = 0
warmup_time_s = 0
huge_pages = true
"""
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def are_given() -> bool:
    """Return whether the kernel grants huge pages on request."""
    chosen = re.search(r"\[(\w+)\]", SETTING.read_text()) if SETTING.exists() else None
    return chosen is not None and chosen[1] != "never"


def test_the_memory_of_live_processes_lies_in_huge_pages(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "ort-python", "ort-pyo3", probes='"latency"', more=SUITE)
    assert runoff("bench", suite, "--results", tmp_path / "results").code == 0
    run = only_run(tmp_path / "results")
    given = [record.turned.huge_bytes for record in run.records if record.turned]
    assert len(given) == 3
    assert [(size or 0) > 0 for size in given] == [are_given()] * 3
    report = (run.folder / "report.md").read_text()
    assert ("interleaved, with huge pages" in report) is are_given()
