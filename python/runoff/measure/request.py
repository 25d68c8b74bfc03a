"""Requests: which examples a runner is given, in an order that it cannot foresee, and the files of the exchange."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runoff.records.manifest import usual_examples
from runoff.records.protocol import Accuracy, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.models.store import StoredModel
    from runoff.plan.target import Target
    from runoff.probes.base import Probe
    from runoff.records.manifest import Manifest
    from runoff.records.schema import Case


class RequestFiles:
    """The request of one process, and the files of request and result in an existing folder."""

    def __init__(self, request: Request, folder: Path) -> None:
        self.folder = folder
        self.result = folder / "result.json"
        self._request = request
        self._path = folder / "request.json"

    def command(self, target: Target) -> tuple[str, ...]:
        """Return the command line that starts the runner of `target`."""
        return (*target.command, "--request", str(self._path), "--result", str(self.result))

    def write(self, spawn_ns: int | None) -> None:
        """Write the request; `spawn_ns` is None if a tool starts the runner, at a time that runoff does not know."""
        fields = msgspec.to_builtins(msgspec.structs.replace(self._request, spawn_ns=spawn_ns))
        if fields["segment"] is None:
            # a custom runner may be older than this field
            del fields["segment"]
        self._path.write_bytes(msgspec.json.encode(fields))


def fresh(folder: Path) -> Path:
    """Return a new folder in `folder`, and remove the others; a process that survived them does not know its name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder))


def draw(case: Case, model: StoredModel, probe: Probe, block: int, secret: str) -> tuple[int, ...]:
    """Return the examples for one process, by their indices, filled up to full batches.

    All cases of a block get the same ones, so they do the same work. The order depends on `secret`, which no runner
    knows; the probe ``accuracy`` goes through them in order, and with images through all labelled ones too.
    """
    order = list(_examples(case, model.manifest))
    if isinstance(probe.measure, Accuracy):
        order = list(range(len(model.manifest.examples))) if case.workload == "classify" else order
    else:
        random.Random(f"{secret}.{model.manifest.name}.{probe.name}.{block}").shuffle(order)  # noqa: S311 (no cipher)
    batch = case.settings.batch
    batches = -(-len(order) // batch)
    return tuple(order[place % len(order)] for place in range(batches * batch))


def _examples(case: Case, manifest: Manifest) -> tuple[int, ...]:
    """Return the examples of a case: all that every probe uses, or the one that it names."""
    usual = usual_examples(manifest)
    return tuple(place for place in usual if case.example in ("", manifest.examples[place].name))


def make_request(
    case: Case, model: StoredModel, probe: Probe, outputs_dir: Path, order: Sequence[int] | None = None
) -> Request:
    """Return the request of `case` in `probe`; the spawn time is filled in later.

    `order` has the indices of the examples, from `draw`; by default, the usual ones as they are stored.
    """
    manifest, image = model.manifest, case.workload == "classify"
    items = model.items(case.workload)
    segment = manifest.segment if case.workload == "segment" else None
    return Request(
        case=case.id,
        workload=case.workload,
        model=model.model_file(case.format, case.made_from),
        inputs=tuple(items[example] for example in order or _examples(case, manifest)),
        preprocess=manifest.preprocess if image else None,
        segment=msgspec.structs.replace(segment, **dict(case.segment)) if segment else None,
        labels=str(model.folder / manifest.labels.path) if image and manifest.labels else None,
        settings=case.settings,
        measure=probe.measure,
        outputs_dir=str(outputs_dir),
    )
