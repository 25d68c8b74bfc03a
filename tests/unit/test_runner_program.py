"""Parts of the Python runners' program that need no runtime: settings with no effect, and failed preparations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runoff_runners.prepare import _prepare
from runoff_runners.program import _ignored
from runoff_runners.request import OPTIONAL_SETTINGS


@pytest.mark.parametrize(("level", "ignored"), [("all", []), ("basic", ["optimization"]), (None, [])])
def test_a_value_without_an_effect_is_ignored(level: str | None, ignored: list[str]) -> None:
    settings = {**dict.fromkeys(OPTIONAL_SETTINGS), "threads": 1, "optimization": level}
    request: Any = {"settings": settings, "model": {"format": "pt"}}
    target: Any = SimpleNamespace(SETTINGS=("threads", "optimization"), APPLIED={"optimization": ("all",)})
    assert _ignored(request, target) == ignored


def test_a_failed_preparation_leaves_nothing(tmp_path: Path) -> None:
    def write(_model: str, path: str, _spec: object) -> None:
        Path(path).mkdir()
        Path(f"{path}.part").write_text("half")
        raise ZeroDivisionError

    (tmp_path / "model.pt").write_text("weights")
    target: Any = SimpleNamespace(PREPARES="x", prepared_key=lambda _spec: {}, write_prepared=write)
    with pytest.raises(ZeroDivisionError):
        _prepare(target, tmp_path / "model.pt", tmp_path / "prepared", {})
    assert list((tmp_path / "prepared").iterdir()) == []
