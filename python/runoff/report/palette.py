"""Colours that colour-blind readers can distinguish, the same in every plot, and their variants in dark mode."""

from __future__ import annotations

from runoff.plan.baselines import repeated_target

PHASES = {
    "start": "#BBBBBB",
    "imports": "#332288",
    "browser": "#56B4E9",
    "page": "#0072B2",
    "runtime": "#88CCEE",
    "environment": "#117733",
    "convert": "#FFAABB",
    "compile": "#AA4499",
    "load": "#DDCC77",
    "preprocess": "#CC6677",
    "inference": "#882255",
    "warm": "#661100",
    "output": "#44AA99",
    "exit": "#999933",
    "unaccounted": "#000000",
}
"""Paul Tol's muted scheme, in the order of the phases; neighbours differ in lightness."""
OTHER_PHASE = "#EE8866"
"""For a phase that runoff does not know."""

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
PRECISIONS = {
    "fp32": "#777777",
    "fp16": "#0072B2",
    "bf16": "#56B4E9",
    "int8": "#D55E00",
    "int8-static": "#009E73",
}
"""Of the same scheme."""
_SPARE = ("#56B4E9", "#000000", "#F0E442", "#882255", "#44AA99", "#999933")


CONTROL = "#A6A6A6"
"""Of an A/A control, which does not compete."""

SURFACE, INK, MUTED = "#FFFFFF", "#1B1F24", "#57606A"
"""Of the background, of text, and of secondary text."""
AXIS, GRID, BAND = "#8C959F", "#E6E8EB", "#DCE1E7"
"""Of axes, of the lines behind the data, and of a noise floor."""

DARK = {
    SURFACE: "#14171C",
    INK: "#E8EAED",
    MUTED: "#A2A9B4",
    AXIS: "#6B7480",
    GRID: "#2A2F37",
    BAND: "#343B46",
    "#BBBBBB": "#8B929C",
    "#332288": "#8177E8",
    "#88CCEE": "#88CCEE",
    "#117733": "#3FA866",
    "#AA4499": "#C56BB6",
    "#DDCC77": "#DDCC77",
    "#CC6677": "#DB7C8B",
    "#882255": "#C74A86",
    "#661100": "#B8623F",
    "#44AA99": "#49B8A6",
    "#999933": "#A9A945",
    "#000000": "#F4F5F6",
    "#EE8866": "#EE8866",
    "#FFAABB": "#FFAABB",
    "#D55E00": "#F0813A",
    "#0072B2": "#4AA3E3",
    "#009E73": "#2BC194",
    "#CC79A7": "#E29BC5",
    "#E69F00": "#EDB13A",
    "#777777": "#9AA1AB",
    "#56B4E9": "#7CC7F2",
    "#F0E442": "#F0E442",
    "#A6A6A6": "#7F8691",
}
"""By the colour on white: with the same contrast to its neighbours and to a dark background."""


def target_colours(targets: list[str]) -> dict[str, str]:
    """Return a colour for each of `targets`; custom targets share the spare ones."""
    unknown = [target for target in targets if target not in TARGETS and not repeated_target(target)]
    spare = {target: _SPARE[place % len(_SPARE)] for place, target in enumerate(unknown)}
    return {target: TARGETS.get(target) or spare.get(target, CONTROL) for target in targets}
