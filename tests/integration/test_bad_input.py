"""Invalid models, images and tools: one line with a hint, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import MODEL, Ended, only_run, runoff, write_suite

from machine import FULL
from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Callable

LIFE = "[measure.blocks]\nlife = 1\nprocess = 1\ncounters = 1\n"


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with a copy of the store and without tools."""
    folder = tmp_path / "home"
    shutil.copytree(paths.models() / MODEL, folder / "models" / MODEL)
    return folder


FILES = ("model.onnx", "china.reference.bin", "labels.txt")
DAMAGES = (
    (Path.unlink, "is missing"),
    (shorten, "bytes; it was stored with"),
    (change, "was changed after it was stored"),
)


@pytest.mark.parametrize(
    ("name", "corrupt", "words"),
    # without FULL, each file and each damage once
    [(name, *damage) for i, name in enumerate(FILES) for j, damage in enumerate(DAMAGES) if FULL or i == j],
)
def test_a_corrupted_model(corrupt: Callable[[Path], None], words: str, name: str, home: Path, tmp_path: Path) -> None:
    corrupt(home / "models" / MODEL / name)
    suite = write_suite(tmp_path, "null-python")
    ended = runoff("bench", suite, "--results", tmp_path / "results", RUNOFF_HOME=str(home))
    assert ended.code == 2
    first, second = ended.err.splitlines()
    assert first.startswith(f"runoff: {home / 'models' / MODEL / name} ")
    assert words in first
    assert second.strip() == f"export the model again: runoff export --force {MODEL}"
    assert not (tmp_path / "results").exists()


def test_an_invalid_manifest(home: Path, tmp_path: Path) -> None:
    (home / "models" / MODEL / "manifest.json").write_text("{}")
    suite = write_suite(tmp_path, "null-python")
    ended = runoff("bench", suite, "--results", tmp_path / "results", RUNOFF_HOME=str(home))
    assert ended.code == 2
    assert "manifest.json is not a manifest" in ended.err


def test_a_model_that_cannot_be_exported(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "null-python")
    ended = runoff(
        "bench", suite, "--results", tmp_path / "results", RUNOFF_HOME=str(tmp_path), RUNOFF_ENVS=str(tmp_path)
    )
    assert ended.code == 3
    assert "nox -s export" in ended.err


def test_an_unknown_model(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "null-python")
    suite.write_text(suite.read_text().replace(MODEL, "efficientnet-lite9"))
    ended = runoff("bench", suite, "--results", tmp_path / "results")
    assert ended.code == 2
    assert f"did you mean '{MODEL}'?" in ended.err


def test_missing_tools_are_reported_and_the_rest_is_measured(home: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    suite = write_suite(tmp_path, "null-python", probes='"process", "life", "counters"', more=LIFE)
    ended = runoff(
        "bench", suite, "--results", tmp_path / "results", RUNOFF_HOME=str(home), RUNOFF_ENVS=str(bare), PATH=str(bare)
    )
    assert ended.code == 0, ended.err
    run = only_run(tmp_path / "results")
    found = {record.probe: (record.status, record.reason) for record in run.records}
    assert found["life"][0] == "ok"
    for probe, tool in (("process", "hyperfine"), ("counters", "perf")):
        status, reason = found[probe]
        assert status == "not-measured"
        assert reason is not None
        assert reason.kind == "tool-missing"
        assert tool in reason.message
        assert reason.hint
        assert reason.message in (run.folder / "summary.csv").read_text()
    assert run.info.tools["hyperfine"] is None


def test_a_target_that_is_not_installed_keeps_its_row(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "torch", "null-python", more=LIFE)
    ended = runoff("bench", suite, "--results", tmp_path / "results", RUNOFF_ENVS=str(tmp_path))
    assert ended.code == 0
    assert "unavailable: torch: environment not found" in ended.out
    assert "nox -s torch" in (only_run(tmp_path / "results").folder / "summary.csv").read_text()


def test_nothing_can_run(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "torch", more=LIFE)
    ended = runoff("bench", suite, "--results", tmp_path / "results", RUNOFF_ENVS=str(tmp_path))
    assert ended.code == 3
    assert runoff("run", "--target", "torch", RUNOFF_ENVS=str(tmp_path)).code == 3


def run_python(*arguments: object) -> Ended:
    return runoff("run", "--target", "ort-python", *arguments)


def test_one_run(tmp_path: Path) -> None:
    photo = tmp_path / "a photo.jpg"
    shutil.copy(paths.models() / MODEL / "flower.jpg", photo)
    ended = run_python("--image", photo)
    assert ended.code == 0, ended.err
    assert "daisy" in ended.out.splitlines()[0]
    assert "start to exit" in ended.out


def test_one_run_as_json() -> None:
    ended = run_python("--json")
    answer = json.loads(ended.out)
    assert answer["top"][0][0]["label"] == "palace"
    spent = sum(phase["end_ns"] - phase["start_ns"] for phase in answer["phases"])
    assert 0 < spent < answer["wall_ns"]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_image(share: float, tmp_path: Path) -> None:
    whole = (paths.models() / MODEL / "flower.jpg").read_bytes()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(whole[: int(share * len(whole))])
    ended = run_python("--image", photo)
    assert ended.code == 2
    assert str(photo) in ended.err.splitlines()[-1] + ended.err.splitlines()[0]
    assert ended.out == ""


def test_a_file_that_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("no image at all")
    ended = run_python("--image", tmp_path / "photo.jpg")
    assert ended.code == 2
    assert "photo.jpg" in ended.err


def test_a_folder_for_an_image(tmp_path: Path) -> None:
    assert run_python("--image", tmp_path).code == 2


def test_a_setting_that_the_target_does_not_have() -> None:
    ended = run_python("--set", "provider=cuda")
    assert ended.code == 3
    assert "settings.provider: 'cuda' cannot be used: " in ended.err


def test_a_published_run_keeps_its_report(tmp_path: Path) -> None:
    published = tmp_path / "quick"
    shutil.copytree(paths.results() / "reference" / "quick", published)
    before = {path.name: path.read_bytes() for path in published.glob("*.*")}
    ended = runoff("report", published)
    assert ended.code == 2
    first, second = ended.err.splitlines()
    assert first == f"runoff: {published} has no raw results (raw/) to build a report from"
    assert "runoff history" in second
    assert {path.name: path.read_bytes() for path in published.glob("*.*")} == before
