"""Accuracy on labelled images: cases with equal predictions as groups, and every two groups of a model compared."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.probes.accuracy import ACCURACY, labelled_rows
from runoff.statistics import adjust, mcnemar, share, share_difference

if TYPE_CHECKING:
    from runoff.records.schema import Run
    from runoff.statistics import Estimate

    Rows = dict[int, dict[str, Any]]
    """Of a case, by image: the rows of `runoff.measure.labelled.prediction`."""


class Agreeing(Struct, frozen=True, kw_only=True):
    """Cases of a model that predict the same class for every image."""

    name: str
    """``A``, ``B``, ..., unique within the model."""
    cases: list[str]
    images: int
    top1: Estimate
    """Share of images with the true class, with Wilson's 95% interval."""
    reference_agrees: int
    """Images with the reference's class."""
    confusion: dict[int, dict[int, int]]
    """Number of images by true class and predicted class."""


class Disagreement(Struct, frozen=True, kw_only=True):
    """Two groups of cases, on the images that both have."""

    first: str
    second: str
    images: int
    agree: int
    """Images with the same predicted class."""
    only_first: int
    """Images that only the first classifies correctly."""
    only_second: int
    gain: Estimate
    """Accuracy of the second minus that of the first, with its 95% interval."""
    p: float
    """Of McNemar's exact test, corrected for the number of pairs."""


class Image(Struct, frozen=True, kw_only=True):
    """An image that two groups classify differently."""

    name: str
    label: int
    predicted: dict[str, int]
    """By group."""
    picture: str
    """``data:`` URL of a small PNG; empty if no case kept one."""


class LabelledModel(Struct, frozen=True, kw_only=True):
    """The results of a model on its labelled images."""

    model: str
    classes: list[str]
    """Names by index."""
    groups: list[Agreeing]
    """In the order of the plan."""
    pairs: list[Disagreement]
    images: list[Image]
    training: dict[str, Any] | None
    """See `runoff.records.manifest.Training`."""

    def class_name(self, index: int) -> str:
        """Return the name of a class; its index if it has none."""
        return self.classes[index] if index < len(self.classes) else str(index)


def labelled_models(run: Run) -> list[LabelledModel]:
    """Return the results on labelled images, one entry for each model that has any.

    Cases of all variants take part, also those whose outputs differ too much to be timed.
    """
    by_model: dict[str, dict[str, Rows]] = {}
    records = run.by_case()
    for case in run.info.cases:
        record = next((one for one in records[case.id] if one.probe == ACCURACY.name and labelled_rows(one)), None)
        if record is not None:
            by_model.setdefault(case.model, {})[case.id] = {row["item"]: row for row in labelled_rows(record)}
    return [_model(name, run.info.models.get(name, {}), cases) for name, cases in by_model.items()]


def _model(name: str, entry: dict[str, Any], cases: dict[str, Rows]) -> LabelledModel:
    together: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for case, rows in cases.items():
        together.setdefault(tuple((item, _top1(row)) for item, row in sorted(rows.items())), []).append(case)
    members = {_letters(place): names for place, names in enumerate(together.values())}
    first_rows = {group: cases[names[0]] for group, names in members.items()}
    pairs = [_pair(*two) for two in combinations(first_rows.items(), 2) if two[0][1].keys() & two[1][1].keys()]
    corrected = adjust([pair.p for pair in pairs])
    return LabelledModel(
        model=name,
        classes=entry.get("classes", []),
        groups=[_group(group, names, list(first_rows[group].values())) for group, names in members.items()],
        pairs=[replace(pair, p=p) for pair, p in zip(pairs, corrected, strict=True)],
        images=_images(first_rows, cases),
        training=entry.get("training"),
    )


def _letters(place: int) -> str:
    """Return A to Z, then AA to AZ, and so on."""
    return (_letters(place // 26 - 1) if place > 25 else "") + chr(ord("A") + place % 26)  # noqa: PLR2004


def _top1(row: dict[str, Any]) -> int:
    return int(row["top5"][0])


def _group(name: str, cases: list[str], rows: list[dict[str, Any]]) -> Agreeing:
    confusion: dict[int, dict[int, int]] = {}
    for row in rows:
        of_class = confusion.setdefault(row["label"], {})
        of_class[_top1(row)] = of_class.get(_top1(row), 0) + 1
    return Agreeing(
        name=name,
        cases=cases,
        images=len(rows),
        top1=share(np.array([_top1(row) == row["label"] for row in rows], dtype=np.float64)),
        reference_agrees=sum(_top1(row) == row["reference_top1"] for row in rows),
        confusion=confusion,
    )


def _pair(one: tuple[str, Rows], other: tuple[str, Rows]) -> Disagreement:
    (first, theirs), (second, mine) = one, other
    shared = [(theirs[item], mine[item]) for item in theirs if item in mine]
    right = [tuple(_top1(row) == row["label"] for row in rows) for rows in shared]
    lost, gained = right.count((True, False)), right.count((False, True))
    return Disagreement(
        first=first,
        second=second,
        images=len(shared),
        agree=sum(_top1(a) == _top1(b) for a, b in shared),
        only_first=lost,
        only_second=gained,
        gain=share_difference(gained, lost, len(shared)),
        p=mcnemar(gained, lost),
    )


def _images(groups: dict[str, Rows], cases: dict[str, Rows]) -> list[Image]:
    """Return the images that two groups classify differently, those with the most different answers first."""
    found = []
    for item in sorted({item for rows in groups.values() for item in rows}):
        rows = {group: rows[item] for group, rows in groups.items() if item in rows}
        predicted = {group: _top1(row) for group, row in rows.items()}
        if len(set(predicted.values())) > 1:
            any_row = next(iter(rows.values()))
            kept = (of_case[item].get("image", "") for of_case in cases.values() if item in of_case)
            picture = next(filter(None, kept), "")
            found.append(Image(name=any_row["name"], label=any_row["label"], predicted=predicted, picture=picture))
    return sorted(found, key=lambda image: -len(set(image.predicted.values())))
