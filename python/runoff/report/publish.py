"""Put a run among the published ones: ``python -m runoff.report.publish results/RUN``.

Copies what a reader wants, without raw files and without this machine's paths, to ``results/reference/SUITE``, for a
run from a container to ``SUITE-in-docker``, and for the suite `quick` writes its table and plot into the README.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from runoff import paths
from runoff.analysis.analyse import Analysis, analyse
from runoff.records.files import RUN_FILE, read_run
from runoff.records.machine import headline
from runoff.report.build import PLOTS, write_report
from runoff.report.markdown import overview
from runoff.report.overview import blocks

_SHOWN = "quick"


def publish(folder: Path) -> Path:
    """Publish the run in `folder`; return where it is now."""
    analysis = analyse(read_run(folder))
    names = (analysis.run.info.suite["suite"]["name"], analysis.run.info.machine.get("container"))
    target = paths.results() / "reference" / "-in-".join(filter(None, names))
    shutil.rmtree(target, ignore_errors=True)
    write_report(analysis, target)  # raw files stay where they are, and the page there does not link to them
    info = (folder / RUN_FILE).read_text(encoding="utf-8")
    (target / RUN_FILE).write_text(info.replace(f"{paths.root()}/", ""), encoding="utf-8")
    if target.name == _SHOWN:
        _write_readme(analysis, paths.root() / "README.md", target)
    return target


def _write_readme(analysis: Analysis, readme: Path, target: Path) -> None:
    (block,) = blocks(analysis)
    here = target.relative_to(readme.parent)
    machine = headline(analysis.run.info.machine)
    shown = f"""\
{block.title}; {machine} ([page]({here}/report.html), [report]({here}/report.md)):

{overview(block)}

![Where a process spends its life]({here}/{PLOTS}/life-{block.slug}.png)
"""
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    between = re.compile(f"{begin}.*{end}", re.DOTALL)
    readme.write_text(between.sub(lambda _: f"{begin}\n{shown}{end}", text), encoding="utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(publish(Path(argument)))  # noqa: T201 (its answer)
