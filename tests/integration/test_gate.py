"""The gate of ``docs/compare-and-gate.md``, on a real run of its runner: one copy is slower, one is not."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest
from documents import blocks
from running import MODEL, Ended, here, only_run, runoff

from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.clock

PAGE = paths.root() / "docs" / "compare-and-gate.md"
FILES = paths.root() / "docs" / "gate"
CALL = "        return dict(zip(names, self._session.run(names, feed), strict=True))\n"
TWICE = "        self._session.run(names, feed)\n"
TARGETS = ("main", "same", "slower")


def suite(folder: Path) -> str:
    python = str(paths.environments() / "ort-python" / "bin" / "python")
    lines = [
        f'[suite]\nname = "gate"\nmodels = ["{MODEL}"]\ntargets = {json.dumps(TARGETS)}\nbaselines = ["main"]',
        'workloads = ["tensor"]\nprobes = ["latency"]\n[settings]\nthreads = 1',
        "[measure.blocks]\nlatency = 3\n[measure.latency]\nmin_samples = 20\nmin_time_s = 0\nwarmup_time_s = 0.5",
    ]
    for name in TARGETS:
        command = msgspec.json.encode([python, str(folder / name / "runner.py")]).decode()
        lines.append(f'[targets.{name}]\ncommand = {command}\nenv = {{ PYTHONPATH = "{paths.runners().parent}" }}')
    return "\n".join(lines)


@pytest.fixture(scope="module")
def run(complete: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 (checked before)
    """Return the folder of a run of the page's runner, of a copy, and of one that runs the model twice."""
    folder = tmp_path_factory.mktemp("gate")
    for name in TARGETS:
        shutil.copytree(FILES, folder / name)
    text = (folder / "slower" / "service.py").read_text()
    assert text.count(CALL) == 1
    (folder / "slower" / "service.py").write_text(text.replace(CALL, TWICE + CALL))
    (folder / "suite.toml").write_text(suite(folder))
    ended = runoff("bench", folder / "suite.toml", "--results", folder / "results")
    assert ended.code == 0, ended.out + ended.err
    return only_run(folder / "results").folder


def gate(run: Path, target: str, *more: object, start: Callable[..., Ended] = here) -> Ended:
    limits = run.parent / f"{target}.toml"
    limits.write_text(f'[[limit]]\nfail_on = "latency.median > +50%"\ntargets = ["{target}"]\n')
    return start("gate", run, "--limits", limits, *more)


def test_a_slower_runner_fails_the_gate(run: Path, tmp_path: Path) -> None:
    ended = gate(run, "slower", "--summary", tmp_path / "summary.md", start=runoff)
    assert ended.code == 1, ended.out + ended.err
    assert "1 exceeded of 1 check against main" in ended.out
    assert "**exceeded**" in (tmp_path / "summary.md").read_text()


def test_an_equal_runner_passes(run: Path) -> None:
    ended = gate(run, "same", "--json")
    assert ended.code == 0, ended.out + ended.err
    (check,) = json.loads(ended.out)["checks"]
    assert check["outcome"] == "passed"
    assert "floor" in check["verdict"]


def test_a_run_has_no_difference_from_its_own_file(run: Path, tmp_path: Path) -> None:
    assert here("gate", run, "--save", tmp_path / "base.json").code == 0
    for target in ("same", "slower"):
        ended = gate(run, target, "--baseline", tmp_path / "base.json", "--json")
        assert ended.code == 0, ended.out + ended.err
        assert json.loads(ended.out)["checks"][0]["change"].startswith(("+0.0 %", "-0.0 %"))


def test_its_targets_are_compared(run: Path) -> None:
    ended = here("compare", "main", "slower", "--run", run, "--json")
    lines = {line["metric"]: line for line in json.loads(ended.out)["lines"]}
    assert lines["latency.median"]["differs"]
    assert lines["latency.median"]["how"] == "paired by block"
    assert lines["latency.median"]["floor"] is not None
    assert 1.6 < 1 / lines["latency.median"]["ratio"] < 2.4


def test_a_converted_run_gives_the_same_verdicts(run: Path, tmp_path: Path) -> None:
    assert runoff("convert", run, tmp_path / "run.parquet").err == ""
    verdicts = []
    for source in (run, tmp_path / "run.parquet"):
        ended = here("compare", "main", "slower", "--run", source, "--json")
        verdicts.append([line["verdict"] for line in json.loads(ended.out)["lines"]])
    assert verdicts[0] == verdicts[1]


def test_measurements_of_hyperfine_are_compared(hyperfine: str, tmp_path: Path) -> None:
    for name, seconds in (("before", "0.05"), ("after", "0.01")):
        out = tmp_path / f"{name}.json"
        subprocess.run([hyperfine, "-N", "-r", "6", "--export-json", out, "-n", "nap", f"sleep {seconds}"], check=True)
    ended = here("compare", tmp_path / "before.json", tmp_path / "after.json", "--metric", "process.wall", "--json")
    (line,) = json.loads(ended.out)["lines"]
    assert line["differs"]
    assert line["verdict"].endswith(")")
    assert line["ratio"] > 2


def test_the_page_quotes_the_files_verbatim() -> None:
    toml = blocks(PAGE, "toml")
    assert (FILES / "suite.toml").read_text() in toml
    assert (FILES / "gate.toml").read_text() in toml


def test_its_links_resolve() -> None:
    targets = [part.split(")")[0] for part in PAGE.read_text().split("](")[1:]]
    assert [target for target in targets if not (PAGE.parent / target).exists()] == []
