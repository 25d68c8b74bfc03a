"""The pytest plugin: what it costs, the suite that it writes, its checks on synthetic runs, and its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from synthetic import synthetic_run

from runoff.analysis.measurements import of_run
from runoff.compare import saved
from runoff.compare.limits import parse_limit
from runoff.compare.metrics import parse_metric
from runoff.plan.suite import parse_suite
from runoff.pytest_plugin import checks
from runoff.pytest_plugin.measuring import Measuring, PlannedCase, max_error, suite_text
from runoff.records.errors import RunoffError
from runoff.report.text import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.analysis.measurements import Measurements
    from runoff.pytest_plugin.checks import Check

pytest_plugins = ["pytester"]

LATENCY = parse_metric("latency.median")
ALONE = ("-p", "no:xdist", "-p", "no:benchmark", "-p", "no:hypothesispytest")


def case(target: str, table: dict[str, Any] | None = None, **settings: Any) -> PlannedCase:
    return PlannedCase("net", None, target, table, "classify", settings)


@pytest.fixture(scope="module")
def data() -> Measurements:
    """Return a run whose targets take 13 (torch) and 5.8 to 5.9 ms (the others), interleaved."""
    return of_run(synthetic_run(live=True))


def limit(text: str) -> Any:
    return parse_limit(f"latency.median > {text}")


def test_the_plugin_imports_nothing_of_runoff_until_a_test_measures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_imports():
            heavy = {"numpy", "pandas", "rich", "msgspec", "runoff.bench", "runoff.paths"}
            assert "runoff.pytest_plugin" in sys.modules
            assert heavy & sys.modules.keys() == set()
        """
    )
    pytester.runpytest_subprocess(*ALONE).assert_outcomes(passed=1)


def test_tests_that_measure_have_a_marker_and_do_not_run_in_workers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(runoff): raise AssertionError\ndef test_two(): pass")
    pytester.runpytest_inprocess(*ALONE, "-m", "not runoff").assert_outcomes(passed=1, deselected=1)
    pytester.makeconftest("def pytest_configure(config): config.workerinput = {}")
    ended = pytester.runpytest_inprocess(*ALONE, "-rs")
    ended.assert_outcomes(passed=1, skipped=1)
    ended.stdout.fnmatch_lines(["*run: pytest -n 0 -m runoff"])


BAD_INPUT = {
    "case('net', 'ort-python', thread=2)": "unknown setting 'thread' (did you mean 'threads'?)",
    "case('net', {'env': {}})": "the target {'env': {}} has no name *",
    "case('net.tflite', 'ort-python')": "net.tflite not found*",
    "case('net', 'torch').metric('latency')": "metric 'latency' is not PROBE.NAME *",
    "case('net', 'torch').latency().below('5 parsecs')": "*unit 'parsecs' is not one of * (below takes *)",
    "case('net', 'torch').latency().faster_than(runoff.case('net', 'torch'))": "*is compared with itself *",
    "case('net', 'tor').latency().below('5 ms')": "unknown target 'tor' (did you mean 'torch'?)",
}


def test_bad_input_fails_with_one_line(pytester: pytest.Pytester) -> None:
    tests = "\n".join(f"def test_{place}(runoff): runoff.{line}" for place, line in enumerate(BAD_INPUT))
    pytester.makepyfile(tests)
    ended = pytester.runpytest_inprocess(*ALONE)
    ended.assert_outcomes(failed=len(BAD_INPUT))
    ended.stdout.fnmatch_lines([f"E*Failed: runoff: {message}" for message in BAD_INPUT.values()])
    ended.stdout.no_fnmatch_line("*pytest_plugin/*")


def test_the_suite_of_a_check() -> None:
    mine = case("mine", {"command": ["./runner"], "env": {"A B": "1"}}, threads=2, profile="cold")
    model = PlannedCase("new", {"path": "a/net.onnx", "inputs": {"x": "1,3"}}, "torch", None, "tensor", {})
    suite = parse_suite(suite_text([mine, model], LATENCY, 0.025, "9s", "test_one[a/b]"), "it")
    assert (suite.suite.name, suite.suite.baselines) == ("test_one-a-b", ("mine",))
    assert [(group.models, group.targets, group.settings) for group in suite.groups] == [
        (("net",), ("mine",), {"threads": 2, "profile": "cold"}),
        (("new",), ("torch",), {}),
    ]
    assert suite.targets["mine"].env == {"A B": "1"}
    assert suite.models["new"].inputs == {"x": "1,3"}
    assert suite.measure.stopping_rule() == (0.025, 9.0)
    assert mine.id == "net.classify.mine.cold.t2.b1"


def test_a_percentile_has_enough_samples_after_five_processes() -> None:
    text = suite_text([case("torch")], parse_metric("latency.p99"), 0.02, "9s", "it")
    assert parse_suite(text, "it").measure.latency.min_samples * 5 >= 662


def test_two_models_or_targets_of_one_name_are_refused() -> None:
    cases = [case("mine", {"command": [name]}, threads=threads) for threads, name in enumerate("ab", 1)]
    with pytest.raises(RunoffError, match="two different targets are called 'mine'"):
        suite_text(cases, LATENCY, 0.02, "9s", "it")


def test_how_precise_a_comparison_has_to_be() -> None:
    assert [max_error(share) for share in (0.0, 0.05, 0.5)] == [0.005, 0.025, 0.1]


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (Figure(5.8, 5.6, 6.0), "16% over (12% to 20%)"),
        (Figure(4.0, 3.5, 4.5), "20% under (10% to 30%)"),
        (Figure(5.1, 4.9, 5.3), "2% over (-2% to 6%)"),
        (Figure(4.9, 4.7, 5.1), "2% under (-2% to 6%)"),
        (Figure(6.0), "20.0% over"),
    ],
)
def test_the_distance_from_a_limit(figure: Figure, words: str) -> None:
    assert checks.distance(figure, 5.0) == words


def test_a_value_is_below_its_limit_or_not(data: Measurements) -> None:
    good, bad = (checks.below(data, case("torch"), LATENCY, limit(text)) for text in ("20 ms", "10 ms"))
    assert (good.passed, bad.passed) == (True, False)
    assert (
        bad.text
        == "net.classify.torch.default.t1.b1: latency.median 13 ms (12 to 14), limit 10 ms: 31% over (21% to 41%)"
    )
    close = checks.below(data, case("torch"), LATENCY, limit("13.2 ms"))
    assert close.text.endswith("[inconclusive: the interval includes the limit]")
    with pytest.raises(RunoffError, match="needs a time"):
        checks.below(data, case("torch"), LATENCY, limit("10 MB"))
    with pytest.raises(RunoffError, match="not a change"):
        checks.below(data, case("torch"), LATENCY, limit("+5%"))


def compared(data: Measurements, how: str, first: str, second: str, margin: str) -> Check:
    check: Check = getattr(checks, how)(data, case(first), case(second), LATENCY, limit(f"+{margin}"))
    return check


def test_a_slower_case_is_beyond_its_margin_only_if_it_differs(data: Measurements) -> None:
    assert compared(data, "not_slower", "ort-python", "ort-rust", "0%").passed
    assert compared(data, "not_slower", "ort-python", "ort-pyo3", "3%").passed
    bad = compared(data, "not_slower", "ort-python", "torch", "100%")
    assert not bad.passed
    assert bad.text.endswith("2.36x slower than ort-python (2.33 to 2.40), margin 100%: 18% over (16% to 20%)")


def test_a_faster_case_has_to_differ_and_by_enough(data: Measurements) -> None:
    assert compared(data, "faster", "torch", "ort-rust", "100%").passed
    assert not compared(data, "faster", "torch", "ort-rust", "200%").passed
    same = compared(data, "faster", "ort-python", "ort-python-again", "0%")
    assert not same.passed, "an A/A control is not faster"
    assert "no difference from ort-python" in same.text


def test_a_case_without_a_result_is_an_error() -> None:
    data = of_run(synthetic_run())
    with pytest.raises(RunoffError, match="CoreML runs on macOS only"):
        checks.below(data, case("coreml"), LATENCY, limit("5 ms"))
    with pytest.raises(RunoffError, match=r"no latency.inference.third was measured"):
        checks.below(data, case("torch"), parse_metric("latency.inference.third"), limit("5 ms"))


def test_a_baseline_file_collects_the_cases_of_several_checks(data: Measurements, tmp_path: Path) -> None:
    measuring, file = Measuring(tmp_path, None, "9s", save=True), tmp_path / "baseline.json"
    with pytest.raises(RunoffError, match="baseline file not found"):
        measuring.load_baseline(data, file)
    measuring.save_baseline(of_run(synthetic_run(live=True, targets=("ort-python", "torch"))), file)
    measuring.save_baseline(of_run(synthetic_run(live=True, targets=("ort-python", "ort-rust"))), file)
    earlier = measuring.load_baseline(data, file)
    assert {name.split(".")[2] for name in earlier.cases} >= {"ort-python", "torch", "ort-rust"}
    check = checks.not_slower_than_saved(data, (earlier, "it.json"), case("ort-rust"), LATENCY, limit("+5%"))
    assert check.passed
    assert "no difference from it.json relative to ort-python (floor " in check.text
    other = msgspec.structs.replace(earlier, machine={**(data.machine or {}), "cpu": "Another CPU"})
    file.write_bytes(msgspec.json.encode(other))
    with pytest.raises(RunoffError, match="saved on a different machine"):
        measuring.load_baseline(data, file)
    measuring.save_baseline(data, file)
    assert saved.load(file).machine == data.machine, "cases of another machine are not kept"
