"""A fake cluster: its machines are real workers in this process, with a fake bench."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runoff.cluster.fleet import Fleet, LostError, Machine
from runoff.cluster.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

FAKE = Path(__file__).with_name("fake_bench.py")
LINES = 6


def machine(name: str, cpu: str = "AMD EPYC", boot: str = "") -> Machine:
    """Return a machine of the cluster."""
    return Machine(name, {"cpu": cpu, "cores": "2", "boot": boot or name, "name": name})


class FakeLink:
    """A worker in this process."""

    def __init__(self, made: Worker, polls: int, before: Callable[[], Awaitable[None]] | None) -> None:
        self.worker, self.polls, self.before = made, polls, before

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call the worker, until its machine dies."""
        self.polls -= method == "poll"
        if self.polls < 0:
            self.close()
            raise LostError("the node died")
        await asyncio.sleep(0)
        if self.before and method == "poll":
            await self.before()
        return getattr(self.worker, method)(*arguments)

    def close(self) -> None:
        """End what the worker runs."""
        process = self.worker._process
        if process and process.poll() is None:
            process.kill()
            process.wait()


class FakeCluster:
    """A cluster of `machines`; those in `dying` are lost after so many polls, and `before` runs before each poll."""

    def __init__(
        self,
        machines: Sequence[Machine],
        dying: dict[str, int] | None = None,
        before: dict[str, Callable[[], Awaitable[None]]] | None = None,
    ) -> None:
        self.machines, self.dying, self.before = machines, dying or {}, before or {}
        self.reserved: list[str] = []

    async def survey(self) -> list[Machine]:
        """Return the machines."""
        return list(self.machines)

    async def open(self, machine: Machine, job: dict[str, Any]) -> FakeLink:
        """Start a worker."""
        self.reserved.append(machine.name)
        return FakeLink(Worker(job), self.dying.get(machine.name, 10_000), self.before.get(machine.name))

    def share(self, data: bytes) -> bytes:
        """Return the data."""
        return data


def new_run(tmp_path: Path) -> Path:
    """Return the folder of a run that is about to start."""
    folder = tmp_path / "results" / "tiny-1"
    folder.mkdir(parents=True)
    job = {
        "run": "tiny-1",
        "home": str(tmp_path / "home"),
        "command": [sys.executable, "-I", "-S", str(FAKE)],
        "variables": {},
        "packs": {},
        "setup": [],
        "suite": "tiny",
        "arguments": [],
    }
    request = {"on": "local:2", "where": {}, "each": None, "local": True, "job": job}
    (folder / "cluster.json").write_text(json.dumps(request))
    return folder


def change(run: Path, **changes: Any) -> None:
    """Change what is asked for."""
    request = json.loads((run / "cluster.json").read_text())
    job = request["job"] | changes.pop("job", {})
    (run / "cluster.json").write_text(json.dumps({**request, **changes, "job": job}))


def worker_of(run: Path, name: str = "a") -> Worker:
    """Return the worker of a machine."""
    return Worker({**json.loads((run / "cluster.json").read_text())["job"], "name": name, "cores": ()})


def measured(run: Path, cluster: FakeCluster, *, until: int | None = None) -> dict[str, dict[str, Any]]:
    """Run the fleet, or kill it when so many records have arrived; return the states by machine."""

    async def drive() -> None:
        fleet = Fleet(cluster, run, run.parent / "packs")
        work = asyncio.ensure_future(fleet.run())
        while not work.done():
            await asyncio.sleep(0.001)
            if until and arrived(run) >= until:
                work.cancel()
                break
        await asyncio.gather(work, return_exceptions=until is not None)

    asyncio.run(drive())
    return {path.parent.name: json.loads(path.read_text()) for path in run.glob("*/machine.json")}


def arrived(run: Path) -> int:
    """Return the number of records of all machines."""
    return sum(len(lines(path)) for path in run.glob("*/raw/*"))


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a raw file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def records(run: Path, name: str) -> list[int]:
    """Return the numbers of a machine's records."""
    return [line["number"] for line in lines(run / name / "raw" / "case.life.jsonl")]
