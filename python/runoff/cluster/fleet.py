"""The machines of a run: which are chosen, and a coroutine for each that starts its worker and copies its records.

The driver keeps a few numbers for each machine; everything else is in the run's folder, so a driver that was killed is
continued by the next one. Only the standard library may be imported: this runs in the environment of Ray.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any, Protocol

from runoff.cluster.worker import MEASURING, RAW, RUN_FILE
from runoff.records.errors import ExitCode, RunoffError, did_you_mean
from runoff.records.machine_states import (
    CLUSTER_FILE,
    FAILED,
    FINISHED,
    LOST,
    MACHINE_FILE,
    State,
    read_states,
    replaced,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

_KIND = ("cpu", "cores", "architecture", "kernel")
_WAIT_S = 10.0
_TIMEOUT_S = _WAIT_S + 120
"""A worker that does not respond for so long counts as lost."""
_MOST_CHANGES = 200
_SHOWN = ("name", "state", "reason", "records", "line")
_RESULTS = (ExitCode.OK, ExitCode.CASE_FAILED, ExitCode.NOTHING_RUNS_HERE)
"""Exit codes of a ``runoff bench`` that wrote a run."""


class LostError(Exception):
    """A machine is gone, or its worker is."""


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster."""

    name: str
    facts: dict[str, str]
    """From `runoff.cluster.worker.describe`, and the labels of its node."""
    node: str = ""
    """Identity of its node in Ray."""
    cores: tuple[int, ...] = ()
    """Those that it may use; empty for all."""

    @property
    def kind(self) -> str:
        """What machines with comparable times share."""
        return ", ".join(self.facts.get(name, "") for name in _KIND)


class Link(Protocol):
    """A worker on a reserved machine."""

    async def call(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (any method's)
        """Return the result of a method of `runoff.cluster.worker.Worker`; raise `LostError` if the machine is gone."""

    def close(self) -> None:
        """End the worker and free the machine."""


class Cluster(Protocol):
    """The seam to Ray."""

    async def survey(self) -> list[Machine]:
        """Return all machines; raise `LostError` if the cluster is gone."""

    async def open(self, machine: Machine, job: dict[str, Any]) -> Link:
        """Reserve `machine` and start a worker on it; nothing else may use the machine until the link is closed."""

    def share(self, data: bytes) -> Any:  # noqa: ANN401 (what the cluster has for it)
        """Return a handle of `data` that can be an argument of `Link.call`; each machine gets the data once."""


def choose(
    machines: Sequence[Machine], where: Mapping[str, str], each: int | None
) -> tuple[list[Machine], list[Machine]]:
    """Return the machines to measure on, and the others that fit `where`, which may replace a lost one.

    Parameters
    ----------
    machines
        All machines of the cluster.
    where
        Patterns by fact, such as ``{"cpu": "AMD*"}``; all must match.
    each
        Machines of each kind; None for all.

    Raises
    ------
    RunoffError
        If none fits.
    """
    if not machines:
        raise RunoffError(
            "--on: the cluster has no node with CPUs",
            "start nodes: ray start --address=HOST:PORT",
            ExitCode.NOTHING_RUNS_HERE,
        )
    fitting = list(machines)
    for key, pattern in where.items():
        known = sorted({name for machine in machines for name in machine.facts})
        if key not in known:
            raise RunoffError(f"--where {key}: no machine has this fact", did_you_mean(key, known))
        values = sorted({machine.facts.get(key, "") for machine in fitting})
        fitting = [machine for machine in fitting if fnmatch(machine.facts.get(key, "").lower(), pattern.lower())]
        if not fitting:
            raise RunoffError(
                f"--where {key}={pattern}: no machine fits",
                f"{key} is {'; '.join(values)}",
                ExitCode.NOTHING_RUNS_HERE,
            )
    chosen: list[Machine] = []
    spare: list[Machine] = []
    found: Counter[str] = Counter()
    for machine in fitting:
        found[machine.kind] += 1
        (chosen if each is None or found[machine.kind] <= each else spare).append(machine)
    return chosen, spare


def distinct(machines: Iterable[Machine]) -> tuple[list[Machine], dict[str, str]]:
    """Return one node for each machine, and the reason for each node that is not used, by name.

    Two containers on one machine are two nodes of Ray, and would disturb each other.
    """
    first: dict[str, Machine] = {}
    others: dict[str, str] = {}
    for machine in sorted(machines, key=lambda machine: (machine.name, machine.node)):
        other = first.setdefault(machine.facts["boot"], machine)
        if other is not machine:
            others[machine.name] = f"{machine.name} is on the same machine as {other.name}"
    return list(first.values()), others


def machine_name(host: str, used: Container[str]) -> str:
    """Return a name for a machine that is not in `used` and can be a folder's."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", host).lstrip(".") or "machine"
    names = chain([plain], (f"{plain}-{number}" for number in count(2)))
    return next(name for name in names if name not in used)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file under a temporary name that replaces `path` at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        yield file
    temporary.replace(path)


class Home:
    """The folder of one machine's run, where the results arrive byte by byte as they were written there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / RAW).mkdir(parents=True, exist_ok=True)
        self.sizes: dict[str, int] = {}
        self.lines = 0
        for path in (folder / RAW).glob("*.jsonl"):
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if whole != data:  # the driver was killed while it wrote
                path.write_bytes(whole)
            self.sizes[f"{RAW}/{path.name}"] = len(whole)
            self.lines += whole.count(b"\n")

    @property
    def has_run(self) -> bool:
        """Whether the run has begun."""
        return (self.folder / RUN_FILE).exists()

    def append(self, name: str, start: int, data: bytes) -> None:
        """Append lines to a raw file at `start`."""
        if not re.fullmatch(rf"{RAW}/[^/]+\.jsonl", name):
            raise LostError(f"unexpected file {name!r}")
        path = self.folder / name
        with path.open("ab") as file:
            if file.tell() != start:
                raise RunoffError(f"{path} was changed by another program", "resume the run again")
            file.write(data)
        self.sizes[name] = start + len(data)
        self.lines += data.count(b"\n")

    def path(self, name: str) -> Path:
        """Return the path of a file that a machine named: it has to lie in the run's folder."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise LostError(f"unexpected file {name!r}")
        return path

    def missing(self, there: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield the files that the machine lacks, or has only the beginning of; `there` are their sizes on it.

        A machine that lost power may have less than it has sent.
        """
        for name in (RUN_FILE, *self.sizes) if self.has_run else ():
            path = self.folder / name
            if path.stat().st_size > there.get(name, 0):
                yield name, path.read_bytes()


class Fleet:
    """All machines of one run."""

    def __init__(self, cluster: Cluster, folder: Path, packs: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._packs = packs
        """Folder of the tar files to send, each called by its SHA-256."""
        self.request: dict[str, Any] = json.loads((folder / CLUSTER_FILE).read_bytes())
        self.states: dict[str, State] = {}
        self.notes: list[str] = []
        self._spare: defaultdict[str, list[Machine]] = defaultdict(list)
        """By kind: machines that fit and were not asked for."""
        self._shared: dict[str, asyncio.Future[Any]] = {}
        self._changed: dict[str, None] = {}

    def changes(self) -> list[dict[str, Any]]:
        """Return what changed since the last call, of so many machines that it fits into a line; more wait."""
        names = list(islice(self._changed, _MOST_CHANGES))
        for name in names:
            del self._changed[name]
        return [{key: getattr(self.states[name], key) for key in _SHOWN} for name in names]

    async def run(self) -> None:
        """Measure on all machines, or resume what is not finished.

        Raises
        ------
        RunoffError
            If no machine fits what was asked for.
        """
        machines = await self._cluster.survey()
        if not self.request["local"]:
            machines, others = distinct(machines)
            self.notes += others.values()
        chosen, spare = choose(machines, self.request["where"], self.request["each"])
        if before := list(read_states(self._folder).values()):
            chosen, spare = self._resumed(before, [*chosen, *spare])
        for machine in spare:
            self._spare[machine.kind].append(machine)
        for machine in chosen:  # those that were not started when the driver is killed are resumed too
            self._waiting(machine)
        await asyncio.gather(*(self._until_done(machine) for machine in chosen))

    def _resumed(self, before: Sequence[State], machines: Sequence[Machine]) -> tuple[list[Machine], list[Machine]]:
        """Return the machines with a run to finish, and those without a run; those that are gone are noted."""
        by_name = {(machine.name, machine.kind): machine for machine in machines}
        known, done = {state.name for state in before}, replaced(before)
        found = []
        for state in before:
            self.states[state.name] = state
            machine = by_name.get((state.name, state.kind))
            if state.state == FINISHED or state.name in done:
                self._changed[state.name] = None
            elif machine:
                found.append(machine)
            else:
                self._set(state, to=LOST, reason=state.reason or "not in the cluster")
        return found, [machine for machine in machines if machine.name not in known]

    async def _until_done(self, machine: Machine) -> None:
        """Measure on `machine`; if it is lost, on another one of its kind, as a run of its own."""
        replaces = ""
        while True:
            state = self._waiting(machine, replaces)
            try:
                await self._measure(machine, state)
            except (LostError, RunoffError, ConnectionError) as error:
                self._set(state, to=LOST, reason=str(error))
            else:
                return
            if not self._spare[machine.kind]:
                return
            machine, replaces = self._spare[machine.kind].pop(0), machine.name

    def _waiting(self, machine: Machine, replaces: str = "") -> State:
        """Return the state of a machine that is about to start."""
        state = self.states.setdefault(machine.name, State(machine.name, machine.kind, machine.facts))
        self._set(state, to="waiting", reason="", code=None, replaces=replaces or state.replaces)
        return state

    async def _measure(self, machine: Machine, state: State) -> None:
        home = Home(self._folder / machine.name)
        job = {**self.request["job"], "name": f"{self._folder.name}-{machine.name}", "cores": machine.cores}
        link = await self._cluster.open(machine, job)
        try:
            for sha256 in await link.call("missing"):  # waits until the machine is free
                self._set(state, to="sending")
                await link.call("store", sha256, await self._share(sha256))
            for name, data in home.missing(await _ask(link, "sizes")):
                await _ask(link, "restore", name, data)
            await _ask(link, "start", home.sizes)
            await self._follow(link, home, state)
        finally:
            link.close()

    async def _share(self, sha256: str) -> Any:  # noqa: ANN401 (a handle of the cluster)
        """Return the handle of a pack, which is read once, in a thread: others go on meanwhile."""
        if sha256 not in self._shared:
            path = self._packs / f"{sha256}.tar"
            reading = asyncio.to_thread(lambda: self._cluster.share(path.read_bytes()))
            self._shared[sha256] = asyncio.ensure_future(reading)
        return await asyncio.shield(self._shared[sha256])

    async def _follow(self, link: Link, home: Home, state: State) -> None:
        """Copy what a machine writes, until it has ended."""
        code = None
        while code is None:
            news = await _ask(link, "poll", _WAIT_S)
            if news["run_file"]:
                with replacing(home.folder / RUN_FILE) as file:
                    file.write(news["run_file"])
            for chunk in news["chunks"]:
                home.append(*chunk)
            code = news["code"]
            self._set(state, to=news["state"], line=news["line"], records=home.lines)
        if news["state"] != MEASURING or code not in _RESULTS or not home.has_run:
            killed = f"runoff was ended by signal {-code}" if code < 0 else ""
            self._set(state, to=FAILED, code=code, reason=killed or state.line or f"runoff exited with code {code}")
            return
        for name in await _ask(link, "report"):
            with replacing(home.path(name)) as file:
                while part := await _ask(link, "read", name, file.tell()):
                    file.write(part)
        self._set(state, to=FINISHED, code=code)

    def _set(self, state: State, to: str, **changes: Any) -> None:
        """Change a state; ``machine.json`` is written if more than the progress changed."""
        saved = to != state.state
        state.state = to
        for name, value in changes.items():
            setattr(state, name, value)
        self._changed[state.name] = None
        path = self._folder / state.name / MACHINE_FILE
        if saved or not path.exists():
            with replacing(path) as file:
                file.write(json.dumps(asdict(state), indent=1).encode())


async def _ask(link: Link, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (any method's)
    """Return the result of a method that responds soon; raise `LostError` if the worker hangs."""
    try:
        return await asyncio.wait_for(link.call(method, *arguments), _TIMEOUT_S)
    except TimeoutError as error:
        raise LostError(f"no response for {_TIMEOUT_S:.0f} s") from error
