"""What a runner is asked: the request, and the examples that stand in it, in an order that it cannot foresee."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from runoff.records.protocol import Accuracy, Item, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.models.store import StoredModel
    from runoff.probes.base import Probe
    from runoff.records.schema import Case


def draw(case: Case, model: StoredModel, probe: Probe, block: int, secret: str) -> tuple[int, ...]:
    """Return the examples that a process gets, by their indices, filled up to whole batches.

    All cases of a block get the same ones, so that they do the same work. The order hangs on `secret`, which no runner
    is told; the probe ``accuracy`` goes through them in order.
    """
    order = list(range(len(model.manifest.examples)))
    if not isinstance(probe.measure, Accuracy):
        random.Random(f"{secret}.{model.manifest.name}.{probe.name}.{block}").shuffle(order)  # noqa: S311 (no cipher)
    batch = case.settings.batch
    batches = -(-len(order) // batch)
    return tuple(order[place % len(order)] for place in range(batches * batch))


def make_request(
    case: Case, model: StoredModel, probe: Probe, outputs_dir: Path, order: Sequence[int] | None = None
) -> Request:
    """Return what the runner of `case` is asked for in `probe`; the spawn time is filled in later.

    Parameters
    ----------
    case
        The case.
    model
        Its model.
    probe
        Says what to measure.
    outputs_dir
        Where outputs are written.
    order
        Indices of the examples, from `draw`; when left out, all of them as they are stored.
    """
    manifest, image = model.manifest, case.workload == "classify"
    return Request(
        case=case.id,
        workload=case.workload,
        model=model.model_file(case.format, case.made_from),
        inputs=_items(case, model, order),
        preprocess=manifest.preprocess if image else None,
        labels=str(model.folder / manifest.labels.path) if image else None,
        settings=case.settings,
        measure=probe.measure,
        outputs_dir=str(outputs_dir),
    )


def _items(case: Case, model: StoredModel, order: Sequence[int] | None) -> tuple[Item, ...]:
    items = model.items(case.workload)
    return tuple(items[example] for example in order or range(len(items)))
