"""``runoff list``: models, targets, suites, probes and past runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff import paths
from runoff.cli.output import print_json
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runoff.plan.target import TargetInfo
    from runoff.records.manifest import Manifest

    Rows = list[dict[str, Any]]


def show(what: str, *, as_json: bool, results: Path | None = None) -> None:
    """Print the list called `what` as a table or as JSON; `results` is the folder of the runs."""
    if results and what != "runs":
        raise RunoffError(f"--results cannot be combined with {what}", "use it with: runoff list runs")
    rows = _runs(results) if what == "runs" else _LISTS[what]()
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if what == "runs" and rows:
        from runoff.history.run_list import print_runs

        print_runs(rows, Console())
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0] if rows else [f"no {what} yet"]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(value) for value in row.values()))
    Console().print(table, highlight=False)


def _models() -> Rows:
    from runoff.models.store import ModelStore
    from runoff.models.zoo import ZOO, find_model, operations

    store = ModelStore(paths.models())
    stored = set(store.names())
    # synthetic networks of any size are the zoo's too
    synthetic = [find_model(name) for name in sorted(stored) if operations(name) is not None]
    zoo = list(dict.fromkeys([*ZOO, *synthetic]))
    added = stored - {model.name for model in zoo}
    return [
        *(_own_model(store.get(name).manifest) for name in sorted(added)),
        *(
            {
                "model": model.name,
                "stored": f"yes, weights {store.get(model.name).manifest.weights}"
                if model.name in stored
                else "no (exported when needed)",
                "description": model.description,
            }
            for model in zoo
        ),
    ]


def _own_model(manifest: Manifest) -> dict[str, Any]:
    made = manifest.training
    if made is None:
        return {"model": manifest.name, "stored": "yes, added by you", "description": manifest.source}
    about = f"{made.base}, {made.trained}, on {made.data}: {made.accuracy['test']:.1%} of {made.images['test']} images"
    return {"model": manifest.name, "stored": "yes, trained by you", "description": about}


def _targets() -> Rows:
    from runoff.measure.discovery import discover
    from runoff.plugins import plugins
    from runoff.processes import workspace
    from runoff.targets import make_all_targets

    with workspace() as (spawner, _):
        targets = discover(make_all_targets(), spawner)
    unavailable = {"language": "", "providers": ""}
    broken = [
        {"target": name, "runtime": f"unavailable: {why}", **unavailable} for name, why in plugins().broken.items()
    ]
    return [{"target": name, **_abilities(target_info)} for name, target_info in targets.items()] + broken


def _abilities(target_info: TargetInfo) -> dict[str, str]:
    can = target_info.capabilities
    if can is None:
        return {"language": "", "runtime": f"unavailable: {target_info.reason}", "providers": ""}
    runtime = f"{can.runtime} {can.version}".strip()
    return {"language": can.language, "runtime": runtime, "providers": ", ".join(can.providers)}


def _suites() -> Rows:
    from runoff.plan.suite import read_suite

    suites = [read_suite(path)[0] for path in sorted(paths.suites().glob("*.toml"))]
    return [{"suite": suite.suite.name, "description": suite.suite.description} for suite in suites]


def _probes() -> Rows:
    from runoff.probes import PROBES

    return [{"probe": probe.name, "processes": str(probe.blocks), "what": probe.summary} for probe in PROBES.values()]


def _runs(results: Path | None) -> Rows:
    from runoff.history.run_list import past_runs

    return past_runs(results)


_LISTS: dict[str, Callable[[], Rows]] = {
    "models": _models,
    "targets": _targets,
    "suites": _suites,
    "probes": _probes,
}
