"""The commands ``claims`` and ``refute``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runoff.cli.options import FILE, FOLDER, examples, json_option

if TYPE_CHECKING:
    from pathlib import Path

_TIME = click.option("--time", "budget", metavar="10m", help="Time budget of the measurement.")
_RESULTS = click.option("--results", type=FOLDER, help="Folder of the runs.  [default: RUNOFF_RESULTS, or results]")


@click.command(
    epilog=examples(
        "runoff claims",
        "runoff claims results/reference/full results/reference/webnn --out results",
        "runoff claims --measure E1,E2 --time 5m",
        "runoff claims --measure D",
    )
)
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=FOLDER)
@click.option("--measure", metavar="ID,ID", help="First measure these claims, of a comparison (D), or all of them.")
@_TIME
@_RESULTS
@click.option("--out", type=FOLDER, help="Write published.md and a page per comparison into this folder.")
@json_option("the outcomes as ")
def claims(
    runs: tuple[Path, ...],
    measure: str | None,
    budget: str | None,
    results: Path | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Check the claims of five published comparisons on this machine's newest runs, or on RUNs.

    Each claim holds, does not hold, or cannot be told; the interval of the measured ratio decides.
    """
    from runoff.cli import checking

    sys.exit(checking.claims(runs, measure, budget, results, out, as_json=as_json))


@click.command(
    epilog=examples(
        "runoff refute their-run",
        "runoff refute their-run --time 10m",
        "runoff refute their-run --model detector.onnx",
        "runoff refute their-run --run results/quick-20261122-101500",
    )
)
@click.argument("folder", metavar="RUN", type=FOLDER)
@_TIME
@_RESULTS
@click.option(
    "--model", "models", multiple=True, type=FILE, help="A model's file, found by its SHA-256; can be repeated."
)
@click.option("--run", type=FOLDER, help="Check a run of the same suite on this machine; measure nothing.")
@click.option("--allow-commands", is_flag=True, help="Start the runners and Python code that its suite names.")
@json_option("the outcomes as ")
def refute(**options: Any) -> None:
    """Measure the suite of somebody else's RUN on this machine, and check each verdict of its report.

    Each verdict holds, does not hold, or cannot be told. Exit code 0: none is refuted; 1: one does not hold, or a case
    failed; 2: bad input; 3: none can be told.
    """
    from runoff.cli import checking

    sys.exit(checking.refute(**options))
