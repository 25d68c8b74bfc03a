"""The engine for a live process that takes turns: commands, responses, and the checks of both."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from runoff.measure.core_waits import CoreWaits, Exchange, exchange_between
from runoff.measure.huge_pages import huge_bytes
from runoff.measure.parity import worst_rows
from runoff.measure.request import RequestFiles, draw, fresh, make_request
from runoff.measure.result import Outcome, read_result
from runoff.measure.thread_times import TICK_S, Spent, busy_threads, since, thread_times
from runoff.measure.verify import check_result, check_turn
from runoff.measure.warmup import WINDOW, WINDOWS
from runoff.probes.latency import DEVICE_PARTS, SEGMENT_PARTS, turns
from runoff.processes import LINE_BYTES
from runoff.records import untrusted
from runoff.records.protocol import Nanoseconds, WrittenTensor
from runoff.records.reason import Reason, ReasonError
from runoff.records.schema import InterleavingStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.measure.job import ExecutionContext, Job
    from runoff.records.protocol import Result, Workload
    from runoff.records.schema import Case

WITHIN = (*DEVICE_PARTS, *SEGMENT_PARTS)
"""Parts of an inference, on a device with dedicated memory, or of a segmentation; they are reported next to it."""
UNREPORTED_SHARE = 0.05
UNREPORTED_NS = 300_000
"""A turn may last this much longer than the runner reports, beyond an empty turn: copies into its tensors."""
BETWEEN_NS = 4_000
"""The same for each further inference of a turn: a loop in Python takes up to 7 us for an iteration."""
UNREPORTED_SHARE_OF_BATCHES = 0.25
"""The same with batches, which some runners join outside the timed region, as the protocol permits."""
FEWEST_TURNS = 10
"""Fewer have no decile: it would be the shortest."""
OUTPUTS_SHARE = 0.25
WRITES = 4
OUTPUTS_NS = 2_000_000
"""Outputs may take this share of an inference, this many times what runoff takes to write such files, and this long."""
FEWEST_OUTPUTS = WINDOW * WINDOWS
"""Requests of outputs, as many as a warm-up has: on a busy machine a single one proves nothing."""
SKIPPED = 3
"""An inference alone may take this many times as long as the first of several, which had to wake up like it."""
_TRIALS = 5


class TurnError(ReasonError):
    """The process cannot continue."""


class LiveProcess:
    """One live process of a case in a job. The constructor raises `OSError` if the runner cannot be started."""

    def __init__(self, context: ExecutionContext, job: Job, case: Case) -> None:
        self.case = case
        self.outcome: Outcome | None = None
        """Set when it has ended."""
        self.waited_ns = 0
        """Wall time that runoff waited for it."""
        self.inference_ns: list[int] = []
        """All reported times, the warm-up included."""
        self.checked = 0
        self.parity: list[dict[str, Any]] = []
        """The worst comparison of each example."""
        self._unreported_ns: list[int] = []
        self._turns: list[Exchange] = []
        self._empty: list[Exchange] = []
        self._outputs: list[Exchange] = []
        self._written: list[WrittenTensor] = []
        """The latest outputs."""
        self._single_ns: list[int] = []
        """Inferences of the warm-up that had a turn of their own."""
        self._warmup = 0
        """Inferences of the warm-up, if it has ended."""
        self._threads: dict[int, Spent] = {}
        self._began_ns = self._before_ns = 0
        self._huge = context.suite.measure.latency.huge_pages
        self._timeout_s = context.suite.measure.timeout_s
        self._model = context.models[case.model]
        self._order = draw(case, self._model, job.probe, job.block, context.secret)
        self.items = len(self._order)
        """Number of items in its request."""
        folder, probe = fresh(context.scratch / "set" / case.id), turns(context.suite.measure.latency.warmup)
        self._files = RequestFiles(make_request(case, self._model, probe, folder, self._order), folder)
        target = context.target(case, job.probe)
        self._live = context.spawner.start(self._files.command(target), target.environment(), self._files.write)
        self._waits = CoreWaits(self._live.pid)

    def wait_until_ready(self) -> None:
        """Wait until the runner reports that it is ready."""
        if self._ask("") != "ready\n":
            raise _protocol_error("the runner did not report that it is ready for turns")

    def turn(self, firsts: list[int]) -> None:
        """Request an inference from each item of `firsts` on, and check the outputs of the last.

        Raises
        ------
        TurnError
            If the process is gone, its response is invalid, or its outputs are wrong.
        """
        line, asked = self._exchange(" ".join(map(str, firsts)) + "\n")
        times = _decode(line, dict[str, list[Nanoseconds]])
        if "inference" not in times or any(len(part) != len(firsts) for part in times.values()):
            raise _protocol_error(f"{len(firsts)} inferences requested, response {line[:80]!r}")
        self._record_times(firsts, times, asked)
        if firsts:
            self._check_outputs(firsts[-1])

    def _record_times(self, firsts: list[int], times: dict[str, list[int]], asked: Exchange) -> None:
        reason = check_parts(times, self.case.workload)
        if reason:
            raise TurnError(reason)
        reported_ns = sum(sum(ns) for part, ns in times.items() if part not in WITHIN)
        if reported_ns > asked.took_ns:
            message = f"the runner reports {reported_ns} ns for a turn of {asked.took_ns} ns by runoff's clock"
            raise TurnError(Reason("clock", message))
        if not firsts:
            self._empty.append(asked)
            return
        if len(firsts) == 1 and not self._warmup:
            self._single_ns += times["inference"]
        self.inference_ns += times["inference"]
        self._turns.append(asked)
        # the waits of the runner may lie within the time that it reports
        self._unreported_ns.append(asked.woken_ns - reported_ns)

    def _check_outputs(self, first: int) -> None:
        batch = self.case.settings.batch
        places = [(first + offset) % self.items for offset in range(batch)]
        line, asked = self._exchange("outputs\n")
        self._outputs.append(asked)
        outputs = self._written = _decode(line, list[WrittenTensor])
        parity, reason = check_turn(self.case, self._model, self._order, places, outputs)
        self.checked += 1
        self.parity = worst_rows([*self.parity, *parity])
        if reason:
            message = f"{reason.message}; found in checked output {self.checked}"
            raise TurnError(Reason(reason.kind, message, reason.hint))

    def begin(self) -> None:
        """Begin the measured turns: CPU time used before does not count."""
        self._single_ns, self._warmup = self._single_ns[-WINDOW * WINDOWS :], len(self.inference_ns)
        self._turns, self._unreported_ns, self._empty, self._outputs = [], [], [], []
        self._threads, self._began_ns = thread_times(self._live.pid), time.monotonic_ns()
        self._before_ns = self.waited_ns

    def end(self) -> None:
        """End the measured turns: record the CPU time of the threads, and check the runner's clock.

        Raises
        ------
        TurnError
            If the turns lasted longer than the runner reports, or work was put off or left out.
        """
        self._used = since(thread_times(self._live.pid), self._threads)
        self._huge_bytes = huge_bytes(self._live.pid) if self._huge else None
        self._in_turns_ns, self._lasted_ns = self.waited_ns - self._before_ns, time.monotonic_ns() - self._began_ns
        self._take_empty_turns()
        turns, empty = ([asked.woken_ns for asked in exchanges] for exchanges in (self._turns, self._empty))
        count = len(self.inference_ns[self._warmup :]) // len(self._turns) if self._turns else 1
        reason = check_clock(turns, self._unreported_ns, empty, self.case.settings.batch, count)
        reason = reason or check_first(self._single_ns, self.inference_ns[self._warmup :: count])
        if reason:
            raise TurnError(reason)
        self.check_outputs_time()

    def check_outputs_time(self) -> None:
        """Check the time that the outputs took since the start, or since `begin` if there were `FEWEST_OUTPUTS`.

        Raises
        ------
        TurnError
            If the runner computed only when the outputs were requested.
        """
        if len(self._outputs) < FEWEST_OUTPUTS:
            return
        self._take_empty_turns()
        writing_ns = _writing_ns([Path(tensor.path).stat().st_size for tensor in self._written], self._files.folder)
        outputs, empty = ([asked.net_ns for asked in exchanges] for exchanges in (self._outputs, self._empty))
        reason = check_outputs(outputs, empty, writing_ns, median(self.inference_ns))
        if reason:
            raise TurnError(reason)

    def _take_empty_turns(self) -> None:
        """Take turns without an inference, if there were none: a short measurement has none."""
        for _ in range(0 if self._empty else _TRIALS):
            self.turn([])

    def stats(self, *, group_size: int, inferences: int, warmup: int, steady: bool) -> InterleavingStats:
        """Return the statistics of its measured turns."""
        in_turns_s = self._in_turns_ns / 1e9
        busy = busy_threads(self._used, in_turns_s, self.case.settings.threads, sum(self.inference_ns) / 1e9)
        waiting_s = self._lasted_ns / 1e9 - in_turns_s
        # a thread's CPU time is a tick off at most, at both reads
        idle_s = sum(spent.cpu_s for spent in self._used) - (busy or 0) * (in_turns_s + 2 * TICK_S)
        return InterleavingStats(
            group_size=group_size,
            inferences=inferences,
            warmup=warmup,
            steady=steady,
            checked=self.checked,
            roundtrip_ns=tuple(asked.took_ns for asked in self._turns),
            empty_ns=tuple(asked.took_ns for asked in self._empty),
            outputs_ns=tuple(asked.took_ns for asked in self._outputs),
            busy_threads=busy,
            huge_bytes=self._huge_bytes,
            waiting_share=round(max(0.0, idle_s) / waiting_s, 3) if busy and waiting_s > 0 else None,
        )

    def close(self, failure: Reason | None = None) -> Outcome:
        """End the process and return its outcome; `failure` is the reason why it cannot continue.

        The times in the result must be those that were reported turn by turn.
        """
        if self.outcome is None:
            began = time.monotonic_ns()
            finished = self._live.close(self._timeout_s)
            self.waited_ns += time.monotonic_ns() - began
            self._waits.close()
            result, reason = read_result(finished, self._files.result, self.case.id, watched=False)
            reason = failure or reason or (self._check_result(result) if result else None)
            self.outcome = Outcome(finished, result, reason)
        return self.outcome

    def _check_result(self, result: Result) -> Reason | None:
        samples = result.samples.get("inference")
        if samples is None or list(samples.warm_ns) != self.inference_ns:
            return Reason("garbage", "the times in the result are not those reported turn by turn")
        parity, reason = check_result(self.case, self._model, turns(0), self._order, result)
        self.parity = worst_rows([*self.parity, *parity])
        return reason

    def _exchange(self, text: str) -> tuple[str, Exchange]:
        """Return the response to `text`, and how long it took and waited for a core."""
        before, began = self._waits.read(), time.monotonic_ns()
        line = self._ask(text)
        took_ns = time.monotonic_ns() - began
        return line, exchange_between(before, self._waits.read(), took_ns)

    def _ask(self, text: str) -> str:
        began = time.monotonic_ns()
        line = self._live.ask(text, self._timeout_s)
        self.waited_ns += time.monotonic_ns() - began
        if not line:
            outcome = self.close()
            # even if its result is valid
            reason = outcome.reason or Reason("crashed", "the runner exited unexpectedly")
            self.outcome = msgspec.structs.replace(outcome, reason=reason)
            raise TurnError(reason)
        if not line.endswith("\n"):
            raise _protocol_error(f"a response of the runner is longer than {LINE_BYTES:,} bytes")
        return line

    def cpu_ns(self) -> int | None:
        """Return the CPU time of the process so far; None if the system does not report it."""
        threads = thread_times(self._live.pid).values()
        return round(sum(spent.cpu_s for spent in threads) * 1e9) if threads else None


def _decode(line: str, kind: Any) -> Any:  # noqa: ANN401 (a type of msgspec's, and a value of it)
    try:
        return untrusted.decode(line, kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _protocol_error(f"the response to a turn cannot be read: {error}: {line[:80]!r}") from error


def _protocol_error(message: str) -> TurnError:
    return TurnError(Reason("garbage", message, "see protocol/README.md, measure turns"))


def check_parts(times: dict[str, list[int]], workload: Workload) -> Reason | None:
    """Return the reason if the response to a turn has an unknown part, or parts that are longer than the inference."""
    known = {"inference", *WITHIN} | ({"preprocess"} if workload != "tensor" else set())
    if unknown := sorted(times.keys() - known):
        return Reason("garbage", f"the workload {workload} has no part {unknown[0]!r}", "see protocol/README.md")
    parts = [times[name] for name in WITHIN if name in times]
    for inference_ns, *inside in zip(times["inference"], *parts, strict=True):
        if sum(inside) > inference_ns:
            message = f"the runner reports {sum(inside)} ns for the parts of an inference of {inference_ns} ns"
            return Reason("clock", message, f"{', '.join(WITHIN)} lie within the inference")
    return None


def check_clock(
    roundtrips: list[int], unreported: list[int], empty: list[int], batch: int, inferences: int = 1
) -> Reason | None:
    """Return the reason if turns lasted longer, by runoff's clock, than the runner reports. All times are in ns.

    `roundtrips` are the turns from the command to the response, without the time that runoff waited for a core to read
    it; `unreported` is the part of each that the runner does not report, `empty` turns without an inference: the cost
    of the exchange alone. `batch` is the items in an inference, `inferences` their number in a turn.
    """
    if not roundtrips:
        return None
    # on a busy machine all of a few turns may wake up late, like the latest of the empty ones
    exchange = _least if len(unreported) >= FEWEST_TURNS else max
    roundtrip_ns, excess_ns = median(roundtrips), _least(unreported) - (exchange(empty) if empty else 0)
    share = UNREPORTED_SHARE if batch == 1 else UNREPORTED_SHARE_OF_BATCHES
    if excess_ns <= share * roundtrip_ns + UNREPORTED_NS + BETWEEN_NS * (inferences - 1):
        return None
    message = (
        f"nine in ten turns lasted at least {excess_ns / 1e6:.2f} ms longer than the runner reports "
        f"(of {roundtrip_ns / 1e6:.2f} ms)"
    )
    return Reason("clock", message, "inference covers the whole call, preprocess all from file to tensor")


def check_outputs(outputs: list[int], empty: list[int], writing_ns: float, inference_ns: float) -> Reason | None:
    """Return the reason if the outputs took so long that they were computed when they were requested. Times are in ns.

    `outputs` are the requests of outputs, `empty` the turns without an inference, both without the waits for a core.
    The shortest counts: a busy machine delays some, and every request would compute. `writing_ns` is what runoff takes
    to write files of the same sizes, so that large outputs and slow disks are no reason. `inference_ns` is reported.
    """
    excess_ns = min(outputs) - 2 * min(empty)
    if excess_ns <= OUTPUTS_SHARE * inference_ns + WRITES * writing_ns + OUTPUTS_NS:
        return None
    message = (
        f"the outputs took {excess_ns / 1e6:.2f} ms when they were requested, after an inference of "
        f"{inference_ns / 1e6:.2f} ms; files of their sizes are written in {writing_ns / 1e6:.2f} ms"
    )
    return Reason("clock", message, "inference covers the whole call, up to outputs that can be read on the CPU")


def check_first(single: list[int], first: list[int]) -> Reason | None:
    """Return the reason if the first inference of a turn of several took much less than those that were alone.

    Only the last of a turn is checked, so a runner could leave out the others. All times are in ns.
    """
    # a runtime that compiles in stages may become faster at any moment: but not just after the warm-up, every time
    first_ns = max(first[:WINDOW], default=0)
    if not single or not first or _least(single) <= SKIPPED * first_ns:
        return None
    message = f"the first of several inferences took {first_ns} ns, one alone {_least(single)} ns"
    return Reason("clock", message, "every inference of a turn is computed")


def _writing_ns(sizes: Sequence[int], folder: Path) -> int:
    """Return the shortest time in ns in which files of `sizes` bytes are written to `folder`."""
    files = [(folder / f".size.{place}", bytes(size)) for place, size in enumerate(sizes)]
    took = []
    for _ in range(_TRIALS):
        began = time.monotonic_ns()
        for path, data in files:
            path.write_bytes(data)
        took.append(time.monotonic_ns() - began)
    for path, _ in files:
        path.unlink()
    return min(took)


def _least(durations: list[int]) -> int:
    """Return the first decile: a busy machine wakes late most of the time, a runner that reports less always does."""
    return sorted(durations)[len(durations) // 10]
