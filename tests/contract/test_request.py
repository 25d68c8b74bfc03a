"""How the runners in Python and in JavaScript read a request agrees with the schema that defines it."""

from __future__ import annotations

import copy
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from runners_under_test import BUILDER, GOLDEN, PROTOCOL, RUNNERS, TURNS, Document

from runoff.records.protocol import Request, Settings
from runoff_runners.protocol import RunnerError
from runoff_runners.request import check_request

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES: tuple[object, ...] = (None, True, 0, 1, -1, 1.5, "text", [], {})
SEGMENT = "once-segment"
SCHEMA: Document = json.loads((PROTOCOL / "request.schema.json").read_text(encoding="utf-8"))
# Not in the schema: the runner checks that the items fit the workload.
LEFT_TO_THE_RUNNER = {
    "inputs",
    "inputs.0",
    "inputs.0.image",
    "inputs.0.tensors",
    "inputs.0.prompts",
    "inputs.0.prompts.0",
    "inputs.0.prompts.0.points",
    "inputs.0.prompts.0.labels",
    "model.inputs",
    "model.inputs.0",
    "preprocess",
    "preprocess.resize",
    "preprocess.std.0",
    "segment",
    "segment.std.0",
    "workload",
}


@pytest.mark.parametrize("name", [*GOLDEN, TURNS, SEGMENT])
def test_golden_requests_are_read_alike(name: str) -> None:
    document = _golden(name)
    known = msgspec.json.decode(json.dumps(document), type=Request)
    read = check_request(document)
    assert msgspec.convert(read, Request) == known


def test_defaults_equal_those_of_the_classes() -> None:
    document = _golden("once-classify")
    for name in ("settings", "measure", "top_k", "labels"):
        document.pop(name, None)
    read = check_request(document)
    assert read["settings"] == {name: getattr(Settings(), name) for name in Settings.__struct_fields__}
    assert read["measure"] == {"kind": "once"}
    assert read["top_k"] == 5


@pytest.mark.parametrize("name", [*GOLDEN, TURNS, SEGMENT])
def test_every_change_is_decoded_as_the_schema_says(name: str) -> None:
    """Each field of the schema in turn is removed, set to values of every kind, and given an unknown sibling."""
    changes = _judged_changes(name)
    for path, changed, is_valid in changes:
        assert _is_read(changed) == is_valid, f"{path}: {json.dumps(changed)[:2000]}"
    assert len(changes) > 300


def test_javascript_decodes_every_change_as_the_schema_says() -> None:
    changes = [change for name in (*GOLDEN, TURNS) for change in _judged_changes(name)]
    (runner,) = (runner for runner in RUNNERS if runner.name == "ort-node-wasm")
    answered = subprocess.run(
        [runner.make().command[0], str(Path(__file__).with_name("read_requests.mjs"))],
        input="\n".join(json.dumps(changed) for _, changed, _ in changes),
        capture_output=True,
        text=True,
        check=True,
    )
    for (path, changed, is_valid), read in zip(changes, answered.stdout.splitlines(), strict=True):
        assert "TypeError" not in read
        assert (read == "read") == is_valid, f"{path}: {read}: {json.dumps(changed)[:2000]}"


def _golden(name: str) -> Document:
    text = (PROTOCOL / "golden" / f"{name}.request.json").read_text(encoding="utf-8")
    document: Document = json.loads(text.replace("{builder}", BUILDER))
    return document


@cache
def _judged_changes(name: str) -> list[tuple[str, Document, bool]]:
    """Return the changes of a golden request that the schema judges: path, changed request, whether it is valid."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    changes = _changes(SCHEMA, _golden(name))
    return [(path, made, validator.is_valid(made)) for path, made in changes if path not in LEFT_TO_THE_RUNNER]


def _is_read(document: Document) -> bool:
    try:
        check_request(copy.deepcopy(document))
    except RunnerError as error:
        return error.kind != "bad-request"
    return True


def _changes(schema: Any, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of each field that the schema has, and `value` with that field changed."""
    while "$ref" in schema or "anyOf" in schema:
        schema = _chosen(schema, value)
    if path:
        most = schema.get("maximum")
        ends = () if most is None else (most, most + 1)
        yield from ((path, other) for other in (*VALUES, *schema.get("enum", ()), *ends))
    if isinstance(value, dict):
        others = schema["additionalProperties"] or {}
        if not others:
            yield path, {**value, "colour": "blue"}
        for name in {**value, **schema.get("properties", {})}:
            part = schema.get("properties", {}).get(name, others)
            yield f"{path}.{name}".lstrip("."), {key: field for key, field in value.items() if key != name}
            for place, field in _changes(part, value.get(name, part.get("default")), f"{path}.{name}".lstrip(".")):
                yield place, {**value, name: field}
    elif isinstance(value, list) and value:
        part = (schema.get("prefixItems") or [schema["items"]])[0]
        yield from ((place, [first, *value[1:]]) for place, first in _changes(part, value[0], f"{path}.0"))


def _chosen(schema: Any, value: Any) -> Any:
    """Resolve the references of a schema; for a choice, return the branch that matches `value`."""
    if "discriminator" in schema:
        schema = {"$ref": schema["discriminator"]["mapping"][value["kind"]]}
    if "anyOf" in schema:
        return schema["anyOf"][value is None]
    return SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
