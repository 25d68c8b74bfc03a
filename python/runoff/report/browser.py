"""Pages in a browser: what computed, what they loaded, and whether they were isolated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.records.protocol import Effective

HEAD = ("case", "browser", "device", "threads", "isolated", "clock step", "loaded", "of it runtime", "of it model")
_PARTS = ("runtime", "model")
NOTE = """\
A page loads the runtime and the model from a server on this machine, uncompressed. A page that is not isolated from
other origins has one thread and a clock in steps of 100 us. Details: docs/web.md."""


def rows(analysis: Analysis) -> Iterator[list[str]]:
    """Yield the rows of the table under `HEAD`: one for each case that ran in a browser."""
    found: dict[str, Effective] = {}
    for record in analysis.run.records:
        effective = record.result.effective if record.result else None
        if effective and effective.fetched is not None:
            found.setdefault(record.case, effective)
    for case, effective in found.items():
        loaded = effective.fetched or {}
        yield [
            case,
            effective.build or "",
            effective.device or "CPU",
            str(effective.threads or ""),
            "yes" if effective.isolated else "no",
            f"{(effective.clock_step_ns or 0) / 1e3:g} us",
            *(f"{size / 1e6:.1f} MB" for size in (sum(loaded.values()), *(loaded.get(part, 0) for part in _PARTS))),
        ]
