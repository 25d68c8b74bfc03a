"""How much work many machines are for the driver: records of a real run, replayed by simulated workers through Ray.

``.nox/runoff/bin/python tools/cluster_load.py RUN OUT [--machines 1,50,100,200] [--rate 1]`` starts, for each number of
machines, a cluster here and the driver's own code in a process of its own; only the survey and the worker are replaced.
Each machine releases the records of RUN at RATE a second. OUT gets the numbers and the plot of cost against machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 4
"""Processes that play the machines."""
_PACK_BYTES = 4 * 2**20
_FACTS = {"cpu": "simulated", "cores": "2", "architecture": "any", "kernel": "any"}


def _with_places(lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    before = 0
    for line in lines:
        yield before, line
        before += len(line)


class Replay:
    """The workers of many machines in one actor: the methods of `runoff.cluster.worker.Worker`, by machine."""

    def __init__(self, run: str, rate: float) -> None:
        folder = Path(run)
        self.run_file = (folder / "run.json").read_bytes()
        self.lines = [
            (f"raw/{path.name}", before, line)
            for path in sorted((folder / "raw").glob("*.jsonl"))
            for before, line in _with_places(path.read_bytes().splitlines(keepends=True))
        ]
        """Every record: its file, its place in it, and its line."""
        self.rate = rate
        self.started: dict[str, float] = {}
        self.sent: dict[str, int] = {}

    async def call(self, machine: str, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (any method's)
        """Return the result of a method of a machine's worker."""
        if method == "poll":
            return await self.poll(machine, *arguments)
        if method == "start":
            self.started[machine], self.sent[machine] = time.monotonic(), 0
        return {"missing": ["0" * 64], "report": [], "sizes": {}}.get(method)

    async def poll(self, machine: str, wait_s: float) -> dict[str, Any]:
        """Return the records that are due, as a worker does."""
        before = self.sent[machine]
        if self.rate and self._due(machine) == before < len(self.lines):
            next_s = self.started[machine] + (before + 1) / self.rate - time.monotonic()
            await asyncio.sleep(min(wait_s, max(next_s, 0.0)))
        due = self._due(machine)
        chunks = self.lines[before:due]
        self.sent[machine] = due
        over = due == len(self.lines) and not chunks
        return {
            "state": "measuring",
            "line": f"{due} of {len(self.lines)} done",
            "code": 0 if over else None,
            "chunks": chunks,
            "run_file": None if before else self.run_file,
        }

    def _due(self, machine: str) -> int:
        passed = time.monotonic() - self.started[machine]
        return min(len(self.lines), int(passed * self.rate)) if self.rate else len(self.lines)


def simulated(run: str, machines: int, rate: float) -> Any:  # noqa: ANN401 (a class of Ray's environment)
    """Return a cluster of so many machines that a few actors play. In the environment of Ray."""
    import ray

    from runoff.cluster.fleet import Machine
    from runoff.cluster.ray_cluster import RayCluster, result

    class Simulated(RayCluster):
        """A cluster whose machines are played by a few actors."""

        async def survey(self) -> list[Machine]:
            actor = ray.remote(Replay).options(num_cpus=0, max_concurrency=1000)
            self.players = [actor.remote(run, rate) for _ in range(WORKERS)]
            await asyncio.gather(*(result(player.call.remote("", "missing")) for player in self.players))
            self.began = time.monotonic(), os.times()
            return [Machine(f"m{place:04}", _FACTS) for place in range(machines)]

        async def open(self, machine: Machine, job: dict[str, Any]) -> Any:  # noqa: ANN401, ARG002 (the seam's)
            player = self.players[int(machine.name[1:]) % WORKERS]

            class Link:
                async def call(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401
                    return await result(player.call.remote(machine.name, method, *arguments))

                def close(self) -> None:
                    pass

            return Link()

    return Simulated("local:1")


def drive(run: str, machines: int, rate: float) -> dict[str, float]:
    """Run the driver with so many simulated machines; return what it took. In the environment of Ray."""
    from runoff.cluster.fleet import Fleet

    cluster = simulated(run, machines, rate)
    with tempfile.TemporaryDirectory() as folder:
        home, packs = Path(folder, "run"), Path(folder, "packs")
        home.mkdir()
        packs.mkdir()
        (packs / f"{'0' * 64}.tar").write_bytes(os.urandom(_PACK_BYTES))
        request: dict[str, Any] = {"where": {}, "each": None, "local": True, "job": {}}
        (home / "cluster.json").write_text(json.dumps(request))
        fleet = Fleet(cluster, home, packs)
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        asyncio.run(fleet.run())
        wall, used = time.monotonic() - cluster.began[0], os.times()
        records = sum(state.records for state in fleet.states.values())
        size = sum(path.stat().st_size for path in home.glob("*/raw/*"))
    cluster.close()
    before = cluster.began[1]
    return {
        "machines": machines,
        "records": records,
        "bytes": size,
        "wall_s": round(wall, 2),
        "cpu_s": round(used.user + used.system - before.user - before.system, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "idle_mb": round(idle / 1024, 1),
    }


def plot(rows: list[dict[str, float]], out: Path) -> None:
    """Draw the CPU time of a record and the memory of the driver against the number of machines."""
    import altair as alt
    import pandas as pd
    import vl_convert

    table = pd.DataFrame(rows)
    table["ms"] = 1000 * table["cpu_s"] / table["records"]
    titles = {"cpu_s": "CPU time of the driver, s", "ms": "of a record, ms", "peak_mb": "peak memory of the driver, MB"}
    x = alt.X("machines:Q", title="machines", scale=alt.Scale(zero=True))
    charts = [
        alt.Chart(table)
        .mark_line(point=True)
        .encode(x=x, y=alt.Y(f"{name}:Q", title=title, scale=alt.Scale(zero=True)))
        for name, title in titles.items()
    ]
    chart = alt.hconcat(*charts).configure(font="sans-serif", background="white")
    (out / "cluster_load.svg").write_text(vl_convert.vegalite_to_svg(chart.to_json()))


def main() -> None:
    """Measure, or be the driver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--machines", default="1,50,100,200")
    parser.add_argument("--rate", type=float, default=1.0, help="records a second of each machine; 0: all at once")
    parser.add_argument("--drive", type=int)
    options = parser.parse_args()
    if options.drive:
        row = drive(options.run, options.drive, options.rate)
        options.out.write_text(json.dumps(row))
        return
    python = Path(os.environ.get("RUNOFF_ENVS", ROOT / ".nox"), "ray", "bin", "python")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for machines in map(int, options.machines.split(",")):
        file = options.out / f"{machines}.json"
        command = [str(python), str(Path(__file__).resolve()), str(Path(options.run).resolve()), str(file.resolve())]
        more = ["--drive", str(machines), "--rate", str(options.rate)]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "RAY_USAGE_STATS_ENABLED": "0"}
        subprocess.run([*command, *more], env=env, check=True)
        rows.append({**json.loads(file.read_text()), "rate": options.rate})
        print(rows[-1], flush=True)  # noqa: T201 (its output)
        file.unlink()
    (options.out / "cluster_load.json").write_text(json.dumps(rows, indent=1))
    plot(rows, options.out)


if __name__ == "__main__":
    main()
