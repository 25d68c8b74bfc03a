"""One real run of every target that this machine is meant to have, shared by the tests that look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from running import MODEL, TARGETS, Ended, only_run, runoff

from runoff import paths
from runoff.probes.counters import PERF
from runoff.probes.process import HYPERFINE
from runoff.store import Record, Run  # noqa: TC001 (types of fields)
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

SUITE = f"""
[suite]
name = "tiny"
models = ["{MODEL}"]
targets = {msgspec.json.encode(list(TARGETS)).decode()}
probes = ["process", "life", "latency", "memory", "counters"]
[measure.blocks]
process = 2
life = 2
latency = 1
memory = 1
counters = 1
[measure.latency]
min_samples = 5
min_time_s = 0.1
warmup = 1
"""


class Whole(msgspec.Struct, frozen=True):
    """A run with how the command ended."""

    ended: Ended
    run: Run

    def records(self, probe: str) -> dict[str, list[Record]]:
        """Return the records of `probe` by target."""
        targets = {case.id: case.target for case in self.run.info.cases}
        found: dict[str, list[Record]] = {}
        for record in self.run.records:
            if record.probe == probe:
                found.setdefault(targets[record.case], []).append(record)
        return found


@pytest.fixture(scope="session")
def complete() -> None:
    """Fail, saying what to run, unless everything that the tests measure with is there."""
    lacks = [f"{name}: {target.missing}" for name, make in BUILT_IN.items() if (target := make()).missing]
    lacks += [f"{tool.name}: {tool.hint}" for tool in (HYPERFINE, PERF) if tool.find() is None]
    if not (paths.models() / MODEL / "manifest.json").is_file():
        lacks.append(f"{MODEL} is not stored: runoff export {MODEL}")
    if lacks:
        pytest.fail("\n".join(lacks))


@pytest.fixture(scope="session")
def whole(complete: None, tmp_path_factory: pytest.TempPathFactory) -> Whole:  # noqa: ARG001 (checked before)
    """Return the shared run."""
    folder: Path = tmp_path_factory.mktemp("whole")
    suite = folder / "tiny.toml"
    suite.write_text(SUITE)
    ended = runoff("bench", suite, "--results", folder / "results")
    return Whole(ended, only_run(folder / "results"))
