"""Detection rate of each injected slowdown, from the run folders."""

from __future__ import annotations

from math import isfinite, nan
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
from measuring import TRIALS, finished_runs
from msgspec import Struct
from split import split_run

from runoff.records.errors import RunoffError
from runoff.records.files import write_atomically
from runoff.records.machine import headline
from runoff.report.tables import table
from runoff.selftest.verdicts import NOTHING, TargetVerdict, read_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

    from runoff.records.schema import Run

_TITLE = "# Injected slowdowns, found or not, with one core kept busy"
_NOTE = (
    "Blocks, others (cores kept busy by other processes), measured, half width (of the 95% interval) and floor are "
    "medians over the attempts."
)


class Attempt(TargetVerdict, frozen=True, kw_only=True):
    """An injected slowdown in one run, or in a part of it."""

    trial: str
    run: str
    parts: int
    part: int
    seconds: float
    injected: float
    """Share; 0 is the baseline's program again."""
    blocks: int
    others: float
    """Cores kept busy by other processes, including the intended load."""

    @property
    def uncovered(self) -> bool:
        """Whether the interval excludes the injected share."""
        return not self.low <= self.injected <= self.high


class Threshold(Struct, frozen=True):
    """A requirement on the trials."""

    trial: str
    injected: float
    seconds: float
    needed: float
    """Least share of attempts that must find it; for an A/A, the largest share of intervals that may exclude zero."""
    words: str

    def of(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        """Return the attempts that the threshold applies to."""
        wanted = (self.trial, self.injected, self.seconds)
        return [one for one in attempts if (one.trial, one.injected, one.seconds) == wanted]

    def counted(self, attempts: Iterable[Attempt]) -> int:
        """Return the number of attempts that count: found slower, or for an A/A, an interval that excludes zero."""
        return sum(one.slower if self.injected else one.uncovered for one in self.of(attempts))

    def met(self, attempts: Sequence[Attempt]) -> bool | None:
        """Return whether it is met; None if nothing was measured."""
        counted, limit = self.counted(attempts), self.needed * len(self.of(attempts))
        if not limit:
            return None
        return counted >= limit if self.injected else counted <= limit


THRESHOLDS = (
    Threshold("latency", 0.02, 60, 19 / 20, "at least 19 of 20"),
    Threshold("latency", 0.01, 180, 7 / 10, "at least 7 of 10"),
    Threshold("process", 0.05, 180, 7 / 10, "at least 7 of 10"),
    Threshold("latency", 0.0, 30, 5 / 60, "at most 5 of 60"),
    Threshold("process", 0.0, 30, 5 / 60, "at most 5 of 60"),
)


def read_attempts(run: Run, name: str) -> list[Attempt]:
    """Return all attempts of `run` in the trial `name`."""
    trial = TRIALS[name]
    attempts = []
    for parts in trial.parts:
        for part, piece in enumerate(split_run(run, trial.probe, parts)):
            seconds = (run.info.time_s or 0.0) / parts
            attempts += _read_part(piece, name, parts=parts, part=part, seconds=seconds)
    return attempts


def _read_part(run: Run, name: str, **place: Any) -> list[Attempt]:
    trial = TRIALS[name]
    records = [record for record in run.records if record.probe == trial.probe]
    others = [record.conditions.others for record in records if record.conditions]
    head = {
        "trial": name,
        "run": run.info.run_id,
        "blocks": len({record.block for record in records}),
        "others": _middle(number for number in others if number is not None),
        **place,
    }
    verdicts = read_verdicts(run, trial.probe)
    return [
        Attempt(**head, injected=share, **msgspec.structs.asdict(verdicts.get(target, NOTHING)))
        for target, share in trial.injected.items()
    ]


def _middle(numbers: Iterable[float]) -> float:
    """Return the median of the numbers, ignoring NaN; NaN if there are none."""
    known = [number for number in numbers if isfinite(number)]
    return median(known) if known else nan


def write_summary(out: Path, console: Console) -> None:
    """Write ``trials.md``, ``trials.json`` and ``attempts.csv`` into `out`, from the runs below it.

    Raises
    ------
    RunoffError
        If there is no finished run.
    """
    runs = {name: finished_runs(out / name) for name in TRIALS}
    if not any(runs.values()):
        raise RunoffError(f"no finished run in {out}", f"measure first: --measure {next(iter(TRIALS))}")
    attempts = [one for name, found in runs.items() for run in found for one in read_attempts(run, name)]
    rows = [_row(group) for group in _groups(attempts)]
    text = "\n\n".join([_TITLE, _head(runs), _threshold_table(attempts), _row_table(rows), _NOTE]) + "\n"
    write_atomically(out / "trials.md", text.encode())
    document = {
        "thresholds": [_threshold(threshold, attempts) for threshold in THRESHOLDS],
        "rows": rows,
        "attempts": attempts,
    }
    write_atomically(out / "trials.json", msgspec.json.format(msgspec.json.encode(document), indent=1))
    table = pd.DataFrame([msgspec.structs.asdict(one) for one in attempts])
    write_atomically(out / "attempts.csv", table.to_csv(index=False, float_format="%.6g").encode())
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _groups(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    groups: dict[tuple[str, float, int], list[Attempt]] = {}
    for one in attempts:
        groups.setdefault((one.trial, one.injected, one.parts), []).append(one)
    return [groups[key] for key in sorted(groups)]


def _row(group: Sequence[Attempt]) -> dict[str, Any]:
    first = group[0]
    return {
        "trial": first.trial,
        "injected": first.injected,
        "seconds": first.seconds,
        "attempts": len(group),
        "slower": sum(one.slower for one in group),
        "faster": sum(one.differs and not one.slower for one in group),
        "no_difference": sum(one.quiet for one in group),
        "covered": sum(not one.uncovered for one in group),
        "blocks": _middle(one.blocks for one in group),
        "measured": _middle(one.measured for one in group),
        "half_width": _middle(one.half_width for one in group),
        "others": _middle(one.others for one in group),
        "floor": _middle(one.floor for one in group),
    }


def _threshold(threshold: Threshold, attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(threshold),
        "counted": threshold.counted(attempts),
        "attempts": len(threshold.of(attempts)),
        "met": threshold.met(attempts),
    }


def _head(runs: dict[str, list[Run]]) -> str:
    some = next(run for found in runs.values() for run in found)
    counts = [f"{len(found)} runs of {found[0].info.time_s or 0:g} s ({name})" for name, found in runs.items() if found]
    return (
        f"{headline(some.info.machine)}. Model: {some.info.cases[0].model}. {', '.join(counts)}. "
        "Made by `python tools/selftest_trials/trials.py`; attempts.csv has every attempt."
    )


def _threshold_table(attempts: Sequence[Attempt]) -> str:
    met = {True: "met", False: "missed", None: "not measured"}
    lines = []
    for one in THRESHOLDS:
        what = f"{one.injected:.0%} slower is found" if one.injected else "the A/A interval excludes zero"
        seen = f"{one.counted(attempts)} of {len(one.of(attempts))}"
        lines.append((one.trial, what, f"{one.seconds:g} s", one.words, seen, met[one.met(attempts)]))
    return table(("trial", "what", "time", "required", "observed", ""), lines)


def _row_table(rows: Sequence[dict[str, Any]]) -> str:
    head = ("trial", "injected", "time", "attempts", "found slower", "found faster", "interval covers it")
    lines = [
        (
            *(row["trial"], f"{row['injected']:.0%}", f"{row['seconds']:g} s"),
            *(f"{row[name]}" for name in ("attempts", "slower", "faster", "covered")),
            f"{row['blocks']:g}",
            f"{row['others']:.2f}",
            *(f"{row[name] * 100:.2f}%" for name in ("measured", "half_width", "floor")),
        )
        for row in rows
    ]
    return table((*head, "blocks", "others", "measured", "half width", "noise floor"), lines)
