"""Stage six: the files of a report, each written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runoff.records.files import PUBLISHED_SAMPLES, RAW, RUN_FILE, SAMPLES, SUMMARY, write_atomically
from runoff.report.markdown import report
from runoff.report.segmentation import overlays

if TYPE_CHECKING:
    from runoff.analysis.analyse import Analysis

PLOTS = "plots"
_DIGITS = "%.9g"
"""Digits of numbers in the summary: more would be noise, and double its size."""


def write_report(analysis: Analysis, published: Path | None = None) -> list[Path]:
    """Write tables, plots, ``report.md`` and ``report.html``; return their paths.

    They are written to the run's folder, with ``samples.csv``; or to the folder `published`, with ``samples.parquet``.
    The page links to the files that exist. Every plot is an SVG, which GitHub, browsers and papers can use.
    """
    from runoff.report.page.render import page  # late: its libraries, and those of the plots, take seconds to import
    from runoff.report.page.svg import small
    from runoff.report.plots import draw

    folder = published or analysis.run.folder
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    samples = PUBLISHED_SAMPLES if published else SAMPLES
    drawn = list(draw(analysis))
    plots = {f"{PLOTS}/{figure.plot.name}.svg": small(figure.svg).encode() for figure in drawn}
    pictures = {f"{PLOTS}/{overlay.name}.png": overlay.data for overlay in overlays(analysis)}
    # published runs have no raw files
    raw = [f"{RAW}/{path.name}" for path in sorted((folder / RAW).glob("*.jsonl"))]
    links = [samples, SUMMARY, "report.md", RUN_FILE, *raw]
    files = {
        samples: _samples(analysis, parquet=published is not None),
        SUMMARY: analysis.summary.to_csv(index=False, float_format=_DIGITS).encode(),
        **plots,
        **pictures,
        "report.md": report(analysis, [Path(name) for name in (*plots, *pictures)], samples).encode(),
        "report.html": page(analysis, drawn, links).encode(),
    }
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]


def _samples(analysis: Analysis, *, parquet: bool) -> bytes:
    if not parquet:
        return analysis.samples.to_csv(index=False).encode()
    data: bytes = analysis.samples.to_parquet(index=False, compression="zstd")
    return data
