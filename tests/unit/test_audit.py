"""The fairness audit: each point is ok, different, or unknown if not reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from synthetic import CONTROL, case_of, effective_of, record, result_of, run_of, synthetic_run, turned_of

from runoff.analysis.audit import POINTS, audit, unfair
from runoff.analysis.audit.work import rarest
from runoff.records.protocol import Effective
from runoff.records.reason import Reason
from runoff.records.schema import Run
from runoff.selftest.faults import judge_faults
from runoff.selftest.suites import UNMODIFIED

ROOT = Path(__file__).parents[2]


def found(run: Run) -> dict[str, tuple[str, str]]:
    """Return outcome and detail of each point of the only comparison of `run`."""
    points = audit(run)
    assert len({point.comparison for point in points}) == 1
    return {point.point: (point.outcome, point.detail) for point in points}


def compared(fields: dict[str, dict[str, Any]], probe: str = "latency", **turned: dict[str, Any]) -> Run:
    """Return a run of one record for each target: effective settings changed by `fields`, turns by `turned`."""
    cases = [case_of(target, control_of="ort-python" if target == CONTROL else None) for target in fields]
    records = []
    for case in cases:
        effective = effective_of(case.control_of or case.target, case.settings)
        answer = result_of(case, effective=msgspec.structs.replace(effective, **fields[case.target]))
        live = turned.get(case.target.replace("-", "_"))
        records.append(record(case, probe, 0, result=answer, turned=None if live is None else turned_of(**live)))
    return run_of(cases, records)


def test_audit_of_a_fair_run_has_no_difference() -> None:
    points = audit(synthetic_run(blocks=1, live=True))
    # its runs have no turns without an inference
    assert {point.outcome for point in points if point.point != "clocks compared"} == {"ok"}
    # except energy, which this run does not have, and the precision, which no runtime reports in it
    assert len(points) == 2 * (len(POINTS) - 2)


def test_an_old_run_was_timed_by_the_runners_and_has_no_noise_floor() -> None:
    points = {point.point: point for point in audit(synthetic_run(profiles=("default",), blocks=1))}
    assert points["timed the same way"].detail == "warm inferences: by the runner itself"
    assert points["idle while waiting"].detail == "none waited: one process at a time"
    assert points["outputs checked while timed"].outcome == "unknown"
    assert "only the first and the last" in points["outputs checked while timed"].detail
    assert points["A/A control"].outcome == "unknown"
    assert {point.outcome for point in points.values()} == {"ok", "unknown"}


def _audited(effective: Effective, field: str) -> tuple[str, str]:
    fair, other = case_of("ort-python"), case_of("ort-rust")
    records = [
        record(fair, "life", 0, result=result_of(fair)),
        record(other, "life", 0, result=result_of(other, effective=effective)),
    ]
    point = next(point for point in audit(run_of([fair, other], records)) if point.point == field)
    return point.outcome, point.detail


@pytest.mark.parametrize(
    ("point", "change"),
    [
        ("same engine", {"version": "1.31.1"}),
        ("same engine", {"build": "other"}),
        ("same library file", {"library": "/env/libonnxruntime.so.1.31.1"}),
        ("threads", {"threads": 2}),
        ("provider", {"provider": "cuda"}),
        ("precision", {"precision": "bf16"}),
    ],
)
def test_audit_finds_differences_and_names_the_target(point: str, change: dict[str, object]) -> None:
    usual = result_of(case_of("ort-rust")).effective
    assert usual is not None
    outcome, detail = _audited(msgspec.structs.replace(usual, **change), point)
    assert outcome == "differs"
    assert "ort-rust" in detail


def test_the_precision_of_those_that_report_it_is_listed() -> None:
    fields: dict[str, dict[str, Any]] = {"ort-python": {}, "ort-rust": {"precision": "fp32"}}
    assert found(compared(fields))["precision"] == (
        "ok",
        "fp32 in effect in all that report it; not reported by ort-python",
    )
    fields["ort-python"] = {"precision": "fp32"}
    assert found(compared(fields))["precision"] == ("ok", "fp32 in effect in all")
    fields["ort-rust"] = {"precision": "bf16"}
    assert found(compared(fields))["precision"] == ("differs", "ort-rust requested fp32, got bf16")


def test_values_that_a_runner_does_not_report_are_unknown() -> None:
    silent = Effective("onnxruntime", "1.32.0", "rust")
    assert _audited(silent, "threads") == ("unknown", "ort-rust did not report it; not counted from outside")
    assert _audited(silent, "denormals") == ("unknown", "ort-rust did not report it")


@pytest.mark.parametrize(("other", "outcome"), [({}, "unknown"), ({"version": "1.31.1"}, "differs")])
def test_a_build_that_is_not_reported_is_unknown(other: dict[str, str], outcome: str) -> None:
    usual = result_of(case_of("ort-rust")).effective
    assert usual is not None
    got = _audited(msgspec.structs.replace(usual, build=None, **other), "same engine")
    assert got[0] == outcome
    assert "ort-rust" in got[1]


def test_versions_of_every_runtime_are_compared() -> None:
    change: dict[str, dict[str, Any]] = {
        "ort-python": {},
        "tract-python": {"runtime": "tract", "version": "0.23.9"},
        "tract-rust": {"runtime": "tract", "version": "0.23.8"},
    }
    assert found(compared(change))["same engine"] == ("differs", "tract-python: 0.23.9; tract-rust: 0.23.8")
    change["tract-rust"]["version"] = "0.23.9"
    assert found(compared(change))["same engine"][0] == "ok"


def test_builds_that_are_reported_differ_next_to_one_that_is_not() -> None:
    change: dict[str, dict[str, Any]] = {
        "ort-python": {},
        "ort-rust": {"build": "other"},
        "ort-pyo3": {"build": None},
    }
    assert found(compared(change))["same engine"][0] == "differs"


def test_an_engine_that_is_linked_in_has_no_library_file() -> None:
    outcome, detail = _audited(Effective("onnxruntime", "1.32.0", "rust"), "same library file")
    assert outcome == "ok"
    assert detail.endswith("linked into its own module: ort-rust")


def test_a_setting_that_a_target_cannot_apply_is_listed() -> None:
    usual = result_of(case_of("ort-rust")).effective
    assert usual is not None
    audited = _audited(msgspec.structs.replace(usual, ignored=("arena",)), "settings applied")
    assert audited == ("ok", "ort-rust has no arena")


def test_settings_of_the_cold_profile_that_a_target_lacks_are_reported() -> None:
    usual = result_of(case_of("ort-rust")).effective
    assert usual is not None
    audited = _audited(msgspec.structs.replace(usual, ignored=("prepared", "overlap")), "settings applied")
    assert audited == ("ok", "ort-rust has no overlapped preprocessing, prepared model")


@pytest.mark.parametrize(
    ("practices", "expected"),
    [
        ({}, ("ok", "none in effect")),
        ({"ort-python": "a", "ort-rust": "a"}, ("ok", "a: not torch (reasons: docs/best-practice.md)")),
        ({"torch": "a"}, ("ok", "a: not ort-python, ort-rust (reasons: docs/best-practice.md)")),
        (
            {"ort-rust": ["released-code"]},
            ("ok", "released-code: not torch, ort-python (reasons: docs/best-practice.md)"),
        ),
        (
            {"ort-rust": "a", "torch": "b", "ort-python": "b"},
            ("differs", "a: not torch, ort-python; b: not ort-rust (reasons: docs/best-practice.md)"),
        ),
    ],
)
def test_a_way_to_be_faster_differs_if_another_target_of_the_runtime_has_it(
    practices: dict[str, str], expected: tuple[str, str]
) -> None:
    targets = ("torch", "ort-python", "ort-rust")
    run = compared({target: {"practices": tuple(practices.get(target, ""))} for target in targets})
    assert found(run)["best practice"] == expected
    assert (ROOT / "docs" / "best-practice.md").is_file()


@pytest.mark.parametrize(("environment", "outcome"), [("ort-python", "ok"), ("ort-pyo3", "differs"), (None, "differs")])
def test_a_row_of_the_suite_with_a_preloaded_library_makes_up_for_its_target(
    environment: str | None, outcome: str
) -> None:
    run = compared({"ort-python": {}, "ort-rust": {"practices": ("jemalloc",)}, "preloaded": {}})
    variables = {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}
    run.info.environments |= {"ort-python": {}, "ort-rust": {}, "preloaded": variables}
    run.info.suite["targets"] = {"preloaded": {"environment": environment, "env": variables}}
    points = found(run)
    assert points["best practice"] == (outcome, "jemalloc: not ort-python (reasons: docs/best-practice.md)")
    set_ = "none of the variables is set; set by the suite: preloaded LD_PRELOAD=/usr/lib/libjemalloc.so.2"
    assert points["environment"] == ("ok", set_)


def test_a_row_that_the_suite_adds_withholds_nothing() -> None:
    run = compared({"ort-python": {}, "ort-rust": {}, "preloaded": {"practices": ("jemalloc",)}})
    run.info.suite["targets"] = {"preloaded": {"environment": "ort-python"}}
    detail = "jemalloc: not ort-python, ort-rust (reasons: docs/best-practice.md)"
    assert found(run)["best practice"] == ("ok", detail)


def _prepared(source: str, **fields: object) -> dict[str, tuple[str, str]]:
    """Return outcome and detail of each point if the Rust target ran on a prepared file."""
    usual, native = case_of("ort-python"), msgspec.structs.replace(case_of("ort-rust"), format="ort")
    ignored = effective_of("ort-python", usual.settings)
    answer = result_of(usual, effective=msgspec.structs.replace(ignored, ignored=("prepared",)))
    run = run_of([usual, native], [record(usual, "life", 0, result=answer), record(native, "life", 0)])
    run.info.models["net"] |= {"prepared": {"sha256": "ef" * 32, "key": {"model_sha256": source}}, **fields}
    return {point.point: (point.outcome, point.detail) for point in audit(run)}


def test_a_prepared_model_is_named_by_its_source() -> None:
    outcome, detail = _prepared("ab" * 32)["same weights"]
    assert outcome == "ok"
    assert detail == "onnx abababababab, pt cdcdcdcdcdcd, ort efefefefefef prepared from abababababab"


def test_a_model_prepared_from_another_one_differs() -> None:
    assert _prepared("01" * 32)["same weights"][0] == "differs"


def test_a_compiled_package_is_named_by_the_package_that_it_was_made_from() -> None:
    half = msgspec.structs.replace(case_of("coreml"), format="mlmodelc", made_from="mlpackage-fp16")
    other = case_of("ort-python")
    run = run_of([other, half], [record(other, "life", 0), record(half, "life", 0)])
    hashes = {"onnx": "ab" * 32, "mlpackage": "01" * 32, "mlpackage-fp16": "23" * 32}
    made = {"mlpackage-fp16": {"sha256": "ef" * 32, "key": {"model_sha256": "23" * 32}}}
    run.info.models["net"] |= {"sha256": hashes, "prepared": made}
    outcome, detail = found(run)["same weights"]
    assert outcome == "ok"
    assert detail == "mlpackage-fp16 232323232323, onnx abababababab, mlmodelc efefefefefef prepared from 232323232323"
    made["mlpackage-fp16"]["key"] = {"model_sha256": "99" * 32}
    assert found(run)["same weights"][0] == "differs"


def test_planned_devices_are_reported_with_the_provider() -> None:
    plan = {"cpu": 3, "neural-engine": 140}
    outcome, detail = found(compared({"ort-python": {}, "coreml": {"planned": plan}}))["provider"]
    assert outcome == "ok"
    assert detail == "cpu in effect in all; coreml planned 3 operations for cpu, 140 operations for neural-engine"


def test_the_reason_why_a_model_was_not_prepared_is_reported() -> None:
    audited = _prepared("ab" * 32, not_prepared="no program")["settings applied"]
    assert audited == ("ok", "ort-python has no prepared model; not prepared: no program")


def test_libraries_are_distinguished_by_their_hash() -> None:
    paths = {"ort-python": "/one/libonnxruntime.so", "ort-rust": "/other/libonnxruntime.so"}
    run = compared({target: {"library": path} for target, path in paths.items()})
    assert found(run)["same library file"] == ("ok", "library: libonnxruntime.so")
    run.info.libraries = {path: f"{place}" * 64 for place, path in enumerate(paths.values())}
    outcome, detail = found(run)["same library file"]
    assert outcome == "differs"
    assert detail == "ort-python: libonnxruntime.so 000000000000; ort-rust: libonnxruntime.so 111111111111"
    # readable only by its runner, in a container
    del run.info.libraries[paths["ort-rust"]]
    assert found(run)["same library file"] == ("unknown", "ort-rust did not report it")


def test_modules_that_hold_the_engine_are_compared_with_each_other() -> None:
    run = compared({"ort-python": {"library": None}, "mine": {"library": None}})
    run.info.capabilities = {
        target: msgspec.structs.replace(can, library=f"/{target}/onnxruntime_pybind11_state.so")
        for target, can in run.info.capabilities.items()
    }
    run.info.libraries = {f"/{target}/onnxruntime_pybind11_state.so": "a" * 64 for target in ("ort-python", "mine")}
    audited = found(run)["same library file"]
    assert audited == ("ok", "linked into a module: onnxruntime_pybind11_state.so aaaaaaaaaaaa")
    run.info.libraries["/mine/onnxruntime_pybind11_state.so"] = "b" * 64
    assert found(run)["same library file"][0] == "differs"


def test_denormals_must_be_treated_equally() -> None:
    fields = {"ort-python": {"denormals": "kept"}, "ort-rust": {"denormals": "kept"}}
    assert found(compared(fields))["denormals"] == ("ok", "denormal numbers: kept")
    fields["ort-rust"] = {"denormals": "flushed"}
    assert found(compared(fields))["denormals"] == ("differs", "ort-python: kept; ort-rust: flushed")


def test_allocators_are_listed_and_may_differ() -> None:
    fields = {"ort-python": {"allocator": "glibc 2.36"}, "ort-rust": {"allocator": "glibc 2.36"}}
    assert found(compared(fields))["allocator"] == ("ok", "malloc: glibc 2.36")
    fields["ort-rust"] = {"allocator": "mimalloc 2.3.2"}
    assert found(compared(fields))["allocator"] == ("ok", "ort-python: glibc 2.36; ort-rust: mimalloc 2.3.2")


def test_a_decoder_without_simd_is_listed_as_a_difference() -> None:
    silent = {"image_decoder": None}
    assert "image decoder" not in found(compared({"ort-python": silent, "ort-rust": silent}))
    fields = {"ort-python": {"image_decoder": "libjpeg-turbo 3.1.4"}}
    fields["ort-rust"] = {"image_decoder": "libjpeg-turbo 3.1.0, SIMD"}
    detail = "ort-python: libjpeg-turbo 3.1.4; ort-rust: libjpeg-turbo 3.1.0"
    assert found(compared(fields))["image decoder"] == ("ok", f"{detail}, SIMD")
    fields["ort-rust"] = {"image_decoder": "libjpeg-turbo 3.1.0, scalar"}
    assert found(compared(fields))["image decoder"] == ("differs", f"without SIMD: {detail}, scalar")


@pytest.mark.parametrize(
    ("busy", "outcome", "detail"),
    [
        (1, "ok", "1 in effect in all; counted from outside"),
        (2, "differs", "ort-rust requested 1, kept 2 busy"),
        (None, "ok", "1 in effect in all; counted from outside, not ort-rust"),
    ],
)
def test_threads_are_counted_and_not_assumed(busy: int | None, outcome: str, detail: str) -> None:
    run = compared({"ort-python": {}, "ort-rust": {}}, ort_python={"busy_threads": 1}, ort_rust={"busy_threads": busy})
    assert found(run)["threads"] == (outcome, detail)


@pytest.mark.parametrize(("reported", "outcome"), [(3, "ok"), (4, "differs")])
def test_parallel_execution_has_the_threads_of_a_second_pool(reported: int, outcome: str) -> None:
    cases = [case_of(target, threads=2, execution="parallel", inter_threads=2) for target in ("ort-python", "ort-rust")]
    effective = [msgspec.structs.replace(effective_of(case.target, case.settings), threads=reported) for case in cases]
    records = [
        record(case, "latency", 0, result=result_of(case, effective=own))
        for case, own in zip(cases, effective, strict=True)
    ]
    assert found(run_of(cases, records))["threads"][0] == outcome


def test_a_thread_without_work_makes_the_point_unknown() -> None:
    cases = [case_of(target, threads=2) for target in ("ort-python", "ort-rust")]
    records = [
        record(case, "latency", 0, result=result_of(case), turned=turned_of(busy_threads=busy))
        for case, busy in zip(cases, (2, 1), strict=True)
    ]
    outcome, detail = found(run_of(cases, records))["threads"]
    assert outcome == "unknown"
    assert "ort-rust kept 1 of 2 busy" in detail


def test_variables_that_differ_between_targets_are_named() -> None:
    run = compared({"ort-python": {}, "ort-rust": {}})
    run.info.environments = {}
    assert found(run)["environment"] == ("unknown", "not recorded: ort-python, ort-rust")
    run.info.environments = {"ort-python": {}, "ort-rust": {}}
    assert found(run)["environment"] == ("ok", "none of the variables is set")
    threads = {"OMP_NUM_THREADS": "4"}
    run.info.environments = {"ort-python": threads, "ort-rust": {**threads, "ORT_DYLIB_PATH": "ort.so"}}
    assert found(run)["environment"] == ("ok", "OMP_NUM_THREADS=4")
    run.info.environments["ort-rust"] = {"OMP_NUM_THREADS": "4", "LD_PRELOAD": "fast.so"}
    assert found(run)["environment"] == ("differs", "LD_PRELOAD: ort-python unset, ort-rust fast.so")


@pytest.mark.parametrize(
    ("fields", "turned", "point"),
    [
        ({"threads": 2}, {}, "threads"),
        ({}, {"busy_threads": 2}, "threads"),
        ({"provider": "cuda"}, {}, "provider"),
    ],
)
def test_the_deviating_target_is_blamed_and_the_selftest_reports_it(
    fields: dict[str, Any], turned: dict[str, Any], point: str
) -> None:
    run = compared({UNMODIFIED: {}, "injected-threads": fields}, injected_threads=turned)
    assert next(one.blamed for one in audit(run) if one.point == point) == ("injected-threads",)
    unmodified, threads = judge_faults(run)
    assert unmodified.caught
    assert threads.caught == (point == "threads")


def test_a_target_of_another_release_deviates_alone_unless_it_is_the_baseline() -> None:
    older = {"version": "1.30.0", "library": "/npm/libonnxruntime.so.1"}
    run = compared({"torch": {}, "ort-python": {}, "ort-rust": {}, "ort-node": older})
    run.info.baselines = ("ort-python",)
    names = {name: [point.point for point in points] for name, points in unfair(audit(run)).items()}
    assert names == {"net.classify.ort-node.default.t1.b1": ["same engine", "same library file"]}
    run.info.baselines = ("ort-node",)
    assert set(unfair(audit(run))) == {"net.classify.default.t1.b1"}
    # of two that differ, the first is the reference
    pair = compared({"ort-python": {}, "ort-node": older})
    assert set(unfair(audit(pair))) == {"net.classify.ort-node.default.t1.b1"}


def test_two_ways_of_timing_in_one_comparison_differ() -> None:
    fields: dict[str, dict[str, Any]] = {"ort-python": {}, "ort-rust": {}}
    side = found(compared(fields, ort_python={"group_size": 3}, ort_rust={"group_size": 3}))["timed the same way"]
    assert side == ("ok", "warm inferences: interleaved")
    alone = found(compared(fields, ort_python={"group_size": 1}, ort_rust={"group_size": 1}))["timed the same way"]
    assert alone == ("ok", "warm inferences: isolated")
    huge = {"group_size": 3, "huge_bytes": 2**21}
    both = found(compared(fields, ort_python=huge, ort_rust=huge))["timed the same way"]
    assert both == ("ok", "warm inferences: interleaved, with huge pages")
    one = found(compared(fields, ort_python=huge, ort_rust={"group_size": 3, "huge_bytes": 0}))["timed the same way"]
    assert one == ("differs", "ort-python: interleaved, with huge pages; ort-rust: interleaved")
    mixed = found(compared(fields, ort_python={"group_size": 3}))["timed the same way"]
    assert mixed == ("differs", "ort-python: interleaved; ort-rust: by the runner itself")


def test_settings_and_profile_that_differ_are_found() -> None:
    one = case_of("ort-python")
    other = msgspec.structs.replace(
        case_of("ort-rust"), settings=msgspec.structs.replace(one.settings, profile="mine", spinning=False)
    )
    audited = found(run_of([one, other], [record(case, "life", 0, result=result_of(case)) for case in (one, other)]))
    assert audited["settings profile"] == ("differs", "ort-python: default; ort-rust: mine")
    assert audited["same settings"] == ("differs", "different from ort-python: ort-rust")


def test_a_target_that_spins_while_waiting_disturbs_the_others() -> None:
    fields: dict[str, dict[str, Any]] = {"ort-python": {}, "ort-rust": {}}
    quiet = found(compared(fields, ort_python={"waiting_share": 0.0}, ort_rust={"waiting_share": 0.01}))
    assert quiet["idle while waiting"] == ("ok", "ort-python 0% of a core, ort-rust 1.0% of a core")
    spins = found(compared(fields, ort_python={"waiting_share": 0.0}, ort_rust={"waiting_share": 0.97}))
    assert spins["idle while waiting"] == ("differs", "ort-python 0% of a core, ort-rust 97% of a core")
    blind = found(compared(fields, ort_python={}, ort_rust={}))["idle while waiting"]
    assert blind == ("unknown", "CPU time while waiting: not reported by this system")


def test_checked_outputs_bound_the_error_rate() -> None:
    run = compared({"ort-python": {}, "ort-rust": {}}, ort_python={"checked": 4000}, ort_rust={"checked": 300})
    assert found(run)["outputs checked while timed"] == (
        "ok",
        "ort-python 4,000, ort-rust 300; an error rate of 0.99% would be detected with 95% confidence",
    )
    run = compared({"ort-python": {}, "ort-rust": {}}, ort_python={"checked": 4000})
    outcome, detail = found(run)["outputs checked while timed"]
    assert outcome == "unknown"
    assert detail.endswith("ort-rust: only the first and the last of each process")


@pytest.mark.parametrize("n", [1, 2, 30, 300, 100_000])
def test_the_rule_of_three_is_the_first_term_of_the_printed_bound(n: int) -> None:
    share = rarest(n)
    assert (1 - share) ** n == pytest.approx(0.05)
    assert share == pytest.approx(3 / n, rel=0.06) or n < 30


def test_an_a_a_control_is_shown_and_does_not_compete() -> None:
    fair: dict[str, dict[str, Any]] = {"ort-python": {}, CONTROL: {}, "ort-rust": {}}
    audited = found(compared(fair, "life"))
    assert audited["A/A control"] == ("ok", "ort-python-again repeats ort-python")
    assert not any(CONTROL in detail for point, (_, detail) in audited.items() if point != "A/A control")
    fair[CONTROL] = {"threads": 2}
    audited = found(compared(fair, "life"))
    assert audited["threads"][0] == "ok"
    assert audited["A/A control"] == ("differs", "ort-python-again did not run as ort-python did")


def test_wrong_outputs_are_a_failed_point_with_a_reason() -> None:
    run = compared({"ort-python": {}, "ort-rust": {}}, "life")
    wrong = msgspec.structs.replace(run.records[1], status="error", reason=Reason("outputs-differ", "off by 3"))
    corrupted = Run(run.folder, run.info, (run.records[0], wrong))
    assert found(corrupted)["same output"] == ("differs", "ort-rust: outputs-differ: off by 3")
