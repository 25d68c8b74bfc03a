"""Stage six: the files of a report, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runoff.records.files import RAW, RUN_FILE, write_atomically
from runoff.report.markdown import report

if TYPE_CHECKING:
    from runoff.analysis.analyse import Analysis

PLOTS = "plots"


def write_report(analysis: Analysis, folder: Path | None = None) -> list[Path]:
    """Write tables, plots, ``report.md`` and ``report.html``; return their paths.

    They go into the run's folder, or into `folder`; the page links to the files that are there.
    """
    from runoff.report.page.render import page  # its libraries, and those of the plots, take seconds to import
    from runoff.report.plots import draw

    folder = folder or analysis.run.folder
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    files = {
        "samples.csv": analysis.samples.to_csv(index=False).encode(),
        "summary.csv": analysis.summary.to_csv(index=False).encode(),
    }
    drawn = list(draw(analysis))
    for figure in drawn:
        files[f"{PLOTS}/{figure.plot.name}.png"] = figure.png
        files[f"{PLOTS}/{figure.plot.name}.svg"] = figure.svg.encode()
    files["report.md"] = report(analysis, [Path(name) for name in files if name.startswith(PLOTS)]).encode()
    files["report.html"] = page(analysis, drawn, [*_data(files), *_raw(folder)]).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]


def _data(files: dict[str, bytes]) -> list[str]:
    return [*(name for name in files if name.endswith((".csv", ".md"))), RUN_FILE]


def _raw(folder: Path) -> list[str]:
    """Return the raw files in `folder`; published runs come without them."""
    return [f"{RAW}/{path.name}" for path in sorted((folder / RAW).glob("*.jsonl"))]
