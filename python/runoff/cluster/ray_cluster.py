"""The seam to Ray: its nodes as machines, an actor as the worker that holds a whole machine."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster as LocalCluster
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runoff.cluster import worker
from runoff.cluster.fleet import LostError, Machine
from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = "runoff-machine"
"""Label of a node that names the machine; by default, its host name does."""
RESOURCE = "runoff"
"""Custom resource of a node: how many measurements it may take at once, 1. Without it, its CPUs are held."""
_STORE_BYTES = 200 * 2**20
_ERRORS = (RayError, ConnectionError)
_CAUSES = ("node has died", "node is dead", "worker process has died", "node was terminated")
_QUOTED = 300


class RayLink:
    """A worker in an actor."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 (made by Ray)
        self._actor = actor

    async def call(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (any method's)
        """Return the result of a method of the worker."""
        return await result(getattr(self._actor, method).remote(*arguments))

    def close(self) -> None:
        """End the actor; its ``runoff bench`` is then ended by the system."""
        ray.kill(self._actor)


async def result(reference: Any) -> Any:  # noqa: ANN401 (any task's)
    """Return the result of a task of Ray.

    Raises
    ------
    LostError
        If the machine or its worker is gone.
    """
    try:
        return await asyncio.wrap_future(reference.future())
    except _ERRORS as error:
        raise LostError(_why(error)) from error


def _why(error: Exception) -> str:
    """Return the reason in Ray's message, which has identities and advice besides."""
    if isinstance(error, RayTaskError):  # raised by the worker: the rest is its traceback
        return str(error).strip().splitlines()[-1][:_QUOTED]
    text = " ".join(str(error).split())
    found = next((words for words in _CAUSES if words in text), "")
    return f"its {found}" if found else text[:_QUOTED]


class RayCluster:
    """A running cluster, or one that is started here.

    Parameters
    ----------
    address
        ``ray://HOST:PORT``, ``HOST:PORT``, or ``local:N``: N nodes on this machine, each with its share of the cores.

    Raises
    ------
    RunoffError
        If it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self.local: LocalCluster | None = None
        self.cores: dict[str, tuple[int, ...]] = {}
        self._resources: dict[str, Mapping[str, float]] = {}
        """By node; to ask for all of them for each one would grow with the square."""
        cloudpickle.register_pickle_by_value(worker)
        kind, _, count = address.partition(":")
        if kind == "local":
            address = self._start(int(count or 1))
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (*_ERRORS, RuntimeError, ValueError, TimeoutError) as error:
            why = " ".join(str(error).split())[:_QUOTED]
            raise RunoffError(
                f"--on {address}: cannot connect: {why}",
                f"it needs Ray {ray.__version__} and Python of the same version on all machines",
                ExitCode.NOTHING_RUNS_HERE,
            ) from error

    def _start(self, count: int) -> str:
        """Start a cluster on this machine."""
        few: dict[str, Any] = {"object_store_memory": _STORE_BYTES, "include_dashboard": False}
        self.local = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 0, **few})
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        for place in range(count):
            name = f"local-{place + 1}"
            self.cores[name] = tuple(cores[place::count])
            few["labels"] = {LABEL: name}
            self.local.add_node(num_cpus=1, num_gpus=0, resources={RESOURCE: 1}, **few)
        return str(self.local.address)

    async def survey(self) -> list[Machine]:
        """Return all machines that have a CPU."""
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        describe = ray.remote(worker.describe)
        on = [describe.options(num_cpus=0, scheduling_strategy=_only(node["NodeID"])).remote() for node in nodes]
        found = await asyncio.gather(*map(result, on), return_exceptions=True)
        self._resources = {node["NodeID"]: node["Resources"] for node in nodes}
        names: Counter[str] = Counter()
        machines = []
        for node, facts in sorted(zip(nodes, found, strict=True), key=lambda pair: pair[0]["NodeID"]):
            if isinstance(facts, BaseException):  # it died meanwhile
                continue
            labels: dict[str, str] = {
                key: value for key, value in node.get("Labels", {}).items() if not key.startswith("ray.io/")
            }
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", labels.get(LABEL, facts["host"])).lstrip(".")
            names[name] += 1
            name = name if names[name] == 1 else f"{name}-{names[name]}"
            cores = self.cores.get(name, ())
            own = {"cores": str(len(cores))} if cores else {}
            machines.append(Machine(name, {**facts, **own, **labels, "name": name}, node["NodeID"], cores))
        return sorted(machines, key=lambda machine: machine.name)

    async def open(self, machine: Machine, job: dict[str, Any]) -> RayLink:
        """Return a worker that holds all of the machine; it starts when the machine is free."""
        held = self._resources[machine.node]
        actor = ray.remote(worker.Worker).options(
            num_cpus=held["CPU"],
            num_gpus=held.get("GPU", 0),
            resources={RESOURCE: 1} if RESOURCE in held else None,
            scheduling_strategy=_only(machine.node),
            max_restarts=0,
        )
        return RayLink(actor.remote(job))

    def share(self, data: bytes) -> Any:  # noqa: ANN401 (a reference)
        """Return a reference to `data` in the object store."""
        return ray.put(data)

    def close(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        ray.shutdown()
        if self.local:
            self.local.shutdown()


def _only(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)
