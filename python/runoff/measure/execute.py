"""Executes the plan: starts every process and appends its record to the run immediately.

Each probe is a separate pass over the cases, in blocks. The order within a block is random, fixed by the seed, so drift
of the machine affects all cases equally. A job is a set of processes that start together: one process, or all cases of
a comparison if they are interleaved.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

import msgspec

from runoff.measure.energy_windows import measure_energy
from runoff.measure.interleaved import measure_interleaved
from runoff.measure.job import Job
from runoff.measure.load import load_obstacle, measure_load
from runoff.measure.one_shot import measure_one_shot
from runoff.records.reason import Reason
from runoff.records.schema import Record
from runoff.targets.base import missing_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runoff.measure.job import ExecutionContext
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.probes.base import Probe
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case

FAILED = ("error", "unsupported")
"""Statuses after which a case is not started again, in any probe."""


class Listener(Protocol):
    """Receives the progress. It is never called while a process is timed."""

    def starting(self, job: Job) -> None:
        """`job` is about to start."""

    def finished(self, job: Job, records: Sequence[Record]) -> None:
        """`job` ended with `records`."""


def make_block(
    suite: Suite, cases: Iterable[Case], targets: Mapping[str, TargetInfo], probe: Probe, block: int
) -> list[Job]:
    """Return the jobs of one block of `probe`, in the order in which they are to be started."""
    jobs = [Job(group, probe, block) for group in _groups(suite, _runnable(cases, probe), targets, probe)]
    random.Random(f"{suite.measure.seed}.{probe.name}.{block}").shuffle(jobs)  # noqa: S311 (an order, not a secret)
    return jobs


def _runnable(cases: Iterable[Case], probe: Probe) -> list[Case]:
    return [case for case in cases if case.skipped is None and probe.name in case.probes]


def counted_jobs(context: ExecutionContext, cases: Sequence[Case], probe: Probe) -> list[Job]:
    """Return the jobs of the smallest number of blocks of `probe`."""
    blocks = range(context.sampling.min_blocks(probe.name))
    return [job for block in blocks for job in make_block(context.suite, cases, context.targets, probe, block)]


def _groups(
    suite: Suite, cases: Sequence[Case], targets: Mapping[str, TargetInfo], probe: Probe
) -> Iterable[tuple[Case, ...]]:
    """Return the cases that are started together: those that can take turns, if the probe's engine lets them."""
    if probe.engine not in ("interleaved", "load") or suite.measure.latency.mode == "alone":
        return [(case,) for case in cases]
    together: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in cases:
        together[case.interleaving].append(case)
    made: list[tuple[Case, ...]] = []
    for members in together.values():
        able = tuple(case for case in members if _supports(targets[case.target], probe.kinds[-1]))
        made += [*([able] if able else []), *((case,) for case in members if case not in able)]
    return made


def takes_turns(target_info: TargetInfo) -> bool:
    """Return whether the runner can be measured as a live process that takes turns."""
    return _supports(target_info, "turns")


def _supports(target_info: TargetInfo, measure: str) -> bool:
    return target_info.capabilities is not None and measure in target_info.capabilities.measures


def execute(
    context: ExecutionContext, cases: Sequence[Case], probes: Iterable[Probe], writer: RunWriter, listener: Listener
) -> None:
    """Measure `cases`, pass by pass and block by block, and append each record to the run.

    A case that failed is not started again, in any probe. Records in `context.before` are not measured again, which is
    how an interrupted run is resumed.
    """
    sampling, done = context.sampling, list(context.before)

    def records_of(probe: Probe) -> list[Record]:
        return [record for record in done if record.probe == probe.name]

    for probe in probes:
        measured = bool(_runnable(cases, probe))
        block = 0
        sampling.begin(probe.name)
        while measured and sampling.needs_block(probe.name, block, records_of(probe)):
            done += measure_block(context, cases, probe, block, done, writer, listener)
            block += 1
            if sampling.until is not None and not _cases_left(Job(tuple(_runnable(cases, probe)), probe, -1), done):
                sampling.abandon()
                break
        if measured:
            writer.info.stops[probe.name] = sampling.end(probe.name, block, records_of(probe))
            writer.save_info()


def measure_block(
    context: ExecutionContext,
    cases: Iterable[Case],
    probe: Probe,
    block: int,
    done: Sequence[Record],
    writer: RunWriter,
    listener: Listener,
) -> list[Record]:
    """Measure one block of `probe`, append its records to the run, and return them.

    Cases that failed in `done`, the records so far, or that it has in this block, are not started.
    """
    records: list[Record] = []
    order = max((record.order for record in done), default=-1) + 1
    for job in make_block(context.suite, cases, context.targets, probe, block):
        left = _cases_left(job, done)
        if left:
            replaced = msgspec.structs.replace(job, cases=left)
            records += _measured(context, replaced, order + len(records), writer, listener)
    return records


def _cases_left(job: Job, done: Iterable[Record]) -> tuple[Case, ...]:
    """Return the cases of `job` without those that were measured, stopped in this probe, or failed in any."""
    over = {
        record.case
        for record in done
        if record.status in FAILED
        or (record.probe == job.probe.name and (record.block == job.block or record.status != "ok"))
    }
    return tuple(case for case in job.cases if case.id not in over)


def _measured(context: ExecutionContext, job: Job, order: int, writer: RunWriter, listener: Listener) -> list[Record]:
    """Measure a job and write its records."""
    blanks = [
        Record(case=case.id, probe=job.probe.name, block=job.block, order=order + place, status="not-measured")
        for place, case in enumerate(job.cases)
    ]
    obstacle = _obstacle(context, job)
    if obstacle:
        records = [msgspec.structs.replace(blank, reason=obstacle) for blank in blanks]
    else:
        listener.starting(job)
        pause = context.suite.measure.pause_s
        if pause:
            time.sleep(pause)
            writer.info.paused_ns += round(pause * 1e9)
        before, began_ns = context.spawner.measured_ns, time.monotonic_ns()
        try:
            records = _measure(context, job, blanks)
        except BaseException:  # the time of an interrupted job is no overhead
            writer.info.measured_ns += time.monotonic_ns() - began_ns
            raise
        writer.info.measured_ns += context.spawner.measured_ns - before
        writer.info.paused_ns += sum(map(_idle_ns, records))
    for record in records:
        writer.append(record)
    listener.finished(job, records)
    return records


def _measure(context: ExecutionContext, job: Job, blanks: list[Record]) -> list[Record]:
    if job.probe.engine == "interleaved" and takes_turns(context.targets[job.cases[0].target]):
        return measure_interleaved(context, job, blanks)
    if job.probe.engine == "load":
        return measure_load(context, job, blanks)
    if job.probe.engine == "energy-windows":
        return [measure_energy(context, job, blank) for blank in blanks]
    return [measure_one_shot(context, job, blank) for blank in blanks]


def _idle_ns(record: Record) -> int:
    """Return for how long the machine was deliberately left idle."""
    return sum(window.end_ns - window.start_ns for window in record.energy if not window.count)


def _obstacle(context: ExecutionContext, job: Job) -> Reason | None:
    probe, can = job.probe, context.targets[job.cases[0].target].capabilities
    if can and not set(probe.kinds) & set(can.measures):
        supported = ", ".join(can.measures)
        return Reason("measure", f"the runner does not support {probe.kinds[0]!r} (supported: {supported})")
    if probe.engine == "load" and (reason := load_obstacle(job.cases[0])):
        return reason
    if probe.environment and (missing := missing_environment(probe.environment)):
        return missing
    if probe.uses_meters:
        return context.meters.reason
    return context.tool_reasons.get(probe.tool.name) if probe.tool else None
