"""A pytest plugin that gives the benchmarks synthetic measurements in place of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from synthetic import run_of, synthetic_run

from runoff.analysis.measurements import of_run
from runoff.pytest_plugin.measuring import Measuring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.analysis.measurements import Measurements
    from runoff.pytest_plugin.measuring import PlannedCase


def measure(_: Measuring, cases: Sequence[PlannedCase], *_rest: Any) -> Measurements:
    """Return a run of all targets on the models of `cases`; those of WebNN have the times of PyTorch."""
    run = synthetic_run(profiles=("default",), blocks=6, live=True)
    made, records = [], []
    for model in dict.fromkeys(case.model for case in cases):
        head = ("net.classify.", f"{model}.tensor.")
        made += [replace(c, id=c.id.replace(*head), model=model, workload="tensor") for c in run.info.cases]
        records += [replace(record, case=record.case.replace(*head)) for record in run.records]
    for target in ("webnn-compute", "webnn-ort", "webnn-rust"):
        name = (".torch.", f".{target}.")
        made += [replace(c, id=c.id.replace(*name), target=target) for c in made if c.target == "torch"]
        records += [replace(r, case=r.case.replace(*name)) for r in records if name[0] in r.case]
    return of_run(run_of(made, records))


@pytest.fixture(autouse=True, scope="session")
def synthetic_measurements() -> None:
    """Replace the measuring of a session."""
    pytest.MonkeyPatch().setattr(Measuring, "measure", measure)
