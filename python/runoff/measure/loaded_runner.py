"""A live runner and its loader: a program that sends requests from other cores, if there are any."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
import numpy as np
import psutil

from runoff import paths
from runoff.measure.request import RequestFiles, draw, fresh, make_request
from runoff.measure.result import Outcome, read_result
from runoff.measure.verify import check_answer, check_result
from runoff.processes import describe_exit
from runoff.records import untrusted
from runoff.records.protocol import Load
from runoff.records.reason import Reason, ReasonError
from runoff.records.schema import LoadTest

if TYPE_CHECKING:
    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.verify import Parity
    from runoff.models.store import StoredModel
    from runoff.processes import Live
    from runoff.records.protocol import Request, Result

ON_THEIR_WAY = 512
"""Requests that the loader has sent and that are not answered; Offline sends no more than the runner's queue takes."""
_FIRST_S = 600.0


class LoadError(ReasonError):
    """The runner or the loader cannot continue."""


class LoadedRunner:
    """The runner of a job's one case from its start to its end. The constructor raises `OSError` if it cannot start."""

    def __init__(self, context: ExecutionContext, job: Job) -> None:
        (self._case,) = job.cases
        self._context = context
        self._timeout_s = context.suite.measure.timeout_s
        self._options = context.suite.measure.load
        self._model = context.models[self._case.model]
        measure = Load(**{"transport": "pipe", **dict(self._case.load)}, warmup=self._options.warmup)
        self._measure, self._probe = measure, msgspec.structs.replace(job.probe, measure=measure)
        self._order = draw(self._case, self._model, job.probe, job.block, context.secret)
        self._folder = fresh(context.scratch / "load")
        self._request = make_request(self._case, self._model, self._probe, self._folder, self._order)
        self._files = RequestFiles(self._request, self._folder)
        self.workers = measure.workers
        self.cores = split_cores(measure.workers * self._case.settings.threads)
        """Those of the runner and of the loader; neither is bound to cores if both are empty."""
        self.first_response_ns = 0
        self.loader_cpu_ns = 0
        self._parity: Parity = []
        self._responses = 0
        self._answers: Counter[tuple[int, bytes]] = Counter()
        self._checked: set[tuple[int, bytes]] = set()
        self._wrong: Reason | None = None
        self._loader: Live | None = None
        target = context.target(self._case, job.probe)
        self._began_ns = time.monotonic_ns()
        self._live = context.spawner.start(self._files.command(target), target.environment(), self._files.write)
        if self.cores[0]:
            os.sched_setaffinity(self._live.pid, self.cores[0])
        self._process = psutil.Process(self._live.pid)

    def test(self, scenario: str, *, count: int, rate: float, seed: int) -> LoadTest:
        """Run a test of LoadGen.

        Raises
        ------
        LoadError
            If the runner or the loader cannot continue.
        """
        if self._loader is None:
            self._loader = self._start_loader()
        folder = fresh(self._folder / "test")
        on_their_way = min(ON_THEIR_WAY, self._measure.max_queue) if scenario == "Offline" else ON_THEIR_WAY
        fields = {
            "scenario": scenario,
            "count": count,
            "rate": rate,
            "seed": seed,
            "min_ms": ceil_ms(self._options.min_time_s),
            "streams": max(1, self._options.streams),
            "on_their_way": on_their_way,
            "folder": str(folder),
        }
        before = self._cpu_ns()
        line = self._loader.ask(json.dumps(fields) + "\n", self._timeout_s + 2 * count / rate)
        cpu_ns = self._cpu_ns() - before
        if not line:
            raise LoadError(self._lost())
        response = json.loads(line)
        self.loader_cpu_ns += response["cpu_ns"]
        self._read_answers(response["responses"])
        with np.load(response["samples"]) as samples:
            self._responses += int((samples["batch"] > 0).sum())
            return summarised(scenario, dict(samples), rate, cpu_ns, response["cpu_ns"] / response["wall_ns"])

    def close(self, failure: Reason | None) -> tuple[Outcome, Parity, int]:
        """End both processes; return the outcome, the comparisons with the reference, and the responses compared.

        `failure` is the reason why they cannot continue.
        """
        if self._loader:
            self._loader.close(self._timeout_s)
        finished = self._live.close(self._timeout_s)
        self._context.spawner.measured_ns += time.monotonic_ns() - self._began_ns
        result, reason = read_result(finished, self._files.result, self._case.id, watched=False)
        # the runner's own reason, if it has one, explains why it is gone
        failure = failure or self._wrong
        reason = failure if failure and result and result.status == "ok" else reason or failure
        if result and not reason:
            parity, reason = check_result(self._case, self._model, self._probe, self._order, result)
            self._parity += parity
            if not reason:
                self._checked |= digests(self._model, result)
                reason = self._unchecked()
        answers = sum(count for answer, count in self._answers.items() if answer in self._checked)
        return Outcome(finished, result, reason), _worst(self._parity), answers

    def _unchecked(self) -> Reason | None:
        """Return the reason if not every response is known to be right."""
        unchecked = self._responses - sum(self._answers[answer] for answer in self._checked)
        if not unchecked:
            return None
        message = f"{unchecked} of {self._responses} responses have outputs that cannot be checked"
        return Reason("garbage", message, "see protocol/README.md, Load")

    def _start_loader(self) -> Live:
        """Wait until the runner is ready and has answered a request, and start the loader."""
        words = self._live.ask("", self._timeout_s).split()
        has_port = self._measure.transport == "http"
        if words[:1] != ["ready"] or len(words) != 1 + has_port:
            raise LoadError(Reason("garbage", f"the runner's first line is {words}", "see protocol/README.md, Load"))
        setup: dict[str, Any] = {"transport": self._measure.transport, "cores": self.cores[1]}
        if has_port:
            bodies = bodies_of(self._request)
            self._first_post(int(words[1]), bodies[0])
            setup |= {"port": int(words[1]), "bodies": bodies}
        else:
            self._first_line()
            to, from_ = self._live.descriptors
            setup |= {"to": to, "from": from_, "items": len(self._request.inputs)}
        self.first_response_ns = time.monotonic_ns() - self._began_ns
        python = paths.environments() / "loadgen" / "bin" / "python"
        command = (str(python), "-P", str(paths.runners() / "loader.py"), json.dumps(setup))
        inherited = () if has_port else self._live.descriptors
        env = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
        return self._context.spawner.start(command, env, inherited=inherited)

    def _first_line(self) -> None:
        line = self._live.ask("0 0\n", self._timeout_s)
        if len(line.split()) != 6:  # noqa: PLR2004 (ID ARRIVED START END COUNT DIGEST)
            raise LoadError(Reason("garbage", f"the first response is {line[:80]!r}", "see protocol/README.md, Load"))

    def _first_post(self, port: int, files: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_FIRST_S)
        try:
            connection.request("POST", "/infer", b"".join(Path(file).read_bytes() for file in files))
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise LoadError(Reason("garbage", f"POST /infer failed: {error}", "see the runner's log")) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            message = f"POST /infer: {response.status} {body[:200].decode(errors='replace')}"
            raise LoadError(Reason("garbage", message, "see protocol/README.md, Load"))

    def _read_answers(self, responses: list[dict[str, Any]]) -> None:
        """Count the distinct responses, and compare those over HTTP with the reference."""
        for response in responses:
            item, body = response["item"], untrusted.read_file(response["path"])
            self._answers[item, body] += response["count"]
            if self._measure.transport == "pipe" or (item, body) in self._checked:
                continue
            self._checked.add((item, body))
            parity, reason = check_answer(self._case, self._model, self._order, item, body, self._folder)
            self._parity += parity
            self._wrong = self._wrong or reason

    def _cpu_ns(self) -> int:
        try:
            times = self._process.cpu_times()
        except psutil.Error:  # it is gone
            return 0
        return round((times.user + times.system) * 1e9)

    def _lost(self) -> Reason:
        """Return the reason for the end of the loader."""
        assert self._loader is not None  # noqa: S101 (for the type checker)
        finished = self._loader.close(self._timeout_s)
        if finished.timed_out:
            return Reason(
                "timeout", f"the test took longer than {self._timeout_s:.0f} s", "raise timeout_s in [measure]"
            )
        return Reason("tool-failed", f"the loader {describe_exit(finished)}")


def digests(model: StoredModel, result: Result) -> set[tuple[int, bytes]]:
    """Return the items and digests of the outputs that `result` lists: those of a response follow each other."""
    count = len(model.manifest.outputs)
    found = set()
    for place in range(0, len(result.outputs), count):
        tensors = result.outputs[place : place + count]
        digest = crc32(b"".join(untrusted.read_file(tensor.path) for tensor in tensors))
        found |= {(item, b"%08x" % digest) for item in tensors[0].items}
    return found


def split_cores(needed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the allowed cores of the runner, which has `needed` busy threads, and those left for the loader.

    Both are empty if none is left, or if the system cannot bind processes to cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return (), ()
    allowed = sorted(os.sched_getaffinity(0))
    return (tuple(allowed[:needed]), tuple(allowed[needed:])) if len(allowed) > needed else ((), ())


def ceil_ms(seconds: float) -> int:
    """Return `seconds` in ms, at least 1."""
    return max(1, round(seconds * 1e3))


def bodies_of(request: Request) -> list[list[str]]:
    """Return the files that make the body of each item's POST, in order."""
    if request.workload == "classify":
        return [[str(item.image)] for item in request.inputs]
    names = [spec.name for spec in request.model.inputs]
    return [[item.tensors[name].path for name in names] for item in request.inputs if item.tensors]


def summarised(scenario: str, samples: dict[str, Any], rate: float, cpu_ns: int, loader_share: float) -> LoadTest:
    """Return the test of a scenario from the loader's arrays, of shape ``(requests,)``, with times in ns."""
    answered = samples["batch"] > 0
    latency = (samples["done"] - samples["scheduled"])[answered]
    if scenario == "MultiStream":
        # a query lasts until its last response
        slowest: defaultdict[int, int] = defaultdict(int)
        for query, ns in zip(samples["query"][answered].tolist(), latency.tolist(), strict=True):
            slowest[query] = max(slowest[query], ns)
        latency = np.array([*slowest.values()], np.int64)
    batch = samples["batch"][answered]
    late = samples["sent"] - samples["scheduled"]
    return LoadTest(
        scenario=scenario,
        rate=rate if scenario == "Server" else None,
        wall_ns=int(samples["done"].max() - samples["scheduled"].min()),
        latency_us=_us(latency),
        queue_us=_us(samples["queue"][answered]),
        compute_us=_us(samples["compute"][answered]),
        batch=round(float(batch.mean()), 3) if len(batch) else 0.0,
        failed=int((~answered).sum()),
        late_us=round(float(np.quantile(late, 0.99)) / 1e3),
        loader_share=round(loader_share, 3),
        cpu_ns=cpu_ns,
    )


def _us(ns: Any) -> tuple[int, ...]:  # noqa: ANN401 (an array of NumPy)
    return tuple((ns // 1000).tolist())


def _worst(parity: Parity) -> Parity:
    """Return the worst comparison of each example."""
    worst: dict[int, dict[str, Any]] = {}
    for row in parity:
        known = worst.get(row["item"])
        if known is None or known["max_rel_diff"] < row["max_rel_diff"]:
            worst[row["item"]] = row
    return [worst[item] for item in sorted(worst)]
