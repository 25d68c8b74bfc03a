"""The suites of injected runners: ordinary suite files, measured by the ordinary pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff import paths
from runoff.plan.own_suite import toml_table
from runoff.plan.suite import CustomTarget
from runoff.records.errors import ExitCode, RunoffError
from runoff.selftest import injected
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runoff.plan.target import Target

UNMODIFIED = "unmodified"
"""The baseline: the injected runner without a fault."""
SAME = "same"
"""The A/A control: the baseline's program under another name."""
MODELS = ("regnet_x_400mf", "efficientnet-lite0")
"""The first one in the store is used; if none is, the last is exported."""
SHORT_SETS = {"min_samples": 20, "min_time_s": 0, "warmup_time_s": 1.0, "huge_pages": True}
"""``[measure.latency]`` of comparisons. Processes differ by their memory layout: many short sets of processes are more
precise than a few long ones, and huge pages reduce the differences."""


class Plan(Struct, frozen=True, kw_only=True):
    """A suite of custom targets."""

    name: str
    model: str
    targets: Mapping[str, CustomTarget]
    probe: str
    workload: str = "tensor"
    groups: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()
    """Targets and settings of each ``[[group]]``; by default, one group of all targets."""
    settings: dict[str, Any] = {}
    """In addition to one thread."""
    measure: dict[str, Any] = {}
    """``[measure]``."""


def pick_model() -> str:
    """Return the model to measure with."""
    stored = [name for name in MODELS if (paths.models() / name / "manifest.json").is_file()]
    return (stored or list(MODELS[::-1]))[0]


def runner(*words: object) -> CustomTarget:
    """Return the injected runner with the fault in `words`: its name, and its share if it has one.

    Raises
    ------
    RunoffError
        If the environment that it runs in is not installed.
    """
    unmodified = built("ort-python")
    command = (unmodified.command[0], "-P", str(Path(injected.__file__)), *map(str, words))
    return CustomTarget(command=command, env=unmodified.env)


def built(name: str) -> Target:
    """Return a built-in target.

    Raises
    ------
    RunoffError
        If its environment or its program is missing.
    """
    target = BUILT_IN[name]()
    if target.missing:
        raise RunoffError(f"{name}: {target.missing.message}", target.missing.hint, ExitCode.NOTHING_RUNS_HERE)
    return target


def write(plan: Plan, folder: Path) -> Path:
    """Write the suite of `plan` into `folder` and return its path."""
    path = folder / f"{plan.name}.toml"
    path.write_text(suite_text(plan), encoding="utf-8")
    return path


def suite_text(plan: Plan) -> str:
    """Return the suite of `plan` as TOML."""
    head = {
        "name": plan.name,
        "models": [plan.model],
        "targets": list(plan.targets),
        "workloads": [plan.workload],
        "probes": [plan.probe],
        "baselines": [next(iter(plan.targets))],
    }
    settings = {"threads": 1, **plan.settings}
    tables: dict[str, dict[str, Any]] = {"suite": head, "settings": settings, "measure": plan.measure}
    for name, target in plan.targets.items():
        tables[f"targets.{name}"] = {"command": target.command, "env": target.env}
    texts = [toml_table(f"[{name}]", table) for name, table in tables.items()]
    texts += [toml_table("[[group]]", {"targets": names, "settings": own}) for names, own in plan.groups]
    return "\n".join(texts)
