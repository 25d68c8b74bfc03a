"""The measurement of a run in sentences: the timing of inferences, energy sources, the end of sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.validity import TimingMode, timed_how, timing_mode
from runoff.analysis.wording import percent
from runoff.probes import is_interleaved
from runoff.records.machine import limits
from runoff.report.energy import source_words
from runoff.report.text import Figure, number, plural

if TYPE_CHECKING:
    from runoff.records.schema import Run, RunInfo, Stop

_MODES: dict[TimingMode, str] = {
    "interleaved": "live processes of a comparison took turns, so paired samples saw the same state of the machine",
    "isolated": "one live process at a time",
    "by the runner itself": "one process at a time, which timed itself; its first and last outputs were checked",
}

_HUGE_PAGES = "in huge pages, which make processes of one program more similar and a few percent faster"


def how_lines(run: Run) -> list[str]:
    """Return sentences on limits of threads, the timing of warm inferences, energy sources, and the end of probes."""
    stops = (stop_words(probe, stop, run.info) for probe, stop in run.info.stops.items())
    return [*limits(run.info.machine), *timing_words(run), *source_words(run), *stops]


def timing_words(run: Run) -> list[str]:
    """Return a sentence for each way of timing warm inferences, with its targets if there are several."""
    targets = {case.id: case.target for case in run.info.cases}
    ways: dict[str, tuple[str, dict[str, None]]] = {}
    for record in run.records:
        if is_interleaved(record.probe) and record.status == "ok" and record.case in targets:
            turned = record.turned
            pages = f"; {_HUGE_PAGES}" if turned and turned.huge_bytes else ""
            _, timed = ways.setdefault(timed_how(turned), (_MODES[timing_mode(turned)] + pages, {}))
            timed[targets[record.case]] = None
    return [
        f"warm inferences, {way}: {meaning}{' (' + ', '.join(timed) + ')' if len(ways) > 1 else ''}"
        for way, (meaning, timed) in ways.items()
    ]


def stop_words(probe: str, stop: Stop, info: RunInfo) -> str:
    """Return the reason why the sampling of `probe` ended, with the widest remaining interval, if known."""
    causes = {
        "precision": f"reached the requested precision ({percent(info.precision)})"
        if info.precision
        else "reached the requested precision",
        "time": f"reached the time limit ({number(Figure(info.time_s * 1e9, unit='ns'))} for the run)"
        if info.time_s
        else "reached the time limit",
        "blocks": "as requested by the suite",
        "no-case": "no case was left to measure",
    }
    where = f" ({stop.widest_case})" if stop.widest_case else ""
    widest = "" if stop.widest is None else f"; the widest interval is \N{PLUS-MINUS SIGN}{percent(stop.widest)}{where}"
    return f"{probe}: {plural(stop.blocks, 'block')}, {causes.get(stop.cause, stop.cause)}{widest}"
