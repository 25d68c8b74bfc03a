"""Measure what ways to be faster gain, in adjacent pairs of processes, which a loaded machine disturbs alike.

``pairs.py SUITE PROFILE PAIRS`` compares the targets of ``tools/ways/SUITE.toml`` with its baseline;
``pairs.py TARGET PROFILE PAIRS KEY=VALUE...`` compares a target with a changed setting with its unchanged profile.
Prints ratios with their 95% interval: below 1, the way is faster, or uses less. The variable ``WAYS`` selects targets.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from runoff import paths
from runoff.models.prepared import prepare_file
from runoff.models.store import ModelStore, PreparedFile
from runoff.plan.settings import parse_assignments, resolve
from runoff.plan.suite import read_suite
from runoff.processes import Spawner
from runoff.statistics import paired
from runoff.targets import find_targets

if TYPE_CHECKING:
    from runoff.plan.target import Target

MODEL = "efficientnet-lite0"
BUILDER = "runoff_runners.torch_builders:efficientnet_lite0"
FORMATS = {"torch": "pt", "torch-export": "pt2"}


class Side(NamedTuple):
    """One side of a pair."""

    name: str
    target: Target
    settings: dict[str, object]


class Cost(NamedTuple):
    """Cost of a process: wall time and CPU time in seconds, and peak memory in KiB by its own account."""

    wall: float
    cpu: float
    peak: float


def main(what: str, profile: str, pairs: int, changes: list[str]) -> None:
    """Print a table, a line for each way."""
    base, ways = _sides(what, profile, changes)
    with tempfile.TemporaryDirectory() as folder, Spawner(Path(folder)) as spawner:
        prepared = prepare_file(ModelStore(paths.models()).get(MODEL), spawner, print)
        if not isinstance(prepared, PreparedFile):
            raise SystemExit(str(prepared))
        logs: dict[str, list[list[float]]] = {way.name: [] for way in ways}
        for number in range(pairs + 1):
            for way in random.sample(ways, len(ways)):
                order = random.sample([base, way], 2)
                costs = {side.name: _run(side, prepared, Path(folder)) for side in order}
                if number:  # the first fills caches
                    logs[way.name].append(list(np.log(costs[way.name]) - np.log(costs[base.name])))
    lines = [
        f"| {profile}, {pairs} pairs with {base.name} | wall | CPU time | peak memory |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {name} | {' | '.join(map(_ratio, zip(*rows, strict=True)))} |" for name, rows in logs.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def _sides(what: str, profile: str, changes: list[str]) -> tuple[Side, list[Side]]:
    settings = msgspec.to_builtins(resolve({"threads": 1, "profile": profile}))
    if changes:
        (target,) = find_targets([what], {}, Path()).values()
        changed = [
            Side(change, target, {**settings, **parse_assignments(tuple(change.split(",")))}) for change in changes
        ]
        return Side(what, target, settings), changed
    path = Path(__file__).parent / f"{what}.toml"
    suite, _ = read_suite(path)
    found = find_targets(suite.names("targets"), suite.targets, path.parent)
    sides = [Side(name, target, settings) for name, target in found.items()]
    (base,) = (side for side in sides if side.name == suite.suite.baselines[0])
    chosen = os.environ.get("WAYS", "").split() or found
    return base, [side for side in sides if side is not base and side.name in chosen]


def _run(side: Side, prepared: PreparedFile, folder: Path) -> Cost:
    """Run one process, from a JPEG to a label; its result must be ok."""
    model_format = side.target.format or ("pt" if "torch" in side.target.command[0] else "onnx")
    (folder / "out").mkdir(exist_ok=True)
    text = (paths.root() / "protocol" / "golden" / "once-classify.request.json").read_text(encoding="utf-8")
    values = {"models": paths.models(), "format": model_format, "builder": BUILDER, "out": folder / "out"}
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    request = json.loads(text)
    request["settings"] = side.settings
    if side.settings.get("prepared") and model_format == "onnx":
        request["model"] |= {"format": prepared.format, "path": prepared.path, "sha256": prepared.sha256}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    argv = (*side.target.command, "--request", str(folder / "request.json"), "--result", str(folder / "result.json"))
    began = time.monotonic()
    pid = os.posix_spawn(argv[0], argv, side.target.environment())
    _, _, usage = os.wait4(pid, 0)
    wall = time.monotonic() - began
    result = json.loads((folder / "result.json").read_bytes())
    (folder / "result.json").unlink()
    if result["status"] != "ok":
        raise SystemExit(f"{side.name}: {result['message']}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, result["memory"]["peak_bytes"] / 1024)


def _ratio(logs: tuple[float, ...]) -> str:
    found = paired([np.array([log]) for log in logs])
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
