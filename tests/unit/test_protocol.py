"""The published schemas are those of the code, and the golden examples keep to both."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest

from runoff import paths
from runoff.records.protocol import SCHEMAS, Request, schema_text

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL = paths.root() / "protocol"
GOLDEN = sorted((PROTOCOL / "golden").glob("*.json"))


def message_of(path: Path) -> str:
    return path.name.split(".")[-2]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_made_from_the_code(name: str) -> None:
    published = (PROTOCOL / f"{name}.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(name), "run: python -m runoff.records.protocol"
    jsonschema.Draft202012Validator.check_schema(json.loads(published))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_golden_example_keeps_to_the_schema_and_the_code(path: Path) -> None:
    name, text = message_of(path), path.read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), json.loads(schema_text(name)))
    msgspec.json.decode(text, type=SCHEMAS[name])


def test_every_message_has_an_example() -> None:
    assert {message_of(path) for path in GOLDEN} == set(SCHEMAS)


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
        jsonschema.validate(request, json.loads(schema_text("request")))


def test_the_page_names_every_kind_that_runoff_gives() -> None:
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
