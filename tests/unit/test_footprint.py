"""Disk use of a case."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from orchestra import capabilities, info_of

from runoff.measure.footprint import compressed_size, footprint, library_hashes, size_of
from runoff.plan.target import Target
from runoff.records.schema import Run

if TYPE_CHECKING:
    from pathlib import Path

SIZE = partial(compressed_size, say=print)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path / "envs"))
    monkeypatch.setenv("RUNOFF_BIN", str(tmp_path / "bin"))
    for name, size in (("envs/torch/lib/a.so", 700), ("bin/runoff-ort", 300), ("lib.so", 50), ("model.onnx", 20)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    return tmp_path


def target(*command: str, **env: str) -> Target:
    return Target(name="any", command=command, env=env)


def test_names_of_one_file_count_once_and_links_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(bytes(1000))
    os.link(folder / "sub" / "file", folder / "again")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(bytes(99_999))
    (folder / "link").symlink_to(outside)
    (folder / "broken").symlink_to("nowhere")
    links = sum((folder / name).lstat().st_size for name in ("link", "broken"))
    assert size_of(folder).bytes == 1000 + links


def test_a_python_target_needs_its_environment(places: Path) -> None:
    found = footprint(target(str(places / "envs/torch/bin/python"), "runner.py"), places / "model.onnx", SIZE)
    assert found.parts == {"environment": 700, "model": 20}


def test_a_program_needs_its_library(places: Path) -> None:
    library = {"RUNOFF_ORT_DYLIB": str(places / "lib.so")}
    found = footprint(target(str(places / "bin/runoff-ort"), **library), places / "model.onnx", SIZE)
    assert found.parts == {"program": 300, "library": 50, "model": 20}


def test_a_library_that_the_environment_holds_too_counts_once(places: Path) -> None:
    library = {"RUNOFF_ORT_DYLIB": str(places / "lib.so")}
    python = str(places / "envs/torch/bin/python")
    assert footprint(target(python, **library), None, SIZE).parts == {"environment": 700, "library": 50}
    (places / "envs/torch/lib/lib.so").write_bytes(bytes(50))
    assert footprint(target(python, **library), None, SIZE).parts == {"environment": 750}


def test_a_custom_program_is_not_counted(places: Path) -> None:
    found = footprint(target("/usr/bin/docker", "run"), places / "model.onnx", SIZE)
    assert found.parts == {}
    assert found.reason == "runoff does not know what else docker needs"


def test_only_regular_files_are_hashed_as_libraries(tmp_path: Path) -> None:
    for name, target in (("lib.so", "lib.so.1"), ("zero.so", "/dev/zero"), ("loop.so", "loop.so")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "lib.so.1").write_bytes(b"machine code")
    os.mkfifo(tmp_path / "fifo.so")
    named = [str(tmp_path / name) for name in ("lib.so", "fifo.so", "zero.so", "loop.so", "none.so")]
    can = {path: capabilities(library=path) for path in named}
    run = Run(tmp_path, msgspec.structs.replace(info_of(), capabilities=can), ())
    assert library_hashes(run) == {named[0]: hashlib.sha256(b"machine code").hexdigest()}


def test_files_packages_and_compressed_bytes(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "envs/torch/lib/python3.11/site-packages/net-1.dist-info").mkdir(parents=True)
    found = footprint(target(str(places / "envs/torch/bin/python")), places / "model.onnx", SIZE)
    assert (found.files, found.packages) == (2, 1)
    assert 0 < found.compressed["environment"] < 700, "zeros compress well"
    (places / "envs/torch/lib/a.so").write_bytes(bytes(60_000_000))
    for _ in range(2):
        assert footprint(target(str(places / "envs/torch/bin/python")), None, SIZE).parts == {"environment": 60_000_000}
    assert capsys.readouterr().out.count("60 MB, once") == 1
    assert footprint(target(str(places / "envs/torch/bin/python")), None, size_of).compressed == {}
