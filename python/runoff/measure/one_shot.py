"""The engine for a process from start to exit: the request, the tool that watches it, the result and its checks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.device_memory import PROVIDERS, DeviceWatch
from runoff.measure.profiles import read_profile
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
    request: Request,
    target: Target,
    spawner: Spawner,
    folder: Path,
    timeout_s: float,
    watch: tuple[Tool, Path] | None = None,
) -> Outcome:
    """Start `target` with `request` and wait for its end; it is killed after `timeout_s`.

    The existing `folder` is for the request and the result; `watch` is the tool that starts the runner and watches it,
    and the existing folder for its report. The request's spawn time is filled in here. Raises `OSError` if the runner
    cannot be started.
    """
    files = RequestFiles(request, folder)
    argv, env = files.command(target), target.environment()
    if watch:
        tool, reports = watch
        argv, env = tool.wrap(str(tool.find()), argv, reports), {**env, **dict(tool.env)}
    finished = spawner.run(argv, env, timeout_s, lambda spawn_ns: files.write(None if watch else spawn_ns))
    return Outcome(finished, *read_result(finished, files.result, request.case, watched=watch is not None))


class OneShot:
    """The one case of a job as a process from start to exit, which can be repeated."""

    def __init__(self, context: ExecutionContext, job: Job) -> None:
        (self._case,) = job.cases
        self._context, self._probe = context, job.probe
        self._watch: tuple[Tool, Path] | None = None
        self._model = context.models[self._case.model]
        self.folder = context.scratch
        """Of the outputs of the latest run."""
        self._order = draw(self._case, self._model, job.probe, job.block, context.secret)

    def run(self) -> Outcome:
        """Run the process once; its outputs are not compared yet."""
        context, tool = self._context, self._probe.tool
        folder = self.folder = fresh(context.scratch / "process")
        self._watch = (tool, fresh(context.scratch / "tool")) if tool else None
        request = make_request(self._case, self._model, self._probe, folder, self._order)
        target, timeout_s = context.target(self._case, self._probe), context.suite.measure.timeout_s
        return run_process(request, target, context.spawner, folder, timeout_s, self._watch)

    def report(self) -> list[dict[str, Any]]:
        """Return the report of the tool that watched the latest run; empty without a tool.

        Raises
        ------
        OSError, ValueError, RecursionError
            If it cannot be read, or is not such a report.
        """
        return self._watch[0].read(self._watch[1]) if self._watch else []

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
    (case,), process = job.cases, OneShot(context, job)
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
        report = process.report()
    except (OSError, ValueError, RecursionError) as error:
        name, logged = job.probe.tool.name if job.probe.tool else "", finished.stderr[-200:]
        reason = Reason("tool-failed", f"{name} left no readable report: {error} {logged}")
        return msgspec.structs.replace(record, status="not-measured", reason=reason)
    result, problem = read_profile(result, job, process.folder, context.run_folder)
    parity, disagreement = process.check(result)
    why = problem or disagreement
    own = {"result": result, "status": "error" if why else "ok", "reason": why, "tool": report, "parity": parity}
    return msgspec.structs.replace(record, **own)
