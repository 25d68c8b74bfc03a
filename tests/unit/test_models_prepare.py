"""Models of a suite, with and without CoreML packages. No process is started."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from orchestra import example_of, finished, manifest_of

from runoff.models.prepare import ensure_models
from runoff.plan.coreml_packages import PACKAGES
from runoff.processes import Spawner
from runoff.records.errors import RunoffError
from runoff.records.manifest import Package, StoredFile, read_manifest
from runoff.records.protocol import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runoff.processes import Finished

NAME = "mine"


class Program(Spawner):
    """Fake of the programs of the export environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = folder / "models" / NAME
        self.commands: list[Sequence[str]] = []
        self.exit_code = 0

    def run(self, argv: Sequence[str], _env: Mapping[str, str], *_: object) -> Finished:
        """Record the command; a successful conversion writes its packages into the manifest."""
        self.commands.append(argv)
        if not self.exit_code:
            manifest = read_manifest(self.model)
            part = manifest.labels
            assert part
            package = Package(
                path="p", sha256="0" * 64, spec_version=7, precision="fp32", inputs=(), outputs=(), parts=(part,)
            )
            packages = {kind.name: package for kind in PACKAGES}
            changed = msgspec.structs.replace(manifest, packages=packages)
            (self.model / "manifest.json").write_bytes(msgspec.json.encode(changed))
        return finished(exit_code=self.exit_code, stderr="error: an operation that it does not know")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return the programs, with a model of eight examples in the store and an export environment."""
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path))
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path / "envs"))
    python = tmp_path / "envs" / "export" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_bytes(b"daisy\n")
    labels = StoredFile("labels.txt", hashlib.sha256(b"daisy\n").hexdigest(), 6)
    spec = TensorSpec("input", "float32", (None, 3, 2, 2))
    manifest = manifest_of(
        name=NAME,
        inputs=(spec,),
        outputs=(spec,),
        files={"onnx": labels},
        labels=labels,
        examples=tuple(example_of(str(place), labels, labels, labels) for place in range(8)),
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return Program(tmp_path)


def test_packages_are_created_once_if_requested(program: Program) -> None:
    messages: list[str] = []
    assert ensure_models([NAME], program, messages.append)[NAME].formats == ("onnx",)
    assert program.commands == messages == []
    models = ensure_models([NAME], program, messages.append, packages={NAME})
    assert models[NAME].formats == ("onnx", *(kind.name for kind in PACKAGES))
    assert messages == [f"converting {NAME} to CoreML packages (30 s, once)"]
    ensure_models([NAME], program, messages.append, packages={NAME})
    assert [(argv[2:5], argv[-1]) for argv in program.commands] == [(("-m", "runoff.models.export", NAME), "--coreml")]


def test_a_model_that_cannot_be_converted_has_no_packages(program: Program) -> None:
    messages: list[str] = []
    program.exit_code = 2
    models = ensure_models([NAME], program, messages.append, packages={NAME})
    assert models[NAME].formats == ("onnx",)
    assert messages[1].startswith(f"{NAME} has no CoreML packages: the conversion of {NAME} exited with code 2")
    assert "an operation that it does not know" in messages[1]
    assert messages[1].endswith(f"(try it alone: runoff export {NAME} --coreml)")


def test_a_model_with_too_few_examples_is_refused(program: Program) -> None:
    manifest = read_manifest(program.model)
    few = msgspec.structs.replace(manifest, examples=manifest.examples[:6])
    (program.model / "manifest.json").write_bytes(msgspec.json.encode(few))
    with pytest.raises(RunoffError, match=r"stored with 6 examples; at least 8.*runoff export --force mine"):
        ensure_models([NAME], program, print)
