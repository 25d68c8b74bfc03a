"""Runners that fail: each is one line with the right kind of reason, and the other cases continue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from running import Ended, only_run, reasons, runoff, write_suite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runoff.records.schema import Run

KINDS = {
    "crash": "crashed",
    "exit": "crashed",
    "killed": "killed",
    "hang": "timeout",
    "silent": "no-result",
    "garbage": "garbage",
    "stdout": "garbage",
    "case": "garbage",
    "clock": "clock",
    "wrong": "outputs-differ",
    "late": "outputs-differ",
    "nan": "garbage",
    "dtype": "garbage",
    "no-outputs": "garbage",
    "fifo": "garbage",
    "tensor-fifo": "garbage",
    "colours": "odd",
    "one-item": "garbage",
    "unsupported": "provider-unavailable",
}
MEASURE = "[measure]\ntimeout_s = 3\n[measure.blocks]\nlife = 2\n"


class Outcome:
    """A bench of all bad runners and a good one."""

    def __init__(self, folder: Path) -> None:
        suite = write_suite(folder, "null-python", "bad-none", *(f"bad-{how}" for how in KINDS), more=MEASURE)
        self.ended: Ended = runoff("bench", suite, "--results", folder / "results")
        self.run: Run = only_run(folder / "results")
        self.pids = [int(pid) for pid in (folder / "pids").read_text().split()]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Outcome(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("how", KINDS)
def test_the_kind_of_failure(how: str, outcome: Outcome) -> None:
    status = "unsupported" if how == "unsupported" else "error"
    assert reasons(outcome.run)[f"bad-{how}"] == (status, KINDS[how])


@pytest.mark.parametrize("how", KINDS)
def test_a_failure_is_one_line(how: str, outcome: Outcome) -> None:
    lines = [line for line in outcome.ended.out.splitlines() if line.startswith(("error ", "unsupported "))]
    assert len([line for line in lines if f".bad-{how}." in line]) == 1


def test_the_runners_message_is_quoted_verbatim(outcome: Outcome) -> None:
    assert "[/opt/lib.so] lost its way" in outcome.ended.out


def test_no_text_of_a_runner_controls_a_terminal_or_a_page(outcome: Outcome) -> None:
    controls = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
    files = [
        path for path in outcome.run.folder.rglob("*") if path.suffix in (".md", ".csv", ".html", ".json", ".jsonl")
    ]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files} | {"terminal": outcome.ended.out}
    assert [name for name, text in texts.items() if controls.search(text)] == []
    shown = r"\x1b[31mred\x1b[0m second | line\x00 \u202eno <b>bold</b>"
    assert shown in outcome.ended.out
    assert "<b>bold" not in texts["report.html"]
    assert re.findall(r".<b>bold", texts["report.md"])
    assert not re.search(r"[^\\]<b>bold", texts["report.md"])


def test_the_others_continue(outcome: Outcome) -> None:
    assert outcome.ended.code == 1
    for target in ("null-python", "bad-none"):
        lives = [
            record
            for record in outcome.run.records
            if record.probe == "life" and f".{target}." in record.case and record.status == "ok"
        ]
        assert len(lives) == 2


def test_a_failed_case_is_not_started_again(outcome: Outcome) -> None:
    for how in KINDS:
        assert len([record for record in outcome.run.records if f".bad-{how}." in record.case]) == 1


def test_nothing_stays_behind(outcome: Outcome, is_gone: Callable[[int], bool]) -> None:
    assert len(outcome.pids) == 2
    assert all(is_gone(pid) for pid in outcome.pids)


def test_the_report_has_a_row_and_a_reason_for_each(outcome: Outcome) -> None:
    report = (outcome.run.folder / "report.md").read_text()
    assert [how for how in KINDS if f"bad-{how}" not in report] == []
    assert [kind for kind in set(KINDS.values()) if kind not in report] == []


def test_unsupported_alone_is_exit_code_3(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "bad-unsupported", more=MEASURE)
    assert runoff("bench", suite, "--results", tmp_path / "results").code == 3


def test_unsupported_next_to_a_case_that_runs_is_exit_code_0(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "bad-unsupported", "null-python", more=MEASURE)
    assert runoff("bench", suite, "--results", tmp_path / "results").code == 0
