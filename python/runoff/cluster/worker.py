"""The worker on each machine: it unpacks what was sent, runs ``runoff bench``, and returns what that writes.

It runs in an actor of Ray, so only the standard library may be imported. It has a single thread, the main one: the
system ends ``runoff bench`` when the thread that started it is gone.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FILE, RAW = "run.json", "raw"
MEASURING = "measuring"
"""The state in which ``runoff bench`` runs."""
MOST_BYTES = 4 * 2**20
"""Most bytes of files in one response."""
_POLL_INTERVAL_S = 1.0
"""Pause between two looks at the run's folder: what they cost is measured by ``tools/cluster_cost``."""
_PR_SET_PDEATHSIG = 1
_TAIL = 4096
_PREFIXES_REMOVED = ("RAY_", "PYTHON", "VIRTUAL_ENV", "SPT_NOENV")
_SET_BY_RAY = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_LOG = "runoff.log"
_REPORT = ("summary.csv", "samples.csv", "report.md", "report.html", "plots/*")


class Worker:
    """One machine's part of a run.

    Parameters
    ----------
    job
        ``name`` of the machine's run; ``run``, the name of the run on all machines; ``home``, the folder for
        everything, by default in the cache folder (``RUNOFF_HOME``); ``command`` that starts runoff, empty if runoff
        was sent; ``variables`` for it; ``packs``: by purpose (``runoff``, ``suite``, ``models/NAME``), the SHA-256 of
        what was sent; ``suite``: the name of one of runoff's own, if none was sent; ``setup``: environments to make;
        ``arguments`` of ``runoff bench``; ``cores`` to stay on, empty for all.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        cache = os.environ.get("RUNOFF_HOME") or Path.home() / ".cache" / "runoff"
        self.home = Path(job["home"] or Path(cache, "cluster")).absolute()
        self.results = self.home / "runs" / str(job["run"])
        self.folder = self.results / str(job["name"])
        self._steps: list[tuple[str, list[str]]] = []
        self._state = "waiting"
        self._process: subprocess.Popen[bytes] | None = None
        self._sent: dict[str, int] = {}
        """Bytes of each raw file that the driver has."""
        self._run_stamp = (0, 0)
        """Time and inode of the ``run.json`` that was sent."""
        if sys.platform == "linux":  # a library must not be loaded between fork and exec
            self._prctl = ctypes.CDLL(None).prctl

    def missing(self) -> list[str]:
        """Return the hashes of the packs that this machine does not have."""
        return [sha256 for sha256 in dict.fromkeys(self.job["packs"].values()) if not self._pack(sha256).exists()]

    def _pack(self, sha256: str) -> Path:
        return self.home / "packs" / sha256

    def store(self, sha256: str, data: bytes) -> None:
        """Unpack a tar file, and keep it under its hash.

        Raises
        ------
        ValueError
            If its hash is another.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"pack {sha256} was damaged on its way")
        # Debian 12's Python 3.11.2 has no filters
        safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with _temporary(self._pack(sha256)) as unpacked, tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(unpacked, **safe)  # noqa: S202 (its hash is the one that the driver sent)
            try:
                unpacked.rename(self._pack(sha256))
            except OSError:  # a neighbour on the same disk was faster
                if not self._pack(sha256).exists():
                    raise

    def sizes(self) -> dict[str, int]:
        """Return the bytes of ``run.json`` and of the raw files on this machine, by name."""
        found = [path for pattern in (RUN_FILE, f"{RAW}/*.jsonl") for path in self.folder.glob(pattern)]
        return {str(path.relative_to(self.folder)): path.stat().st_size for path in found}

    def restore(self, name: str, data: bytes) -> None:
        """Write a file of a run that this machine has lost, so that it can be resumed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def start(self, known: dict[str, int]) -> None:
        """Begin: make the environments that are missing, then measure or resume.

        `known` are the bytes of each raw file that the driver has.
        """
        self._sent = dict(known)
        self.results.mkdir(parents=True, exist_ok=True)
        packs, command = self.job["packs"], list(self.job["command"])
        for purpose, sha256 in packs.items():
            if purpose.startswith("models/"):
                _link(self.home / purpose, self._pack(sha256))
        if not command:
            root = self._pack(packs["runoff"])
            command = [str(root / "env" / "bin" / "python"), "-m", "runoff"]
            own = [sys.executable, "-P", "-m", "runoff.environments", "runoff", str(root / "env")]
            self._steps.append(("installing runoff", own))
        if self.job["setup"]:
            self._steps.append(("installing", [*command, "setup", *self.job["setup"]]))
        if (self.folder / RUN_FILE).exists():
            bench = ["--resume", str(self.folder)]
        else:
            shutil.rmtree(self.folder, ignore_errors=True)  # what was begun and has no plan
            suite = str(self._pack(packs["suite"]) / "suite.toml") if "suite" in packs else self.job["suite"]
            bench = [suite, "--results", str(self.results), "--name", self.job["name"]]
            bench += self.job["arguments"]
        self._steps.append((MEASURING, [*command, "bench", *bench]))
        self._next()

    def _next(self) -> None:
        """Start the next step."""
        self._state, command = self._steps.pop(0)
        root = self._pack(self.job["packs"].get("runoff", "none"))
        for site in (root / "env").glob("lib/python3*/site-packages"):
            (site / "runoff.pth").write_text(str(root))
        variables = {**users_variables(), "RUNOFF_HOME": str(self.home), **self.job["variables"]}
        programs = root / f"bin-{platform.system()}-{platform.machine()}"
        if self._state == "installing runoff":
            variables["PYTHONPATH"] = str(root)
            variables["PATH"] = f"{programs}{os.pathsep}{variables.get('PATH', os.defpath)}"
        if programs.exists():
            variables["RUNOFF_BIN"] = str(programs)
        if (root / "wheels").exists():
            variables.setdefault("UV_FIND_LINKS", str(root / "wheels"))
        with (self.results / f"{self.job['name']}.{_LOG}").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=variables,
                cwd=self._pack(self.job["packs"]["suite"]) if "suite" in self.job["packs"] else self.results,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._prepare,  # noqa: PLW1509 (there is a single thread)
            )

    def _prepare(self) -> None:
        """Let the process end with its parent, stay on its cores, and get all signals."""
        if sys.platform == "linux":
            # Ray blocks Ctrl-C in its workers
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if self.job["cores"]:
                os.sched_setaffinity(0, self.job["cores"])

    def poll(self, wait_s: float) -> dict[str, Any]:
        """Return what is new since the last call, after at most `wait_s` seconds.

        Returns
        -------
        dict
            ``state``; ``line``, the last one printed; ``code``, the exit code, None until the end; ``chunks``: raw
            file, place and whole lines; ``run_file``: the new ``run.json``, or None.
        """
        end, before = time.monotonic() + wait_s, self._state
        while True:
            code = self._advance()
            chunks, text = self._chunks(), self._run_file()
            if chunks or text or code is not None or self._state != before or time.monotonic() >= end:
                # while it still has lines to send, the run has not ended for the driver
                code = None if chunks else code
                return {"state": self._state, "line": self._line(), "code": code, "chunks": chunks, "run_file": text}
            time.sleep(min(_POLL_INTERVAL_S, max(0.0, end - time.monotonic())))

    def _advance(self) -> int | None:
        """Start the next step if one has ended; return the exit code of the last step, or of one that failed."""
        code = self._process.poll() if self._process else 0
        if code == 0 and self._steps:
            self._next()
            return None
        return code

    def _chunks(self) -> list[tuple[str, int, bytes]]:
        chunks, left = [], MOST_BYTES
        for path in sorted((self.folder / RAW).glob("*.jsonl")):
            name = f"{RAW}/{path.name}"
            start = self._sent.get(name, 0)
            if left > 0 and path.stat().st_size > start:
                with path.open("rb") as file:
                    file.seek(start)
                    data = _whole_lines(file, left)
                if data:
                    chunks.append((name, start, data))
                    self._sent[name] = start + len(data)
                    left -= len(data)
        return chunks

    def _run_file(self) -> bytes | None:
        path = self.folder / RUN_FILE
        with suppress(FileNotFoundError):
            found = path.stat()
            if self._run_stamp != (stamp := (found.st_mtime_ns, found.st_ino)):
                self._run_stamp = stamp
                return path.read_bytes()
        return None

    def _line(self) -> str:
        """Return the last line that was printed."""
        path = self.results / f"{self.job['name']}.{_LOG}"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def report(self) -> list[str]:
        """Return the names of the files of the run's report."""
        found = [path for pattern in _REPORT for path in sorted(self.folder.glob(pattern))]
        return [str(path.relative_to(self.folder)) for path in found]

    def read(self, name: str, start: int) -> bytes:
        """Return bytes of a file of the run from `start` on; none at its end."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(MOST_BYTES)


def _whole_lines(file: IO[bytes], most: int) -> bytes:
    """Return whole lines: at most `most` bytes, or one line that is longer."""
    data = file.read(most)
    end = data.rfind(b"\n") + 1
    return data[:end] if end or len(data) < most else data + file.readline()


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Give a free path in a folder next to `path`; the folder is removed at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        yield Path(folder, path.name)


def _link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, whatever it was a link to."""
    with _temporary(path) as link:
        link.symlink_to(target)
        link.replace(path)


def users_variables() -> dict[str, str]:
    """Return the environment that Ray was started in, without what Ray adds for its workers, and Python's switches.

    Ray's own process, the worker's parent, has the user's values of what Ray sets; it also preloads jemalloc, which
    must not reach a runner.
    """
    started: dict[str, str] = {}
    with suppress(OSError):
        text = Path(f"/proc/{os.getppid()}/environ").read_bytes().decode(errors="surrogateescape")
        started = dict(item.split("=", 1) for item in text.split("\0") if "=" in item)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_PREFIXES_REMOVED)}
    others = {key: value for key, value in kept.items() if key not in _SET_BY_RAY}
    return others | {key: started[key] for key in _SET_BY_RAY if key in started}


def describe() -> dict[str, str]:
    """Return the facts about this machine that it is chosen by."""
    cpu = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    boot = Path("/proc/sys/kernel/random/boot_id")
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return {
        "cpu": cpu or platform.processor() or platform.machine(),
        "cores": str(cores),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "system": platform.system(),
        "host": socket.gethostname(),
        "boot": boot.read_text().strip() if boot.exists() else socket.gethostname(),
    }
