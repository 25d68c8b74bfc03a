"""``runoff segment``: the masks of one picture, as files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from runoff import paths
from runoff.cli.commands import exit_code, run_alone, say
from runoff.cli.output import print_json
from runoff.environments import environment_python
from runoff.models.zoo import ZOO, find_model
from runoff.processes import workspace
from runoff.records.errors import RunoffError
from runoff.records.protocol import Item, Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.records.protocol import Mask, Request, Result

MASKS = "masks.json"
_DRAWS = "ort-python"
"""Environment with Pillow."""
_TIMEOUT_S = 300.0
_ITEM = "inputs[0].prompts[0]."
_REQUEST = re.compile(r"^\S*request\.json: ")
_LISTED = 20
_NS_PER_MS = 1e6


def segment(
    image: Path,
    model: str,
    target: str,
    points: Sequence[str],
    background: Sequence[str],
    box: str | None,
    grid: int | None,
    assignments: tuple[str, ...],
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Segment a picture on one target; write an overlay, the masks as PNG files, and as COCO's run lengths in JSON.

    `points`, `background` and `box` are the text of the options, and make one prompt; without any, everything is
    segmented, from a `grid` of points.
    """
    if not image.is_file():
        raise RunoffError(f"{image}: no such file", "pass a picture: JPEG, PNG, WebP, BMP or TIFF")
    prompt = _prompt(points, background, box)
    if prompt and grid:
        raise RunoffError("--grid cannot be combined with a prompt", "a grid is for pictures without a prompt")
    _check_model(model)
    item = Item(image=str(image.absolute()), prompts=(prompt,) if prompt else None)

    def edit(request: Request) -> Request:
        spec = request.segment
        if spec and grid:
            spec = msgspec.structs.replace(spec, points_per_side=grid)
        return msgspec.structs.replace(request, inputs=(item,), segment=spec)

    # a person waits for it
    case, outcome = run_alone(target, model, "segment", ("threads=all", *assignments), edit)
    if outcome.reason or outcome.result is None:
        reason = outcome.reason
        message, hint = (_REQUEST.sub("", reason.message), reason.hint) if reason else ("no result", "")
        raise RunoffError(f"{target}: {message.replace(_ITEM, 'prompt, ')}", hint, exit_code(outcome))
    folder = (output or Path(f"{image.stem}-masks")).absolute()
    found = outcome.result.segmentations[-1].masks
    _write(image, found, folder)
    if as_json:
        print_json({"folder": str(folder), "masks": msgspec.to_builtins(found)})
        return
    _print(outcome.result, found, folder)
    click.echo(f"{case.target}, {model}: a single process is not a measurement; to measure: runoff bench segment")


def _check_model(name: str) -> None:
    if find_model(name).segment is None:
        names = ", ".join(model.name for model in ZOO if model.segment)
        raise RunoffError(f"the model {name!r} takes no prompts", f"use one of: {names}")


def _prompt(points: Sequence[str], background: Sequence[str], box: str | None) -> Prompt | None:
    """Return the prompt of the options; None without any."""
    wanted = [_numbers("--point", text, "X,Y", 2) for text in points]
    unwanted = [_numbers("--background", text, "X,Y", 2) for text in background]
    edges = None if box is None else _numbers("--box", box, "X0,Y0,X1,Y1", 4)
    if not wanted and not unwanted and edges is None:
        return None
    labels = [1] * len(wanted) + [0] * len(unwanted)
    return msgspec.convert({"points": wanted + unwanted, "labels": labels, "box": edges}, Prompt)


def _numbers(option: str, text: str, form: str, count: int) -> list[float]:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        example = ",".join(["120", "80", "260", "190"][:count])
        raise RunoffError(f"{option} {text!r}: not {form}", f"pixels from the left upper corner: {option} {example}")
    return numbers


def _write(image: Path, found: Sequence[Mask], folder: Path) -> None:
    """Write the masks into `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("mask-*.png"), folder / "overlay.png"):
            old.unlink(missing_ok=True)
        (folder / MASKS).write_bytes(msgspec.json.encode(found) + b"\n")
    except OSError as error:
        raise RunoffError(f"--output {folder}: {error.strerror}", "pass a folder that can be written to") from error
    python, program = environment_python(_DRAWS, say), paths.runners() / "draw_masks.py"
    argv = (str(python), "-P", str(program), str(image.absolute()), str(folder / MASKS), str(folder))
    with workspace() as (spawner, _):
        env: dict[str, Any] = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
        finished = spawner.run(argv, env, _TIMEOUT_S)
    if finished.exit_code:
        raise RunoffError(f"the masks cannot be drawn: {finished.stderr.strip()[-200:]}", f"{MASKS} has them")


def _print(result: Result, found: Sequence[Mask], folder: Path) -> None:
    raw = result.segmentations[-1].raw
    click.echo(f"{len(found)} masks kept of {raw}" if raw != len(found) else f"{raw} masks")
    for number, mask in enumerate(found[:_LISTED]):
        x, y, width, height = (round(edge) for edge in mask.bbox)
        share = mask.area / (mask.size[0] * mask.size[1])
        where = f"at {x},{y}, {width} x {height}"
        quality = f"quality {mask.predicted_iou:.3f}, stability {mask.stability_score:.3f}"
        click.echo(f"  mask-{number:03}.png  {mask.area:>9,} pixels ({share:.1%})  {where}  {quality}")
    if len(found) > _LISTED:
        click.echo(f"  and {len(found) - _LISTED} more")
    parts = {name: timing.first_ns / _NS_PER_MS for name, timing in result.samples.items() if name != "inference"}
    click.echo(f"in ms: {', '.join(f'{name} {ms:,.1f}' for name, ms in parts.items())}")
    click.echo(f"written: {paths.shown(folder)}/overlay.png, mask-*.png, {MASKS}")
