"""The published comparisons in ``published.toml``, and what runs say about each of their claims."""

from __future__ import annotations

import tomllib
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.claims import FOOTPRINT, NOT_MEASURED, Answer, Claim, MeasuredRun, Quantity, Span, check
from runoff.compare.formats import read
from runoff.history.runs import find
from runoff.measure.machine import describe_machine
from runoff.plan.own_suite import toml_table
from runoff.records.errors import RunoffError
from runoff.records.files import read_info
from runoff.records.machine import same_machine
from runoff.records.protocol import Workload  # noqa: TC001 (msgspec evaluates the annotations)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILE = Path(__file__).with_name("published.toml")
SUITE = "claims"
PATHS = ["torch", "ort-python", "ort-rust", "ort-pyo3"]
"""Targets of a claim about all paths."""


class Column(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number of each case in the table of a comparison."""

    name: str
    metric: str
    per_item: bool = False


class PublishedClaim(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[comparison.claim]]``: a claim about ``over / under``, or about equal predictions (`same`)."""

    id: str
    says: str
    published: str
    needs: str = ""
    """What a machine must have to measure it."""
    each: dict[str, Any] = {}
    """Fields of `runoff.analysis.claims.Quantity` that both sides share."""
    for_each: tuple[dict[str, Any], ...] = ({},)
    """The claim is checked for each: other shared fields, and `over` or `under`."""
    over: dict[str, Any] = {}
    under: dict[str, Any] = {}
    same: Quantity | None = None
    at_least: float = 0.0
    at_most: float = inf

    def variants(self) -> Iterator[tuple[str, Claim]]:
        """Yield the claim for each entry of `for_each`, with what distinguishes it from the others as text."""
        for given in self.for_each:
            shared = {**self.each, **{key: value for key, value in given.items() if key not in ("over", "under")}}
            sides = [{**shared, **given.get(key, {}), **getattr(self, key)} for key in ("over", "under")]
            over, under = (msgspec.convert(side, Quantity) if "model" in side else None for side in sides)
            yield _words(given), Claim(over=over, under=under, same=self.same, true=Span(self.at_least, self.at_most))


class Comparison(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[comparison]]``: a published comparison, its table, and the cases of a run that are listed next to it."""

    id: str
    title: str
    source: str
    models: tuple[str, ...]
    targets: tuple[str, ...]
    workload: Workload = "tensor"
    example: str = ""
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    """Name and published figures, one per column."""
    claim: tuple[PublishedClaim, ...]


class Row(Struct, frozen=True, kw_only=True):
    """The outcome of one claim in one run."""

    id: str
    says: str
    published: str
    answer: Answer
    run: str = ""
    """Name of the run's suite; empty if no run has it."""
    folder: str = ""


def comparisons() -> tuple[Comparison, ...]:
    """Return the published comparisons."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8"))["comparison"], tuple[Comparison, ...])


def chosen(words: str) -> list[PublishedClaim]:
    """Return the claims named in `words`, such as ``A1,E`` (all of E) or ``all``.

    Raises
    ------
    RunoffError
        If there is no such claim, or nothing of it that runoff could measure.
    """
    known = [claim for comparison in comparisons() for claim in comparison.claim]
    names = [word.strip() for word in words.split(",")]
    for name in names:
        if name != "all" and not any(name in (claim.id, claim.id[0]) for claim in known):
            every = dict.fromkeys(claim.id for claim in known)
            raise RunoffError(f"no claim {name!r}", f"all, a comparison (A to E), or: {', '.join(every)}")
    found = [claim for claim in known if {"all", claim.id, claim.id[0]} & set(names)]
    if not any(variant.quantities for claim in found for _, variant in claim.variants()):
        raise RunoffError(f"{words}: nothing to measure; it needs {found[0].needs}", "choose another claim")
    return found


def suite(claims: Iterable[PublishedClaim]) -> str:
    """Return the text of a suite that measures what `claims` are about: a group for each model and its settings."""
    groups: dict[str, dict[str, Any]] = {}
    for quantity in (one for claim in claims for _, variant in claim.variants() for one in variant.quantities):
        head = {"models": [quantity.model], "workloads": [quantity.workload]}
        rest = {"settings": {"threads": 1, **quantity.settings}}
        rest |= {"segment": {"example": quantity.example}} if quantity.example else {}
        probe = "latency" if quantity.probe == FOOTPRINT else quantity.probe  # every run has the sizes on disk
        targets = [quantity.target] if quantity.target else PATHS
        group = groups.setdefault(str((head, rest)), {**head, "targets": [], "probes": [], **rest})
        for key, names in (("targets", targets), ("probes", [probe])):
            group[key] += [name for name in names if name not in group[key]]
    tables = [toml_table("[[group]]", group) for group in groups.values()]
    return "\n".join([toml_table("[suite]", {"name": SUITE, "description": "Published claims"}), *tables])


def newest(folder: Path) -> list[Path]:
    """Return this machine's newest run of each suite below `folder`; all runs of `SUITE`, whose claims differ."""
    here = describe_machine()
    found = find([folder])[0] if folder.is_dir() else []
    mine = [run for run in found if same_machine(run.info.machine, here)]
    last = {run.info.run_id if run.suite == SUITE else run.suite: run.folder for run in mine}
    return list(last.values())


def read_measured(folder: Path) -> MeasuredRun:
    """Return the run in `folder`, published or not.

    Raises
    ------
    RunoffError
        If it is not a run.
    """
    return MeasuredRun(read_info(folder), read(folder))


def check_all(claims: Iterable[PublishedClaim], runs: Sequence[MeasuredRun], *, latest: bool = False) -> list[Row]:
    """Return the outcome of each claim in each run that measured it; a row without a run if none did.

    With `latest`, only in the last run of each suite.
    """
    rows = []
    for claim in claims:
        for words, variant in claim.variants():
            says = f"{claim.says} ({words})" if words else claim.says
            head = {"id": claim.id, "says": says, "published": claim.published}
            found = [
                Row(**head, answer=answer, run=str(run.info.suite["suite"]["name"]), folder=run.info.run_id)
                for run in runs
                if (answer := _checked(claim, variant, run)).reason != NOT_MEASURED
            ]
            found = list({row.run: row for row in found}.values()) if latest else found
            rows += found or [Row(**head, answer=Answer("cannot be told", reason=_next_step(claim, variant)))]
    return rows


def _checked(claim: PublishedClaim, variant: Claim, run: MeasuredRun) -> Answer:
    answer = check(variant, run)
    failed = answer.outcome == "cannot be told" and isnan(answer.measured.ratio) and answer.reason != NOT_MEASURED
    return replace(answer, reason=f"{answer.reason}; needs {claim.needs}") if failed and claim.needs else answer


def _next_step(claim: PublishedClaim, variant: Claim) -> str:
    needs = [f"needs {claim.needs}"] if claim.needs else []
    command = [f"runoff claims --measure {claim.id}"] if variant.quantities else []
    return f"{NOT_MEASURED}: {'; '.join((*needs, *command))}"


def _words(given: dict[str, Any]) -> str:
    """Return the values of an entry of `for_each` as text."""
    values: list[str] = []
    for key, value in given.items():
        nested = isinstance(value, dict)
        values += [_words(value)] if nested else [f"{key} {value}" if isinstance(value, bool | int) else str(value)]
    return ", ".join(values)
