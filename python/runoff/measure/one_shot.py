"""One process from start to exit: the request, the tool that watches it, the answer, and what the machine was like."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.device_memory import PROVIDERS, DeviceWatch
from runoff.measure.launch import launch
from runoff.measure.request import draw, make_request
from runoff.measure.verify import check_result
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.launch import Answer
    from runoff.records.schema import Record


def measure_one_shot(context: ExecutionContext, job: Job, blank: Record) -> Record:
    """Start the one case of `job`, wait for its end, and return `blank` filled in."""
    try:
        return _run(context, job, blank, fresh(context.scratch / "process"))
    except OSError as error:
        return msgspec.structs.replace(blank, status="error", reason=Reason("os", f"it could not be run: {error}"))


def fresh(folder: Path) -> Path:
    """Return `folder`, made anew and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(context: ExecutionContext, job: Job, blank: Record, scratch: Path) -> Record:
    (case,) = job.cases
    model = context.models[case.model]
    order = draw(case, model, job.probe, job.block, context.secret)
    request = make_request(case, model, job.probe, scratch, order)
    target, timeout_s = context.target(case, job.probe), context.suite.measure.timeout_s
    before, own = take_snapshot(), time.process_time_ns()
    on_device = job.probe.watches_device and case.settings.provider in PROVIDERS
    with DeviceWatch() if on_device else nullcontext() as watch:
        answer = launch(request, target, context.spawner, scratch, timeout_s, job.probe.tool)
    finished = answer.finished
    record = msgspec.structs.replace(
        blank,
        status=answer.status,
        reason=answer.reason,
        spawn_ns=finished.spawn_ns,
        exit_ns=finished.exit_ns,
        exit_code=finished.exit_code,
        result=answer.result,
        conditions=conditions_since(before, finished.cpu_ns + time.process_time_ns() - own, finished.switches),
        device_memory=watch.of(finished.pid) if watch else None,
    )
    if answer.result is None or answer.reason:
        return record
    return _checked(context, job, record, order, answer, scratch)


def _checked(
    context: ExecutionContext, job: Job, record: Record, order: Sequence[int], answer: Answer, scratch: Path
) -> Record:
    """Add what the tool saw and how the outputs compare; withhold "ok" from a wrong answer."""
    (case,), tool = job.cases, job.probe.tool
    try:
        seen = tool.read(scratch) if tool else []
    except (OSError, ValueError, LookupError) as error:
        name, logged = tool.name if tool else "", answer.finished.stderr[-200:]
        reason = Reason("tool-failed", f"{name} left no readable report: {error} {logged}")
        return msgspec.structs.replace(record, status="not-measured", reason=reason)
    can = context.targets_info[case.target].capabilities
    if answer.result is None or (can and not can.computes):
        return msgspec.structs.replace(record, tool=seen)
    parity, doubt = check_result(case, context.models[case.model], job.probe, order, answer.result)
    status = "error" if doubt else "ok"
    return msgspec.structs.replace(record, status=status, reason=doubt, tool=seen, parity=parity)
