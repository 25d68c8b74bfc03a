"""``runoff refute`` on a real run, and bad input of both commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from running import only_run, runoff, write_suite

from machine import thorough

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended


@thorough
def test_the_verdicts_of_a_run_hold_where_it_was_measured(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "ort-python", "ort-rust", probes='"process"', more="[measure.blocks]\nprocess = 4\n")
    assert runoff("bench", suite, "--results", tmp_path / "theirs").code == 0
    theirs = only_run(tmp_path / "theirs").folder
    ended = runoff("refute", theirs, "--results", tmp_path / "mine", "--json")
    found = {(one["metric"], one["baseline"]): one for one in json.loads(ended.out)}
    wall = found["process.wall", "ort-python"]  # about 2.5: other metrics are closer to 1
    assert (wall["answer"]["outcome"], wall["theirs"]["kind"]) == ("holds", "better"), ended.err
    mine = only_run(tmp_path / "mine").folder
    again = runoff("refute", theirs, "--run", mine, "--json")
    assert json.loads(again.out) == json.loads(ended.out) == json.loads((mine / "refute.json").read_text())
    claims = runoff("claims", mine, "--json")
    assert claims.code == 0
    assert {row["answer"]["outcome"] for row in json.loads(claims.out)} == {"cannot be told"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("claims", "--measure", "Z1"), "no claim 'Z1'"),
        (("claims", "--time", "5m"), "--time is for a measurement"),
        (("claims", "nowhere"), "nowhere is not a run"),
        (("refute", "nowhere"), "nowhere/run.json not found"),
        (("refute", "nowhere", "--run", "here", "--time", "1m"), "--run cannot be combined"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, start: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = start(*arguments, "--results", tmp_path, cwd=tmp_path)
    assert ended.code == 2
    assert words in ended.err
    assert not list(tmp_path.iterdir())
