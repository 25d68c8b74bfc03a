"""The result of a tuning in words, as a table, as JSON and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from runoff.analysis.comparisons import MetricComparison
from runoff.analysis.wording import percent, words
from runoff.compare.pairing import RunComparison
from runoff.report.text import estimated, full, plural
from runoff.statistics import Ratio
from runoff.tune.search import words_of

if TYPE_CHECKING:
    from rich.console import Console

    from runoff.adaptive.objective import Objective
    from runoff.statistics import Estimate
    from runoff.tune.search import Found, Tried, Worth
    from runoff.tune.tuning import Tuned


def sentence(tuned: Tuned, objective: Objective) -> str:
    """Return the result in one sentence."""
    found = tuned.found
    if not found.suggested:
        return f"no change of the default was better for {objective.name}: keep the default"
    floor, pairs = percent(found.verdict.floor), plural(found.blocks, "fresh pair")
    compared = f"{words(found.verdict)}, noise floor {floor}, {pairs}"
    if not found.best:
        return f"keep the default: {found.refusal} ({compared})"
    return f"{objective.what}, compared with the default: {compared}"


def worth_words(worth: Worth, found: Found) -> str:
    """Return what a change was worth beside the others, with its interval."""
    return words(_line(worth, found).verdict)


def show(tuned: Tuned, objective: Objective, console: Console) -> None:
    """Print the result."""
    found = tuned.found
    lines = [sentence(tuned, objective)]
    if tuned.default and tuned.best and found.suggested:
        values = [full(estimated(one, objective.unit)) for one in (tuned.default, tuned.best)]
        lines.append(f"{objective.what}: {values[0]} with the default, {values[1]} with the changes below")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if found.worths:
        table = Table("setting", "worth, beside the others", box=SIMPLE_HEAD)
        for one in found.worths:
            table.add_row(str(one.change), worth_words(one, found))
        console.print(table)
    failed = [one for one in found.tried if one.standing.reason]
    for tried in failed:
        console.print(f"{words_of(tried.move)}: {tried.standing.reason}", highlight=False, markup=False, soft_wrap=True)
    kept = set(found.suggested)
    rejected = [words_of(one.move) for one in found.tried if not kept & {*one.move} and one not in failed]
    if rejected:
        console.print(f"no gain shown: {'; '.join(dict.fromkeys(rejected))}", highlight=False, markup=False)


def document(tuned: Tuned, objective: Objective) -> dict[str, Any]:
    """Return the result for JSON: values and ratios in the objective's unit, above 1 is better."""
    found = tuned.found
    return {
        "model": tuned.info.cases[0].model,
        "target": tuned.info.cases[0].target,
        "objective": objective.name,
        "unit": objective.unit,
        "settings": {name: value for one in found.best for name, value in one.values},
        "kept": bool(found.best),
        "refusal": found.refusal,
        "sentence": sentence(tuned, objective),
        "verdict": found.verdict,
        "blocks": found.blocks,
        "default": _value(tuned.default),
        "best": _value(tuned.best),
        "worth": [{"setting": str(one.change), **_ratio(one.ratio)} for one in found.worths],
        "tried": [_tried(one) for one in found.tried],
        "seconds": round(tuned.seconds, 1),
        "run": str(tuned.folder),
    }


def draw(tuned: Tuned, objective: Objective) -> bytes:
    """Return the plot of what each change was worth, as SVG; empty if there was none."""
    from runoff.compare import forest

    found = tuned.found
    if not found.worths:
        return b""
    verdict = found.verdict
    ratio = Ratio(verdict.ratio, verdict.low, verdict.high, found.blocks, verdict.p_adjusted)
    lines = [*(_line(one, found) for one in found.worths), _compared("all, in fresh processes", ratio, found)]
    return forest.draw(RunComparison("without it", f"{objective.what}: with the setting", lines, [], []))


def _line(worth: Worth, found: Found) -> MetricComparison:
    return _compared(str(worth.change), worth.ratio, found)


def _compared(what: str, ratio: Ratio, found: Found) -> MetricComparison:
    floor, unit, reason = found.verdict.floor, found.verdict.unit, "" if ratio.n else "it failed"
    return MetricComparison(
        label="", metric=what, unit=unit, ratio=ratio, floor=floor, p_adjusted=ratio.p, reason=reason
    )


def _value(estimate: Estimate | None) -> dict[str, float] | None:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high} if estimate else None


def _ratio(ratio: Ratio) -> dict[str, float]:
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high}


def _tried(one: Tried) -> dict[str, Any]:
    standing = one.standing
    return {
        "setting": words_of(one.move),
        "beside": words_of(one.beside),
        "state": standing.state,
        **_ratio(standing.ratio),
        "blocks": one.blocks,
        "reason": standing.reason,
    }
