"""Colours that stay apart for colour-blind readers, the same in every plot."""

from __future__ import annotations

PHASES = {
    "start": "#BBBBBB",
    "imports": "#332288",
    "runtime": "#88CCEE",
    "environment": "#117733",
    "compile": "#AA4499",
    "load": "#DDCC77",
    "preprocess": "#CC6677",
    "inference": "#882255",
    "warm": "#661100",
    "output": "#44AA99",
    "exit": "#999933",
    "unaccounted": "#000000",
}
"""Paul Tol's muted scheme, in the order of a life; neighbours differ in lightness."""

TARGETS = {
    "torch": "#D55E00",
    "ort-python": "#0072B2",
    "ort-rust": "#009E73",
    "ort-pyo3": "#CC79A7",
    "coreml": "#E69F00",
    "null-python": "#BBBBBB",
    "null-rust": "#777777",
}
"""Okabe and Ito's scheme."""
_SPARE = ("#56B4E9", "#000000", "#F0E442")


TWIN = "#A6A6A6"
"""Of a baseline's second self, which is no competitor."""


def target_colours(targets: list[str]) -> dict[str, str]:
    """Return a colour for each of `targets`; those that runoff does not know share the spare ones."""
    unknown = [target for target in targets if target not in TARGETS and not target.endswith("-again")]
    spare = {target: _SPARE[place % len(_SPARE)] for place, target in enumerate(unknown)}
    return {target: TARGETS.get(target) or spare.get(target, TWIN) for target in targets}
