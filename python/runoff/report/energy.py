"""Energy as text and tables: the figures with their source, scope and resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff.analysis.machine_noise import OTHERS
from runoff.probes.energy import AFTER, BEFORE, PARTS, resolutions
from runoff.report.text import Figure, figure_or_reason, finite, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import MeterInfo, Run

HEAD = (
    *("case", "part", "source", "net", "resolution", "gross", "power, net"),
    *("idle before", "idle after", "other work"),
)
NOTE = """\
Net energy is the energy above idle power, the mean of before and after; gross energy includes idle power. Smaller net
values than the resolution cannot be measured. Counters cover the whole package or device, so the figures include other
work: the last column is the number of cores that it kept busy. An inference includes preprocessing and everything else
that a live process does for one request. Details: docs/energy.md."""

_Lines = dict[tuple[str, str], dict[Any, Any]]
"""Lines of the summary by case and metric."""


def source_words(run: Run) -> list[str]:
    """Return a sentence for each source of a run's energy readings."""
    return [_source(meter) for meter in run.info.meters]


def _source(meter: MeterInfo) -> str:
    scopes = ", ".join(f"{name} ({scope})" for name, scope in meter.domains.items())
    step, every = number(Figure(meter.resolution_j, unit="J")), number(Figure(meter.step_s * 1e9, unit="ns"))
    return f"energy, {meter.name}: {meter.source}: {scopes}; steps of {step}, every {every}"


def unavailable(run: Run) -> list[str]:
    """Return each source and each domain that could not be read in a run, with the reason."""
    info = run.info
    sources = [f"{name}: {reason}" for name, reason in info.unavailable_meters.items()]
    return sources + [
        f"{meter.name}, {name}: {why}" for meter in info.meters for name, why in meter.unavailable.items()
    ]


def rows(analysis: Analysis) -> Iterator[list[str]]:
    """Yield the rows of the table under `HEAD`: one for each case, domain and part."""
    lines = analysis.summary[analysis.summary["probe"] == "energy"].drop_duplicates(["case", "metric"])
    by_metric: _Lines = {(line["case"], line["metric"]): line for line in lines.to_dict("records")}
    for case in analysis.run.info.cases:
        records = [r for r in analysis.run.records if (r.case, r.probe, r.status) == (case.id, "energy", "ok")]
        unknown = resolutions(records, analysis.run.info.meters)
        for meter in analysis.run.info.meters:
            for domain in meter.domains:
                yield from _of(case.id, meter, domain, by_metric, unknown)


def _of(case: str, meter: MeterInfo, domain: str, found: _Lines, unknown: dict[str, float]) -> Iterator[list[str]]:
    for part in PARTS:
        name = f"{part}.{domain}"
        if (case, name) in found and name in unknown:
            yield [
                *(case, part, f"{meter.name}, {domain} ({meter.domains[domain]})"),
                *(figure_or_reason(found[case, name]), number(Figure(unknown[name], unit="J"))),
                *(figure_or_reason(found.get((case, metric))) for metric in (f"{name}.gross", f"power.{name}")),
                *(figure_or_reason(found.get((case, f"power.{rest}.{domain}"))) for rest in (BEFORE, AFTER)),
                _others(found.get((case, f"others.{part}"))),
            ]


def _others(line: dict[Any, Any] | None) -> str:
    """Return the cores kept busy by other work, in bold if they exceed what a system's own services use."""
    cores = finite(line["estimate"]) if line else None
    if cores is None:
        return "not reported"
    return f"**{cores:.2f} cores**" if cores > OTHERS else f"{cores:.2f} cores"
