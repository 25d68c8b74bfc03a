"""Colours that colour-blind readers can distinguish, the same in every plot, and their variants in dark mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.plan.baselines import repeated_target
from runoff.report.families import by_family

if TYPE_CHECKING:
    from collections.abc import Iterable

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
FAMILIES = {
    "torch": "#D55E00",
    "ort": "#0072B2",
    "openvino": "#CC79A7",
    "tract": "#009E73",
    "rten": "#882255",
    "litert": "#E69F00",
    "executorch": "#999933",
    "webnn": "#44AA99",
    "coreml": "#000000",
    "null": "#777777",
}
"""Of the same scheme and of Tol's: the first of a family's shades."""
PRECISIONS = {
    "fp32": "#777777",
    "fp16": "#0072B2",
    "bf16": "#56B4E9",
    "int8": "#D55E00",
    "int8-static": "#009E73",
}
"""Of the same scheme."""
_SPARE = ("#56B4E9", "#000000", "#F0E442", "#882255", "#44AA99", "#999933")
_SPARE_FAMILIES = ("#56B4E9", "#332288", "#CC6677", "#117733", "#F0E442")


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

_TINTS = ((0.0, 0.0), (0.4, 0.35), (-0.4, 0.65), (0.2, -0.15), (-0.62, 0.18), (0.55, 0.5), (-0.2, -0.08))
"""Shades of a colour, on white and in dark mode, where the darkest would not be seen: the part of the way to white, or
if negative, to black."""


def _tinted(colour: str, tint: float) -> str:
    end = 255 if tint > 0 else 0
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (end - part) * abs(tint)):02X}" for part in parts)


def shades(colour: str) -> dict[str, str]:
    """Return the shades of a family's colour, each with its colour in dark mode."""
    return {_tinted(colour, light): _tinted(DARK[colour], dark) for light, dark in _TINTS}


SHADES = {light: dark for colour in (*FAMILIES.values(), *_SPARE_FAMILIES) for light, dark in shades(colour).items()}
"""As `DARK`, for the shades of all families."""


def target_colours(targets: Iterable[str], *, crowded: bool = False) -> dict[str, str]:
    """Return a colour for each of `targets`, in their order; custom targets share the spare ones.

    If `crowded`, it is a shade of its family's colour instead, and they are in the order of their families.
    """
    targets = list(dict.fromkeys(targets))
    if crowded:
        return _family_colours(targets)
    unknown = [target for target in targets if target not in TARGETS and not repeated_target(target)]
    spare = {target: _SPARE[place % len(_SPARE)] for place, target in enumerate(unknown)}
    return {target: TARGETS.get(target) or spare.get(target, CONTROL) for target in targets}


def _family_colours(targets: list[str]) -> dict[str, str]:
    families = by_family(target for target in targets if not repeated_target(target))
    unknown = [family for family in families if family not in FAMILIES]
    spare = {family: _SPARE_FAMILIES[place % len(_SPARE_FAMILIES)] for place, family in enumerate(unknown)}
    colours: dict[str, str] = {}
    for family, members in families.items():
        own = list(shades(FAMILIES.get(family) or spare[family]))
        colours |= {target: own[place % len(own)] for place, target in enumerate(members)}
    return colours | {target: CONTROL for target in targets if repeated_target(target)}
