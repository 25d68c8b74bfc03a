"""Variants of ONNX models in other precisions, made when a suite first needs them, by `runoff.models.make_variant`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff.environments import environment_python
from runoff.models.own.find import ENVIRONMENT, run_program
from runoff.records.errors import RunoffError
from runoff.records.manifest import Variant, base_format, read_manifest, write_manifest
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runoff.models.store import StoredModel
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.processes import Spawner

DESCRIPTION = "variant.json"
"""Name of the file with the variant's entry in the manifest."""
PRECISIONS = ("fp16", "bf16", "int8", "int8-static")
"""``int8`` finds the ranges of activations while it runs, ``int8-static`` found them on the model's examples."""


def wanted_variants(suite: Suite, targets: Mapping[str, TargetInfo]) -> dict[tuple[str, str], None]:
    """Return the models and precisions that a target of the suite reads an ONNX file for."""
    wanted: dict[tuple[str, str], None] = {}
    for group in suite.groups:
        for precision in group.precisions:
            if any(_reads(targets[name], precision) for name in group.targets or ()):
                wanted |= dict.fromkeys((model, precision) for model in group.models or ())
    return wanted


def _reads(target: TargetInfo, precision: str) -> bool:
    can = target.capabilities
    only = target.target.format
    return (
        can is not None
        and precision in PRECISIONS
        and precision in can.precisions
        and precision not in target.target.converts
        and ("onnx" in can.formats and (only is None or base_format(only) == "onnx"))
    )


def ensure_variants(
    models: Mapping[str, StoredModel],
    wanted: Iterable[tuple[str, str]],
    spawner: Spawner,
    say: Callable[[str], None],
) -> tuple[dict[str, StoredModel], dict[tuple[str, str], Reason]]:
    """Return `models` with the variants in `wanted`, by model and precision, and the reasons for missing ones.

    `say` announces each that is made.
    """
    found, reasons = dict(models), {}
    for name, precision in wanted:
        model = found[name]
        if precision in model.manifest.variants or "onnx" not in model.manifest.files:
            continue
        say(f"converting {name} to {precision} (1 s to 1 min, once)")
        try:
            found[name] = _with_variant(model, precision, spawner, say)
        except RunoffError as error:
            reasons[name, precision] = Reason("precision", error.message, error.hint)
            say(f"{name} has no {precision} variant: {error.message}")
    return found, reasons


def _with_variant(model: StoredModel, precision: str, spawner: Spawner, say: Callable[[str], None]) -> StoredModel:
    folder = model.folder / precision
    arguments = ("-m", "runoff.models.make_variant", str(model.folder), precision, str(folder))
    what = f"the conversion of {model.manifest.name} to {precision}"
    run_program(
        environment_python(ENVIRONMENT, say), arguments, spawner, what, "ONNX Runtime crashed: remove this precision"
    )
    variant = msgspec.json.decode((folder / DESCRIPTION).read_bytes(), type=Variant)
    # another run may have added one meanwhile
    manifest = read_manifest(model.folder)
    manifest = msgspec.structs.replace(manifest, variants={**manifest.variants, precision: variant})
    write_manifest(manifest, model.folder)
    return msgspec.structs.replace(model, manifest=manifest)
