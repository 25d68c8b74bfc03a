"""What the trials say: how often each planted slow-down was found. Made from the run folders, at any time again."""

from __future__ import annotations

from math import isfinite, nan
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
from msgspec import Struct

from runoff.records.errors import RunoffError
from runoff.records.files import write_atomically
from runoff.records.machine import headline
from runoff.report.tables import table
from runoff.selftest.measuring import TRIALS, finished_runs
from runoff.selftest.split import slices
from runoff.selftest.verdicts import NOTHING, TargetVerdict, read_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

    from runoff.records.schema import Run

_TITLE = "# Planted slow-downs, found or not, with one core kept busy"
_NOTE = (
    "Blocks, others (cores kept busy by other processes), measured, half width (of the 95 % interval) and floor are "
    "medians over the tries."
)


class Attempt(TargetVerdict, frozen=True, kw_only=True):
    """A planted slow-down in one run, or in a part of it."""

    trial: str
    run: str
    parts: int
    part: int
    seconds: float
    planted: float
    """Share; 0 is the baseline's program again."""
    blocks: int
    others: float
    """Cores kept busy by other processes, the one that keeps a core busy on purpose among them."""

    @property
    def uncovered(self) -> bool:
        """Whether the interval leaves out what was planted."""
        return not self.low <= self.planted <= self.high


class Bar(Struct, frozen=True):
    """What the trials have to show."""

    trial: str
    planted: float
    seconds: float
    needed: float
    """Share of the tries in which it is found at least; of an A/A, whose interval leaves out zero at most."""
    words: str

    def of(self, tries: Iterable[Attempt]) -> list[Attempt]:
        """Return the tries that it is about."""
        asked = (self.trial, self.planted, self.seconds)
        return [one for one in tries if (one.trial, one.planted, one.seconds) == asked]

    def said(self, tries: Iterable[Attempt]) -> int:
        """Return how many of its tries say what is counted."""
        return sum(one.slower if self.planted else one.uncovered for one in self.of(tries))

    def met(self, tries: Sequence[Attempt]) -> bool | None:
        """Return whether it is met; None where nothing of it was measured."""
        said, limit = self.said(tries), self.needed * len(self.of(tries))
        if not limit:
            return None
        return said >= limit if self.planted else said <= limit


BARS = (
    Bar("latency", 0.02, 60, 19 / 20, "at least 19 of 20"),
    Bar("latency", 0.01, 180, 7 / 10, "at least 7 of 10"),
    Bar("process", 0.05, 180, 7 / 10, "at least 7 of 10"),
    Bar("latency", 0.0, 30, 5 / 60, "at most 5 of 60"),
    Bar("process", 0.0, 30, 5 / 60, "at most 5 of 60"),
)


def read_tries(run: Run, name: str) -> list[Attempt]:
    """Return all tries that `run`, of the trial `name`, holds."""
    trial = TRIALS[name]
    tries = []
    for parts in trial.parts:
        for part, piece in enumerate(slices(run, trial.probe, parts)):
            seconds = (run.info.time_s or 0.0) / parts
            tries += _read_part(piece, name, parts=parts, part=part, seconds=seconds)
    return tries


def _read_part(run: Run, name: str, **place: Any) -> list[Attempt]:  # noqa: ANN401 (fields of Try)
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
    said = read_verdicts(run, trial.probe)
    return [
        Attempt(**head, planted=share, **msgspec.structs.asdict(said.get(target, NOTHING)))
        for target, share in trial.planted.items()
    ]


def _middle(numbers: Iterable[float]) -> float:
    """Return the median of those that are numbers; NaN where none is."""
    known = [number for number in numbers if isfinite(number)]
    return median(known) if known else nan


def write_summary(out: Path, console: Console) -> None:
    """Write ``trials.md``, ``trials.json`` and ``tries.csv`` into `out`, from the runs below it.

    Raises
    ------
    RunoffError
        When there is no finished run.
    """
    runs = {name: finished_runs(out / name) for name in TRIALS}
    if not any(runs.values()):
        raise RunoffError(f"{out} holds no finished run", f"measure first: --measure {next(iter(TRIALS))}")
    tries = [one for name, found in runs.items() for run in found for one in read_tries(run, name)]
    rows = [_row(group) for group in _groups(tries)]
    text = "\n\n".join([_TITLE, _head(runs), _bar_table(tries), _row_table(rows), _NOTE]) + "\n"
    write_atomically(out / "trials.md", text.encode())
    document = {"bars": [_bar(bar, tries) for bar in BARS], "rows": rows, "tries": tries}
    write_atomically(out / "trials.json", msgspec.json.format(msgspec.json.encode(document), indent=1))
    table = pd.DataFrame([msgspec.structs.asdict(one) for one in tries])
    write_atomically(out / "tries.csv", table.to_csv(index=False, float_format="%.6g").encode())
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _groups(tries: Iterable[Attempt]) -> list[list[Attempt]]:
    groups: dict[tuple[str, float, int], list[Attempt]] = {}
    for one in tries:
        groups.setdefault((one.trial, one.planted, one.parts), []).append(one)
    return [groups[key] for key in sorted(groups)]


def _row(group: Sequence[Attempt]) -> dict[str, Any]:
    first = group[0]
    return {
        "trial": first.trial,
        "planted": first.planted,
        "seconds": first.seconds,
        "tries": len(group),
        "said_slower": sum(one.slower for one in group),
        "said_faster": sum(one.differs and not one.slower for one in group),
        "no_difference": sum(one.quiet for one in group),
        "covered": sum(not one.uncovered for one in group),
        "blocks": _middle(one.blocks for one in group),
        "measured": _middle(one.measured for one in group),
        "half_width": _middle(one.half_width for one in group),
        "others": _middle(one.others for one in group),
        "floor": _middle(one.floor for one in group),
    }


def _bar(bar: Bar, tries: Sequence[Attempt]) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(bar),
        "said": bar.said(tries),
        "tries": len(bar.of(tries)),
        "met": bar.met(tries),
    }


def _head(runs: dict[str, list[Run]]) -> str:
    some = next(run for found in runs.values() for run in found)
    counts = [f"{len(found)} runs of {found[0].info.time_s or 0:g} s ({name})" for name, found in runs.items() if found]
    return (
        f"{headline(some.info.machine)}. Model: {some.info.cases[0].model}. {', '.join(counts)}. "
        "Made by `python -m runoff.selftest.trials`; every try is in tries.csv."
    )


def _bar_table(tries: Sequence[Attempt]) -> str:
    met = {True: "met", False: "missed", None: "not measured"}
    lines = []
    for bar in BARS:
        what = f"{bar.planted:.0%} slower is found" if bar.planted else "the interval of an A/A leaves out zero"
        said = f"{bar.said(tries)} of {len(bar.of(tries))}"
        lines.append((bar.trial, what, f"{bar.seconds:g} s", bar.words, said, met[bar.met(tries)]))
    return table(("trial", "what", "time", "asked", "seen", ""), lines)


def _row_table(rows: Sequence[dict[str, Any]]) -> str:
    head = ("trial", "planted", "time", "tries", "said slower", "said faster", "interval covers it", "blocks", "others")
    lines = [
        (
            *(row["trial"], f"{row['planted']:.0%}", f"{row['seconds']:g} s"),
            *(f"{row[name]}" for name in ("tries", "said_slower", "said_faster", "covered")),
            f"{row['blocks']:g}",
            f"{row['others']:.2f}",
            *(f"{row[name] * 100:.2f} %" for name in ("measured", "half_width", "floor")),
        )
        for row in rows
    ]
    return table((*head, "measured", "half width", "floor"), lines)
