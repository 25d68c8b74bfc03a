"""Print the tables of docs/statistics.md: ``python tools/coverage/tables.py [RUNS]``; 4000 take 15 minutes."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import simulate
from rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

RUNS = 4000
SLOW_SHARE = 4
"""Factor by which slow simulations use fewer runs."""
UNITS = (2, 3, 5, 6, 8, 12, 30)
ITERATIONS = (1, 20)
LONG = (20, 200)
"""Iterations of processes that are averaged."""
BETWEEN = (0.003, 0.01, 0.05)
"""Standard deviations between processes, of logarithms."""
PROMISED = (0.93, 0.97)


def main(runs: int) -> None:
    """Print all tables, each as soon as it is ready."""
    noises = list(simulate.NOISES)
    with ProcessPoolExecutor() as pool:
        for title, rows in (
            ("Ratios of pairs", _coverage(pool, simulate.ratios, [*noises, simulate.DRIFTING], runs)),
            ("Medians", _coverage(pool, simulate.estimates, noises, runs)),
            ("Means", _coverage(pool, simulate.means, noises, runs, LONG)),
            ("Unpaired ratios", _coverage(pool, simulate.apart, noises, runs)),
            ("Rules", _rules(pool, runs // SLOW_SHARE)),
            ("Power", _power(pool, runs)),
            ("Percentiles", _percentiles(pool, runs)),
        ):
            _say(f"\n## {title}\n")
            for row in rows:
                _say(row)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _head(first: str) -> Iterator[str]:
    yield _row(first, [f"{n}" for n in UNITS])
    yield "| --- |" + " ---: |" * len(UNITS)


def _row(name: str, entries: Iterable[str]) -> str:
    return f"| {name} | {' | '.join(entries)} |"


def _coverage(
    pool: ProcessPoolExecutor,
    measure: Callable[..., simulate.Tally],
    noises: Sequence[str],
    runs: int,
    each: Sequence[int] = ITERATIONS,
) -> Iterator[str]:
    """Yield a line for each noise: the lowest and highest coverage over all spreads and numbers of iterations."""
    yield from _head("noise \\ processes")
    grid = [(iterations, between) for iterations in each for between in BETWEEN]
    futures = {
        (noise, n): [pool.submit(partial(measure, noise, n, *point, runs=runs)) for point in grid]
        for noise in noises
        for n in UNITS
    }
    for noise in noises:
        yield _row(noise, [_span([future.result().held for future in futures[noise, n]]) for n in UNITS])


def _span(shares: Sequence[float]) -> str:
    low, high = min(shares), max(shares)
    text = f"{100 * low:.1f}-{100 * high:.1f}"
    return text if PROMISED[0] <= low and high <= PROMISED[1] else f"**{text}**"


def _rules(pool: ProcessPoolExecutor, runs: int) -> Iterator[str]:
    """Yield, by rule, coverage and half width (in percent) on calm and on disturbed processes."""
    for noise in ("normal", "disturbed processes"):
        yield from ("", f"{noise}: coverage, median half width", "")
        yield from _head("rule \\ processes")
        for name in RULES:
            futures = [pool.submit(simulate.rule, name, noise, n, 20, 0.01, runs=runs) for n in UNITS]
            tallies = [future.result() for future in futures]
            yield _row(name, [f"{100 * tally.held:.1f}, {100 * tally.half_width:.2g}%" for tally in tallies])


def _power(pool: ProcessPoolExecutor, runs: int) -> Iterator[str]:
    """Yield the detection rate of an injected slowdown, with 0.5% between processes and 200 iterations in each."""
    yield from _head("injected, noise \\ processes")
    for injected in (0.0, 0.01, 0.02):
        for noise in ("normal", "disturbed processes", simulate.DRIFTING):
            call = partial(simulate.ratios, noise, runs=runs // SLOW_SHARE, injected=injected)
            futures = [pool.submit(call, n, 200, 0.005) for n in UNITS]
            found = [f"{100 * future.result().found:.1f}" for future in futures]
            yield _row(f"{injected:.0%}, {noise}", found)


def _percentiles(pool: ProcessPoolExecutor, runs: int) -> Iterator[str]:
    """Yield the coverage of percentile bounds, and the share of runs without bounds."""
    yield "| quantile, processes x iterations | between | lower holds | upper holds | omitted |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    shapes = [(0.5, 10, 100), (0.9, 10, 200), (0.9, 30, 50), (0.99, 10, 700), (0.99, 30, 200)]
    for q, n, iterations in shapes:
        for between in (0.0, 0.003, 0.01):
            low, high, none = pool.submit(simulate.quantiles, q, n, iterations, between, runs=runs // 2).result()
            shares = [f"{between:.1%}", *(f"{100 * share:.1f}" for share in (low, high, none))]
            yield _row(f"{q}, {n} x {iterations}", shares)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
