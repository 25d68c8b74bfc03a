"""How a run was measured, in sentences: how inferences were timed, what counted energy, why sampling ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.validity import WITH_HUGE_PAGES, timed_how
from runoff.analysis.wording import percent
from runoff.report.energy import source_words
from runoff.report.text import Figure, number, plural

if TYPE_CHECKING:
    from runoff.records.schema import Run, RunInfo, Stop

_MODES = {
    "side by side": "the live processes of a comparison took turns, so that pairs saw the same machine",
    "alone": "one live process at a time, asked turn by turn",
    "by its own measure": "one process at a time, which timed itself; its first and its last answer were checked",
}

_HUGE_PAGES = (
    "their memory lay in huge pages, so that processes of one program lie alike, and these are the times of that"
)


def how_lines(run: Run) -> list[str]:
    """Return how warm inferences were timed, what counted energy and why each probe ended, a sentence for each."""
    stops = (stop_words(probe, stop, run.info) for probe, stop in run.info.stops.items())
    return [*timing_words(run), *source_words(run), *stops]


def timing_words(run: Run) -> list[str]:
    """Return a sentence for each way in which warm inferences were timed; more than one is said with its targets."""
    targets = {case.id: case.target for case in run.info.cases}
    ways: dict[str, dict[str, None]] = {}
    for record in run.records:
        if (record.probe, record.status) == ("latency", "ok") and record.case in targets:
            ways.setdefault(timed_how(record.turned), {})[targets[record.case]] = None
    return [
        f"warm inferences, {way}: {_mode(way)}{f' ({_names(timed)})' if len(ways) > 1 else ''}"
        for way, timed in ways.items()
    ]


def _mode(way: str) -> str:
    mode = _MODES[way.removesuffix(WITH_HUGE_PAGES)]
    return f"{mode}; {_HUGE_PAGES}" if way.endswith(WITH_HUGE_PAGES) else mode


def _names(targets: dict[str, None]) -> str:
    return ", ".join(targets)


def stop_words(probe: str, stop: Stop, info: RunInfo) -> str:
    """Return why the sampling of `probe` ended, with the widest interval that was left where it was worked out."""
    causes = {
        "precision": f"as precise as asked ({percent(info.precision)})" if info.precision else "as precise as asked",
        "time": f"its time was used up ({number(Figure(info.time_s * 1e9, unit='ns'))} for the run)"
        if info.time_s
        else "its time was used up",
        "blocks": "all that the suite asks for",
    }
    where = f" ({stop.widest_case})" if stop.widest_case else ""
    widest = "" if stop.widest is None else f"; the widest interval is \N{PLUS-MINUS SIGN}{percent(stop.widest)}{where}"
    return f"{probe}: {plural(stop.blocks, 'block')}, {causes.get(stop.cause, stop.cause)}{widest}"
