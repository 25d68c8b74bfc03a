"""The Python runners' reading of a request agrees with the classes that define it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from runners_under_test import BUILDER, GOLDEN, PROTOCOL, TURNS, Document

from runoff.records.protocol import Request, Settings
from runoff_runners.protocol import RunnerError
from runoff_runners.request import check_request

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES: tuple[object, ...] = (None, True, 0, 1, -1, 1.5, "text", "cpu", [], {}, [1], ["text"])
# What the classes leave to the runner: that the items fit the workload.
LEFT_TO_THE_RUNNER = {
    "inputs",
    "inputs.0",
    "inputs.0.image",
    "inputs.0.tensors",
    "model.inputs",
    "model.inputs.0",
    "preprocess",
    "preprocess.resize",
    "preprocess.std.0",
    "workload",
}


@pytest.mark.parametrize("name", [*GOLDEN, TURNS])
def test_golden_requests_are_read_alike(name: str) -> None:
    document = _golden(name)
    known = msgspec.json.decode(json.dumps(document), type=Request)
    read = check_request(document)
    assert msgspec.convert(read, Request) == known


def test_defaults_are_those_of_the_classes() -> None:
    document = _golden("once-classify")
    for name in ("settings", "measure", "top_k", "labels"):
        document.pop(name, None)
    read = check_request(document)
    assert read["settings"] == {name: getattr(Settings(), name) for name in Settings.__struct_fields__}
    assert read["measure"] == {"kind": "once"}
    assert read["top_k"] == 5


@pytest.mark.parametrize("name", [*GOLDEN, TURNS])
def test_every_wrong_value_is_refused_alike(name: str) -> None:
    """Each field in turn is left out, set to values of every kind, and given an unknown neighbour."""
    tried = 0
    for path, changed in _mutations(_golden(name)):
        if path in LEFT_TO_THE_RUNNER:
            continue
        tried += 1
        assert _is_read(changed) == _is_defined(changed), f"{path}: {json.dumps(changed)[:2000]}"
    assert tried > 300


def _golden(name: str) -> Document:
    text = (PROTOCOL / "golden" / f"{name}.request.json").read_text(encoding="utf-8")
    document: Document = json.loads(text.replace("{builder}", BUILDER))
    return document


def _is_read(document: Document) -> bool:
    try:
        check_request(copy.deepcopy(document))
    except RunnerError as error:
        return error.kind != "bad-request"
    return True


def _is_defined(document: Document) -> bool:
    try:
        msgspec.json.decode(json.dumps(document), type=Request)
    except msgspec.ValidationError:
        return False
    return True


def _mutations(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the path of a field, and the document with that field changed."""
    for path in _paths(document):
        for value in VALUES:
            changed = copy.deepcopy(document)
            parent, key = _parent(changed, path)
            parent[key] = value
            yield ".".join(map(str, path)), changed
        changed = copy.deepcopy(document)
        parent, key = _parent(changed, path)
        del parent[key]
        yield ".".join(map(str, path)), changed
        changed = copy.deepcopy(document)
        parent, _ = _parent(changed, path)
        if isinstance(parent, dict) and "input" not in parent:
            parent["colour"] = "blue"
            yield ".".join(map(str, path)), changed


def _paths(value: object, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where every field and every first element of `value` is."""
    if isinstance(value, dict):
        for name, field in value.items():
            yield (*before, name)
            yield from _paths(field, (*before, name))
    elif isinstance(value, list) and value:
        yield (*before, 0)
        yield from _paths(value[0], (*before, 0))


def _parent(document: Document, path: tuple[str | int, ...]) -> tuple[Any, Any]:
    """Return what holds the field at `path`, and the field's key in it."""
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    return holder, path[-1]
