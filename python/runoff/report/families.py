"""Families of targets: those of one engine. A run of many targets is shown by family, one of few is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.validity import computes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.records.schema import Run

FEW = 7
"""Most targets that a table or a legend shows one by one."""
NAMES = {
    "torch": "PyTorch",
    "ort": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
    "executorch": "ExecuTorch",
    "webnn": "WebNN",
    "coreml": "Core ML",
    "null": "no engine",
}
"""Names of families; others are called as in the names of their targets."""
_FAMILIES = {"capi": "ort", "torchscript": "torch"}
"""Families of targets whose names begin with another word, by that word."""


def family_of(target: str) -> str:
    """Return the family of the target called `target`: its engine, whichever language or device it is used from.

    It is the name's part before the first hyphen: ``ort`` for ``ort-python`` and ``ort-node-wasm``.
    """
    word = target.partition("@")[0].partition("-")[0]
    return _FAMILIES.get(word, word)


def name_of(target: str) -> str:
    """Return the name of a target's family, such as ``ONNX Runtime``."""
    family = family_of(target)
    return NAMES.get(family, family)


def by_family(targets: Iterable[str]) -> dict[str, list[str]]:
    """Return the targets of each family, in their order; families in the order of their first target."""
    families: dict[str, list[str]] = {}
    for target in dict.fromkeys(targets):
        families.setdefault(family_of(target), []).append(target)
    return families


def is_crowded(run: Run) -> bool:
    """Return whether more than `FEW` targets of `run` compute and can run on this machine."""
    present = {case.target for case in run.info.cases if case.skipped is None and case.control_of is None}
    return sum(computes(run, target) for target in present) > FEW
