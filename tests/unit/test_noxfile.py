"""The noxfile's sessions fit together."""

from __future__ import annotations

import importlib.util
import inspect

import nox.registry

from runoff import paths


def test_sessions_that_others_need_take_no_arguments() -> None:
    """Nox hands the arguments to every session that it runs, not only to the one that was asked for."""
    spec = importlib.util.spec_from_file_location("noxfile_under_test", paths.root() / "noxfile.py")
    assert spec
    assert spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    sessions = nox.registry.get()
    needed = {name for session in sessions.values() for name in session.requires or ()}
    assert {"export", "build", "extension"} <= needed <= sessions.keys()
    assert [name for name in sorted(needed) if "posargs" in inspect.getsource(sessions[name].func)] == []
