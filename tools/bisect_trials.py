"""How often ``runoff bisect`` is wrong: eight releases of which one, at random, makes the runner slower.

``.nox/dev/bin/python tools/bisect_trials.py [TRIES [SLOWER]]``: 40 tries of 5 % take about an hour. A release is the
runner of the self-test, which repeats a share of each inference's time. Each try is a run in a temporary folder.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from runoff.bisect import bisection, search
from runoff.plan.own_suite import OwnOptions
from runoff.plan.target import Target
from runoff.selftest.suites import pick_model, runner

RELEASES = [f"1.{minor}.0" for minor in range(20, 28)]
search.CONFIRMATION = 1  # the search has ended by then, and only its answer counts


def attempt(first: str, slower: float) -> tuple[str, int]:
    """Return the release that a search finds, or its outcome, and the number of steps; `first` is the slower one."""

    def make(_: Target, release: str) -> Target:
        fault = ("slow", slower) if RELEASES.index(release) >= RELEASES.index(first) else ("none",)
        made = runner(*fault)
        return Target(name=release, command=made.command, env=made.env)

    with tempfile.TemporaryDirectory() as folder:
        options = OwnOptions(targets="ort-python", profile="default", threads="1")
        made = bisection.bisect(pick_model(), options, "latency", RELEASES, make, Path(folder), Console(quiet=True))
    found = made.found
    return found.after if found.outcome == "found" else found.outcome, len(found.steps)


def main(tries: int = 40, slower: float = 0.05) -> None:
    """Print each try and the counts of outcomes."""
    counts = {"right": 0, "wrong": 0, "undecided": 0}
    for number in range(1, tries + 1):
        first = random.choice(RELEASES[1:])  # noqa: S311 (no secret)
        answer, steps = attempt(first, slower)
        kind = "right" if answer == first else "wrong" if answer in RELEASES else "undecided"
        counts[kind] += 1
        print(f"{number}: {first} is {slower:.0%} slower; found {answer} in {steps} steps: {kind}", flush=True)  # noqa: T201
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()), "of", tries)  # noqa: T201


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, float), sys.argv[1:], strict=False)))
