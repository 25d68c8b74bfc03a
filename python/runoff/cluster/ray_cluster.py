"""The seam to Ray: its nodes as machines, an actor as the worker that holds a whole machine."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster as LocalCluster
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runoff.cluster import worker
from runoff.cluster.fleet import LostError, Machine, machine_name
from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = "runoff-machine"
"""Label of a node that names the machine; by default, its host name does."""
RESOURCE = "runoff"
"""Custom resource of a node: how many measurements it may take at once, 1. Without it, its CPUs are held."""
_STORE_BYTES = 200 * 2**20
_ERRORS = (RayError, ConnectionError)
_CAUSES = {
    "node has died": "node died",
    "node is dead": "node died",
    "worker process has died": "worker process died",
    "node was terminated": "node was terminated",
}
"""By the words for it in Ray's messages."""
_QUOTED = 300
_SURVEY_S = 120.0
"""A node that does not describe itself within this time is not used."""


class RayLink:
    """A worker in an actor."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 (made by Ray)
        self._actor = actor

    async def call(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (any method's)
        """Return the result of a method of the worker."""
        return await result(getattr(self._actor, method).remote(*arguments))

    def close(self) -> None:
        """End the actor; its ``runoff bench`` is then ended by the system."""
        with suppress(*_ERRORS):
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
    return next((cause for words, cause in _CAUSES.items() if words in text), text[:_QUOTED])


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
                f"requires Ray {ray.__version__} and the same Python version on all machines",
                ExitCode.NOTHING_RUNS_HERE,
            ) from error
        self._worker = ray.remote(worker.Worker)

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
        described = (asyncio.wait_for(result(reference), _SURVEY_S) for reference in on)
        found = await asyncio.gather(*described, return_exceptions=True)
        self._resources = {node["NodeID"]: node["Resources"] for node in nodes}
        names: set[str] = set()
        machines = []
        for node, facts in sorted(zip(nodes, found, strict=True), key=lambda pair: pair[0]["NodeID"]):
            if isinstance(facts, BaseException):  # it died meanwhile, or hangs
                continue
            labels: dict[str, str] = {
                key: value for key, value in node.get("Labels", {}).items() if not key.startswith("ray.io/")
            }
            name = machine_name(labels.get(LABEL, facts["host"]), names)
            names.add(name)
            cores = self.cores.get(name, ())
            own = {"cores": str(len(cores))} if cores else {}
            machines.append(Machine(name, {**facts, **own, **labels, "name": name}, node["NodeID"], cores))
        return sorted(machines, key=lambda machine: machine.name)

    async def open(self, machine: Machine, job: dict[str, Any]) -> RayLink:
        """Return a worker that holds all of the machine; it starts when the machine is free."""
        held = self._resources[machine.node]
        actor = self._worker.options(
            num_cpus=held["CPU"],
            num_gpus=held.get("GPU", 0),
            resources={RESOURCE: 1} if RESOURCE in held else None,
            scheduling_strategy=_only(machine.node),
            max_restarts=0,
        )
        return RayLink(actor.remote(job))

    def share(self, data: bytes) -> Any:  # noqa: ANN401 (a reference)
        """Return a reference to `data` in the object store."""
        try:
            return ray.put(data)
        except _ERRORS as error:
            raise LostError(_why(error)) from error

    def close(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        ray.shutdown()
        if self.local:
            self.local.shutdown()


def _only(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)
