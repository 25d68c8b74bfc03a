"""A process from start to exit, with a shell script as the runner."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from orchestra import HEAD, case_of, example_of, info_of, manifest_of, record_of, suite_of, target_info

from runoff.measure.job import ExecutionContext, Job
from runoff.measure.one_shot import measure_one_shot
from runoff.measure.profiles import read_profile
from runoff.measure.request import fresh
from runoff.measure.stopping import Sampling
from runoff.models.store import StoredModel
from runoff.plan.target import Target
from runoff.probes import PROBES
from runoff.probes.base import Tool
from runoff.processes import Spawner
from runoff.records.manifest import StoredFile
from runoff.records.protocol import Profile, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runoff.records.schema import Record

RUNNER = """
echo stolen >"$(dirname "$4")/report"
printf '{"protocol": 1, "case": "net.classify.mine", "status": "ok"}' >"$4"
"""
"""The fourth argument is the path of the result; `computes` is false, so no output is missing."""


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ExecutionContext]:
    suite, info = suite_of(HEAD), target_info("mine", computes=False)
    file = StoredFile("file", "", 0)
    manifest = manifest_of(examples=(example_of("photo", file, file, file),), files={"onnx": file})
    with Spawner(tmp_path / "log") as spawner:
        yield ExecutionContext(
            suite=suite,
            targets={"mine": msgspec.structs.replace(info, target=Target(name="mine", command=shell(RUNNER)))},
            models={"net": StoredModel(tmp_path, manifest)},
            tool_reasons={},
            spawner=spawner,
            scratch=tmp_path / "scratch",
            secret="",
            sampling=Sampling(suite, info_of(), tmp_path, lambda _run, _probe: None),
        )


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script, "sh")


def tool(script: str, read: Callable[[Path], list[dict[str, object]]]) -> Tool:
    """Return a tool that calls `script` with the path of its report and the runner's command."""
    return Tool(
        name="sh",
        wrap=lambda sh, runner, folder: (sh, "-c", script, "sh", str(folder / "report"), *runner),
        read=read,
        env=(("MARK", "C"),),
        hint="",
    )


def measure(context: ExecutionContext, watching: Tool) -> Record:
    case = msgspec.structs.replace(case_of("mine"), format="onnx")
    job = Job((case,), msgspec.structs.replace(PROBES["life"], tool=watching), 0)
    return measure_one_shot(context, job, record_of(case.id))


def test_a_runner_cannot_replace_the_report_of_the_tool(context: ExecutionContext) -> None:
    watching = tool('echo "own $MARK" >"$1"; shift; "$@"', lambda folder: [{"text": (folder / "report").read_text()}])
    record = measure(context, watching)
    assert (record.status, record.reason, record.tool) == ("ok", None, [{"text": "own C\n"}])


def test_a_report_that_cannot_be_read_is_a_failure_of_the_tool(context: ExecutionContext) -> None:
    record = measure(context, tool('shift; "$@"', lambda _: msgspec.json.decode(b"[1]", type=list[dict[str, object]])))
    assert record.status == "not-measured"
    assert record.reason is not None
    assert record.reason.kind == "tool-failed"


def test_a_new_folder_does_not_depend_on_the_removal_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fresh(tmp_path / "process")
    second = fresh(tmp_path / "process")
    assert not first.exists()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    third = fresh(tmp_path / "process")
    assert len({first, second, third}) == 3
    assert list(third.iterdir()) == []


def test_the_nodes_of_a_profile_are_recorded_and_the_first_profile_is_kept(tmp_path: Path) -> None:
    trace = (Path(__file__).parent / "profiles" / "net.openvino.json").read_bytes()
    (tmp_path / "profile.json").write_bytes(trace)
    # of the path, only the name counts: a runner cannot make runoff read other files
    profile = Profile(path="/elsewhere/profile.json", format="chrome-trace")
    result = Result(protocol=1, case="c", status="ok", profile=profile)
    for block in range(2):
        case = case_of("mine")
        found, reason = read_profile(result, Job((case,), PROBES["operators"], block), tmp_path, tmp_path / "run")
        assert reason is None
        assert {node.operator for node in found.nodes} >= {"Convolution", "FullyConnected"}
    assert [file.name for file in (tmp_path / "run" / "profiles").iterdir()] == [f"{case.id}.json"]
    (tmp_path / "profile.json").write_text("[")
    found, reason = read_profile(result, Job((case,), PROBES["operators"], 0), tmp_path, None)
    assert found.nodes == ()
    assert reason is not None
    assert (reason.kind, reason.message[:31]) == ("garbage", "the runner's profile is invalid")
