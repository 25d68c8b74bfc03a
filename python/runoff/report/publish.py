"""Publishes runs: ``python -m runoff.report.publish results/RUN ...``.

Copies reports and samples, without raw files and without this machine's paths, to ``results/reference/SUITE``, or to
``SUITE-in-docker`` for a run in a container. For the suite `quick`, it also writes table and plot into the README. Of a
run of ``explain`` or ``bisect``, it copies the files of that command in place of a report.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff import paths
from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.verdict import Verdict
from runoff.analysis.wording import words
from runoff.records.errors import RunoffError
from runoff.records.files import RUN_FILE, read_run, write_atomically
from runoff.records.machine import headline
from runoff.report.build import PLOTS, write_report
from runoff.report.overview import blocks
from runoff.report.tables import table
from runoff.report.text import full
from runoff.report.verdicts import WARM, findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.report.overview import Block, Row

MOST_BYTES = 38_000_000
"""Limit for all published runs together: every clone of the repository contains them, compressed to a sixth or so."""
_PUBLISHED = ("reference", "speed", "selftest")
"""Folders of published results."""
_GATE = "gate.md"
"""The outcome of a gate, if ``runoff gate --summary`` left it in the run's folder."""
_OWN = ("explain.*", "bisect.*")
"""Files that a command wrote about its run."""
_TEXTS = {".csv", ".html", ".json", ".md", ".svg"}
_SHOWN = "quick"
_TARGETS = {
    "torch": "PyTorch",
    "ort-python": "ONNX Runtime from Python",
    "ort-rust": "ONNX Runtime from Rust",
    "ort-pyo3": "Rust core from Python",
}
"""Names of targets in the README's table."""
_COLD = "cold"
_CHART = f"{PLOTS}/readme.svg"


def publish(folder: Path) -> Path:
    """Publish the run in `folder`; return the folder of the published run.

    Raises
    ------
    RunoffError
        If `folder` is not a run, or all published runs would exceed `MOST_BYTES`; nothing is changed then.
    """
    analysis = analyse(read_run(folder))
    names = (analysis.run.info.suite["suite"]["name"], analysis.run.info.machine.get("container"))
    target = paths.results() / "reference" / "-in-".join(filter(None, names))
    staged = target.with_name(f".{target.name}")
    shutil.rmtree(staged, ignore_errors=True)
    own = [file for pattern in _OWN for file in folder.glob(pattern)]
    if own:
        staged.mkdir(parents=True)
    else:
        write_report(analysis, staged)  # raw files are not copied, and the page does not link to them
    for file in (*own, folder / RUN_FILE, folder / _GATE):
        if file.is_file():
            shutil.copy(file, staged)
    # reasons and libraries have them
    for file in (one for one in staged.rglob("*") if one.suffix in _TEXTS):
        text = file.read_text(encoding="utf-8").replace(f"{paths.root()}/", "").replace(str(paths.root()), ".")
        file.write_text(text, encoding="utf-8")
    _check_size(staged, target)
    shutil.rmtree(target, ignore_errors=True)
    staged.rename(target)
    if target.name == _SHOWN:
        write_atomically(target / _CHART, _readme_chart(analysis).encode())
        _write_readme(analysis, paths.root() / "README.md", target)
    return target


def published_files(results: Path) -> list[Path]:
    """Return the published files below `results`."""
    return [path for name in _PUBLISHED for path in (results / name).rglob("*") if path.is_file()]


def _check_size(staged: Path, target: Path) -> None:
    """Remove `staged`, the new content of `target`, and raise `RunoffError` if the published runs grow too large."""
    sizes = {path: path.stat().st_size for path in published_files(paths.results()) if target not in path.parents}
    total = sum(sizes.values())
    if total <= MOST_BYTES:
        return
    largest = max(staged.rglob("*"), key=lambda path: path.stat().st_size)
    message = f"published runs would take {total / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB"
    file = f"{target.name}/{largest.relative_to(staged)} ({largest.stat().st_size / 1e6:.1f} MB)"
    shutil.rmtree(staged)
    raise RunoffError(f"{message}; the largest file of this run is {file}", f"remove a run from {target.parent}")


def _write_readme(analysis: Analysis, readme: Path, target: Path) -> None:
    (block,) = blocks(analysis)
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    shown = readme_block(analysis, block, target.relative_to(readme.parent))
    between = re.compile(f"{begin}.*{end}", re.DOTALL)
    readme.write_text(between.sub(lambda _: f"{begin}\n{shown}{end}", text), encoding="utf-8")


def _readme_chart(analysis: Analysis) -> str:
    """Return the README's chart: the phases of its targets with the first profile, as an SVG."""
    import altair as alt  # late: takes seconds to import, like all drawing code
    import vl_convert

    from runoff.report.frame import WIDE
    from runoff.report.page.svg import small
    from runoff.report.panels import life
    from runoff.report.plots import styled

    (block,) = blocks(analysis)
    shown = replace(block, rows=_rows(block, block.profiles[0]))
    named = analysis.life.assign(target=analysis.life["target"].map(_name))
    chart = styled(life(named, shown, replace(WIDE, names=180, panel=320)))
    note = "one process per target, the one with the median total, from a separate pass"
    chart.title = alt.TitleParams("Time from process start to exit, by phase", subtitle=[block.title, note])
    return small(vl_convert.vegalite_to_svg(chart.to_json()))


def readme_block(analysis: Analysis, block: Block, folder: Path) -> str:
    """Return the README's chart and its table: the targets of the block's first profile against the last baseline.

    `folder` is the published run's folder, relative to the README.
    """
    profile, baseline = block.profiles[0], block.baselines[-1]
    rows = _rows(block, profile)
    head = (
        "target",
        "process, start to exit",
        f"vs {_name(baseline).rpartition(' ')[2]}",
        "warm inference",
        "peak RSS",
    )
    cells = (
        (_name(row.target), full(row.wall), words(row.wall_vs.get(baseline, Verdict())), full(row.warm), full(row.peak))
        for row in rows
    )
    return f"""\
{block.title}, profile `{profile}`, with 95% intervals, on {headline(analysis.run.info.machine)}:

![Time from process start to exit, by phase]({folder}/{_CHART})

{table(head, cells)}

{" ".join(_remarks(block, profile, baseline))}
[Full report]({folder}/report.md) ([as a page]({folder}/report.html), to download and open).
"""


def _rows(block: Block, profile: str) -> list[Row]:
    return [row for row in block.present if row.profile == profile and row.target in _TARGETS]


def _name(target: str) -> str:
    return _TARGETS.get(target, target)


def _remarks(block: Block, profile: str, baseline: str) -> Iterator[str]:
    """Yield remarks on the table: ties in warm inference, and process times with the profile `cold`."""
    for found in findings(block):
        if found.what == WARM and found.profile == profile and found.level:
            names = [_name(name) for name in (found.winner.target, *found.level)]
            yield f"Warm inference is not distinguishable between {', '.join(names[:-1])} and {names[-1]}."
    cold = {row.target: row for row in _rows(block, _COLD)}
    best = min(cold.values(), key=lambda row: row.wall.value or float("inf"), default=None)
    if best is not None and baseline in cold and best.target != baseline:
        yield (
            f"With the profile `{_COLD}`, a process takes {full(best.wall)} with {_name(best.target)} and "
            f"{full(cold[baseline].wall)} with {_name(baseline)}."
        )


if __name__ == "__main__":
    try:
        for argument in sys.argv[1:]:
            print(publish(Path(argument)))  # noqa: T201 (the command's output)
    except RunoffError as error:
        sys.exit(f"runoff: {error.message}\n        {error.hint}".rstrip())
