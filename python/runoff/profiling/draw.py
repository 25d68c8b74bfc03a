"""The SVG files: flame graphs of one side, and of the difference between two, drawn by ``runoff-flamegraph``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.processes import describe_exit
from runoff.profiling.stacks import C_LIBRARY, GENERATED, KERNEL, PYTHON, UNKNOWN, folded, from_engine
from runoff.records.errors import ExitCode, RunoffError
from runoff.targets.base import rust_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.processes import Spawner
    from runoff.profiling.recording import CaseProfile
    from runoff.profiling.stacks import Frame, Times

OTHERS = "other libraries and programs"
PROGRAM = "runoff-flamegraph"
COLOURS = {
    PYTHON: (110, 170, 224),
    "engine": (232, 150, 60),
    C_LIBRARY: (150, 200, 140),
    KERNEL: (178, 160, 214),
    OTHERS: (236, 214, 120),
    UNKNOWN: (214, 214, 214),
}
"""Of frames, by what they belong to; light enough for black text."""
_TIMEOUT_S = 120.0


def find_drawer() -> None:
    """Check that the program which draws is installed.

    Raises
    ------
    RunoffError
        If it is not.
    """
    missing = rust_target(PROGRAM, PROGRAM, loads_onnxruntime=False).missing
    if missing:
        raise RunoffError(missing.message, missing.hint, ExitCode.NOTHING_RUNS_HERE)


def colour_of(frame: Frame, engine: str) -> str:
    """Return what the colour of a frame stands for, a key of `COLOURS`."""
    if frame.group in (engine, GENERATED):
        return "engine"
    return frame.group if frame.group in COLOURS else OTHERS


def draw(side: CaseProfile, region: str, words: str, folder: Path, spawner: Spawner) -> None:
    """Write the flame graph of a region of a side to ``REGION-NAME.svg``, and its stacks to ``.folded``."""
    times, name = side.graphs[region].times, f"{region}-{side.name}"
    frames = {frame for stack in times for frame in stack}
    lines = [f"{frame.name}->rgb{COLOURS[colour_of(frame, side.engine)]}".replace(", ", ",") for frame in frames]
    (folder / f"{name}.palette").write_text("\n".join(lines), encoding="utf-8")
    options = ("--palette", str(folder / f"{name}.palette"))
    _svg((times,), name, f"{side.name}: {words}", folder, spawner, options)
    (folder / f"{name}.palette").unlink()


def draw_difference(sides: Sequence[CaseProfile], region: str, words: str, folder: Path, spawner: Spawner) -> None:
    """Write ``REGION-difference.svg``: the stacks of the second side, red where it takes more than the first."""
    first, second = sides
    name, times = f"{region}-difference", comparable(sides, region)
    title = f"{second.name} (width), red: more than {first.name}, blue: less. {words[0].upper()}{words[1:]}"
    _svg(times, name, title, folder, spawner, ())


def comparable(sides: Sequence[CaseProfile], region: str) -> tuple[Times, ...]:
    """Return the times of two sides, with stacks that begin where they enter the engine, if both have the same one."""
    times = tuple(side.graphs[region].times for side in sides)
    engines = {side.engine for side in sides}
    return tuple(from_engine(one, *engines) for one in times) if len(engines) == 1 else times


def _svg(
    times: tuple[Times, ...], name: str, title: str, folder: Path, spawner: Spawner, options: tuple[str, ...]
) -> None:
    """Draw `times` into the file `name`.svg, if there are any; counts are nanoseconds, and shown as milliseconds.

    Raises
    ------
    RunoffError
        If the program fails.
    """
    if not any(times):
        return
    stacks = folder / f"{name}.folded"
    stacks.write_text("\n".join(folded(*times)) + "\n", encoding="utf-8")
    program = rust_target(PROGRAM, PROGRAM, loads_onnxruntime=False)
    wanted = ("--title", title, "--unit", "ms of CPU time", "--factor", "1e-6", *options)
    command = (*program.command, str(stacks), str(folder / f"{name}.svg"), *wanted)
    finished = spawner.run(command, program.environment(), _TIMEOUT_S)
    if finished.exit_code:
        raise RunoffError(f"{PROGRAM} {describe_exit(finished)}", "", ExitCode.CASE_FAILED)
