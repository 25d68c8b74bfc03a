"""Accuracy on labelled images: lines, tables and images of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.probes.accuracy import ACCURACY, LABELLED
from runoff.report.tables import Cell, Column, Line, Table, nothing, plain
from runoff.report.text import figure_of, finite, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.analysis.labelled import Agreeing, Image, LabelledModel
    from runoff.report.tables import Naming
    from runoff.report.text import Figure
    from runoff.statistics import Estimate

NOTE = (
    "Images with known classes. Shares have Wilson's 95% intervals. Cases with equal predictions for every image share "
    "a letter. The letters of a model are compared image by image: the gain in accuracy from the first to the second "
    "has the interval of Bonett and Price, p is that of McNemar's exact test, corrected for the number of pairs. "
    "The reference is PyTorch or ONNX Runtime without optimisation; of an ONNX file in another precision, that file's "
    "own outputs."
)
_MOST_IMAGES = 12


class Shown(Struct, frozen=True):
    """An image on the page."""

    name: str
    text: str
    picture: str


def lines(analysis: Analysis) -> list[str]:
    """Return a sentence for each model: accuracy, and whether all cases predict the same."""
    return [line for labelled in analysis.labelled for line in _of_model(labelled)]


def _of_model(labelled: LabelledModel) -> Iterator[str]:
    groups = labelled.groups
    if len(groups) == 1:
        (group,) = groups
        who = f"all {len(group.cases)} cases predict" if len(group.cases) > 1 else "one case predicts"
        yield f"{labelled.model}: {who} the same class for each of {plural(group.images, 'image')}: {_accuracy(group)}"
        return
    count = len(labelled.images)
    differ = f"{plural(count, 'image')} {'is' if count == 1 else 'are'} classified differently"
    yield f"{labelled.model}: {len(groups)} kinds of predictions; {differ}"
    for group in groups:
        cases = ", ".join(group.cases) if len(group.cases) < 4 else plural(len(group.cases), "case")  # noqa: PLR2004
        yield f"{labelled.model}, predictions {group.name} ({cases}): {_accuracy(group)}"


def _accuracy(group: Agreeing) -> str:
    right, top1 = round(group.top1.value * group.images), group.top1
    return f"{right} of {group.images} right, {top1.value:.2%} ({100 * top1.low:.1f} to {100 * top1.high:.1f})"


def cases_table(analysis: Analysis, naming: Naming) -> Table:
    """Return the accuracy of each case."""
    rows = analysis.summary[analysis.summary["probe"] == ACCURACY.name]
    figures = {(line["case"], line["metric"]): figure_of(line) for line in rows.to_dict("records")}
    columns = [*naming.columns, Column("Predictions")]
    columns += [Column(name, number=True) for name in ("Images", "Top-1", "Top-5", "Class of the reference")]
    columns += [Column("Largest logit difference", number=True)]
    found = []
    for labelled in analysis.labelled:
        for group in labelled.groups:
            agrees = Cell(f"{group.reference_agrees}/{group.images}", "", group.reference_agrees / group.images)
            for case in group.cases:
                difference = figures[case, "max_abs_diff"].value
                cells = [plain(group.name), Cell(str(group.images), "", group.images)]
                cells += [*(_share(figures[case, name]) for name in LABELLED), agrees]
                cells += [nothing() if difference is None else Cell(f"{difference:.2g}", "", difference)]
                found.append(Line([*naming.cells(case), *cells]))
    return Table("labelled-table", "Accuracy of each case on labelled images", columns, found)


def _share(figure: Figure) -> Cell:
    if figure.value is None or figure.low is None or figure.high is None:
        return nothing()
    return Cell(f"{figure.value:.2%}", f"{100 * figure.low:.1f} to {100 * figure.high:.1f}", figure.value)


def pairs_table(analysis: Analysis) -> Table:
    """Return a row for each two kinds of predictions of a model; empty if all cases predict the same."""
    columns = [Column("Model"), Column("First"), Column("Second")]
    names = ("Images", "Same class", "Only first right", "Only second right", "Gain", "p, corrected")
    columns += [Column(name, number=True) for name in names]
    found = [
        Line(
            [
                *map(plain, (labelled.model, pair.first, pair.second)),
                *(Cell(str(n), "", n) for n in (pair.images, pair.agree, pair.only_first, pair.only_second)),
                _gain(pair.gain),
                Cell("< 0.0001" if pair.p < 0.0001 else f"{pair.p:.2g}", "", pair.p),  # noqa: PLR2004
            ]
        )
        for labelled in analysis.labelled
        for pair in labelled.pairs
    ]
    return Table("pairs-table", "Accuracy of the second predictions compared with the first", columns, found)


def _gain(gain: Estimate) -> Cell:
    """Return a difference of two shares in percentage points."""
    between = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return Cell(f"{100 * gain.value:+.2f} points", between, finite(gain.value))


def pictures(analysis: Analysis) -> list[Shown]:
    """Return the images that are classified differently, at most a dozen."""
    found = [
        Shown(image.name, _text(labelled, image), image.picture)
        for labelled in analysis.labelled
        for image in labelled.images
    ]
    return found[:_MOST_IMAGES]


def image_lines(analysis: Analysis) -> list[str]:
    """Return the same images as text, and the number of others."""
    total = sum(len(labelled.images) for labelled in analysis.labelled)
    more = [f"{total - _MOST_IMAGES} more"] if total > _MOST_IMAGES else []
    return [*(f"{image.name}: {image.text}" for image in pictures(analysis)), *more]


def _text(labelled: LabelledModel, image: Image) -> str:
    by_class: dict[int, list[str]] = {}
    for group, predicted in image.predicted.items():
        by_class.setdefault(predicted, []).append(group)
    said = "; ".join(f"{', '.join(groups)}: {labelled.class_name(index)}" for index, groups in by_class.items())
    return f"true class {labelled.class_name(image.label)}; {said}"
