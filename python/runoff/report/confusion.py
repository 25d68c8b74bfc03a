"""Confusion matrices, one for each group of cases with equal predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from runoff.report.palette import INK
from runoff.report.text import plural

if TYPE_CHECKING:
    from runoff.analysis.labelled import Agreeing, LabelledModel
    from runoff.records.schema import Run
    from runoff.report.frame import Frame

_MOST_CLASSES = 20
_RIGHT, _WRONG = "#0072B2", "#D55E00"
_FAINTEST, _STRONGEST = 0.12, 0.6
"""Opacity of a single image, and of a whole class: numbers stay readable on it, in dark mode too."""
_LARGEST_CELL = 38
_SHORT = 3
"""Letters of class names that fit below each other's columns."""
_SMALLEST_TEXT = 16
"""Width of a cell in pixels, below which it has no number."""


def where(run: Run, labelled: LabelledModel, group: Agreeing) -> str:
    """Return the model and the cases that share the matrix."""
    targets = dict.fromkeys(case.target for case in run.info.cases if case.id in group.cases and not case.control_of)
    shown = f"{labelled.model}, predictions {group.name}: {', '.join(targets)} ({plural(len(group.cases), 'case')})"
    left = len(_classes(group)) - _MOST_CLASSES
    return f"{shown}, the {_MOST_CLASSES} classes with the most mistakes" if left > 0 else shown


def matrix(labelled: LabelledModel, group: Agreeing, frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return the matrix with the number of images in each cell; colours are shares of the true class."""
    shown = sorted(_classes(group)[:_MOST_CLASSES])
    names = [labelled.class_name(index) for index in shown]
    cells = pd.DataFrame(
        {
            "true": labelled.class_name(label),
            "predicted": labelled.class_name(predicted),
            "images": count,
            "colour": _RIGHT if label == predicted else _WRONG,
            "strength": _FAINTEST + (_STRONGEST - _FAINTEST) * count / sum(row.values()),
        }
        for label, row in group.confusion.items()
        for predicted, count in row.items()
        if label in shown and predicted in shown
    )
    if cells.empty:
        return None
    cell = min(_LARGEST_CELL, frame.panel // len(shown))
    angle = 0 if max(map(len, names)) <= _SHORT else -45
    axis = {"labelLimit": frame.names, "domain": False, "ticks": False, "labelPadding": 6, "titlePadding": 14}
    scale = alt.Scale(domain=names, padding=0.06)
    base = alt.Chart(cells).encode(
        x=alt.X(
            "predicted:N", scale=scale, title="predicted class", axis=alt.Axis(orient="top", labelAngle=angle, **axis)
        ),
        y=alt.Y("true:N", scale=scale, title="true class", axis=alt.Axis(**axis)),
    )
    squares = base.mark_rect().encode(
        color=alt.Color("colour:N", scale=None), opacity=alt.Opacity("strength:Q", scale=None, legend=None)
    )
    numbers = base.mark_text(fontSize=12, color=INK).encode(text="images:Q")
    return alt.layer(squares, *([numbers] if cell >= _SMALLEST_TEXT else [])).properties(
        width=cell * len(shown), height=cell * len(shown)
    )


def _classes(group: Agreeing) -> list[int]:
    """Return the classes that occur, those with the most mistakes first."""
    mistakes: dict[int, int] = {}
    for label, row in group.confusion.items():
        for predicted, count in row.items():
            wrong = count if label != predicted else 0
            mistakes[label] = mistakes.get(label, 0) + wrong
            mistakes[predicted] = mistakes.get(predicted, 0) + wrong
    return sorted(mistakes, key=lambda index: (-mistakes[index], index))
