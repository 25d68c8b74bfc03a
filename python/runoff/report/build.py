"""Stage six: the files of a report, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runoff.report.markdown import report
from runoff.store import write_atomically

if TYPE_CHECKING:
    from runoff.analysis.analyse import Analysis

PLOTS = "plots"


def write_report(analysis: Analysis) -> list[Path]:
    """Write tables, plots and ``report.md`` into the run's folder; return their paths."""
    from runoff.report.plots import draw  # its libraries take seconds to import

    folder = analysis.run.folder
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    files = {
        "samples.csv": analysis.samples.to_csv(index=False).encode(),
        "summary.csv": analysis.summary.to_csv(index=False).encode(),
    }
    plots = {f"{PLOTS}/{name}": image for name, image in draw(analysis)}
    text = report(analysis, [Path(name) for name in plots])
    files |= plots | {"report.md": text.encode()}
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]
