"""The gate: exceeded limits, noise, unresolved limits, and no silent pass."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from compared import EQUAL, gate, turns_run, with_record, write
from msgspec.structs import replace
from synthetic import case_of, synthetic_run

from runoff.analysis.measurements import of_run
from runoff.cli.main import cli
from runoff.compare.gate_report import markdown
from runoff.compare.limits import GRAMMAR, parse_limit, read_limits
from runoff.compare.saved import load, save
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.compare.gate import Gate

SLOWER = {"main": 10.0, "change": 10.5}


def outcomes(found: Gate) -> list[tuple[str, str]]:
    return [(check.target, check.outcome) for check in found.checks]


@pytest.mark.parametrize(
    ("text", "value", "above", "relative", "unit"),
    [
        ("latency.median > +5%", 0.05, True, True, ""),
        ("latency.median<-2.5%", -0.025, False, True, ""),
        ("process.wall > 1.5s", 1.5e9, True, False, "ns"),
        ("process.wall > 20ms", 20e6, True, False, "ns"),
        ("memory.peak > 120MB", 120e6, True, False, "bytes"),
        ("memory.peak > 2 GiB", 2 * 2**30, True, False, "bytes"),
        ("accuracy.max_rel_diff > 1e-3", 1e-3, True, False, ""),
        ("accuracy.top1_agrees < 1", 1.0, False, False, ""),
    ],
)
def test_limits_are_read(text: str, value: float, above: bool, relative: bool, unit: str) -> None:  # noqa: FBT001
    limit = parse_limit(text)
    assert (limit.above, limit.relative, limit.unit) == (above, relative, unit)
    assert limit.value == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "latency.median",
        "latency.median > ",
        "latency.median >= +5%",
        "latency.median > 5%",
        "latency.median > +20ms",
        "latency.median > 20 minutes",
        "latncy.median > +5%",
        "median > +5%",
        "",
    ],
)
def test_bad_limits_are_named_with_the_grammar(text: str) -> None:
    with pytest.raises(RunoffError) as caught:
        parse_limit(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint == GRAMMAR
    assert caught.value.code == ExitCode.BAD_INPUT


def test_a_slower_target_exceeds_and_an_equal_one_does_not() -> None:
    found = gate(turns_run({**EQUAL, "other": 11.0}), "latency.median > +5%")
    assert outcomes(found) == [("change", "passed"), ("other", "exceeded")]
    assert not found.passed
    assert found.against == "main"
    assert found.checks[1].change.startswith(("+9", "+10"))


def test_a_difference_within_the_limit_passes() -> None:
    (check,) = gate(turns_run({"main": 10.0, "change": 10.3}), "latency.median > +5%").checks
    assert check.outcome == "passed"
    assert "% slower" in check.verdict


def test_a_limit_is_not_exceeded_within_the_noise() -> None:
    run = turns_run({"main": 10.0, "change": 10.03})
    (check,) = gate(run, "latency.median > +0.01%").checks
    assert check.outcome == "passed"
    assert "not distinguishable from noise" in check.note


def test_an_interval_that_includes_the_limit_is_reported() -> None:
    (check,) = gate(turns_run(SLOWER), "latency.median > +5%").checks
    (far,) = gate(turns_run(SLOWER), "latency.median > +2%").checks
    assert "the interval includes the limit" in check.note
    assert (far.outcome, far.note) == ("exceeded", "")


def test_a_noise_floor_above_the_limit_is_reported() -> None:
    (check,) = gate(turns_run(EQUAL), "latency.median > +0.05%").checks
    assert check.outcome == "passed"
    assert "noise" in check.note


def test_other_statistics_than_the_median() -> None:
    found = gate(turns_run(SLOWER), "latency.mean > +2%", "latency.p90 > +2%")
    assert [check.outcome for check in found.checks] == ["exceeded", "exceeded"]


def test_a_percentile_with_too_few_samples_does_not_pass() -> None:
    (check,) = gate(turns_run(EQUAL), "latency.p99.9 > +50%").checks
    assert check.outcome == "failed"
    assert "6,636" in check.note


def test_limits_on_values_apply_to_every_target() -> None:
    run = turns_run({"main": 10.0, "change": 20.0}, drift=1.0)
    found = gate(run, "latency.median > 1000ms", "latency.median < 1us")
    assert outcomes(found) == [("main", "passed"), ("change", "passed")] * 2
    assert outcomes(gate(run, "latency.median > 1ms", targets=("change",))) == [("change", "exceeded")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency.median > 20MB", "a time, such as 20ms"),
        ("latency.median > 20", "a time, such as 20ms"),
        ("memory.peak > 20ms", "a size, such as 120MB"),
        ("accuracy.max_rel_diff > 20ms", "a number without a unit"),
        ("accuracy.cosine > +5%", "takes a value, not a change"),
        ("latency.medain > +5%", "did you mean 'latency.median'"),
        ("life.laod > +5%", "did you mean 'life.load'"),
    ],
)
def test_limits_that_do_not_fit_their_metric(text: str, message: str) -> None:
    run = synthetic_run(targets=("ort-python", "ort-rust"), profiles=("default",), blocks=3, warm=5)
    with pytest.raises(RunoffError) as caught:
        gate(run, text)
    assert message in str(caught.value)
    assert text in caught.value.message
    assert caught.value.code == ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    ("text", "scope", "message"),
    [
        ("latency.median > +5%", {"targets": ("chnage",)}, "did you mean 'change'"),
        ("latency.median > +5%", {"cases": ("*b9",)}, "covers no case"),
        ("latency.median > +5%", {"models": ("other",)}, "covers no case"),
        ("latency.median > +5%", {"targets": ("main",)}, "covers no case"),
        ("process.wall > +5%", {}, "no probe process, only latency"),
    ],
)
def test_nothing_to_gate_is_never_a_pass(text: str, scope: dict[str, Any], message: str) -> None:
    with pytest.raises(RunoffError) as caught:
        gate(turns_run(EQUAL), text, **scope)
    assert message in str(caught.value)
    assert caught.value.code == ExitCode.NOTHING_RUNS_HERE


def test_limits_select_their_cases() -> None:
    run = turns_run({**EQUAL, "other": 11.0})
    assert outcomes(gate(run, "latency.median > +5%", targets=("change",))) == [("change", "passed")]
    assert outcomes(gate(run, "latency.median > +5%", cases=("*.other.*",))) == [("other", "exceeded")]
    assert len(gate(run, "latency.median > +5%", models=("net",)).checks) == 2


def test_a_failed_case_fails_the_gate_with_its_reason() -> None:
    run = turns_run(EQUAL)
    bad = replace(run.records[1], status="error", reason=Reason("outputs-differ", "wrong by 3"))
    (check,) = gate(with_record(run, bad), "latency.median > +50%").checks
    assert check.outcome == "failed"
    assert "outputs-differ: wrong by 3" in check.note


def test_a_failed_baseline_fails_the_gate() -> None:
    run = turns_run(EQUAL)
    bad = replace(run.records[0], status="error", reason=Reason("crashed", "signal 11"))
    (check,) = gate(with_record(run, bad), "latency.median > +50%").checks
    assert check.outcome == "failed"
    assert "main: error: 1 of 8 processes failed; crashed: signal 11" in check.note


def test_a_case_that_cannot_run_here_fails_the_gate() -> None:
    run = turns_run(EQUAL)
    absent = case_of("coreml", ("latency",), skipped=Reason("not-installed", "CoreML runs on macOS only"))
    run.info.cases = (*run.info.cases, absent)
    found = gate(run, "latency.mean > +50%")
    assert outcomes(found) == [("change", "passed"), ("coreml", "failed")]
    assert "CoreML runs on macOS only" in found.checks[1].note


def test_a_case_that_failed_in_another_probe_fails_the_gate() -> None:
    run = synthetic_run(targets=("ort-python", "ort-rust"), profiles=("default",), blocks=3, warm=5)
    records = [one for one in run.records if ".ort-rust." in one.case and one.probe == "accuracy"]
    bad = replace(records[0], status="error", reason=Reason("crashed", "signal 11"))
    run = replace(run, records=tuple(bad if one is records[0] else one for one in run.records))
    found = gate(run, "latency.median > +50%", targets=("ort-rust",))
    assert outcomes(found) == [("ort-rust", "failed")]
    assert "crashed: signal 11" in found.checks[0].note


def test_a_failed_audit_fails_the_gate() -> None:
    run = turns_run(EQUAL)
    bad = run.records[1]
    assert bad.result is not None
    assert bad.result.effective is not None
    other = replace(bad.result, effective=replace(bad.result.effective, threads=7))
    (check,) = gate(with_record(run, replace(bad, result=other)), "latency.median > +50%").checks
    assert check.outcome == "failed"
    assert "the fairness audit failed: threads differs" in check.note


def test_a_target_that_brings_an_allocator_passes_the_gate() -> None:
    run = turns_run(EQUAL)
    for one in run.records:
        if ".change." in one.case and one.result is not None and one.result.effective is not None:
            effective = replace(one.result.effective, allocator="mimalloc 2.3.2")
            run = with_record(run, replace(one, result=replace(one.result, effective=effective)))
    assert outcomes(gate(run, "latency.median > +50%")) == [("change", "passed")]


def test_against_a_file_drift_cancels(tmp_path: Path) -> None:
    save(of_run(turns_run(EQUAL, seed=1)), tmp_path / "base.json")
    saved = load(tmp_path / "base.json")
    same = gate(turns_run(EQUAL, seed=2, drift=1.8), "latency.median > +4%", saved=saved)
    slow = gate(turns_run({"main": 10.0, "change": 10.6}, seed=3, drift=0.6), "latency.median > +4%", saved=saved)
    assert outcomes(same) == [("change", "passed")]
    assert outcomes(slow) == [("change", "exceeded")]
    assert slow.checks[0].change.startswith(("+5", "+6"))
    assert slow.against == f"run {saved.run}"


def test_a_single_target_against_a_file_is_compared_raw_and_reported(tmp_path: Path) -> None:
    save(of_run(turns_run({"main": 10.0}, control=False)), tmp_path / "base.json")
    run = turns_run({"main": 100.0}, seed=2, control=False)
    found = gate(run, "latency.median > +50%", saved=load(tmp_path / "base.json"))
    assert outcomes(found) == [("main", "exceeded")]
    assert any("raw times of two runs" in note for note in found.notes)


def test_a_case_missing_from_the_file_does_not_pass(tmp_path: Path) -> None:
    save(of_run(turns_run(EQUAL)), tmp_path / "base.json")
    found = gate(turns_run({**EQUAL, "new": 10.0}), "latency.median > +50%", saved=load(tmp_path / "base.json"))
    assert outcomes(found) == [("change", "passed"), ("new", "failed")]
    assert "save it again" in found.checks[1].note


def test_a_file_of_a_different_machine_is_refused(tmp_path: Path) -> None:
    save(of_run(turns_run(EQUAL)), tmp_path / "base.json")
    run = turns_run(EQUAL, seed=2)
    run.info.machine["kernel"] = "7.0"
    with pytest.raises(RunoffError, match="different machines") as caught:
        gate(run, "latency.median > +5%", saved=load(tmp_path / "base.json"))
    assert "--allow-different-machines" in caught.value.hint
    found = gate(run, "latency.median > +5%", saved=load(tmp_path / "base.json"), different_machines=True)
    assert any("different machines" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ('{"version": 2}', "cannot be read"), ("", "read")]
)
def test_bad_baseline_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(text)
    with pytest.raises(RunoffError, match=message) as caught:
        load(tmp_path / "base.json")
    assert "base.json" in caught.value.message


def test_another_version_of_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    save(of_run(turns_run(EQUAL)), file)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 2}))
    with pytest.raises(RunoffError, match="has version 2; this version of runoff reads 1"):
        load(file)


def test_limits_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[limit]]\nfail_on = "latency.median > +5%"\ntargets = ["change"]\n[[limit]]\nfail_on = "memory.peak > 1GB"\n'
    )
    limits = read_limits(file)
    assert [limit.text for limit in limits] == ["latency.median > +5%", "memory.peak > 1GB"]
    assert [limit.targets for limit in limits] == [("change",), ()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[limit]", "not TOML"),
        ("", "limit"),
        ('[[limit]]\nfailon = "x"\n', "failon"),
        ("[[limit]]\nfail_on = 3\n", "fail_on"),
        ('[[limit]]\nfail_on = "latency.median > 5%"\n', "a change needs a sign"),
    ],
)
def test_bad_files_of_limits_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(text)
    with pytest.raises(RunoffError) as caught:
        read_limits(tmp_path / "gate.toml")
    assert "gate.toml" in caught.value.message
    assert message in str(caught.value)


def test_the_summary_for_a_pull_request() -> None:
    found = gate(turns_run({**EQUAL, "other": 11.0}), "latency.median > +5%")
    page = markdown(found)
    assert page.startswith("## \N{CROSS MARK} runoff: gate failed: 1 exceeded of 2 checks against main")
    assert "| **exceeded** |" in page
    assert found.checks[1].verdict in page
    assert "Test CPU" in page


def command(*arguments: object, code: int) -> str:
    done = CliRunner().invoke(cli, ["gate", *map(str, arguments)])
    if isinstance(done.exception, RunoffError):
        assert done.exception.code == code, done.exception
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_command(tmp_path: Path) -> None:
    run, summary = write(turns_run(SLOWER), tmp_path / "run"), tmp_path / "summary.md"
    (tmp_path / "gate.toml").write_text('[[limit]]\nfail_on = "latency.median > +20%"\n')
    summary.write_text("before\n")
    limits = ("--limits", tmp_path / "gate.toml")
    assert "gate passed: 1 check against main" in command(run, *limits, "--summary", summary, code=0)
    shown = command(run, *limits, "--fail-on", "latency.median > +2%", "--summary", summary, code=1)
    assert "gate failed: 1 exceeded of 2 checks against main" in shown
    assert summary.read_text().startswith("before\n## \N{WHITE HEAVY CHECK MARK} runoff: gate passed")
    assert summary.read_text().count("\n## ") == 2
    shown = json.loads(command(run, "--fail-on", "latency.median > +2%", "--json", code=1))
    assert shown["passed"] is False
    assert shown["checks"][0]["outcome"] == "exceeded"


def test_the_command_saves_a_baseline(tmp_path: Path) -> None:
    before, after = (write(turns_run(EQUAL, seed=seed), tmp_path / f"run{seed}") for seed in (1, 2))
    file = tmp_path / "kept" / "base.json"
    assert "baseline: " in command(before, "--save", file, code=0)
    command(after, "--baseline", file, "--fail-on", "latency.median > +5%", code=0)
    assert "no limit" in command(after, "--baseline", file, code=2)
    assert "nothing to gate" in command(after, "--fail-on", "life.load > +5%", code=3)
    assert "no such run" in command(tmp_path / "nowhere", "--save", file, code=2)
