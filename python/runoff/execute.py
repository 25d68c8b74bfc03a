"""Stage three: every planned process is started, one at a time, and what it says is kept as it comes.

Each probe is a pass of its own. Within a pass the cases take turns in blocks, in a random order that the seed
fixes, so that a machine which drifts hits all of them alike.
"""

from __future__ import annotations

import random
import shutil
import time
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from runoff.launch import launch
from runoff.parity import TOLERANCE, compare_inputs, compare_outputs, worst
from runoff.protocol import Accuracy, Item, Request
from runoff.reason import Reason
from runoff.store import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from runoff.models.store import StoredModel
    from runoff.plan import Case, Offer
    from runoff.probes.base import Probe
    from runoff.processes import Finished, Spawner
    from runoff.protocol import Result
    from runoff.store import RunWriter
    from runoff.suite import Suite


class Job(Struct, frozen=True):
    """One process to start."""

    case: Case
    probe: Probe
    block: int


class Listener(Protocol):
    """Who is told of the progress. It is never called while a process runs."""

    def starting(self, job: Job) -> None:
        """`job` is about to start."""

    def finished(self, job: Job, record: Record) -> None:
        """`job` ended with `record`."""


class Bench(Struct, frozen=True, kw_only=True):
    """All that executing needs."""

    suite: Suite
    offers: Mapping[str, Offer]
    models: Mapping[str, StoredModel]
    tool_reasons: Mapping[str, Reason]
    """By name, the tools that cannot be used."""
    spawner: Spawner
    scratch: Path


def make_jobs(suite: Suite, cases: Iterable[Case], probes: Iterable[Probe]) -> Iterator[list[Job]]:
    """Yield each pass as a list of jobs in the order in which they are to be started."""
    runnable = [case for case in cases if case.skipped is None]
    for probe in probes:
        jobs = []
        for block in range(suite.blocks(probe.name)):
            turn = [Job(case, probe, block) for case in runnable if probe.name in case.probes]
            random.Random(f"{suite.measure.seed}.{probe.name}.{block}").shuffle(turn)  # noqa: S311 (an order, not a secret)
            jobs += turn
        yield jobs


def execute(bench: Bench, jobs: Iterable[Job], before: Iterable[Record], writer: RunWriter, listener: Listener) -> None:
    """Run `jobs`, appending each record to the run as it comes.

    A case that failed is not started again, in any probe. Jobs that `before` has already are passed over: that is how
    an interrupted run goes on.
    """
    done = {(record.case, record.probe, record.block): record for record in before}
    stopped = {(record.case, record.probe) for record in done.values() if record.status != "ok"}
    failed = {record.case for record in done.values() if record.status in ("error", "unsupported")}
    for order, job in enumerate(jobs):
        key = (job.case.id, job.probe.name)
        if (*key, job.block) in done or key in stopped or job.case.id in failed:
            continue
        record = _measured(bench, job, order, writer, listener)
        writer.append(record)
        listener.finished(job, record)
        if record.status != "ok":
            stopped.add(key)
        if record.status in ("error", "unsupported"):
            failed.add(job.case.id)


def _measured(bench: Bench, job: Job, order: int, writer: RunWriter, listener: Listener) -> Record:
    blank = Record(case=job.case.id, probe=job.probe.name, block=job.block, order=order, status="not-measured")
    obstacle = _obstacle(bench, job)
    if obstacle:
        return msgspec.structs.replace(blank, reason=obstacle)
    listener.starting(job)
    pause = bench.suite.measure.pause_s
    if pause:
        time.sleep(pause)
        writer.info.paused_ns += round(pause * 1e9)
    before = bench.spawner.measured_ns
    record = _measure(bench, job, blank)
    writer.info.measured_ns += bench.spawner.measured_ns - before
    return record


def _obstacle(bench: Bench, job: Job) -> Reason | None:
    can = bench.offers[job.case.target].capabilities
    kind = job.probe.measure.__struct_config__.tag
    if can and kind not in can.measures:
        return Reason("measure", f"its runner does not do {kind!r} (it does: {', '.join(can.measures)})")
    return bench.tool_reasons.get(job.probe.tool.name) if job.probe.tool else None


def _measure(bench: Bench, job: Job, blank: Record) -> Record:
    scratch = bench.scratch / "process"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        return _run(bench, job, blank, scratch)
    except OSError as error:
        return msgspec.structs.replace(blank, status="error", reason=Reason("os", f"it could not be run: {error}"))


def _run(bench: Bench, job: Job, blank: Record, scratch: Path) -> Record:
    case = job.case
    request = make_request(case, bench.models[case.model], job.probe, scratch)
    target, timeout_s = bench.offers[case.target].target, bench.suite.measure.timeout_s
    answer = launch(request, target, bench.spawner, scratch, timeout_s, job.probe.tool)
    record = msgspec.structs.replace(
        blank,
        status=answer.status,
        reason=answer.reason,
        spawn_ns=answer.finished.spawn_ns,
        exit_ns=answer.finished.exit_ns,
        exit_code=answer.finished.exit_code,
        result=answer.result,
    )
    if answer.result is None or answer.reason:
        return record
    return _checked(bench, job, record, answer.result, answer.finished, scratch)


def _checked(bench: Bench, job: Job, record: Record, result: Result, finished: Finished, scratch: Path) -> Record:
    """Add what the tool saw and how the outputs compare; withhold "ok" from a wrong answer."""
    tool = job.probe.tool
    try:
        seen = tool.read(scratch) if tool else []
    except (OSError, ValueError, LookupError) as error:
        reason = Reason(
            "tool-failed",
            f"{tool.name if tool else ''} left no readable report: {error} {finished.stderr[-200:]}",
        )
        return msgspec.structs.replace(record, status="not-measured", reason=reason)
    can, model = bench.offers[job.case.target].capabilities, bench.models[job.case.model]
    if can and not can.computes:
        return msgspec.structs.replace(record, tool=seen)
    try:
        parity = _parity(job.case, model, result)
    except (OSError, ValueError, LookupError) as error:
        return msgspec.structs.replace(
            record, status="error", reason=Reason("garbage", f"its outputs cannot be compared: {error}")
        )
    doubt = _incomplete(job, model, parity) or _disagreement(job.case, parity)
    status = "error" if doubt else "ok"
    return msgspec.structs.replace(record, status=status, reason=doubt, tool=seen, parity=parity)


def _parity(case: Case, model: StoredModel, result: Result) -> list[dict[str, object]]:
    items = _items(case, model)
    examples = len(model.manifest.examples)
    rows = compare_outputs(result.outputs, [model.reference(index % examples) for index in range(len(items))])
    tensors = [model.tensor(index % examples) for index in range(len(items))]
    inputs = compare_inputs(result.tensors, tensors, model.manifest.preprocess)
    return [{**row, **inputs.get(row["item"], {})} for row in rows]


def _incomplete(job: Job, model: StoredModel, parity: list[dict[str, object]]) -> Reason | None:
    """Return the reason when outputs are missing: all are due in `accuracy`, else those of the first batch."""
    every = isinstance(job.probe.measure, Accuracy)
    due = range(len(_items(job.case, model)) if every else job.case.settings.batch)
    missing = set(due) - {row["item"] for row in parity}
    if not missing:
        return None
    items = ", ".join(map(str, sorted(missing)))
    return Reason(
        "garbage",
        f"the result names no outputs of item {items}",
        "write them to outputs_dir and name them in the result",
    )


def _disagreement(case: Case, parity: list[dict[str, object]]) -> Reason | None:
    limit = TOLERANCE[case.workload]
    if worst(parity) > limit:
        message = (
            f"its outputs differ from the reference by {worst(parity):.2g} of the largest output (limit {limit:g})"
        )
        return Reason("outputs-differ", message)
    return None


def make_request(case: Case, model: StoredModel, probe: Probe, outputs_dir: Path) -> Request:
    """Return what the runner of `case` is asked for in `probe`; the spawn time is filled in later."""
    manifest = model.manifest
    image = case.workload == "classify"
    return Request(
        case=case.id,
        workload=case.workload,
        model=model.model_file(case.format),
        inputs=_items(case, model),
        preprocess=manifest.preprocess if image else None,
        labels=str(model.folder / manifest.labels.path) if image else None,
        settings=case.settings,
        measure=probe.measure,
        outputs_dir=str(outputs_dir),
    )


def _items(case: Case, model: StoredModel) -> tuple[Item, ...]:
    """Return the examples, gone round until they fill whole batches."""
    items, batch = model.items(case.workload), case.settings.batch
    batches = -(-len(items) // batch)
    return tuple(items[index % len(items)] for index in range(batches * batch))
