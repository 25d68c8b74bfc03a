"""How often ``runoff claims`` is wrong: claims about a slowdown of known size, half of them false by 5% or more.

``.nox/dev/bin/python tools/claims_trials.py [TRIES [SECONDS [SEED]]]``: 40 tries of 45 s take at most 37 minutes. The
runner of the self-test repeats a share of each inference's time. Each try is a run in a temporary folder.
"""

from __future__ import annotations

import random
import sys
import tempfile
from math import inf
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from runoff.analysis.claims import Answer, Claim, MeasuredRun, Quantity, Span, check
from runoff.analysis.measurements import of_run
from runoff.analysis.wording import ratio_words
from runoff.bench import bench_text
from runoff.records.files import read_run
from runoff.selftest.suites import SHORT_SETS, UNMODIFIED, Plan, pick_model, runner, suite_text

SLOWED = "slowed"
NARROW = "1.5%"
"""Interval at which a try ends early."""
SLOWEST = 0.10
"""Largest slowdown: the runner injects a larger one less exactly."""
LEAST, MOST = 0.05, 0.10
"""How far a claim's bound is from the true ratio, relative."""


class Trial(Struct, frozen=True):
    """A claim about ``slowed / unmodified``, and the truth."""

    slower: float
    """The share that is injected: 0.05 is 5%."""
    span: Span
    true: bool

    @property
    def text(self) -> str:
        """The claim and its truth."""
        bound = f"at least {self.span.low:.3f}" if self.span.high == inf else f"at most {self.span.high:.3f}"
        return f"injected {1 + self.slower:.3f}, claimed {bound} ({'true' if self.true else 'false'})"


def make_trial(dice: random.Random, *, true: bool) -> Trial:
    """Return a random claim that is true or false by `LEAST` to `MOST`."""
    slower, margin, at_least = dice.uniform(0, SLOWEST), 1 + dice.uniform(LEAST, MOST), dice.random() < 1 / 2
    ratio = 1 + slower
    bound = ratio / margin if at_least == true else ratio * margin
    return Trial(slower, Span(low=bound) if at_least else Span(high=bound), true)


def attempt(trial: Trial, seconds: int) -> Answer:
    """Measure both runners for `seconds` and return the outcome of the claim."""
    plan = Plan(
        name="claims-trial",
        model=pick_model(),
        targets={UNMODIFIED: runner("none"), SLOWED: runner("slow", trial.slower)},
        probe="latency",
        measure={"time": f"{seconds}s", "precision": NARROW, "latency": {**SHORT_SETS, "warmup_time_s": 0.3}},
    )
    with tempfile.TemporaryDirectory() as folder:
        made, _ = bench_text(suite_text(plan), plan.name, Path(folder), Console(quiet=True))
        run = read_run(made)
        over, under = (
            Quantity(model=plan.model, target=name, metric="latency.inference.warm") for name in (SLOWED, UNMODIFIED)
        )
        return check(Claim(over=over, under=under, true=trial.span), MeasuredRun(run.info, of_run(run)))


def main(tries: int = 40, seconds: int = 45, seed: int = 1) -> None:
    """Print each try and the counts of outcomes."""
    dice = random.Random(seed)  # noqa: S311 (no secret)
    counts = {"right": 0, "wrong": 0, "cannot be told": 0}
    for number in range(1, tries + 1):
        trial = make_trial(dice, true=number % 2 == 0)
        answer = attempt(trial, seconds)
        told = answer.outcome != "cannot be told"
        right = (answer.outcome == "holds") == trial.true
        kind = ("right" if right else "wrong") if told else "cannot be told"
        counts[kind] += 1
        found = f"{ratio_words(answer.measured)} {answer.outcome} {answer.reason}".strip()
        print(f"{number}: {trial.text}: {found}: {kind}", flush=True)  # noqa: T201
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()), "of", tries)  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
