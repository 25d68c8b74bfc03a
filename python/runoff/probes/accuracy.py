"""``accuracy``: compares the outputs of a case with those of PyTorch when the model was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff.probes.base import Aggregate, Probe, Sample
from runoff.records.protocol import Accuracy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.records.schema import MeterInfo, Record

UNITS = {
    "max_abs_diff": "output",
    "max_rel_diff": "ratio",
    "cosine": "ratio",
    "top1_agrees": "share",
    "input_max_diff": "pixel",
    "input_mean_diff": "pixel",
    "mask_iou": "ratio",
    "score_diff": "ratio",
    "masks_raw": "count",
    "masks_kept": "count",
}
"""Metrics of `runoff.measure.parity` and `runoff.measure.masks`."""
LABELLED = ("accuracy.top1", "accuracy.top5")
"""Metrics of labelled images: whether the true class is the best one, or among the best five."""
_WORST: dict[str, Aggregate] = {"cosine": "min", "top1_agrees": "mean", "mask_iou": "min"}


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    for sample, row in enumerate(record.parity):
        for metric, value in row.items():
            if metric in UNITS and value is not None:
                yield Sample(metric, UNITS[metric], float(value), sample=sample)
    for row in labelled_rows(record):
        for metric, best in zip(LABELLED, (row["top5"][:1], row["top5"]), strict=True):
            yield Sample(metric, "share", float(row["label"] in best), sample=row["item"])


def labelled_rows(record: Record) -> list[dict[str, Any]]:
    """Return the rows of labelled images, each image once: the last batch may repeat some."""
    return list({row["item"]: row for row in record.parity if "label" in row}.values())


ACCURACY = Probe(
    name="accuracy",
    summary="outputs and input tensors against the model's reference",
    measure=Accuracy(),
    checks_outputs=True,
    needs_model=True,
    headline=("max_rel_diff", "ratio"),
    aliases={name.partition(".")[2]: name for name in LABELLED},
    aggregates={name: _WORST.get(name, "max") for name in UNITS} | dict.fromkeys(LABELLED, "share"),
    read=_read,
)
