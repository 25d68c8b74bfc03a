"""Measuring the cases of a check: an ordinary suite, the ordinary pipeline, an ordinary run."""

from __future__ import annotations

import json
import re
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from runoff import paths
from runoff.analysis.measurements import of_run
from runoff.bench import Pipeline
from runoff.compare import saved
from runoff.measure.stopping import FEWEST
from runoff.plan.cases import case_id, settings_words
from runoff.plan.own_suite import toml_table
from runoff.plan.settings import resolve
from runoff.plan.suite import parse_suite
from runoff.records.errors import RunoffError
from runoff.records.files import read_run
from runoff.records.machine import headline, same_machine
from runoff.selftest.suites import SHORT_SETS
from runoff.statistics import fewest_samples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.analysis.measurements import Measurements
    from runoff.analysis.metric_samples import Metric
    from runoff.compare.saved import Saved

ERROR = 0.02
"""Sampling stops when the interval of a value is within this of its estimate."""
_ERRORS = (0.005, 0.1)
"""The same for a comparison: smallest and largest."""
_MIN_TIME_S = 0.05
"""Least time of inferences in a process: even a small model then takes enough turns to check its clock."""
_SAVE = "save it on this machine: pytest --runoff-save-baselines"


class PlannedCase(NamedTuple):
    """The parts of a suite that define a case."""

    model: str
    model_table: dict[str, Any] | None
    """``[models.NAME]``; None for a model of the zoo or the store."""
    target: str
    target_table: dict[str, Any] | None
    """``[targets.NAME]``; None for a built-in target."""
    workload: str
    settings: dict[str, Any]

    @property
    def id(self) -> str:
        """The identity of the case in the run."""
        return case_id(self.model, self.workload, self.target, settings_words(resolve(self.settings)))


class Measuring:
    """Measures the cases of a pytest session; the same suite only once.

    Relative paths start at `folder`. `results` is the folder of the runs, `time` the budget of each. With `save`,
    baseline files are written, not compared with.
    """

    def __init__(self, folder: Path, results: Path | None, time: str, *, save: bool) -> None:
        self._folder = folder
        self.results = results or paths.results()
        self._time = time
        self._measured: dict[str, Measurements] = {}
        self.save = save

    def measure(self, cases: Sequence[PlannedCase], metric: Metric, error: float, test: str) -> Measurements:
        """Return measurements of `cases`, interleaved if only their targets differ; the first is the baseline.

        Sampling stops when the interval is within the share `error` of its estimate. The run is named after `test`.

        Raises
        ------
        RunoffError
            If the suite of these cases is not valid, or cannot be measured.
        """
        key, text = (suite_text(cases, metric, error, self._time, name) for name in ("", test))
        if key not in self._measured:
            suite = parse_suite(text, f"the suite of {test}")
            folder, _ = Pipeline(suite, text, self._folder, Console(stderr=True)).run(self.results)
            self._measured[key] = of_run(read_run(folder))
        return self._measured[key]

    def save_baseline(self, data: Measurements, file: Path) -> None:
        """Write the cases of `data` to a baseline file, next to those that other checks saved on this machine."""
        path = self._folder / file
        earlier = saved.load(path) if path.is_file() else None
        saved.save(data, path, earlier if earlier and same_machine(earlier.machine, data.machine) else None)

    def load_baseline(self, data: Measurements, file: Path) -> Saved:
        """Return the baseline in a file.

        Raises
        ------
        RunoffError
            If there is no such file, or it was saved on a different machine.
        """
        path = self._folder / file
        if not path.is_file():
            raise RunoffError(f"baseline file not found: {path}", _SAVE)
        earlier = saved.load(path)
        if not same_machine(earlier.machine, data.machine):
            where = headline(earlier.machine) if earlier.machine else "unknown"
            raise RunoffError(f"{path} was saved on a different machine ({where})", _SAVE)
        return earlier


def max_error(limit: float) -> float:
    """Return the share within which the interval of a ratio must be to check a limit on it: half of the limit."""
    return min(max(limit / 2, _ERRORS[0]), _ERRORS[1])


def suite_text(cases: Sequence[PlannedCase], metric: Metric, error: float, time: str, name: str) -> str:
    """Return the suite that measures `metric` of `cases`, in TOML.

    Raises
    ------
    RunoffError
        If two of them cannot be distinguished.
    """
    if len({case.id for case in cases}) < len(cases):
        raise RunoffError(
            f"{cases[0].id} is compared with itself", "for an A/A, give the same command to two targets of other names"
        )
    latency = {**SHORT_SETS, "min_time_s": _MIN_TIME_S, "huge_pages": len(cases) > 1}
    if metric.quantile is not None:
        latency["min_samples"] = max(SHORT_SETS["min_samples"], ceil(fewest_samples(metric.quantile) / FEWEST))
    tables: list[tuple[str, dict[str, Any]]] = [
        ("[suite]", {"name": _suite_name(name), "probes": [metric.probe], "baselines": [cases[0].target]}),
        ("[measure]", {"time": time, "precision": f"{100 * error:g}%", "latency": latency}),
    ]
    for case in cases:
        group = {"models": [case.model], "targets": [case.target], "workloads": [case.workload]}
        tables.append(("[[group]]", {**group, "settings": case.settings}))
    tables += _tables("models", [(case.model, case.model_table) for case in cases])
    tables += _tables("targets", [(case.target, case.target_table) for case in cases])
    return "\n".join(toml_table(header, table) for header, table in tables)


def _suite_name(test: str) -> str:
    """Return the name of a test as that of a suite, which is part of file names."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", test).strip("-._") or "pytest"


def _tables(kind: str, named: Sequence[tuple[str, dict[str, Any] | None]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the tables of the models or targets that have one, each once."""
    tables: dict[str, dict[str, Any] | None] = {}
    for name, table in named:
        if tables.setdefault(name, table) != table:
            raise RunoffError(f"two different {kind} are called {name!r}", 'give one of them another "name"')
    return [(f"[{kind}.{json.dumps(name)}]", table) for name, table in tables.items() if table is not None]
