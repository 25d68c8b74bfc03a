"""The targets on ONNX Runtime Web: how Chromium is found, what they compute on, and what reports show of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from synthetic import case_of, record, result_of, run_of

from runoff import paths
from runoff.analysis.analyse import analyse
from runoff.plan.cases import plan_case
from runoff.plan.suite import read_suite
from runoff.plan.target import TargetInfo
from runoff.probes.memory import MEMORY
from runoff.records.protocol import Capabilities, Memory, Settings
from runoff.report import browser
from runoff.report.markdown import overview
from runoff.report.overview import blocks
from runoff.targets import needed_environments
from runoff.targets.web import PROVIDERS, TOLERANCE, WEB_TARGETS, chromium, web_target

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Case, Record

MB = 10**6


def planned(name: str, **settings: str) -> Case:
    """Return the case of a target that can use all providers of its runtime, and the CPU's settings."""
    can = Capabilities(
        protocol=(1,),
        runner=name,
        language="javascript",
        runtime="onnxruntime-web",
        workloads=("tensor",),
        formats=("onnx",),
        providers=(PROVIDERS[name] or "cpu",),
    )
    info = TargetInfo(web_target(name), can)
    return plan_case("net", "tensor", msgspec.structs.replace(Settings(), **settings), (), ("onnx",), info)


def test_a_target_computes_on_its_own_provider_in_the_comparison_of_the_others() -> None:
    gpu, cpu = planned("ort-web-webgpu"), planned("ort-web-wasm")
    assert (gpu.settings.provider, cpu.settings.provider) == ("webgpu", "cpu")
    assert gpu.comparison == cpu.comparison
    assert gpu.skipped is None
    assert gpu.tolerance == cpu.tolerance == TOLERANCE


def test_the_native_library_has_the_usual_tolerance_and_reads_prepared_models() -> None:
    made = WEB_TARGETS["ort-node"]()
    assert (made.tolerance, made.provider, made.format) == (None, None, None)
    assert made.command[1:] == (str(paths.web() / "runner" / "main.mjs"), "ort-node")
    assert made.environments == WEB_TARGETS["ort-node-wasm"]().environments


def test_another_provider_is_unavailable() -> None:
    case = planned("ort-web-webgpu", provider="cuda")
    assert case.skipped
    assert case.skipped.message == "ort-web-webgpu: provider 'cuda' is unavailable (available: webgpu)"


def test_chromium_is_the_one_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my chromium"
    monkeypatch.setenv("RUNOFF_CHROMIUM", str(program))
    assert chromium() is None
    program.touch(0o755)
    assert chromium() == str(program)


def test_without_chromium_the_hint_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.targets.web.paths.environments", lambda: paths.root() / "nowhere")
    monkeypatch.setenv("RUNOFF_CHROMIUM", "/nowhere/chromium")
    assert "nox -s web" in str(web_target("ort-web-wasm").missing), "the environment first: it is needed anyway"
    monkeypatch.setattr("runoff.targets.web.no_environment", lambda _: None)
    assert "apt install chromium" in str(web_target("ort-web-wasm").missing)
    assert WEB_TARGETS["ort-node-wasm"]().missing is None


@pytest.mark.parametrize("name", ["web", "web-gpu"])
def test_suites_need_the_environment(name: str, tmp_path: Path) -> None:
    suite, _ = read_suite(paths.suites() / f"{name}.toml")
    assert set(suite.names("targets")) & WEB_TARGETS.keys()
    assert "web" in needed_environments(suite, tmp_path)


def record_of(case: Case, device: str | None) -> Record:
    """Return the record of a page, with the memory of its browser."""
    result = result_of(case)
    assert result.effective
    effective = msgspec.structs.replace(
        result.effective,
        provider=case.settings.provider,
        build="Chrome/156",
        device=device,
        isolated=True,
        clock_step_ns=5000,
        fetched={"page": 30_000, "runtime": 14 * MB, "model": 5 * MB},
    )
    memory = Memory(peak_bytes=700 * MB, after={"browser": 300 * MB, "page": 320 * MB}, method="PSS of all")
    result = msgspec.structs.replace(result, effective=effective, memory=memory)
    return record(case, "memory", 0, result=result)


def test_a_software_adapter_is_named_in_every_row() -> None:
    gpu, cpu = case_of("ort-web-webgpu", ["memory"]), case_of("ort-web-wasm", ["memory"])
    gpu = msgspec.structs.replace(gpu, settings=msgspec.structs.replace(gpu.settings, provider="webgpu"))
    run = run_of([gpu, cpu], [record_of(gpu, "SwiftShader (software)"), record_of(cpu, None)])
    (block,) = blocks(analyse(run))
    assert [row.software for row in block.rows] == ["SwiftShader (software)", ""]
    assert "ort-web-webgpu on SwiftShader (software)" in overview(block)
    points = {point.point: point for point in analyse(run).audit}
    assert points["same settings"].outcome == "ok"
    assert points["provider"].detail == "in effect as requested: ort-web-webgpu webgpu, ort-web-wasm cpu"
    rows = list(browser.rows(analyse(run)))
    assert rows[0][1:] == [
        *("Chrome/156", "SwiftShader (software)", "1", "yes"),
        *("5 us", "19.0 MB", "14.0 MB", "5.0 MB"),
    ]
    assert rows[1][2] == "CPU"


def test_memory_is_compared_with_an_empty_page() -> None:
    made = record_of(case_of("ort-web-wasm"), None)
    values = {(sample.metric, sample.phase): sample.value for sample in MEMORY.read(made, ())}
    assert values["peak_memory", ""] == 700 * MB
    assert values["over_page", ""] == 380 * MB
    assert MEMORY.notes([made], ()) == {"peak_memory": "PSS of all", "over_page": "PSS of all"}
