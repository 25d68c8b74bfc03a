"""Packages compiled once for Core ML: one per precision and shape, cached, and only on a Mac."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from orchestra import finished, info_of, manifest_of, target_info

from runoff import paths
from runoff.measure.request import make_request
from runoff.models.prepared import Prepared, find_again, prepare_models
from runoff.models.store import StoredModel, prepared_in
from runoff.plan.cases import plan_case
from runoff.plan.settings import resolve
from runoff.probes.life import LIFE
from runoff.processes import Spawner
from runoff.records.errors import RunoffError
from runoff.records.manifest import Package, StoredFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.plan.target import TargetInfo
    from runoff.processes import Finished
    from runoff.records.schema import Case

FORMS = ("mlpackage", "mlpackage-fp16", "mlpackage-flexible", "mlpackage-fp16-flexible")
APPLE = target_info("coreml", formats=(*FORMS, "mlmodelc"), providers=("cpu", "coreml"), precisions=("fp32", "fp16"))
OFFERS = {"coreml": APPLE, "native": target_info("native", formats=("onnx", "ort"))}


class Program(Spawner):
    """Fake of ``runner.py coreml prepare``: a folder for each package."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.commands: list[Sequence[str]] = []
        self.content = b"compiled"

    def run(self, argv: Sequence[str], env: Mapping[str, str], *_: object) -> Finished:
        """Record the command, and respond."""
        self.commands.append(argv)
        assert "PYTHONPATH" in env
        package = Path(argv[argv.index("--model") + 1])
        made = self.folder / f"{package.stem}.mlmodelc"
        made.mkdir(exist_ok=True)
        (made / "model.mil").write_bytes(self.content)
        response = {"path": str(made), "made": True, "key": {"model_sha256": package.stem, "runtime": "15.1"}}
        return finished(stdout=msgspec.json.encode(response).decode())


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return the program, on a Mac with the environment of the target."""
    python = tmp_path / "environments" / "coreml" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path / "environments"))
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(import_module("runoff.targets.coreml"), "_is_macos", lambda: True)
    return Program(tmp_path)


def package(form: str) -> Package:
    """Return a package whose hash is its name, as `Program` reports it."""
    stem = f"model{form.removeprefix('mlpackage')}"
    part = StoredFile(f"{stem}.mlpackage/Manifest.json", "", 1)
    return Package(
        path=f"{stem}.mlpackage", sha256=stem, spec_version=7, precision="fp32", inputs=(), outputs=(), parts=(part,)
    )


def model() -> StoredModel:
    file = StoredFile("file", "cd" * 32, 1)
    packages = {form: package(form) for form in FORMS}
    manifest = manifest_of(files={"pt": file, "onnx": file}, packages=packages)
    return StoredModel(Path("/store/net"), manifest)


def plan(*wanted: dict[str, Any], info: TargetInfo = APPLE) -> tuple[Case, ...]:
    formats = model().formats
    settings = [resolve({"prepared": True, **one}) for one in wanted]
    return tuple(plan_case("net", "classify", one, ("life",), formats, info) for one in settings)


def prepare(program: Program, cases: tuple[Case, ...]) -> Prepared:
    return prepare_models(cases, {"net": model()}, OFFERS, program, print)


def test_each_package_that_a_case_takes_is_compiled_once(program: Program) -> None:
    cases = plan({}, {"precision": "fp16"}, {"provider": "coreml"}, {"prepared": None})
    ready = prepare(program, cases)
    assert [(case.format, case.made_from) for case in ready.cases] == [
        ("mlmodelc", "mlpackage"),
        ("mlmodelc", "mlpackage-fp16"),
        ("mlmodelc", "mlpackage"),
        ("mlpackage", ""),
    ]
    assert [argv[-5:] for argv in program.commands] == [
        ("--model", f"/store/net/{name}.mlpackage", "--folder", str(paths.prepared()), "--json")
        for name in ("model", "model-fp16")
    ]
    commands = [make_request(case, ready.models["net"], LIFE, Path("/out")).model for case in ready.cases]
    assert [(file.format, Path(file.path).name) for file in commands] == [
        ("mlmodelc", "model.mlmodelc"),
        ("mlmodelc", "model-fp16.mlmodelc"),
        ("mlmodelc", "model.mlmodelc"),
        ("mlpackage", "model.mlpackage"),
    ]
    assert ready.reasons == {}


def test_a_compiled_package_is_identified_by_all_its_files(program: Program) -> None:
    hashes = []
    for content in (b"compiled", b"otherwise"):
        program.content = content
        hashes.append(prepare(program, plan({})).models["net"].prepared["mlpackage"].sha256)
    assert len(set(hashes)) == 2


def test_without_a_mac_nothing_is_compiled(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("runoff.targets.coreml"), "_is_macos", lambda: False)
    ready = prepare(program, plan({}))
    assert (ready.cases[0].format, program.commands) == ("mlpackage", [])
    assert "needs macOS" in ready.reasons["net"]


def test_a_resumed_run_uses_its_compiled_package(program: Program) -> None:
    ready = prepare(program, plan({}, {"precision": "fp16"}))
    info = info_of(*ready.cases)
    response = {form: {"sha256": file.sha256} for form, file in ready.models["net"].prepared.items()}
    info.models = {"net": {"prepared": response}}
    again = find_again(info, {"net": model()}, OFFERS, program, print)
    assert again.models["net"].prepared == ready.models["net"].prepared
    program.content = b"otherwise"
    with pytest.raises(RunoffError, match="differs from that of the run"):
        find_again(info, {"net": model()}, OFFERS, program, print)


def test_older_runs_have_one_prepared_file() -> None:
    old = {"prepared": {"sha256": "ab", "key": {}}}
    new = {"prepared": {"onnx": {"sha256": "ab", "key": {}}}}
    assert prepared_in(old, "ort", "onnx") == prepared_in(new, "ort", "onnx") == {"sha256": "ab", "key": {}}
    assert prepared_in(new, "mlmodelc", "mlpackage") is None
    assert prepared_in({}, "ort", "onnx") is None
