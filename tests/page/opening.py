"""Time to build and to open a page with 100,000 samples per case: ``python tests/page/opening.py``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "unit"))

import click
from reading import started_chromium
from synthetic import synthetic_run

from runoff.analysis.analyse import analyse
from runoff.records.files import RunWriter, read_run
from runoff.report.build import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SAMPLES = 100_000
_BLOCKS = 5
_READ = """() => new Promise((resolve) => {
    new PerformanceObserver((list, observer) => {
        const [paint] = list.getEntriesByName("first-contentful-paint");
        if (!paint) return;
        observer.disconnect();
        const [load] = performance.getEntriesByType("navigation");
        resolve([load.domContentLoadedEventEnd, load.loadEventEnd, paint.startTime]);
    }).observe({ type: "paint", buffered: true });
})"""


class Opening(NamedTuple):
    """Milliseconds since the address was requested."""

    content_ms: float
    """Until the page was parsed and the script had run (DOMContentLoaded)."""
    load_ms: float
    paint_ms: float
    """Until the first text was painted (first contentful paint)."""


def make_run(folder: Path) -> Path:
    """Write a run with `SAMPLES` warm inferences of each case into `folder`; return it."""
    run = synthetic_run(folder / "run", profiles=("default",), blocks=_BLOCKS, warm=SAMPLES // _BLOCKS, live=True)
    writer = RunWriter(run.folder, run.info)
    for record in run.records:
        writer.append(record)
    return run.folder


def measure(browser: Browser, page: Path) -> Opening:
    """Open `page` in a separate window."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = context.new_page()
    window.goto(page.as_uri(), wait_until="load")
    found = Opening(*window.evaluate(_READ))
    context.close()
    return found


def main() -> None:
    """Print each step with its seconds, then five openings."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_run(Path(scratch))
        began = time.perf_counter()
        run = read_run(folder)
        read = time.perf_counter()
        analysis = analyse(run)
        analysed = time.perf_counter()
        write_report(analysis)
        wrote = time.perf_counter()
        page = folder / "report.html"
        warm = analysis.samples[(analysis.samples["phase"] == "warm") & (analysis.samples["metric"] == "inference")]
        click.echo(
            f"{len(analysis.samples):,} samples; warm inferences by case: {warm['case'].value_counts().to_dict()}"
        )
        click.echo(f"read {read - began:.1f} s, analysis {analysed - read:.1f} s, report {wrote - analysed:.1f} s")
        click.echo(f"{page.name}: {page.stat().st_size / 1e6:.2f} MB")
        with started_chromium() as browser:
            for _ in range(5):
                click.echo(
                    ", ".join(
                        f"{name.removesuffix('_ms')} {ms:.0f} ms"
                        for name, ms in measure(browser, page)._asdict().items()
                    )
                )


if __name__ == "__main__":
    main()
