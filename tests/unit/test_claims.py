"""Claims: the rule that decides them and its rate of error, the published ones, and those of another run."""

from __future__ import annotations

import json
import tomllib
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner
from compared import MACHINE, turns_run, write
from msgspec.structs import replace

from runoff import paths
from runoff.analysis.claims import Claim, MeasuredRun, Quantity, Span, check, decide, spans
from runoff.analysis.measurements import of_run
from runoff.analysis.verdict import Verdict
from runoff.claims.pages import write as write_pages
from runoff.claims.published import FILE, check_all, chosen, comparisons, newest, read_measured, suite
from runoff.claims.refute import check as check_theirs
from runoff.claims.refute import check_trust, read_theirs, with_models
from runoff.cli.main import cli
from runoff.plan.suite import parse_suite
from runoff.records.errors import RunoffError
from runoff.records.files import RUN_FILE, SUMMARY, read_run, sha256_of
from runoff.report.build import write_report

if TYPE_CHECKING:
    from runoff.records.schema import Run

WARM = "latency.inference.warm"
REFERENCE = paths.root() / "results" / "reference"


def quantity(target: str, metric: str = WARM, **more: Any) -> Quantity:
    return Quantity(model="net", workload="classify", target=target, metric=metric, **more)


def outcome(run: Run, span: Span, over: str = "change", under: str = "main") -> str:
    claim = Claim(over=quantity(over), under=quantity(under), true=span)
    return check(claim, MeasuredRun(run.info, of_run(run))).outcome


@pytest.mark.parametrize(
    ("numbers", "span", "expected"),
    [
        ((2.0, 1.9, 2.1), Span(low=1.5), "holds"),
        ((2.0, 1.9, 2.1), Span(low=2.5), "does not hold"),
        ((2.0, 1.9, 2.1), Span(low=2.05), "cannot be told"),
        ((2.0, 1.9, 2.1), Span(high=2.5), "holds"),
        ((2.0, 1.9, 2.1), Span(1.8, 2.2), "holds"),
        ((2.0, 1.9, 2.1), Span(1.95, 2.2), "cannot be told"),
        ((2.0, 1.9, 2.1), Span(2.2, 3), "does not hold"),
        ((2.0, 2.0, 2.0), Span(low=1), "holds"),
        ((nan, nan, nan), Span(low=1), "cannot be told"),
    ],
)
def test_the_interval_decides(numbers: tuple[float, float, float], span: Span, expected: str) -> None:
    assert decide(Verdict("", *numbers), span).outcome == expected


def test_a_difference_within_the_noise_floor_decides_nothing() -> None:
    close = Verdict("", 1.03, 1.01, 1.05)
    assert decide(close, Span(low=1)).outcome == "holds"
    answer = decide(replace(close, floor=0.04), Span(low=1))
    assert (answer.outcome, answer.reason) == ("cannot be told", "the difference is within the noise floor")


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (Verdict("better", 1.5, 1.4, 1.6), (1.3, 1.25, 1.35), "holds"),  # the direction is what it claims
        (Verdict("better", 1.5, 1.4, 1.6), (1.0, 0.97, 1.03), "does not hold"),  # none of the claimed sizes
        (Verdict("better", 1.5, 1.4, 1.6), (1.2, 0.9, 1.5), "cannot be told"),
        (Verdict("better", 1.03, 1.02, 1.04), (1.0, 0.97, 1.03), "cannot be told"),
        (Verdict("worse", 0.5, 0.4, 0.6), (0.7, 0.65, 0.75), "holds"),
        (Verdict("worse", 0.5, 0.4, 0.6), (1.2, 1.1, 1.3), "does not hold"),
        (Verdict("no difference", 1.0, 0.98, 1.02, floor=0.02), (1.05, 1.04, 1.06), "holds"),
        (Verdict("no difference", 1.0, 0.98, 1.02, floor=0.02), (1.2, 1.15, 1.25), "does not hold"),
        (Verdict("no difference", 1.1, 0.98, 1.2, floor=0.3), (1.2, 1.15, 1.25), "holds"),
    ],
)
def test_a_verdict_is_a_claim(theirs: Verdict, ours: tuple[float, float, float], expected: str) -> None:
    stated = spans(theirs)
    assert stated is not None
    assert decide(Verdict("", *ours), *stated).outcome == expected


def test_other_verdicts_claim_nothing() -> None:
    assert [spans(Verdict(kind)) for kind in ("", "baseline", "A/A", "undecided", "not comparable")] == [None] * 5


def test_false_claims_hold_in_at_most_a_fortieth_of_runs() -> None:
    """The bound lies at the true ratio, where errors are most frequent: 2.5% on either side."""
    outcomes = [outcome(turns_run({"main": 10.0, "change": 10.5}, seed=seed), Span(low=1.05)) for seed in range(200)]
    assert outcomes.count("holds") <= 10  # 5 expected; more than 10 has probability 0.012
    assert outcomes.count("does not hold") <= 10


@pytest.mark.parametrize("off", [0.05, -0.05])
def test_claims_that_are_5_percent_off_are_decided_rightly(off: float) -> None:
    bound = 1.10 * (1 + off)
    outcomes = [outcome(turns_run({"main": 10.0, "change": 11.0}, seed=seed), Span(low=bound)) for seed in range(40)]
    wrong, right = ("holds", "does not hold") if off > 0 else ("does not hold", "holds")
    assert outcomes.count(wrong) == 0
    assert outcomes.count(right) >= 38


def test_ratios_of_other_metrics_and_cases_are_paired_by_block() -> None:
    run = turns_run({"main": 10.0, "change": 20.0})
    measured = MeasuredRun(run.info, of_run(run))
    claim = Claim(over=quantity("change", per_item=True), under=quantity("main"), true=Span(1.9, 2.1))
    assert check(claim, measured).outcome == "holds"
    missing = Claim(over=quantity("change", "process.wall"), under=quantity("main"), true=Span(low=1))
    assert check(missing, measured).reason == "not measured"
    absent = Claim(over=quantity("another"), under=quantity("main"), true=Span(low=1))
    assert check(absent, measured).reason == "not measured"


def test_the_published_claims_are_complete_and_can_be_measured() -> None:
    found = comparisons()
    assert "".join(one.id for one in found) == "ABCDE"
    assert [len(one.claim) for one in found] == [8, 3, 4, 4, 7]
    for one in found:
        assert {len(row) for row in one.rows} == {1 + len(one.columns)}
        assert all(claim.id[0] == one.id for claim in one.claim)
    claims = chosen("all")
    parse_suite(suite(claims), "claims")
    bounds = [variant.true for claim in claims for _, variant in claim.variants() if variant.over]
    assert all(span.low > 0 or span.high < inf for span in bounds)


@pytest.mark.parametrize(("words", "message"), [("E9", "no claim 'E9'"), ("D4", "D4: nothing to measure")])
def test_claims_that_cannot_be_chosen(words: str, message: str) -> None:
    with pytest.raises(RunoffError, match=message):
        chosen(words)


def test_a_suite_measures_what_a_claim_needs() -> None:
    (first, second) = tomllib.loads(suite(chosen("E6")))["group"]
    assert first["targets"] == second["targets"] == ["ort-rust"]
    assert first["settings"] == {"threads": 4, "optimization": "all"}
    (both,) = tomllib.loads(suite(chosen("E1,E2")))["group"]
    assert (both["targets"], both["probes"]) == (["ort-python", "ort-rust", "torch"], ["process", "latency"])


def test_claims_on_a_published_run(tmp_path: Path) -> None:
    runs = [read_measured(REFERENCE / name) for name in ("full", "segment")]
    rows = check_all(chosen("all"), runs)
    outcomes = {(row.id, row.says): row.answer for row in rows}
    told = {key[0]: answer.outcome for key, answer in outcomes.items() if "faster than PyTorch, start" in key[1]}
    assert told == {"E1": "holds"}
    assert {row.answer.outcome for row in rows if row.id == "A1"} == {"holds"}
    reasons = {row.id: row.answer.reason for row in rows}
    assert reasons["B1"] == "not measured: needs a Mac with a Neural Engine; runoff claims --measure B1"
    assert "1 block gives no interval" in reasons["C2"]
    assert reasons["E3"].endswith("needs hardware counters (perf stat)")
    assert len(check_all(chosen("E5"), [runs[0], runs[0]])) == 2
    assert len(check_all(chosen("E5"), [runs[0], runs[0]], latest=True)) == 1
    index = write_pages(tmp_path, comparisons(), runs, rows).read_text()
    assert "| E1 | Rust is 35.2 times faster than PyTorch, start to exit | 35.2x | 49.36x" in index
    page = (tmp_path / "published" / "E.md").read_text()
    assert "| ONNX Runtime, Rust | 91.4 ms (sd 2.4) |" in page
    assert "| ort-rust, t2, b1 | " in page


def test_the_published_page_is_up_to_date() -> None:
    runs = [read_measured(REFERENCE / name) for name in PUBLISHED]
    rows = check_all(chosen("all"), runs)
    text = (paths.root() / "results" / "published.md").read_text()
    assert [row.answer.outcome for row in rows] == _outcomes(text)


PUBLISHED = ("full", "runs", "web", "webnn", "web-webnn", "segment", "segment-large")


def _outcomes(text: str) -> list[str]:
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    return [cells[4].partition(":")[0] for cells in lines]


def test_only_the_newest_runs_of_this_machine_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.claims.published.describe_machine", lambda: MACHINE)
    run = turns_run({"main": 10.0, "change": 11.0})
    for name, started in (("old", "2026-11-22T12:00:00Z"), ("new", "2026-11-23T12:00:00Z")):
        info = msgspec.structs.replace(run.info, run_id=name, started=started)
        write(replace(run, info=info), tmp_path / name)
    assert newest(tmp_path) == [tmp_path / "new"]
    monkeypatch.setattr("runoff.claims.published.describe_machine", lambda: {**MACHINE, "cpu": "another"})
    assert newest(tmp_path) == []
    assert newest(tmp_path / "nothing") == []


def stated_run(folder: Path, speeds: dict[str, float], suite_text: str = "", **more: Any) -> Path:
    """Write a run with its report, as somebody else would hand it on, and return its folder."""
    targets = json.dumps(list(speeds))
    usual = f'[suite]\nname = "t"\nmodels = ["efficientnet-lite0"]\ntargets = {targets}\nprobes = ["latency"]\n'
    run = turns_run(speeds, **more)
    run.info.suite_text = suite_text or usual
    write(run, folder)
    from runoff.analysis.analyse import analyse

    write_report(analyse(read_run(folder)))
    return folder


def test_verdicts_of_another_run_are_checked(tmp_path: Path) -> None:
    theirs = read_theirs(stated_run(tmp_path / "theirs", {"main": 10.0, "change": 12.0, "same": 10.01}))
    ours = {"holds": 11.0, "does not hold": 10.0}
    for expected, speed in ours.items():
        mine = stated_run(tmp_path / expected, {"main": 10.0, "change": speed, "same": 10.0}, seed=2)
        found = {one.case.split(".")[2]: one.answer.outcome for one in check_theirs(theirs, read_run(mine))}
        assert found == {"change": expected, "same": "holds"}


def test_what_another_run_measured_and_this_one_did_not(tmp_path: Path) -> None:
    theirs = read_theirs(stated_run(tmp_path / "theirs", {"main": 10.0, "change": 12.0}))
    mine = read_run(stated_run(tmp_path / "mine", {"main": 10.0, "other": 12.0}))
    (one,) = check_theirs(theirs, mine)
    assert one.answer.reason == "its suite has no such case on this machine"
    mine = read_run(stated_run(tmp_path / "again", {"main": 10.0, "change": 12.0}))
    mine.info.models["net"]["sha256"] = {"onnx": "ee" * 32}
    mine = replace(mine, info=replace(mine.info, cases=tuple(replace(case, format="onnx") for case in mine.info.cases)))
    (one,) = check_theirs(theirs, mine)
    assert one.answer.reason == f"another model file: SHA-256 {'ab' * 6} there, {'ee' * 6} here"


HEAD = '[suite]\nname = "t"\nmodels = ["mine"]\ntargets = ["ort-python"]\nprobes = ["latency"]\n'
COMMAND = HEAD.replace("mine", "efficientnet-lite0") + '[targets.evil]\ncommand = ["rm", "-rf", "/"]\n'
FACTORY = HEAD + '[models.mine]\nfactory = "evil:make"\nexample = "evil:inputs"\n'


@pytest.mark.parametrize(
    ("text", "shown"), [(COMMAND, "[targets.evil] command = ['rm', '-rf', '/']"), (FACTORY, "[models.mine] factory")]
)
def test_code_of_strangers_is_not_run(text: str, shown: str, tmp_path: Path) -> None:
    folder = stated_run(tmp_path / "theirs", {"main": 10.0, "change": 12.0}, text)
    ended = CliRunner().invoke(cli, ["refute", str(folder), "--results", str(tmp_path / "results")])
    assert isinstance(ended.exception, RunoffError)
    assert shown in ended.exception.message
    assert "--allow-commands" in ended.exception.hint
    assert not (tmp_path / "results").exists()
    check_trust(read_theirs(folder), allow_commands=True)


def test_missing_models_are_named_by_their_hash(tmp_path: Path) -> None:
    file = tmp_path / "other-name.onnx"
    file.write_bytes(b"weights")
    folder = stated_run(
        tmp_path / "theirs", {"main": 10.0, "change": 12.0}, HEAD + '[models.mine]\npath = "/x/m.onnx"\n'
    )
    theirs = read_theirs(folder)
    theirs.info.models["mine"] = {"sha256": {"onnx": sha256_of(file)}}
    with pytest.raises(RunoffError, match=sha256_of(file)) as caught:
        with_models(theirs, [])
    assert "--model FILE" in caught.value.hint
    assert with_models(theirs, [file]).models["mine"].path == str(file)
    stored = read_theirs(stated_run(tmp_path / "stored", {"main": 10.0, "change": 12.0}, HEAD))
    with pytest.raises(RunoffError, match=r"model 'mine'.*not found") as caught:
        with_models(stored, [])
    assert "runoff add FILE --name mine" in caught.value.hint


def damage(folder: Path, name: str, old: bytes, new: bytes) -> None:
    data = (folder / name).read_bytes()
    assert old in data
    (folder / name).write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (RUN_FILE, b'"suite_text"', b'"sweet_text"', "cannot be read as a run"),
        (RUN_FILE, b'"kernel"', b'"colonel"', "no field or column 'kernel'"),
        (RUN_FILE, b'models = [\\"', b'models = [[[\\"', "suite"),
        (SUMMARY, b"ratio_low", b"ratio_least", "no field or column 'ratio_low'"),
        (SUMMARY, b",worse,", b",terrible,", "has no verdict to check"),
    ],
)
def test_damaged_folders(name: str, old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
    folder = stated_run(tmp_path / "theirs", {"main": 10.0, "change": 12.0})
    damage(folder, name, old, new)
    with pytest.raises(RunoffError, match=words):
        read_theirs(folder)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunoffError, match="not found"):
        read_theirs(tmp_path)
    (tmp_path / RUN_FILE).mkdir()
    with pytest.raises(RunoffError, match="not a regular file"):
        read_theirs(tmp_path)


def test_the_file_of_claims_is_in_the_package() -> None:
    assert FILE.is_file()
    assert FILE.parent == Path(read_theirs.__code__.co_filename).parent
