"""Makes the load of the probe `load` with MLPerf's LoadGen, in the environment ``loadgen``: one process per runner.

The argument is a JSON object: the `transport`; for `pipe` the descriptors `to` and `from` of the runner, and the number
of `items`; for `http` its `port` and `bodies`, for each item the files that make its body; and the `cores` to run on,
or none. Each line of stdin is a JSON object with the fields of `Test`, each response a line of stdout, also JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
from time import monotonic_ns, process_time_ns

import mlperf_loadgen
import numpy as np

from runoff_runners.loader_clients import HttpClient, PipeClient, Sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from runoff_runners.loader_clients import Client

    class Test(TypedDict):
        """A test of LoadGen."""

        scenario: str
        """``SingleStream``, ``MultiStream``, ``Offline`` or ``Server``."""
        rate: float
        """Requests per second: of ``Server``, on average; for ``Offline``, a guess."""
        count: int
        """Least number of queries; of ``Offline``, of requests."""
        min_ms: int
        """Least duration; not of ``Offline``."""
        streams: int
        """Requests per query of ``MultiStream``."""
        in_flight: int
        """Most requests that are sent and have no response yet; further ones wait."""
        seed: int
        """Of the arrivals and of the items."""
        folder: str
        """Existing, for LoadGen's logs, the samples and the bodies of responses."""


_SAMPLE = re.compile(rb'"name":"Sample".*"ph":"b".*"ts":([\d.]+),.*"query_seq":(\d+),.*"issue_start_ns":(\d+)')
_SWITCH_S = 0.0002
"""A thread that may not wait for Python's lock longer: by default, requests would be 5 ms late."""


def main() -> int:
    """Run the tests that stdin asks for; return the exit code."""
    setup = json.loads(sys.argv[1])
    if setup["cores"]:
        os.sched_setaffinity(0, setup["cores"])
    sys.setswitchinterval(_SWITCH_S)
    if setup["transport"] == "http":
        client: Client = HttpClient(setup["port"], [b"".join(map(_content, paths)) for paths in setup["bodies"]])
        items = len(setup["bodies"])
    else:
        client, items = PipeClient(setup["to"], setup["from"]), setup["items"]
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(client, items, json.loads(line))) + "\n")
        sys.stdout.flush()
    return 0


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 (as the runners do)
        return file.read()


def run(client: Client, items: int, test: Test) -> dict[str, Any]:
    """Run one test; return the CPU and wall time that it took, the file of its samples and the distinct responses."""
    queries = 0

    def issue(samples: list[Any]) -> None:
        nonlocal queries
        sent = monotonic_ns()
        for sample in samples:
            client.send(Sent(sample.id, sample.index, queries, sent))
        queries += 1

    def complete(identity: int) -> None:
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(identity, 0, 0)])

    client.begin(test["in_flight"], complete)
    began, before = monotonic_ns(), process_time_ns()
    _start(issue, items, test)
    wall_ns, cpu_ns = monotonic_ns() - began, process_time_ns() - before
    samples = client.samples()
    scheduled, issued = _scheduled(f"{test['folder']}/mlperf_log_trace.json", queries)
    # of LoadGen's clock, only differences are known: the fastest call shows its zero
    first = np.unique(samples["query"], return_index=True)[1]
    zero = (samples["sent"][first] - issued).min()
    path = f"{test['folder']}/samples.npz"
    np.savez(path, scheduled=scheduled[samples["query"]] + zero, **samples)
    return {"wall_ns": wall_ns, "cpu_ns": cpu_ns, "samples": path, "responses": client.responses(test["folder"])}


def _start(issue: Any, items: int, test: Test) -> None:  # noqa: ANN401 (a function)
    """Run a test in LoadGen and wait for its end."""
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = getattr(mlperf_loadgen.TestScenario, test["scenario"])
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_query_count, settings.min_duration_ms = test["count"], test["min_ms"]
    settings.server_target_qps = test["rate"]
    settings.single_stream_expected_latency_ns = settings.multi_stream_expected_latency_ns = round(1e9 / test["rate"])
    settings.multi_stream_samples_per_query = test["streams"]
    if test["scenario"] == "Offline":
        # the requests of its one query are a tenth more than those of the duration at the rate
        settings.min_query_count, settings.min_duration_ms = 1, 1000
        settings.offline_expected_qps = test["count"] / 1.1
    settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = test["seed"]
    logs, output = mlperf_loadgen.LogSettings(), mlperf_loadgen.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = test["folder"], False
    logs.log_output, logs.enable_trace = output, True
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(items, items, lambda _: None, lambda _: None)
    mlperf_loadgen.StartTestWithLogSettings(system, library, settings, logs)
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)


def _scheduled(path: str, queries: int) -> tuple[Any, Any]:
    """Return when each query was due, and when LoadGen issued it, in ns of the clock of its trace.

    LoadGen writes it: microseconds with three decimals, and nanoseconds from the due time on.
    """
    due, issued = np.zeros(queries, np.int64), np.zeros(queries, np.int64)
    with open(path, "rb") as file:  # noqa: PTH123 (as the runners do)
        for line in file:
            found = _SAMPLE.search(line)
            if found:
                query = int(found[2])
                due[query] = int(found[1].replace(b".", b""))
                issued[query] = due[query] + int(found[3])
    if not due.all():
        raise ValueError(f"LoadGen's trace {path} lacks queries")
    return due, issued


if __name__ == "__main__":
    sys.exit(main())
