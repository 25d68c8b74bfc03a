"""Parts of a run in time: a run of three minutes is read as three attempts of one minute each."""

from __future__ import annotations

from collections import defaultdict

from runoff.records.errors import RunoffError
from runoff.records.schema import Run


def split_run(run: Run, probe: str, parts: int) -> list[Run]:
    """Return `run` split into `parts` of equal time; one part is the whole run.

    A block belongs entirely to the part in which its last process ended: no part has a block that a run of its
    length would not have had. Blocks that ended after the requested time are in no part. Records of other probes
    are in all parts.

    Parameters
    ----------
    run
        A run with a time limit.
    probe
        The probe that has the blocks to split.
    parts
        Number of parts.

    Raises
    ------
    RunoffError
        If the run had no time limit.
    """
    if parts == 1:
        return [run]
    if run.info.time_s is None:
        raise RunoffError(f"{run.folder} has no time limit", "measure it with: --time 3m")
    length_ns = run.info.time_s * 1e9 / parts
    part_of = {block: int(ended_ns // length_ns) for block, ended_ns in _ends(run, probe).items()}
    return [
        Run(run.folder, run.info, tuple(r for r in run.records if r.probe != probe or part_of[r.block] == part))
        for part in range(parts)
    ]


def _ends(run: Run, probe: str) -> dict[int, int]:
    """Return the end of each block of `probe`, in ns since the first spawn of the probe."""
    ends: defaultdict[int, int] = defaultdict(int)
    records = [record for record in run.records if record.probe == probe]
    began_ns = min((record.spawn_ns for record in records), default=0)
    for record in records:
        ends[record.block] = max(ends[record.block], record.exit_ns - began_ns)
    return ends
