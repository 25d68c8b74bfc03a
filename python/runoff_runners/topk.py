"""The best classes of a batch of logits."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import numpy as np

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Array, Fields


def read_labels(path: str | None) -> list[str]:
    """Return the lines of the labels file; an empty list if there is none.

    Raises
    ------
    RunnerError
        ``bad-request``: the file cannot be read.
    """
    if path is None:
        return []
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError("bad-request", f"labels: {path} cannot be read: {error}") from error


def best_classes(logits: Array, count: int, labels: list[str]) -> list[Fields]:
    """Return the `count` best classes of the only row of `logits`, best first, each with the logit as its score."""
    _check(logits)
    order = np.argsort(-logits[0].astype(np.float64), kind="stable")[:count].tolist()
    return [
        {"index": index, "score": float(logits[0, index]), **({"label": labels[index]} if index < len(labels) else {})}
        for index in order
    ]


def top_classes(logits: Array, count: int, labels: list[str]) -> list[list[Fields]]:
    """Return the `count` best classes of each row, best first; ties in order of their index.

    Parameters
    ----------
    logits
        Logits of shape [N, classes].
    count
        Maximum number of classes to return.
    labels
        Class names by index.

    Raises
    ------
    RunnerError
        ``runtime-failed``: a logit is not finite, so classes cannot be ordered; ``model-mismatch``: not two dimensions.
    """
    _check(logits)
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    confidences = exponentials / exponentials.sum(axis=1, keepdims=True)
    order = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :count]
    return [
        [
            {
                "index": index,
                "confidence": float(row[index]),
                "label": labels[index] if index < len(labels) else None,
            }
            for index in best
        ]
        for row, best in zip(confidences, order.tolist(), strict=True)
    ]


def _check(logits: Array) -> None:
    """Check that the logits can be ordered, row by row."""
    if logits.ndim != 2:  # noqa: PLR2004 (batch and classes)
        message = f"model.outputs: the first has shape {list(logits.shape)}; workload 'classify' needs [N, classes]"
        raise RunnerError("model-mismatch", message, "use workload 'tensor'")
    if not np.isfinite(logits).all():
        raise RunnerError("runtime-failed", "the model's output holds numbers that are not finite")
