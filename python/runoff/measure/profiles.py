"""The profile that a runner leaves: its nodes go to the record, the first of each case to the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runoff.records import profiles, untrusted
from runoff.records.files import write_atomically
from runoff.records.protocol import Operators
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from runoff.measure.job import Job
    from runoff.records.protocol import Result

PROFILES = "profiles"
"""Folder of a run with a Chrome trace for each case."""


def read_profile(result: Result, job: Job, outputs: Path, run_folder: Path | None) -> tuple[Result, Reason | None]:
    """Return `result` with the nodes of its profile in the folder `outputs`, or the reason why there are none."""
    measure, profile = job.probe.measure, result.profile
    if not isinstance(measure, Operators) or profile is None or profile.format != profiles.FORMAT:
        return result, None
    try:
        trace = untrusted.read_file(outputs / Path(profile.path).name)
        nodes = profiles.read_nodes(trace, measure.inferences)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return result, Reason("garbage", f"the runner's profile is invalid: {error}", "see protocol/README.md")
    if run_folder and job.block == 0:
        (run_folder / PROFILES).mkdir(parents=True, exist_ok=True)
        write_atomically(run_folder / PROFILES / f"{job.cases[0].id}.json", trace)
    return msgspec.structs.replace(result, nodes=nodes), None
