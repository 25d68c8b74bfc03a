"""The program that every Python runner is: what it sets for the whole process before the runtime is imported."""

from __future__ import annotations

import gc
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from runoff import paths
from runoff_runners.program import _Runner
from runoff_runners.request import OPTIONAL_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLE = "OPENBLAS_NUM_THREADS"


class Target:
    """A target that records the state of the process."""

    FORMATS = MEASURES = ()
    SETTINGS = ("threads", *OPTIONAL_SETTINGS)

    def __init__(self) -> None:
        # a runtime's own imports see the same
        self.seen = (gc.isenabled(), os.environ[VARIABLE])

    def perform(self, _request: Any, _phases: Any) -> dict[str, Any]:
        """Return a result with what was seen."""
        return {"effective": {}, "seen": self.seen}


@pytest.fixture(autouse=True)
def _unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # setenv first, so that the variable is removed again after the test
    monkeypatch.setenv(VARIABLE, "7")
    monkeypatch.delenv(VARIABLE)
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("settings", "kind", "seen"),
    [
        ({}, "once", (True, "1")),
        ({"threads": 2}, "once", (True, "2")),
        ({"teardown": "full"}, "once", (True, "1")),
        ({"teardown": "skip"}, "once", (False, "1")),
        ({"teardown": "skip"}, "accuracy", (True, "1")),
    ],
)
def test_the_collector_and_blas_threads_follow_the_request(
    settings: dict[str, Any], kind: str, seen: tuple[bool, str], tmp_path: Path
) -> None:
    text = (paths.root() / "protocol" / "golden" / "once-classify.request.json").read_text(encoding="utf-8")
    request = json.loads(text.replace("{out}", str(tmp_path)))
    path = tmp_path / "request.json"
    path.write_text(json.dumps({**request, "settings": settings, "measure": {"kind": kind}}))
    result = _Runner("any", Target, 0).answer(str(path))  # type: ignore[arg-type]
    assert result.get("seen") == seen, result


def test_a_users_own_number_of_blas_threads_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    test_the_collector_and_blas_threads_follow_the_request({}, "once", (True, "3"), tmp_path)
