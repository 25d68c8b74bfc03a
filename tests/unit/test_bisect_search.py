"""``runoff bisect`` without a process: the search on simulated releases, the releases of a span, the words."""

from __future__ import annotations

import subprocess
from math import ceil, log2
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runoff import paths, releases
from runoff.analysis.verdict import decide
from runoff.bisect.bisection import ERROR, Bisected
from runoff.bisect.search import LOOKS, Found, Search
from runoff.bisect.show import document, draw, sentence
from runoff.plan.target import Target
from runoff.records.errors import RunoffError
from runoff.statistics import Ratio, paired
from runoff.targets.base import at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.bisect.search import Logs

NAMES = [f"1.{minor}.0" for minor in range(20, 28)]


class Machine:
    """A `runoff.bisect.search.Lab` that draws times: a factor by release, drift that blocks share, and noise."""

    def __init__(
        self, factors: dict[str, float], noise: float = 0.01, seed: int = 1, broken: Sequence[str] = ()
    ) -> None:
        self.block = 0
        self.measured: list[list[str]] = []
        self._factors, self._noise, self._broken = factors, noise, broken
        self._random = np.random.default_rng(seed)
        self._logs: dict[str, dict[int, float]] = {}

    def measure(self, releases: Sequence[str]) -> None:
        """Measure one block."""
        drift = self._random.normal(0, 0.2)
        for name in releases:
            value = np.log(self._factors.get(name, 1.0)) + drift + self._random.normal(0, self._noise)
            self._logs.setdefault(name, {})[self.block] = value
        self.measured.append(list(releases))
        self.block += 1

    def logs(self, over: str, under: str, since: int) -> Logs:
        """Return the logarithms."""
        first, second = self._logs.get(over, {}), self._logs.get(under, {})
        return [np.array([first[block] - second[block]]) for block in first if block >= since and block in second]

    def failure(self, release: str) -> str:
        """Return the reason."""
        return "crashed" if release in self._broken else ""


def slower_from(first: str, factor: float) -> dict[str, float]:
    return dict.fromkeys(NAMES[NAMES.index(first) :], factor)


def search(machine: Machine, **options: Any) -> Found:
    return Search(NAMES, machine, ERROR, lambda _: None, **options).run()


@pytest.mark.parametrize("first", NAMES[1:])
@pytest.mark.parametrize("factor", [1.08, 0.9])
def test_the_release_of_a_change_is_found_in_log2_steps(first: str, factor: float) -> None:
    found = search(Machine(slower_from(first, factor)))
    assert (found.outcome, found.after) == ("found", first)
    assert NAMES.index(found.before) + 1 == NAMES.index(first)
    assert len(found.steps) <= ceil(log2(len(NAMES)))


def test_few_searches_are_wrong_and_no_more_are_measured_than_needed() -> None:
    outcomes = []
    for seed in range(200):
        first = NAMES[1 + seed % 7]
        machine = Machine(slower_from(first, 1.05), noise=0.02, seed=seed)
        found = search(machine)
        outcomes.append(found.outcome != "found" or found.after == first)
        assert machine.block <= (1 + len(found.steps)) * LOOKS[-1] + 1
    assert outcomes.count(False) <= ERROR * len(outcomes)


def test_the_larger_of_two_changes_is_found() -> None:
    factors = {**slower_from("1.21.0", 1.05), **slower_from("1.26.0", 1.3)}
    assert search(Machine(factors)).after == "1.26.0"


def test_equal_releases_have_no_change() -> None:
    outcomes = [search(Machine({}, noise=0.002, seed=seed)).outcome for seed in range(40)]
    assert outcomes.count("found") <= ERROR * len(outcomes)
    assert outcomes.count("no change") >= 36
    assert search(Machine({}, noise=0.3)).outcome == "unclear"


def test_a_release_that_fails_is_left_out() -> None:
    found = search(Machine(slower_from("1.26.0", 1.2), broken=["1.24.0"]))
    assert (found.before, found.after) == ("1.25.0", "1.26.0")
    assert found.failures == {"1.24.0": "crashed"}


@pytest.mark.parametrize(("broken", "after"), [(NAMES[5:], NAMES[5]), (NAMES[:3], NAMES[3])])
def test_the_release_that_begins_or_ends_a_failure_is_found(broken: list[str], after: str) -> None:
    found = search(Machine({}, broken=broken))
    assert (found.outcome, found.after) == ("found", after)


def test_nothing_is_searched_if_both_ends_fail() -> None:
    assert search(Machine({}, broken=NAMES)).outcome == "all failed"


def test_one_block_decides_what_does_not_vary() -> None:
    machine = Machine(slower_from("1.23.0", 50.0), noise=0.0)
    assert search(machine, exact=True).after == "1.23.0"
    assert machine.block <= 6
    assert search(Machine(slower_from("1.23.0", 1.5), noise=0.0), exact=True).outcome == "no change"


def bisected(found: Found, logs: dict[str, float], folder: Path) -> Bisected:
    noise = np.array([0.004, -0.004, 0.002, -0.002, 0.001, -0.001])
    trend = {name: paired([np.array([-value + one]) for one in noise]) for name, value in logs.items()}
    ratio = trend.get(found.after, Ratio(1.0, 0.99, 1.01, 6, 0.5))
    return Bisected(
        target="ort-python",
        model="m",
        metric="latency",
        releases=tuple(NAMES),
        found=found,
        change=decide(ratio, ratio.p, 0.01, "ns"),
        trend=trend,
        folder=folder,
    )


def test_the_result_in_words_json_and_a_plot(tmp_path: Path) -> None:
    found = Found(outcome="found", before="1.24.0", after="1.25.0")
    result = bisected(found, {"1.20.0": 0.0, "1.24.0": 0.0, "1.25.0": float(np.log(1.12))}, tmp_path)
    assert sentence(result).startswith("1.24.0 to 1.25.0: 1.12x slower (")
    assert document(result)["trend"]["1.25.0"]["ratio"] == pytest.approx(1 / 1.12, rel=0.01)
    assert b"<svg" in draw(result)


def test_what_lies_between_is_said(tmp_path: Path) -> None:
    found = Found(outcome="found", before="1.23.0", after="1.25.0", failures={"1.24.0": "no wheel"})
    assert "1 release between them could not be measured" in sentence(bisected(found, {}, tmp_path))
    fails = Found(outcome="found", before="1.24.0", after="1.25.0", failures={"1.25.0": "unknown operator"})
    assert sentence(bisected(fails, {}, tmp_path)) == "1.24.0 to 1.25.0: 1.25.0 fails: unknown operator"


def index(monkeypatch: pytest.MonkeyPatch, *known: str) -> None:
    """Let uv know the releases `known`, oldest first."""

    def uv(*_: str, text: str = "") -> subprocess.CompletedProcess[str]:
        below = tuple(map(int, text.strip().rpartition("<")[2].split(".")))
        able = [name for name in known if tuple(map(int, name.split("."))) < below]
        answer = f"onnxruntime=={able[-1]}\n" if able else ""
        return subprocess.CompletedProcess([], 0 if able else 1, answer, "" if able else "No solution found: because")

    monkeypatch.setattr(releases, "_uv", uv)


def test_a_span_includes_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    index(monkeypatch, "1.24.4", "1.25.0", "1.25.1", "1.26.0")
    assert releases.find_releases("onnxruntime", "1.24..1.25") == ["1.24.4", "1.25.0", "1.25.1"]
    assert releases.find_releases("onnxruntime", "1.24.4, 1.26.0") == ["1.24.4", "1.26.0"]


@pytest.mark.parametrize("span", ["1.24..", "..", "new..old", "1.24...1.26", ",,", "1.32.0,--foo", "1.32.0,../../x"])
def test_a_span_that_cannot_be_read_is_named(span: str) -> None:
    with pytest.raises(RunoffError, match="is no release"):
        releases.find_releases("onnxruntime", span)


def test_an_index_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        releases, "_uv", lambda *_, **__: subprocess.CompletedProcess([], 2, "", "error: no route to host")
    )
    with pytest.raises(RunoffError, match="cannot list the releases of onnxruntime: no route to host"):
        releases.find_releases("onnxruntime", "1.24..1.25")


def test_a_package_of_no_target_is_named() -> None:
    with pytest.raises(RunoffError, match="no target is known to need the package 'onnxruntim'"):
        releases.environment_of("onnxruntim")
    assert releases.environment_of("torch") == "torch"


def test_a_target_moves_to_another_environment(tmp_path: Path) -> None:
    usual = paths.environments() / "ort-python"
    library = tmp_path / "lib" / "libonnxruntime.so.1.24.4"
    library.parent.mkdir()
    library.touch()
    env = {"RUNOFF_ORT_DYLIB": str(usual / "lib" / "libonnxruntime.so.1.32.0"), "OTHER": "1"}
    moved = at(Target(name="t", command=(str(usual / "bin" / "python"), "-P"), env=env), "ort-python", tmp_path)
    assert moved.command == (str(tmp_path / "bin" / "python"), "-P")
    assert moved.env == {"RUNOFF_ORT_DYLIB": str(library), "OTHER": "1"}
