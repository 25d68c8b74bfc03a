"""``bench --on`` and ``machines``: one suite on many machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.errors import ExitCode


def measure(
    run: Path | None,
    suite: Path | None,
    text: str,
    on: str | None,
    where: tuple[str, ...],
    each: int | None,
    results: Path,
    precision: str | None,
    budget: str | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Measure a suite on many machines, or resume that; show what holds on all of them; return the exit code.

    `suite` is a suite's file; without one, `text` is the suite that measures a model.
    """
    from pathlib import Path

    from rich.console import Console

    from runoff.cluster.bench import bench_on, complete_reports, parse_where, resume_on

    console = Console(stderr=as_json)
    if run:
        folder, code = run, resume_on(run, console)
    elif not on:
        raise RunoffError("--where and --each choose machines of a cluster, but --on is missing", "add --on ray://HOST:PORT")
    else:
        start = suite.parent if suite else Path.cwd()
        text = suite.read_text(encoding="utf-8") if suite else text
        arguments = {"--max-error": precision, "--time": budget}
        folder, code = bench_on(parse_where(on, where, each), text, start, results, console, arguments)
    complete_reports(folder, console)
    return code
