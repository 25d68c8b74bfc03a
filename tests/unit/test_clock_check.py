"""Reported times and round trips of the same turns: detection of wrong clocks, without false alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from orchestra import case_of, info_of, record_of, result_of

from runoff.analysis.audit import audit
from runoff.analysis.clock_check import clock_disagreements
from runoff.analysis.validity import excluded
from runoff.records.protocol import Timings
from runoff.records.schema import InterleavingStats, Run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff.records.schema import Record

MS = 1_000_000
NAMES = ("base", "again", "mine", "other")


def latency(rng: np.random.Generator, name: str, block: int, **changes: Any) -> Record:
    """Return a process of `turns` turns on a machine that wakes late; its clock runs at `pace`."""
    values: dict[str, Any] = {"pace": 1.0, "inference_ms": 8.0, "own_ms": 0.15, "turns": 48, "count": 1, "warmup": 3}
    values |= {"late_ms": 0.02, "disturbed": 0.0, "disturbed_empty": 0.0, "empty": 8, **changes}
    count, warmup = values["count"], values["warmup"]
    took = values["inference_ms"] * MS * rng.lognormal(0, 0.1, (values["turns"], count))

    def late(turns: int, share: float) -> NDArray[np.float64]:
        disturbed = (rng.random(turns) < share) * rng.exponential(4 * MS, turns)
        return np.asarray(0.1 * MS + rng.exponential(values["late_ms"] * MS, turns) + disturbed)

    roundtrips = took.sum(axis=1) + values["own_ms"] * MS + late(values["turns"], values["disturbed"])
    reported = (took * values["pace"]).astype(int).ravel().tolist()
    samples = {"inference": Timings(1, 1, (*[5 * MS] * warmup, *reported))}
    stats = InterleavingStats(
        group_size=values.get("group_size", len(NAMES)),
        inferences=count,
        warmup=warmup,
        steady=True,
        checked=1,
        roundtrip_ns=tuple(roundtrips.astype(int).tolist()),
        empty_ns=tuple(late(values["empty"], values["disturbed_empty"]).astype(int).tolist()),
    )
    case = case_of(name).id
    return record_of(case, "latency", block=block, turned=stats, result=result_of(case=case, samples=samples))


def run_of(folder: Path, seed: int = 1, blocks: int = 3, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Run:
    """Return a run of the cases `NAMES`, each with its own `changes`."""
    rng = np.random.default_rng(seed)
    info = info_of(*(case_of(name, ("latency",)) for name in NAMES))
    info.baselines = ("base",)
    records = [latency(rng, name, block, **(changes or {}).get(name, {})) for block in range(blocks) for name in NAMES]
    return Run(folder, info, tuple(records))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "noise",
    [
        *({"disturbed": share, "disturbed_empty": empty} for share in (0.0, 0.3, 0.7) for empty in (0.0, 0.5)),
        *({"late_ms": late_ms} for late_ms in (0.2, 1.0, 5.0)),
    ],
    ids=str,
)
def test_unmodified_runners_stay(seed: int, noise: dict[str, Any], tmp_path: Path) -> None:
    different = {
        "base": noise,
        "again": noise,
        "mine": noise | {"own_ms": 0.1},
        "other": noise | {"inference_ms": 60.0},
    }
    assert clock_disagreements(run_of(tmp_path, seed, changes=different)) == {}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("disturbed", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("blocks", [5, 8])
def test_a_clock_that_is_three_percent_slow_is_excluded(
    seed: int, disturbed: float, blocks: int, tmp_path: Path
) -> None:
    changes: dict[str, dict[str, Any]] = {
        name: {"disturbed": disturbed, "disturbed_empty": disturbed / 4} for name in NAMES
    }
    changes["mine"] |= {"pace": 0.97}
    run = run_of(tmp_path, seed, blocks, changes)
    (found,) = clock_disagreements(run).items()
    assert found[0] == case_of("mine").id
    assert found[1].kind == "clock"
    assert "longer than the runner reports, compared with those of base" in found[1].message
    assert excluded(run).keys() == {found[0]}


def test_turns_of_one_process_are_not_repetitions(tmp_path: Path) -> None:
    """Each process has an exchange of its own, up to 7% of a turn longer: few pairs of processes show no difference."""
    excluded_runs = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        own_ms = rng.uniform(0.05, 0.6, (2, len(NAMES)))
        records = [
            latency(rng, name, block, own_ms=own_ms[block, place], turns=160)
            for block in range(2)
            for place, name in enumerate(NAMES)
        ]
        info = run_of(tmp_path, seed, 0).info
        excluded_runs += bool(clock_disagreements(Run(tmp_path, info, tuple(records))))
    assert excluded_runs <= 3, "more than one in twenty"


def test_a_baseline_with_such_a_clock_is_excluded_if_all_others_agree(tmp_path: Path) -> None:
    (found,) = clock_disagreements(run_of(tmp_path, changes={"base": {"pace": 0.97}})).items()
    assert found[0] == case_of("base").id
    assert "compared with those of all others" in found[1].message
    two = {name: {"pace": 0.97} for name in ("base", "other")}
    assert clock_disagreements(run_of(tmp_path, changes=two)) == {}, "who of four is right is not known"


def audited(run: Run) -> tuple[str, str]:
    """Return outcome and detail of the point of the audit."""
    (point,) = [point for point in audit(run) if point.point == "clocks compared"]
    return point.outcome, point.detail


@pytest.mark.parametrize(
    ("unknown", "why"),
    [
        ({"empty": 0}, "no turns without an inference"),
        ({"turns": 8}, "8 turns (16 are needed)"),
        ({"group_size": 1}, "nothing was interleaved with it"),
    ],
    ids=["no empty turns", "few turns", "alone"],
)
def test_cases_that_cannot_be_compared_are_not_excluded_and_the_audit_says_so(
    unknown: dict[str, Any], why: str, tmp_path: Path
) -> None:
    run = run_of(tmp_path, changes={"mine": {"pace": 0.9, **unknown}})
    assert clock_disagreements(run) == {}
    assert audited(run) == (
        "unknown",
        f"compared with round trips, differences from 1.3% on: base, again, other; not compared: mine ({why})",
    )


def test_the_audit_says_what_was_compared(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert audited(run) == ("ok", "compared with round trips, differences from 1.3% on: base, again, mine, other")
    run.info.baselines = ("absent",)
    assert audited(run) == ("unknown", f"not compared: {', '.join(NAMES)} (no baseline to compare it with)")
    one_block = run_of(tmp_path, blocks=1)
    assert audited(one_block) == ("unknown", f"not compared: {', '.join(NAMES)} (1 block (2 are needed))")


def test_one_block_of_few_turns_gives_no_interval(tmp_path: Path) -> None:
    assert clock_disagreements(run_of(tmp_path, blocks=1, changes={"mine": {"pace": 0.9, "turns": 20}})) == {}


def test_of_two_cases_the_one_with_longer_turns_is_excluded(tmp_path: Path) -> None:
    for slow, other in (("base", "mine"), ("mine", "base")):
        run = run_of(tmp_path, blocks=5, changes={slow: {"pace": 0.97}})
        two = tuple(record for record in run.records if record.case in {case_of(name).id for name in ("base", "mine")})
        (found,) = clock_disagreements(Run(tmp_path, run.info, two)).items()
        assert found[0] == case_of(slow).id
        assert found[1].message.endswith(f"compared with those of {other}")


def test_a_loop_in_python_is_no_slow_clock_and_too_short_turns_are_not_compared(tmp_path: Path) -> None:
    many: dict[str, dict[str, Any]] = {name: {"count": 64, "inference_ms": 0.1} for name in NAMES}
    many["mine"] = many["mine"] | {"own_ms": 0.15 + 64 * 0.002}
    run = run_of(tmp_path, changes=many)
    assert clock_disagreements(run) == {}
    assert audited(run)[0] == "ok"
    short = {name: {"count": 64, "inference_ms": 0.01} for name in NAMES}
    outcome, detail = audited(run_of(tmp_path, changes=short))
    assert outcome == "unknown"
    assert "would show in turns of 0.6" in detail


def test_turns_of_many_inferences_are_summed(tmp_path: Path) -> None:
    many: dict[str, dict[str, Any]] = {name: {"count": 4, "inference_ms": 2.0} for name in NAMES}
    assert clock_disagreements(run_of(tmp_path, changes=many)) == {}
    many["mine"] = many["mine"] | {"pace": 0.97}
    assert clock_disagreements(run_of(tmp_path, changes=many)).keys() == {case_of("mine").id}
