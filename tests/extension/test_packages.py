"""Packages from PyPI run on the drop-in, unchanged except for the import, with equal results."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ENVIRONMENTS = Path(os.environ.get("RUNOFF_ENVS", HERE.parents[1] / ".nox"))
# the interpreter; silero-vad needs torch, which the extension's environment has not
PYTHONS = {"rapidocr_onnxruntime": Path(sys.executable), "silero_vad": ENVIRONMENTS / "torch" / "bin" / "python"}
TIMEOUT_S = 300
IMPORTS = {
    r"^(\s*)import onnxruntime$": r"\1import runoff_ort.onnxruntime as onnxruntime",
    r"^(\s*)import onnxruntime as ": r"\1import runoff_ort.onnxruntime as ",
    r"^(\s*)from onnxruntime import": r"\1from runoff_ort.onnxruntime import",
}


def copied(name: str, folder: Path, *, is_drop_in: bool) -> int:
    """Copy a package, with other imports for the drop-in; return the number of imports that were changed."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (place,) = spec.submodule_search_locations
    shutil.copytree(place, folder / name)
    changed = 0
    for file in (folder / name).rglob("*.py") if is_drop_in else ():
        text = file.read_text(encoding="utf-8")
        for old, new in IMPORTS.items():
            text, count = re.subn(old, new, text, flags=re.MULTILINE)
            changed += count
        file.write_text(text, encoding="utf-8")
    return changed


def run(name: str, folder: Path) -> Any:
    """Run the inference code of a package in `folder`; return its result and the runtime's modules."""
    own = [] if PYTHONS[name] == Path(sys.executable) else [sysconfig.get_paths()["purelib"]]
    paths = [folder, *own, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, paths))}
    command = [str(PYTHONS[name]), str(HERE / "package_programs.py"), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", PYTHONS)
def test_results_are_equal(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} has no release for this Python")
    if not PYTHONS[name].exists():
        pytest.skip("no environment with torch: nox -s torch")
    assert copied(name, tmp_path / "theirs", is_drop_in=False) == 0
    assert copied(name, tmp_path / "ours", is_drop_in=True) > 0
    theirs, ours = run(name, tmp_path / "theirs"), run(name, tmp_path / "ours")
    assert (theirs["used"], ours["used"]) == (["onnxruntime"], ["runoff_ort.onnxruntime"])
    assert theirs["result"]
    assert ours["result"] == theirs["result"]
