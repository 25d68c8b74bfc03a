"""A live process that takes turns: what it is asked, what it answers, and whether its answers can be believed."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from runoff.measure.huge_pages import huge_bytes
from runoff.measure.one_shot import fresh
from runoff.measure.request import draw, make_request
from runoff.measure.result import read_result
from runoff.measure.verify import check_result, check_turn
from runoff.probes.latency import turns
from runoff.records.protocol import WrittenTensor
from runoff.records.reason import Reason
from runoff.records.schema import InterleavingStats

if TYPE_CHECKING:
    from runoff.measure.job import ExecutionContext, Job
    from runoff.processes import Finished, Live
    from runoff.records.protocol import Result
    from runoff.records.schema import Case

WITHIN = ("copy_in", "compute", "copy_out")
"""Parts of an inference on a device with memory of its own; they are told beside it."""
UNTOLD_SHARE = 0.05
UNTOLD_NS = 300_000
"""A turn may last this much longer than the runner says, beyond what an empty one takes: copies into its tensors."""
UNTOLD_SHARE_OF_BATCHES = 0.25
"""The same with batches, which some runners join outside the timed region, as the protocol lets them."""
BUSY = 0.1
"""A thread computes when it uses at least this share of what the busiest of the process uses."""
_TICKS = 20
"""Fewer ticks of CPU time than this say nothing about threads."""
_TICK_S = 0.01


class TurnError(Exception):
    """The process cannot go on."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class LiveProcess:
    """One live process of a case.

    Parameters
    ----------
    bench
        What measuring needs.
    job
        The set that it belongs to.
    case
        Its case.
    """

    def __init__(self, context: ExecutionContext, job: Job, case: Case) -> None:
        self.case = case
        self.reason: Reason | None = None
        self.result: Result | None = None
        self.finished: Finished | None = None
        self.inside_ns = 0
        """Wall time that runoff waited for it."""
        self.inference_ns: list[int] = []
        """All that it told, the warm-up among them."""
        self.roundtrip_ns: list[int] = []
        self.checked = 0
        self.parity: dict[int, dict[str, Any]] = {}
        """By example, the worst comparison."""
        self._untold_ns: list[int] = []
        self._empty_ns: list[int] = []
        self._model = context.models[case.model]
        self._order = draw(case, self._model, job.probe, job.block, context.secret)
        self._folder = fresh(context.scratch / "set" / case.target)
        self._timeout_s = context.suite.measure.timeout_s
        self._threads: dict[int, float] = {}
        self._began_ns = self._before_ns = 0
        self._huge = context.suite.measure.latency.huge_pages
        self._live = self._start(context, job)

    @property
    def items(self) -> int:
        """How many items its request names."""
        return len(self._order)

    def _start(self, context: ExecutionContext, job: Job) -> Live:
        target = context.target(self.case, job.probe)
        asked, self._answered = self._folder / "request.json", self._folder / "result.json"
        argv = (*target.command, "--request", str(asked), "--result", str(self._answered))
        probe = turns(context.suite.measure.latency.warmup)
        request = make_request(self.case, self._model, probe, self._folder, self._order)

        def stamp(spawn_ns: int) -> None:
            asked.write_bytes(msgspec.json.encode(msgspec.structs.replace(request, spawn_ns=spawn_ns)))

        return context.spawner.start(argv, target.environment(), stamp)

    def warm(self) -> None:
        """Wait until it says that it is ready."""
        if self._ask("") != "ready\n":
            raise self._lost("it does not say that it is ready for turns")

    def turn(self, firsts: list[int]) -> None:
        """Ask for an inference from each item of `firsts` on, and check the outputs of the last.

        Raises
        ------
        TurnError
            When it is gone, answers what is no answer, or answers wrongly.
        """
        began = time.monotonic_ns()
        line = self._ask(" ".join(map(str, firsts)) + "\n")
        took_ns = time.monotonic_ns() - began
        told = self._read(line, dict[str, list[int]])
        if "inference" not in told or any(len(part) != len(firsts) for part in told.values()):
            raise self._lost(f"asked for {len(firsts)} inferences, it answered {line[:80]!r}")
        self._note(firsts, told, took_ns)
        if firsts:
            self._check(firsts[-1])

    def _note(self, firsts: list[int], told: dict[str, list[int]], took_ns: int) -> None:
        doubt = check_parts(told)
        if doubt:
            raise TurnError(doubt)
        told_ns = sum(sum(ns) for part, ns in told.items() if part not in WITHIN)
        if told_ns > took_ns:
            raise TurnError(
                Reason("clock", f"it says that a turn took {told_ns} ns; by runoff's clock it was {took_ns} ns")
            )
        if not firsts:
            self._empty_ns.append(took_ns)
            return
        self.inference_ns += told["inference"]
        self.roundtrip_ns.append(took_ns)
        self._untold_ns.append(took_ns - told_ns)

    def _check(self, first: int) -> None:
        batch = self.case.settings.batch
        places = [(first + offset) % self.items for offset in range(batch)]
        outputs = self._read(self._ask("outputs\n"), list[WrittenTensor])
        parity, doubt = check_turn(self.case, self._model, self._order, places, outputs)
        self.checked += 1
        self._keep(parity)
        if doubt:
            message = f"{doubt.message}; it was answer {self.checked} of those that were checked"
            raise TurnError(Reason(doubt.kind, message, doubt.hint))

    def _keep(self, parity: list[dict[str, Any]]) -> None:
        for row in parity:
            known = self.parity.get(row["item"])
            if known is None or known["max_rel_diff"] < row["max_rel_diff"]:
                self.parity[row["item"]] = row

    def begin(self) -> None:
        """Begin the measured turns: what the threads used so far does not count."""
        self.roundtrip_ns, self._untold_ns = [], []
        self._threads, self._began_ns, self._before_ns = self._cpu_s(), time.monotonic_ns(), self.inside_ns

    def end(self) -> None:
        """End the measured turns: note what the threads used, and weigh the runner's clock against runoff's.

        Raises
        ------
        TurnError
            When the turns lasted longer than the runner says.
        """
        self._used = {thread: spent - self._threads.get(thread, 0.0) for thread, spent in self._cpu_s().items()}
        self._huge_bytes = huge_bytes(self._live.pid) if self._huge else None
        self._asked_ns, self._lasted_ns = self.inside_ns - self._before_ns, time.monotonic_ns() - self._began_ns
        doubt = check_clock(self.roundtrip_ns, self._untold_ns, self._empty_ns, self.case.settings.batch)
        if doubt:
            raise TurnError(doubt)

    def turned(self, *, beside: int, inferences: int, warmup: int, steady: bool) -> InterleavingStats:
        """Return how it took its turns."""
        busiest, total = max(self._used.values(), default=0.0), sum(self._used.values())
        told = total >= _TICKS * _TICK_S
        busy = sum(spent >= BUSY * busiest for spent in self._used.values()) if told else None
        waiting_s = (self._lasted_ns - self._asked_ns) / 1e9
        idle_s = total - (busy or 0) * self._asked_ns / 1e9
        return InterleavingStats(
            beside=beside,
            inferences=inferences,
            warmup=warmup,
            steady=steady,
            checked=self.checked,
            roundtrip_ns=tuple(self.roundtrip_ns),
            busy_threads=busy,
            huge_bytes=self._huge_bytes,
            waiting_share=round(max(0.0, idle_s) / waiting_s, 3) if busy and waiting_s > 0 else None,
        )

    def close(self) -> None:
        """End it and take its result; what it says at the end must be what it said turn by turn."""
        began = time.monotonic_ns()
        finished = self._live.close(self._timeout_s)
        self.inside_ns += time.monotonic_ns() - began
        self.finished = finished
        self.result, reason = read_result(finished, self._answered, self.case.id, watched=False)
        self.reason = self.reason or reason
        if self.reason is None and self.result is not None:
            self.reason = self._last_doubt(self.result)

    def _last_doubt(self, result: Result) -> Reason | None:
        samples = result.samples.get("inference")
        if samples is None or list(samples.warm_ns) != self.inference_ns:
            return Reason("garbage", "the times in its result are not those that it told turn by turn")
        parity, doubt = check_result(self.case, self._model, turns(0), self._order, result)
        self._keep(parity)
        return doubt

    def _ask(self, text: str) -> str:
        began = time.monotonic_ns()
        answer = self._live.ask(text, self._timeout_s)
        self.inside_ns += time.monotonic_ns() - began
        if not answer:
            self.close()
            raise TurnError(self.reason or Reason("crashed", "it ended before it was told to"))
        return answer

    def _read(self, line: str, kind: Any) -> Any:  # noqa: ANN401 (a type of msgspec's, and a value of it)
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise self._lost(f"its answer to a turn cannot be read: {error}: {line[:80]!r}") from error

    def _lost(self, message: str) -> TurnError:
        return TurnError(Reason("garbage", message, "see protocol/README.md, measure turns"))

    def cpu_ns(self) -> int | None:
        """Return the CPU time of the process so far; None where the system does not tell."""
        threads = self._cpu_s()
        return round(sum(threads.values()) * 1e9) if threads else None

    def _cpu_s(self) -> dict[int, float]:
        """Return the CPU time of each thread so far, where the system tells."""
        try:
            threads = psutil.Process(self._live.pid).threads()
        except psutil.Error:
            return {}
        return {thread.id: thread.user_time + thread.system_time for thread in threads}


def check_parts(told: dict[str, list[int]]) -> Reason | None:
    """Return the reason when the parts of an inference, in a turn's answer, are longer than the inference."""
    parts = [told[name] for name in WITHIN if name in told]
    for whole, *inside in zip(told["inference"], *parts, strict=True):
        if sum(inside) > whole:
            message = f"it says that the parts of an inference took {sum(inside)} ns; the inference took {whole} ns"
            return Reason("clock", message, f"{', '.join(WITHIN)} lie within the inference")
    return None


def check_clock(roundtrips: list[int], untold: list[int], empty: list[int], batch: int) -> Reason | None:
    """Return the reason when turns lasted longer, by runoff's clock, than the runner says.

    Parameters
    ----------
    roundtrips
        Each turn from the question to the answer, in ns.
    untold
        The part of each that the runner does not account for, in ns.
    empty
        Turns without an inference: what asking alone takes, in ns.
    batch
        Items in an inference.
    """
    if not roundtrips:
        return None
    whole, unaccounted = median(roundtrips), _least(untold) - (_least(empty) if empty else 0)
    share = UNTOLD_SHARE if batch == 1 else UNTOLD_SHARE_OF_BATCHES
    if unaccounted <= share * whole + UNTOLD_NS:
        return None
    message = (
        f"nine in ten turns lasted at least {unaccounted / 1e6:.2f} ms longer than it says (of {whole / 1e6:.2f} ms)"
    )
    return Reason("clock", message, "inference covers the whole call, preprocess all from the file to the tensor")


def _least(durations: list[int]) -> int:
    """Return the first decile: a busy machine wakes late most of the time, a runner that tells less does so always."""
    return sorted(durations)[len(durations) // 10]
