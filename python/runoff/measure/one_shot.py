"""The engine for a process from start to exit: the request, the tool that watches it, the result and its checks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.device_memory import PROVIDERS, DeviceWatch
from runoff.measure.request import RequestFiles, draw, fresh, make_request
from runoff.measure.result import Outcome, read_result
from runoff.measure.verify import check_result
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.verify import Parity
    from runoff.plan.target import Target
    from runoff.probes.base import Tool
    from runoff.processes import Spawner
    from runoff.records.protocol import Request, Result
    from runoff.records.schema import Record


def run_process(
    request: Request, target: Target, spawner: Spawner, folder: Path, timeout_s: float, tool: Tool | None = None
) -> Outcome:
    """Start `target` with `request` and wait for its end; it is killed after `timeout_s`.

    The existing `folder` is for the request, the result and the report of `tool`, which starts the runner and watches
    it. The request's spawn time is filled in here. Raises `OSError` if the runner cannot be started.
    """
    files = RequestFiles(request, folder)
    argv = files.command(target)
    if tool:
        argv = tool.wrap(str(tool.find()), argv, folder)
    finished = spawner.run(
        argv, target.environment(), timeout_s, lambda spawn_ns: files.write(None if tool else spawn_ns)
    )
    return Outcome(finished, *read_result(finished, files.result, request.case, watched=tool is not None))


class OneShot:
    """The one case of a job as a process from start to exit, which can be repeated.

    `folder`, for the files of the process, is created again for each run.
    """

    def __init__(self, context: ExecutionContext, job: Job, folder: Path) -> None:
        (self._case,) = job.cases
        self._context, self._probe, self._folder = context, job.probe, folder
        self._model = context.models[self._case.model]
        self._order = draw(self._case, self._model, job.probe, job.block, context.secret)
        self._request = make_request(self._case, self._model, job.probe, folder, self._order)

    def run(self) -> Outcome:
        """Run the process once; its outputs are not compared yet."""
        context = self._context
        target, timeout_s = context.target(self._case, self._probe), context.suite.measure.timeout_s
        return run_process(self._request, target, context.spawner, fresh(self._folder), timeout_s, self._probe.tool)

    def check(self, result: Result) -> tuple[Parity, Reason | None]:
        """Compare the outputs of the latest run, as `runoff.measure.verify.check_result` does."""
        can = self._context.targets[self._case.target].capabilities
        if can and not can.computes:
            return [], None
        return check_result(self._case, self._model, self._probe, self._order, result)


def measure_one_shot(context: ExecutionContext, job: Job, blank: Record) -> Record:
    """Run the one case of `job` from start to exit, and return `blank` filled in."""
    try:
        return _measure(context, job, blank)
    except OSError as error:
        return msgspec.structs.replace(blank, status="error", reason=Reason("os", f"cannot be run: {error}"))


def _measure(context: ExecutionContext, job: Job, blank: Record) -> Record:
    folder, (case,), tool = context.scratch / "process", job.cases, job.probe.tool
    process = OneShot(context, job, folder)
    on_device = job.probe.watches_device and case.settings.provider in PROVIDERS
    before = take_snapshot()
    with DeviceWatch() if on_device else nullcontext() as watch:
        outcome = process.run()
    finished, result = outcome.finished, outcome.result
    record = outcome.record(
        blank,
        conditions=conditions_since(before, finished.cpu_ns, finished.switches),
        device_memory=watch.of(finished.pid) if watch else None,
    )
    if result is None or outcome.reason:
        return record
    try:
        report = tool.read(folder) if tool else []
    except (OSError, ValueError, LookupError) as error:
        name, logged = tool.name if tool else "", finished.stderr[-200:]
        reason = Reason("tool-failed", f"{name} left no readable report: {error} {logged}")
        return msgspec.structs.replace(record, status="not-measured", reason=reason)
    parity, disagreement = process.check(result)
    status = "error" if disagreement else "ok"
    return msgspec.structs.replace(record, status=status, reason=disagreement, tool=report, parity=parity)
