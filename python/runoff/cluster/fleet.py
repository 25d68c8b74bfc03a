"""The machines of a run: which are chosen, and a coroutine for each that starts its worker and brings home its records.

The driver keeps a few numbers for each machine; everything else is in the run's folder, so a driver that was killed is
continued by the next one. Only the standard library may be imported: this runs in the environment of Ray.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from runoff.cluster.worker import MEASURING, RAW, RUN_FILE
from runoff.records.errors import ExitCode, RunoffError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

REQUEST, STATE = "cluster.json", "machine.json"
"""Files of a run on many machines: in its folder, and in that of each machine."""
FINISHED, LOST, FAILED = "finished", "lost", "failed"
_KIND = ("cpu", "cores", "architecture", "kernel")
_WAIT_S = 10.0
_MOST_CHANGES = 1000
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


@dataclass
class State:
    """What is known of a machine's run: ``machine.json``."""

    name: str
    kind: str
    facts: dict[str, str]
    state: str = "waiting"
    reason: str = ""
    """Why it was lost or has failed."""
    code: int | None = None
    """Exit code of ``runoff bench``."""
    records: int = 0
    replaces: str = ""
    """The lost machine whose cases it measures."""
    line: str = field(default="", compare=False)
    """The last line that it printed."""


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
            "--on: the cluster has no machine with a free CPU", "start nodes: ray start --address=HOST:PORT"
        )
    fitting = list(machines)
    for key, pattern in where.items():
        known = sorted({name for machine in machines for name in machine.facts})
        if key not in known:
            raise RunoffError(f"--where {key}: no machine has this fact", did_you_mean(key, known))
        values = sorted({machine.facts.get(key, "") for machine in fitting})
        fitting = [machine for machine in fitting if fnmatch(machine.facts.get(key, "").lower(), pattern.lower())]
        if not fitting:
            raise RunoffError(f"--where {key}={pattern}: no machine fits", f"{key} is {'; '.join(values)}")
    chosen: list[Machine] = []
    spare: list[Machine] = []
    count: Counter[str] = Counter()
    for machine in fitting:
        count[machine.kind] += 1
        (chosen if each is None or count[machine.kind] <= each else spare).append(machine)
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
        self.run_file = hashlib.sha256((folder / RUN_FILE).read_bytes()).hexdigest() if self.has_run else ""

    @property
    def has_run(self) -> bool:
        """Whether the run has begun."""
        return (self.folder / RUN_FILE).exists()

    def append(self, name: str, start: int, data: bytes) -> None:
        """Append lines to a raw file at `start`."""
        path = self._path(name)
        with path.open("ab", buffering=0) as file:
            if file.tell() != start:
                raise RunoffError(f"{path} was changed by another program", "resume the run again")
            file.write(data)
        self.sizes[name] = start + len(data)
        self.lines += data.count(b"\n")

    def _path(self, name: str) -> Path:
        """Return the path of a file that a machine named: it has to lie in the run's folder."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise LostError(f"it sent the file {name!r}, which is not one of a run")
        return path

    def save_run(self, data: bytes) -> None:
        """Write ``run.json``."""
        self.save(RUN_FILE, data)
        self.run_file = hashlib.sha256(data).hexdigest()

    def save(self, name: str, data: bytes) -> None:
        """Write a file under a temporary name, and rename it."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(data)
        temporary.replace(path)

    def files(self) -> dict[str, bytes]:
        """Return what another machine needs to resume the run."""
        return {name: (self.folder / name).read_bytes() for name in (RUN_FILE, *self.sizes)}


class Fleet:
    """All machines of one run."""

    def __init__(self, cluster: Cluster, folder: Path, packs: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._packs = packs
        """Folder of the tar files to send, each called by its SHA-256."""
        self.request: dict[str, Any] = json.loads((folder / REQUEST).read_bytes())
        self.states: dict[str, State] = {}
        self.notes: list[str] = []
        self._spare: defaultdict[str, list[Machine]] = defaultdict(list)
        """By kind: machines that fit and were not asked for."""
        self._shared: dict[str, Any] = {}
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
        before = [State(**json.loads(path.read_bytes())) for path in sorted(self._folder.glob(f"*/{STATE}"))]
        if before:
            chosen, spare = self._resumed(before, [*chosen, *spare])
        for machine in spare:
            self._spare[machine.kind].append(machine)
        await asyncio.gather(*(self._until_done(machine) for machine in chosen))

    def _resumed(self, before: Sequence[State], machines: Sequence[Machine]) -> tuple[list[Machine], list[Machine]]:
        """Return the machines whose runs are not finished, and those without a run; those that are gone are noted."""
        by_name = {(machine.name, machine.kind): machine for machine in machines}
        known = {state.name for state in before}
        found = []
        for state in before:
            self.states[state.name] = state
            machine = by_name.get((state.name, state.kind))
            if state.state == FINISHED:
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
            state = self.states.setdefault(machine.name, State(machine.name, machine.kind, machine.facts))
            self._set(state, to="waiting", reason="", code=None, replaces=replaces or state.replaces)
            try:
                await self._measure(machine, state)
            except LostError as error:
                self._set(state, to=LOST, reason=str(error))
            else:
                return
            if not self._spare[machine.kind]:
                return
            machine, replaces = self._spare[machine.kind].pop(0), machine.name

    async def _measure(self, machine: Machine, state: State) -> None:
        home = Home(self._folder / machine.name)
        job = {**self.request["job"], "name": f"{self._folder.name}-{machine.name}", "cores": machine.cores}
        link = await self._cluster.open(machine, job)
        try:
            missing = await link.call("missing")
            for sha256 in missing:
                self._set(state, to="sending")
                await link.call("store", sha256, self._share(sha256))
            if home.has_run and not await link.call("has_run"):
                await link.call("restore", home.files())
            await link.call("start")
            await self._follow(link, home, state)
        finally:
            link.close()

    def _share(self, sha256: str) -> Any:  # noqa: ANN401 (a handle of the cluster)
        if sha256 not in self._shared:
            self._shared[sha256] = self._cluster.share((self._packs / f"{sha256}.tar").read_bytes())
        return self._shared[sha256]

    async def _follow(self, link: Link, home: Home, state: State) -> None:
        """Bring home what a machine writes, until it has ended."""
        code = None
        while code is None:
            news = await link.call("poll", home.sizes, home.run_file, _WAIT_S)
            if news["run_file"]:
                home.save_run(news["run_file"])
            for chunk in news["chunks"]:
                home.append(*chunk)
            code = news["code"]
            self._set(state, to=news["state"], line=news["line"], records=home.lines)
        if news["state"] != MEASURING or code not in _RESULTS or not home.has_run:
            self._set(state, to=FAILED, code=code, reason=state.line or f"runoff exited with code {code}")
            return
        for name in await link.call("report"):
            data = bytearray()
            while part := await link.call("read", name, len(data)):
                data += part
            home.save(name, bytes(data))
        self._set(state, to=FINISHED, code=code)

    def _set(self, state: State, to: str, **changes: Any) -> None:
        """Change a state; ``machine.json`` is written if more than the progress changed."""
        saved = to != state.state
        state.state = to
        for name, value in changes.items():
            setattr(state, name, value)
        self._changed[state.name] = None
        if saved or not (self._folder / state.name / STATE).exists():
            folder = self._folder / state.name
            folder.mkdir(exist_ok=True)
            (folder / STATE).write_text(json.dumps(asdict(state), indent=1))
