"""``runoff selftest`` without a process: suites, evaluation, summary sentence and exit codes."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from orchestra import case_of, info_of, record_of, suite_of

from runoff.cli import main as cli
from runoff.cli import selftest as command
from runoff.plan.suite import CustomTarget
from runoff.records.reason import Reason
from runoff.records.schema import Run
from runoff.selftest import faults
from runoff.selftest.resolution import Resolution, Slowdown, resolves
from runoff.selftest.suites import UNMODIFIED, Plan, pick_model, suite_text
from runoff.selftest.verdicts import TargetVerdict

if TYPE_CHECKING:
    from runoff.analysis.verdict import Kind
    from runoff.records.schema import Case

HEAD_TARGETS = {
    UNMODIFIED: CustomTarget(command=("/bin/true", 'a "b"')),
    "x": CustomTarget(command=("x",), env={"A_B": "c"}),
}


SLOWER, SAME = "2.0 % slower (1.8 to 2.2)", "no difference (floor 0.3 %)"
KINDS: dict[str, Kind] = {SLOWER: "worse", SAME: "no difference"}


def target_verdict(
    measured: float = 0.0, half_width: float = 0.002, floor: float = 0.003, verdict: str = SAME
) -> TargetVerdict:
    low, high = measured - half_width, measured + half_width
    return TargetVerdict(
        measured=measured, low=low, high=high, floor=floor, p_adjusted=1.0, kind=KINDS.get(verdict, ""), verdict=verdict
    )


def test_the_suite_is_valid() -> None:
    measure = {"time": "10s", "seed": 3, "latency": {"min_samples": 7}, "blocks": {"latency": 2}}
    plan = Plan(name="n", model="net", targets=HEAD_TARGETS, probe="latency", measure=measure)
    suite = suite_of(suite_text(plan))
    assert suite.targets == HEAD_TARGETS
    assert suite.suite.baselines == (UNMODIFIED,)
    assert (suite.measure.time, suite.measure.seed, suite.measure.latency.min_samples) == ("10s", 3, 7)
    assert [group.settings for group in suite.groups] == [{"threads": 1}]


def test_groups_have_separate_settings() -> None:
    groups = (((UNMODIFIED,), {"provider": "cpu"}), (("x",), {"provider": "cuda"}))
    suite = suite_of(suite_text(Plan(name="n", model="net", targets=HEAD_TARGETS, probe="latency", groups=groups)))
    group_settings = [(group.targets, group.settings) for group in suite.groups]
    assert group_settings == [
        ((UNMODIFIED,), {"threads": 1, "provider": "cpu"}),
        (("x",), {"threads": 1, "provider": "cuda"}),
    ]


@pytest.mark.parametrize(
    ("stored", "picked"),
    [
        ((), "efficientnet-lite0"),
        (("efficientnet-lite0",), "efficientnet-lite0"),
        (("efficientnet-lite0", "regnet_x_400mf"), "regnet_x_400mf"),
    ],
)
def test_a_stored_model_is_taken(
    stored: tuple[str, ...], picked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path))
    for name in stored:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
    assert pick_model() == picked


@pytest.mark.parametrize(
    ("rows", "smallest"),
    [
        ([target_verdict(half_width=0.002, floor=0.003)], 0.005),
        ([target_verdict(half_width=0.004, floor=0.003)], 0.008),
        ([target_verdict(half_width=0.001, floor=0.003), target_verdict(half_width=0.0022, floor=0.001)], 0.006),
        ([target_verdict(floor=nan)], None),
        ([target_verdict(half_width=nan)], None),
        ([], None),
    ],
)
def test_the_smallest_resolvable_slowdown(rows: list[TargetVerdict], smallest: float | None) -> None:
    assert resolves(rows) == (smallest if smallest is None else pytest.approx(smallest))


def resolution(same: str, one: str, five: str, smallest: float | None = 0.011) -> Resolution:
    verdicts = {0.0: same, 0.01: one, 0.05: five}
    rows = tuple(
        Slowdown(injected=share, verdict=target_verdict(verdict=verdict)) for share, verdict in verdicts.items()
    )
    return Resolution(slowdowns=rows, resolves=smallest)


@pytest.mark.parametrize(
    ("found", "quiet", "missed"),
    [
        (resolution(SAME, SAME, SLOWER), True, []),
        (resolution(SLOWER, SAME, SLOWER), False, []),
        (resolution(SAME, SAME, SAME), True, [0.05]),
        (resolution(SAME, SLOWER, "2.0 % faster (1.8 to 2.2)"), True, [0.05]),
        (resolution("not measured", SAME, SLOWER), False, []),
        (resolution(SAME, SAME, SLOWER, smallest=None), True, [0.01]),
    ],
)
def test_the_verdict_of_the_run(found: Resolution, quiet: bool, missed: list[float]) -> None:  # noqa: FBT001
    assert (found.quiet, found.missed) == (quiet, missed)


def test_the_sentence() -> None:
    assert command.sentence(resolution(SAME, SAME, SLOWER), "4m") == (
        "This machine resolves differences of 1.1% or more in warm latency in 4m."
    )
    assert "did not find 5%" in command.sentence(resolution(SAME, SAME, SAME), "4m")
    assert "no intervals in 4m" in command.sentence(resolution(SAME, SAME, SAME, smallest=None), "4m")


def judged(cases: list[Case], **reasons: Reason) -> dict[str, tuple[bool, str]]:
    """Return the verdicts on a run of `cases`, of which the named ones failed with a reason."""
    info = info_of(*cases)
    records = [
        record_of(case.id, "latency", status="error", reason=reasons[case.target.replace("-", "_")])
        for case in cases
        if case.target.replace("-", "_") in reasons
    ]
    run = Run(Path("run"), info, tuple(records))
    return {outcome.fault: (outcome.caught, outcome.reported) for outcome in faults.judge_faults(run)}


def test_a_fault_is_caught_by_its_own_kind_of_failure() -> None:
    cases = [case_of(UNMODIFIED), case_of("injected-late"), case_of("injected-clock")]
    summary = judged(cases, injected_late=Reason("outputs-differ", "m"), injected_clock=Reason("garbage", "m"))
    assert summary == {
        "none": (True, "no failure, as expected"),
        "late": (True, "outputs-differ: m"),
        "clock": (False, "garbage: m"),
    }


def test_a_fault_without_any_failure_is_not_caught() -> None:
    assert judged([case_of(UNMODIFIED), case_of("injected-crash")])["crash"] == (False, "nothing was reported")


def test_a_case_that_was_not_started_is_caught_by_its_reason() -> None:
    skipped = case_of("injected-fallback", skipped=Reason("provider-unavailable", "m"))
    assert judged([case_of(UNMODIFIED), skipped])["fallback"] == (True, "provider-unavailable: m")


def test_a_failure_of_the_unmodified_one_is_a_false_alarm() -> None:
    assert judged([case_of(UNMODIFIED)], unmodified=Reason("clock", "m"))["none"] == (False, "clock: m")


def exit_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of ``runoff selftest`` and its stderr."""
    with pytest.raises(SystemExit) as left:
        cli.main(["selftest", *arguments])
    return int(left.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--time", "soon"), "time 'soon' is not a duration"),
        (("--time", "1m", "--quick"), "--quick and --time cannot be combined"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = exit_of(capsys, *arguments)
    assert code == 2
    assert words in err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["selftest", "--help"])
    assert "  runoff selftest --time 10m" in capsys.readouterr().out


def test_without_the_environment_there_is_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path / "none"))
    monkeypatch.setenv("RUNOFF_RESULTS", str(tmp_path / "results"))
    code, err = exit_of(capsys, "--quick")
    assert code == 3
    assert "run: nox -s ort-python" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("caught", "found", "code"),
    [(True, resolution(SAME, SAME, SLOWER), 0), (False, resolution(SAME, SAME, SLOWER), 1),
     (True, resolution(SLOWER, SAME, SLOWER), 1), (True, resolution(SAME, SAME, SAME), 1)],
)  # fmt: skip
def test_exit_codes(
    caught: bool,  # noqa: FBT001
    found: Resolution,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(_plan: Plan, folder: Path, _console: object) -> None:
        folder.mkdir(exist_ok=True)

    outcome = faults.Outcome(fault="late", what="w", caught=caught, reported="s")
    monkeypatch.setenv("RUNOFF_RESULTS", str(tmp_path))
    monkeypatch.setattr(command, "_measure", measure)
    monkeypatch.setattr(command, "plan_faults", lambda: None)
    monkeypatch.setattr(command, "plan_resolution", lambda _: None)
    monkeypatch.setattr(command, "judge_faults", lambda _: [outcome])
    monkeypatch.setattr(command, "read_resolution", lambda _: found)
    with pytest.raises(SystemExit) as left:
        cli.main(["selftest", "--json"])
    assert left.value.code == code
    summary = json.loads(capsys.readouterr().out)
    assert summary["passed"] == (code == 0)
    assert summary["faults"] == [{"fault": "late", "what": "w", "caught": caught, "said": "s"}]
    with pytest.raises(SystemExit):
        cli.main(["selftest"])
    printed = capsys.readouterr().out
    assert ("NOT CAUGHT" in printed) == (not caught)
    assert ("FALSE ALARM" in printed) == (not found.quiet)
