"""A live runner and its loader: a program that sends requests from other cores, if there are any."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
import numpy as np
import psutil

from runoff import paths
from runoff.measure.parity import worst_rows
from runoff.measure.request import RequestFiles, draw, fresh, make_request
from runoff.measure.result import Outcome, read_result
from runoff.measure.verify import check_response, check_result
from runoff.processes import describe_exit
from runoff.records import untrusted
from runoff.records.protocol import Load
from runoff.records.reason import Reason, ReasonError
from runoff.records.schema import LoadTest
from runoff_runners.loader_clients import RUNNER_AT_FAULT

if TYPE_CHECKING:
    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.verify import Parity
    from runoff.models.store import StoredModel
    from runoff.processes import Live
    from runoff.records.protocol import Request, Result

IN_FLIGHT = 512
"""Most requests without a response yet; except in Server, no more than the runner's queue takes."""
_HINT = "see protocol/README.md, Load"


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
        self._folder = fresh(context.scratch / "load" / self._case.id)
        self._request = make_request(self._case, self._model, self._probe, self._folder, self._order)
        self._files = RequestFiles(self._request, self._folder)
        self.workers = measure.workers
        # the most that a target needs: PyTorch has a team of `threads` for each worker, ONNX Runtime one pool for all.
        # All targets of a comparison have the same cores
        self.cores = split_cores(measure.workers * self._case.settings.threads)
        """Those of the runner and of the loader; neither is bound to cores if both are empty."""
        self.first_response_ns = 0
        self.loader_cpu_ns = 0
        self._parity: Parity = []
        self._responses = 0
        self._counts: Counter[tuple[int, bytes]] = Counter()
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
        in_flight = IN_FLIGHT if scenario == "Server" else min(IN_FLIGHT, self._measure.max_queue)
        fields = {
            "scenario": scenario,
            "count": count,
            "rate": rate,
            "seed": seed,
            "min_ms": max(1, round(self._options.min_time_s * 1e3)),
            "streams": max(1, self._options.streams),
            "in_flight": in_flight,
            "folder": str(folder),
        }
        before = self._cpu_ns()
        expected_s = max(count / rate, self._options.min_time_s)
        line = self._loader.ask(json.dumps(fields) + "\n", self._timeout_s + 2 * expected_s)
        cpu_ns = self._cpu_ns() - before
        if not line:
            raise LoadError(self._lost())
        response = json.loads(line)
        self.loader_cpu_ns += response["cpu_ns"]
        for each in response["responses"]:
            self._keep(each["item"], untrusted.read_file(each["path"]), each["count"])
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
        result, reason = read_result(finished, self._files.result, self._case.id, watched=False)
        # the runner's own reason, if it has one, explains why it is gone
        failure = failure or self._wrong
        reason = failure if failure and result and result.status == "ok" else reason or failure
        if result and not reason:
            parity, reason = check_result(self._case, self._model, self._probe, self._order, result)
            self._parity += parity
            reason = reason or self._unchecked(result)
        compared = sum(self._counts[response] for response in self._checked) if self._model.checked else 0
        return Outcome(finished, result, reason), worst_rows(self._parity), compared

    def _unchecked(self, result: Result) -> Reason | None:
        """Return the reason if not every response is known to be right."""
        if not self._model.checked:
            return None
        try:
            self._checked |= digests(self._model, result)
        except (OSError, ValueError) as error:
            return Reason("garbage", f"outputs cannot be read: {error}", _HINT)
        unchecked = self._responses - sum(self._counts[response] for response in self._checked)
        if not unchecked:
            return None
        message = f"{unchecked} of {self._responses} responses have outputs that cannot be checked"
        return Reason("garbage", message, _HINT)

    def _start_loader(self) -> Live:
        """Wait until the runner is ready and has responded to a request, and start the loader."""
        line = self._live.ask("", self._timeout_s)
        words = line.split()
        has_port = self._measure.transport == "http"
        if words[:1] != ["ready"] or len(words) != 1 + has_port or not all(map(_is_port, words[1:])):
            raise _garbage(f"the runner's first line is {line[:80]!r}")
        setup: dict[str, Any] = {"transport": self._measure.transport, "cores": self.cores[1]}
        if has_port:
            bodies = bodies_of(self._request)
            first = self._first_post(int(words[1]), bodies[0])
            setup |= {"port": int(words[1]), "bodies": bodies}
        else:
            first = self._first_line()
            to, from_ = self._live.descriptors
            setup |= {"to": to, "from": from_, "items": len(self._request.inputs)}
        self.first_response_ns = time.monotonic_ns() - self._began_ns
        self._responses += 1
        self._keep(0, first, 1)
        python = paths.environments() / "loadgen" / "bin" / "python"
        command = (str(python), "-P", str(paths.runners() / "loader.py"), json.dumps(setup))
        inherited = () if has_port else self._live.descriptors
        env = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
        return self._context.spawner.start(command, env, inherited=inherited)

    def _first_line(self) -> bytes:
        """Return the digest of the first response."""
        line = self._live.ask("0 0\n", self._timeout_s)
        words = line.split()
        if len(words) != 6 or words[0] != "0":  # noqa: PLR2004 (ID ARRIVED START END COUNT DIGEST)
            raise _garbage(f"the first response is {line[:80]!r}")
        return words[-1].encode()

    def _first_post(self, port: int, files: list[str]) -> bytes:
        """Return the body of the first response."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self._timeout_s)
        try:
            connection.request("POST", "/infer", b"".join(Path(file).read_bytes() for file in files))
            response = connection.getresponse()
            body = response.read(untrusted.MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise LoadError(Reason("garbage", f"POST /infer failed: {error}", "see the runner's log")) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise _garbage(f"POST /infer: {response.status} {body[:200].decode(errors='replace')}")
        return body

    def _keep(self, item: int, response: bytes, count: int) -> None:
        """Count equal responses to an item: a digest, or over HTTP the body, which is compared with the reference."""
        self._counts[item, response] += count
        if self._measure.transport == "pipe" or (item, response) in self._checked:
            return
        self._checked.add((item, response))
        parity, reason = check_response(self._case, self._model, self._order, item, response, self._folder)
        self._parity += parity
        self._wrong = self._wrong or reason

    def _cpu_ns(self) -> int:
        """Return the CPU time of the runner and its children so far."""
        family = [self._process]
        with suppress(psutil.Error):  # it is gone
            family += self._process.children(recursive=True)
        return round(sum(map(_cpu_s, family)) * 1e9)

    def _lost(self) -> Reason:
        """Return the reason for the end of the loader."""
        assert self._loader is not None  # noqa: S101 (for the type checker)
        finished = self._loader.close(self._timeout_s)
        if finished.timed_out:
            return Reason(
                "timeout", f"the test took longer than {self._timeout_s:.0f} s", "raise timeout_s in [measure]"
            )
        if finished.exit_code == RUNNER_AT_FAULT:
            return Reason("garbage", finished.stderr.strip().rpartition("\n")[2], _HINT)
        return Reason("tool-failed", f"the loader {describe_exit(finished)}")


def _cpu_s(process: psutil.Process) -> float:
    """Return user and system time of a process and of the children that it waited for; 0 if it is gone."""
    with suppress(psutil.Error):
        return sum(process.cpu_times()[:4])
    return 0.0


def _garbage(message: str) -> LoadError:
    return LoadError(Reason("garbage", message, _HINT))


def _is_port(word: str) -> bool:
    return word.isdecimal() and len(word) <= 5 and int(word) < 1 << 16  # noqa: PLR2004 (digits)


def digests(model: StoredModel, result: Result) -> set[tuple[int, bytes]]:
    """Return the items and digests of the outputs that `result` lists.

    Those of a response follow each other, in the order of the model's; others have no digest.
    """
    names = [spec.name for spec in model.manifest.outputs]
    found = set()
    for place in range(0, len(result.outputs), len(names)):
        tensors = result.outputs[place : place + len(names)]
        items = tensors[0].items[:1]
        if [(tensor.name, tensor.items) for tensor in tensors] == [(name, items) for name in names]:
            digest = crc32(b"".join(untrusted.read_file(tensor.path) for tensor in tensors))
            found |= {(item, b"%08x" % digest) for item in items}
    return found


def split_cores(needed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the allowed cores of the runner, which has `needed` busy threads, and those left for the loader.

    Both are empty if none is left, or if the system cannot bind processes to cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return (), ()
    allowed = sorted(os.sched_getaffinity(0))
    return (tuple(allowed[:needed]), tuple(allowed[needed:])) if len(allowed) > needed else ((), ())


def bodies_of(request: Request) -> list[list[str]]:
    """Return the files that make the body of each item's POST, in order."""
    if request.workload == "classify":
        return [[str(item.image)] for item in request.inputs]
    names = [spec.name for spec in request.model.inputs]
    return [[item.tensors[name].path for name in names] for item in request.inputs if item.tensors]


def summarised(scenario: str, samples: dict[str, Any], rate: float, cpu_ns: int, loader_share: float) -> LoadTest:
    """Return the test of a scenario from the loader's arrays, of shape ``(requests,)``, with times in ns."""
    completed = samples["batch"] > 0
    latency = (samples["done"] - samples["scheduled"])[completed]
    if scenario == "MultiStream":
        # a query lasts until its last response
        queries, places = np.unique(samples["query"][completed], return_inverse=True)
        slowest = np.zeros(len(queries), np.int64)
        np.maximum.at(slowest, places, latency)
        latency = slowest
    batch = samples["batch"][completed]
    late = samples["sent"] - samples["scheduled"]
    return LoadTest(
        scenario=scenario,
        rate=rate if scenario == "Server" else None,
        wall_ns=int(samples["done"].max() - samples["scheduled"].min()),
        latency_us=_us(latency),
        queue_us=_us(samples["queue"][completed]),
        compute_us=_us(samples["compute"][completed]),
        batch=round(float(batch.mean()), 3) if len(batch) else 0.0,
        failed=int((~completed).sum()),
        late_us=round(float(np.quantile(late, 0.99)) / 1e3),
        loader_share=round(loader_share, 3),
        cpu_ns=cpu_ns,
    )


def _us(ns: Any) -> tuple[int, ...]:  # noqa: ANN401 (an array of NumPy)
    return tuple((ns // 1000).tolist())
