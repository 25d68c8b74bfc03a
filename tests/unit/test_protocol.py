"""The classes that runoff validates with equal the published schemas, and the golden examples match both."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest

from runoff import paths
from runoff.records.protocol import Capabilities, Request, Result

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL = paths.root() / "protocol"
GOLDEN = sorted((PROTOCOL / "golden").glob("*.json"))
MESSAGES: dict[str, Any] = {"request": Request, "result": Result, "capabilities": Capabilities}


def schema(name: str) -> dict[str, Any]:
    text = (PROTOCOL / f"{name}.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def constraints(value: Any) -> Any:
    """Return a schema without its prose."""
    if isinstance(value, list):
        return [constraints(item) for item in value]
    if not isinstance(value, dict):
        return value
    # a property may be named "description" or "title"; its value is then a schema, not a string
    prose = {"description", "title", "$schema"}
    return {key: constraints(item) for key, item in value.items() if not (key in prose and isinstance(item, str))}


def message_of(path: Path) -> str:
    return path.name.split(".")[-2]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_classes_match_the_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    classes = json.loads(msgspec.json.encode(msgspec.json.schema(MESSAGES[name])))
    assert constraints(classes) == constraints(schema(name))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_golden_example_keeps_to_the_schema_and_the_classes(path: Path) -> None:
    name, text = message_of(path), path.read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), schema(name))
    msgspec.json.decode(text, type=MESSAGES[name])


def test_every_message_has_an_example() -> None:
    assert {message_of(path) for path in GOLDEN} == set(MESSAGES)


@pytest.mark.parametrize("path", ["", "settings", "model", "inputs.0", "preprocess", "measure"])
def test_unknown_fields_in_a_request_are_refused(path: str) -> None:
    request: dict[str, Any] = json.loads((PROTOCOL / "golden" / "once-classify.request.json").read_text())
    place: Any = request
    for step in filter(None, path.split(".")):
        place = place[int(step) if step.isdigit() else step]
    place["colour"] = "blue"
    with pytest.raises(msgspec.ValidationError, match="colour"):
        msgspec.convert(request, Request)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(request, schema("request"))


def test_the_page_lists_every_failure_kind() -> None:
    page = (PROTOCOL / "README.md").read_text(encoding="utf-8")
    kinds = set()
    for module in (paths.root() / "python" / "runoff" / "measure").glob("*.py"):
        text = module.read_text(encoding="utf-8")
        kinds |= set(re.findall(r'Reason\(\s*"([a-z-]+)"', text))
    kinds -= {
        "measure",
        "os",
        "tool-failed",
        "tool-refused",
        "tool-missing",
        "tool-too-old",
        "not-installed",
    }  # not of a runner
    kinds = {kind for kind in kinds if not kind.startswith("no-") or kind == "no-result"}
    assert {"timeout", "garbage", "clock", "outputs-differ"} <= kinds
    assert {kind for kind in kinds if f"`{kind}`" not in page} == set()
