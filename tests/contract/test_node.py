"""ONNX Runtime's package for Node.js: settings that reach the session, and what is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from runners_under_test import IN_JAVASCRIPT, execute, launch, tensor_request

from runoff import paths

if TYPE_CHECKING:
    from runners_under_test import Document

NODE = IN_JAVASCRIPT[-1]
ALL: Document = {
    "threads": 2,
    "inter_threads": 2,
    "optimization": "basic",
    "spinning": False,
    "spin_duration_us": 100,
    "spin_backoff_max": 8,
    "arena": False,
    "prepacking": False,
    "execution": "parallel",
    "teardown": "skip",
}


@pytest.mark.parametrize(
    ("settings", "threads"),
    [({"threads": 1}, 1), ({"threads": 2}, 2), (ALL, 3), ({**ALL, "execution": "sequential"}, 2)],
    ids=["one thread", "two threads", "all", "all, sequential"],
)
def test_settings_reach_the_session(settings: Document, threads: int, models: Path, tmp_path: Path) -> None:
    request = tensor_request(NODE, models, tmp_path, "china", "flower")
    request["settings"] = settings
    outcome = execute(NODE, request, tmp_path)
    assert outcome.result.status == "ok", outcome.result.message
    effective = outcome.result.effective
    assert effective is not None
    assert (effective.ignored, effective.threads) == ((), threads)


def test_the_library_is_the_one_that_was_mapped(models: Path, tmp_path: Path) -> None:
    effective = execute(NODE, tensor_request(NODE, models, tmp_path, "china"), tmp_path).result.effective
    assert effective is not None
    pinned = json.loads((paths.web() / "package.json").read_bytes())["dependencies"]["onnxruntime-node"]
    assert (effective.runtime, effective.version) == ("onnxruntime", pinned)
    assert effective.library is not None
    assert Path(effective.library).name.startswith("libonnxruntime.")
    assert "onnxruntime-node" in Path(effective.library).parts
    assert (effective.allocator or "").startswith("glibc ")
    can = json.loads(launch(NODE, "--capabilities").stdout)
    assert can["library"] == effective.library
    assert "git-commit-id=" in can["build"]


def test_a_package_without_a_library_for_this_system_is_unavailable(tmp_path: Path) -> None:
    package = tmp_path / "onnxruntime-node"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"version": "1.0.0", "main": "dist/index.js"}', encoding="utf-8")
    (package / "dist" / "index.js").write_text("require('../bin/nothing.node');", encoding="utf-8")
    (package / "bin").mkdir()
    ended = launch(NODE, "--capabilities", RUNOFF_WEB_MODULES=str(tmp_path))
    missing = json.loads(ended.stdout)["unavailable"]
    assert (ended.returncode, missing["kind"]) == (3, "runtime-missing")
    assert missing["message"].startswith("onnxruntime-node has no library for ")
    ended = launch(NODE, "--capabilities", RUNOFF_WEB_MODULES="/nowhere")
    assert "nox -s web" in json.loads(ended.stdout)["unavailable"]["hint"]
