"""Outputs are compared in the timed run itself; a case with wrong or missing outputs is excluded from the results."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from runoff.measure.labelled import add_pictures, prediction
from runoff.measure.masks import compare_masks
from runoff.measure.parity import compare_inputs, read_rows, tolerance, worst
from runoff.records.manifest import usual_examples
from runoff.records.protocol import Accuracy, WrittenTensor
from runoff.records.reason import Reason
from runoff.records.tensors import difference, distance, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff.models.store import StoredModel
    from runoff.probes.base import Probe
    from runoff.records.protocol import Result, TensorFile
    from runoff.records.schema import Case

Parity = list[dict[str, Any]]


def check_result(
    case: Case, model: StoredModel, probe: Probe, order: Sequence[int], result: Result
) -> tuple[Parity, Reason | None]:
    """Compare all that `result` names with the references of the examples in `order`.

    Returns
    -------
    tuple
        For each row of the outputs `item`, its example, and `runoff.records.tensors.difference`; in `accuracy`, also
        the prediction on a labelled image (`runoff.measure.labelled`). And the reason why the case is excluded, if any.
    """
    every = isinstance(probe.measure, Accuracy)
    model = model.computing(case.made_from or case.format)
    different = None
    try:
        parity, rows = _compare(model, order, result.outputs, labelled=every and case.workload == "classify")
        inputs = _compare_inputs(model, order, result.tensors)
        add_pictures(parity, model, order, result.tensors)
        if case.workload == "segment":
            different = _add_masks(case, model, order, result, parity, draw=every)
    except (OSError, ValueError, LookupError) as error:
        return [], Reason("garbage", f"outputs cannot be compared: {error}")
    fallback = check_provider(case, result) or check_precision(case, result)
    due = range(len(order) if every else case.settings.batch)
    missing = _missing(due, model, order, result.outputs)
    reason = fallback or missing or _disagreement(case, model, parity, rows) or different
    by_example = {order[place]: found for place, found in inputs.items()}
    return [{**row, **by_example.get(row["item"], {})} for row in parity], reason


def _add_masks(
    case: Case, model: StoredModel, order: Sequence[int], result: Result, parity: Parity, *, draw: bool
) -> Reason | None:
    """Add the comparison of the masks to a row of their example in `parity`; return the reason if they differ."""
    example, found, reason = compare_masks(case, model, order, result, draw=draw)
    for row in parity:
        if row["item"] == example:
            row.update(found)
            break
    return reason


def check_provider(case: Case, result: Result) -> Reason | None:
    """Return the reason if the runner computed on another provider than requested: no slower result counts."""
    actual, requested = result.effective.provider if result.effective else None, case.settings.provider
    if actual in (None, requested):
        return None
    return Reason("provider-fallback", f"provider {requested!r} was requested, the runner computed on {actual!r}")


def check_precision(case: Case, result: Result) -> Reason | None:
    """Return the reason if the runtime computes in another precision than requested, which may well be faster."""
    actual, requested = result.effective.precision if result.effective else None, case.settings.precision
    if actual in (None, requested):
        return None
    return Reason("precision-differs", f"precision {requested!r} was requested, the runtime computes in {actual!r}")


def check_turn(
    case: Case, model: StoredModel, order: Sequence[int], places: Sequence[int], outputs: Sequence[WrittenTensor]
) -> tuple[Parity, Reason | None]:
    """Compare the outputs of one inference, on the items at `places` of the request, as `check_result` does."""
    model = model.computing(case.made_from or case.format)
    try:
        parity, rows = _compare(model, order, outputs)
    except (OSError, ValueError, LookupError) as error:
        return [], Reason("garbage", f"outputs cannot be compared: {error}")
    named = [list(tensor.items) for tensor in outputs]
    if not named or any(items != list(places) for items in named):
        requested = ", ".join(map(str, places))
        return parity, Reason("garbage", f"the outputs are of items {named}; requested: {requested}")
    # with several outputs, each one is due
    return parity, _missing(places, model, order, outputs) or _disagreement(case, model, parity, rows)


def check_response(
    case: Case, model: StoredModel, order: Sequence[int], item: int, body: bytes, folder: Path
) -> tuple[Parity, Reason | None]:
    """Compare the body of a response over HTTP to the item at place `item` of the request, as `check_result` does.

    For `tensor` it is the outputs, one after the other; for `classify` the scores of the best classes. `folder` is an
    existing one, for the outputs.
    """
    if not model.checked:
        return [], None
    try:
        if case.workload == "classify":
            return _check_classes(case, model, order[item], body)
        written: list[WrittenTensor] = []
        place = 0
        for spec in model.manifest.outputs:
            reference = model.references(order[item])[spec.name]
            itemsize = 2 if spec.dtype == "bfloat16" else np.dtype(spec.dtype).itemsize
            size = itemsize * math.prod(reference.shape)
            path = folder / f"response.{len(written)}.bin"
            path.write_bytes(body[place : place + size])
            written.append(WrittenTensor((item,), spec.name, spec.dtype, reference.shape, str(path)))
            place += size
    except (OSError, ValueError, LookupError, TypeError, msgspec.DecodeError) as error:
        return [], Reason("garbage", f"a response cannot be compared: {error}", "see protocol/README.md, Load")
    if place != len(body):
        return [], Reason("garbage", f"a response has {len(body)} bytes; the outputs have {place}")
    return check_turn(case, model, order, [item], written)


class _Class(Struct):
    index: Annotated[int, Meta(ge=0)]
    score: float


class _Classes(Struct):
    top: list[_Class]


def _check_classes(case: Case, model: StoredModel, example: int, body: bytes) -> tuple[Parity, Reason | None]:
    """Compare the scores of the best classes with the reference's, and the best of them with the reference's best."""
    top = msgspec.json.decode(body, type=_Classes).top
    computing = model.computing(case.made_from or case.format)
    scores = read(next(iter(computing.references(example).values())))
    chosen = np.array([guess.index for guess in top])
    # a class other than the best is as wrong as the reference's score for it is below the best one
    found = np.array([*(guess.score for guess in top), scores[chosen[0]]])
    parity = [{"item": example, **difference(found, np.array([*scores[chosen], scores.max()]))}]
    return parity, _disagreement(case, computing, parity, [scores])


def _compare(
    model: StoredModel, order: Sequence[int], outputs: Sequence[WrittenTensor], *, labelled: bool = False
) -> tuple[Parity, list[NDArray[np.float32]]]:
    """Return the rows of `outputs`, which are read only once, and before them their comparisons."""
    if not model.checked:
        return [], []
    rows = read_rows(outputs, [model.references(example) for example in order])
    parity = [
        {
            "item": order[item],
            **_difference(row, reference),
            **(prediction(model, order[item], row, reference) if labelled else {}),
        }
        for item, row, reference in rows
    ]
    return parity, [row for _, row, _ in rows]


def _difference(row: NDArray[Any], reference: TensorFile) -> dict[str, Any]:
    if row.dtype == object:
        return difference(row, read(reference))
    return _known_difference(row.tobytes(), row.dtype, reference)


@lru_cache(maxsize=4)
def _known_difference(row: bytes, dtype: np.dtype[Any], reference: TensorFile) -> dict[str, Any]:
    """Return the difference of a row, which most runtimes compute to the same bits in every turn."""
    return difference(np.frombuffer(row, dtype), read(reference))


def _compare_inputs(
    model: StoredModel, order: Sequence[int], tensors: Sequence[WrittenTensor]
) -> dict[int, dict[str, float]]:
    """Return the differences of the input tensors by item, for the examples that have stored ones."""
    stored, preprocess = [model.inputs(example) for example in order], model.manifest.preprocess
    if preprocess is None or not any(stored):
        return {}
    # one of the right shape stands in for those that are not stored
    spare = next(filter(None, stored))
    found = compare_inputs(tensors, [tensor or spare for tensor in stored], preprocess)
    return {item: differences for item, differences in found.items() if stored[item]}


def _missing(
    due: Iterable[int], model: StoredModel, order: Sequence[int], outputs: Sequence[WrittenTensor]
) -> Reason | None:
    """Return the reason if outputs are missing: all are due in `accuracy`, else those of the first batch."""
    written = {(item, tensor.name) for tensor in outputs for item in tensor.items}
    missing = sorted({item for item in due for name in model.references(order[item]) if (item, name) not in written})
    if not missing:
        return None
    items = ", ".join(map(str, missing))
    return Reason(
        "garbage",
        f"the result lists no outputs of item {items}",
        "write them to outputs_dir and list them in the result",
    )


def _disagreement(case: Case, model: StoredModel, parity: Parity, rows: Sequence[NDArray[np.float32]]) -> Reason | None:
    limit = _limit(case, model)
    if worst(parity) <= limit:
        return None
    wrong, row = max(zip(parity, rows, strict=True), key=lambda pair: pair[0]["max_rel_diff"])
    name = model.manifest.examples[wrong["item"]].name
    message = (
        f"outputs differ from the reference by {worst(parity):.2g} of the largest output (limit {limit:g})"
        f", for the example {name}"
    )
    other = _whose(model, wrong["item"], row, limit)
    source = f"; they are the outputs of {other}: an earlier input, or a cache" if other else ""
    return Reason("outputs-differ", message + source)


def _limit(case: Case, model: StoredModel) -> float:
    """Return the largest difference that still counts as the same output.

    PyTorch converts its own networks, and OpenVINO computes an ONNX file in fp32 in other precisions: their reference
    is the one in fp32, and the difference contains what the precision loses. By the triangle inequality, an output
    within half of the smallest distance between two examples is of no other example.
    """
    precision = case.settings.precision
    usual = tolerance(case.workload, precision, model.manifest.tolerance or case.tolerance)
    if model.variant(case.made_from or case.format):
        return tolerance(case.workload, "fp32", model.manifest.tolerance)
    if precision != "fp32" and case.format in ("pt", "pt2", "onnx"):
        references = tuple(tuple(model.references(place).values()) for place in usual_examples(model.manifest))
        return max(usual, _separation(references) / 2)
    return usual


@lru_cache(maxsize=16)
def _separation(examples: tuple[tuple[TensorFile, ...], ...]) -> float:
    """Return the smallest difference between the references of two examples, which have the same outputs."""
    pairs = [(one, other) for place, one in enumerate(examples) for other in examples[:place]]
    alike = [pair for pair in pairs if [file.shape for file in pair[0]] == [file.shape for file in pair[1]]]
    return min((max(distance(read(a), read(b)) for a, b in zip(*pair, strict=True)) for pair in alike), default=0.0)


def _whose(model: StoredModel, requested: int, row: NDArray[np.float32], limit: float) -> str:
    """Return the other example whose output `row` is; empty if there is none."""
    for example, stored in enumerate(model.manifest.examples):
        with suppress(ValueError):  # of another shape
            references = model.references(example).values() if example != requested else ()
            if any(difference(row, read(reference))["max_rel_diff"] <= limit for reference in references):
                return stored.name
    return ""
