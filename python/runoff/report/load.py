"""Load: the throughput within the latency bound, latencies, and what a request costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runoff.probes.load import PER_REQUEST, LoadOptions
from runoff.report.text import REQUEST, figure_of, figure_or_reason, full

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import LoadRun, Run

HEAD = (
    *("case", "requests per second within the bound", "verdict", "Offline, per second"),
    *("p50", "p90", "p99", "p99.9", "queue", "compute"),
    *("CPU per request", "peak memory", "first response", "loader"),
)
_LATENCIES = ("latency.knee", "latency.knee.p90", "latency.knee.p99", "latency.knee.p99.9")
_PARTS = ("queue.knee", "compute.knee")


def options(run: Run) -> LoadOptions:
    """Return the options with which the load of a run was made."""
    return LoadOptions(**run.info.suite.get("measure", {}).get("load", {}))


def note(run: Run) -> str:
    """Return how to read the table."""
    made = options(run)
    return (
        f"The highest rate of Poisson arrivals (MLPerf LoadGen, scenario Server) at which {made.percentile:.3g} of the "
        f"responses came within {made.bound_ms:g} ms of the due time of their request, with 99% confidence in each "
        "process: median over processes with 95% interval; rates are on a grid of 5%. Latencies at this rate are "
        "pooled over processes; bounds have 99% confidence. Queue and compute: medians by the runner's clock. First "
        "response: from the start of the process. Loader: CPU that it used (1 is a core), and how late 99% of its "
        "requests were sent at most. Details: docs/load.md."
    )


def rows(analysis: Analysis) -> Iterator[list[str]]:
    """Yield the rows of the table under `HEAD`: one for each case under load."""
    lines: dict[tuple[str, str], dict[Any, Any]] = {}
    for line in analysis.summary[analysis.summary["probe"] == "load"].to_dict("records"):
        lines.setdefault((line["case"], line["metric"]), line)
    loads: dict[str, list[LoadRun]] = {}
    for record in analysis.run.records:
        if record.load:
            loads.setdefault(record.case, []).append(record.load)
    for case in (case.id for case in analysis.run.info.cases if (case.id, PER_REQUEST) in lines):

        def shown(metric: str, case: str = case) -> str:
            return figure_or_reason(lines.get((case, metric)))

        knee = lines[case, PER_REQUEST]
        yield [
            case,
            _rate(knee),
            str(knee["verdict"]),
            _rate(lines.get((case, f"{PER_REQUEST}.offline"))),
            *map(shown, _LATENCIES),
            *map(shown, _PARTS),
            *map(shown, ("cpu", "peak_memory", "first_response")),
            _loader(loads.get(case, [])),
        ]


def _rate(line: dict[Any, Any] | None) -> str:
    """Return a time per request as requests per second, or the reason why there is none."""
    if line is None:
        return ""
    return full(msgspec.structs.replace(figure_of(line), unit=REQUEST)) or str(line["reason"])


def _loader(loads: list[LoadRun]) -> str:
    tests = [test for loaded in loads for test in loaded.tests if test.held]
    if not tests:
        return ""
    where = "" if all(loaded.loader_cores for loaded in loads) else ", on the runner's cores"
    busiest, latest = max(test.loader_share for test in tests), max(test.late_us for test in tests)
    return f"{busiest:.2f} cores, {latest / 1e3:.1f} ms late{where}"
