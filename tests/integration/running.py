"""``runoff`` as users start it, and the folder that it writes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from runoff import paths
from runoff.cli.main import main
from runoff.records.files import read_run
from runoff.targets import BUILT_IN
from runoff.targets.web import WEB_TARGETS

if TYPE_CHECKING:
    from runoff.records.schema import Record, Run

RUNOFF = Path(sys.executable).with_name("runoff")
RUNNERS = Path(__file__).with_name("runners")
MODEL = "efficientnet-lite0"
PLACES = ("RUNOFF_BIN", "RUNOFF_ENVS", "RUNOFF_HOME")
# torch is slow to start, so it has a short run of its own, and stands for its other ways; so have webnn-compute, and
# those in a browser (test_web); coreml needs a Mac, and the engines in Rust take minutes to build (contract tests)
TORCH = ("torch", "torch-export", "torch-compile", "torchscript", "torch-aoti")
IN_RUST = ("openvino-rust", "tract-rust", "rten")
ALONE = (*TORCH, "litert", "executorch", "coreml", *IN_RUST, "webnn-compute", "webnn-ort", "webnn-rust", *WEB_TARGETS)
TARGETS = tuple(name for name in BUILT_IN if name not in ALONE)


class Ended(msgspec.Struct, frozen=True):
    """The outcome of a ``runoff`` command."""

    code: int
    out: str
    err: str


class Whole(msgspec.Struct, frozen=True):
    """A run with the outcome of the command."""

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


def environment(**changes: str) -> dict[str, str]:
    """Return the caller's environment with `changes`, without variables of Python and runoff, except runoff's paths."""
    others = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RUNOFF_"))}
    kept = others | {key: os.environ[key] for key in PLACES if key in os.environ}
    return {**kept, **changes}


def runoff(*arguments: object, cwd: Path | None = None, **changes: str) -> Ended:
    """Run the command and wait for its end; no failure may show a traceback."""
    done = subprocess.run(
        [RUNOFF, *map(str, arguments)],
        env=environment(**changes),
        cwd=cwd or paths.root(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def here(*arguments: object, cwd: Path | None = None, **changes: str) -> Ended:
    """Run the command in this process, which saves the time to start one; no failure may show a traceback."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    variables = mock.patch.dict(os.environ, environment(**changes), clear=True)
    code: str | int | None = 0
    with variables, chdir(cwd or paths.root()), redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code
    for stream in (out, err):
        stream.seek(0)
    ended = Ended(int(code or 0), out.read(), err.read())
    assert "Traceback" not in ended.err, ended.err
    return ended


def write_suite(folder: Path, *targets: str, probes: str = '"life"', more: str = "") -> Path:
    """Write a suite of `targets`; targets that are not built in fail as their name says."""
    path = folder / "tiny.toml"
    names = ", ".join(f'"{name}"' for name in targets)
    lines = [f'[suite]\nname = "tiny"\nmodels = ["{MODEL}"]\ntargets = [{names}]\nprobes = [{probes}]\n', more]
    own = [name for name in targets if name.startswith("bad-")]
    pids = folder / "pids"
    for name in own:
        command = msgspec.json.encode([sys.executable, str(RUNNERS / "bad.py"), name.removeprefix("bad-")]).decode()
        lines.append(f'[targets.{name}]\ncommand = {command}\nenv = {{ PIDS = "{pids}" }}\n')
    path.write_text("\n".join(lines))
    return path


def only_run(results: Path) -> Run:
    """Return the one run in `results`."""
    (folder,) = results.iterdir()
    return read_run(folder)


def reasons(run: Run) -> dict[str, Any]:
    """Return the status and the kind of the first failure, by target."""
    targets = {case.id: case.target for case in run.info.cases}
    found: dict[str, Any] = {}
    for record in run.records:
        if record.status in ("error", "unsupported"):
            found.setdefault(targets[record.case], (record.status, record.reason.kind if record.reason else None))
    return found
