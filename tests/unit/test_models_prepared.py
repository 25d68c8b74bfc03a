"""Prepared models: selection, messages if there is none, and resuming with the same file. No process is started."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from orchestra import example_of, finished, info_of, target_info

from runoff import paths
from runoff.measure.request import make_request
from runoff.models.prepared import Prepared, find_again, prepare_models
from runoff.models.store import StoredModel
from runoff.plan.cases import plan_case
from runoff.plan.settings import resolve
from runoff.plan.target import Preparation
from runoff.probes.life import LIFE
from runoff.processes import Spawner
from runoff.records.errors import RunoffError
from runoff.records.manifest import Manifest, StoredFile
from runoff.records.protocol import Preprocess, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.plan.target import TargetInfo
    from runoff.processes import Finished
    from runoff.records.schema import Case

ONNX = "ab" * 32
CONTENT = b"an optimised model"


class Program(Spawner):
    """Fake of ``runoff-ort prepare``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "model-0123456789abcdef.ort"
        self.file.write_bytes(CONTENT)
        self.commands: list[Sequence[str]] = []
        self.key: dict[str, Any] = {"model_sha256": ONNX, "cpu": "abacus", "provider": "cpu", "precision": "fp32"}
        self.made = True
        self.ended: dict[str, Any] = {}

    def run(self, argv: Sequence[str], env: Mapping[str, str], *_: object) -> Finished:
        """Record the command, and respond."""
        self.commands.append(argv)
        assert "ORT_DISABLE_TELEMETRY" in env
        response = {"path": str(self.file), "made": self.made, "key": self.key}
        return finished(**{"stdout": msgspec.json.encode(response).decode(), **self.ended})


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return the fake program, in a folder of built programs."""
    monkeypatch.setenv("RUNOFF_BIN", str(tmp_path))
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "home"))
    (tmp_path / "runoff-ort").touch()
    return Program(tmp_path)


def model(*formats: str) -> StoredModel:
    file = StoredFile("file", "cd" * 32, 1)
    return StoredModel(
        Path("/store/net"),
        Manifest(
            name="net",
            source="here",
            weights="seeded:0",
            builder="package:function",
            inputs=(TensorSpec("input", "float32", (None, 3, 2, 2)),),
            outputs=(TensorSpec("logits", "float32", (None, 4)),),
            preprocess=Preprocess(3, 2, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
            files={form: StoredFile(f"model.{form}", ONNX, 1) for form in formats or ("pt", "onnx")},
            labels=file,
            examples=(example_of("china", file, file, file),),
            checks=(),
            made_with={},
        ),
    )


def with_preparation(info: TargetInfo, form: str, *, always: bool = False) -> TargetInfo:
    """Return a target whose own program prepares files."""
    target = msgspec.structs.replace(info.target, prepares=Preparation(form, always=always))
    return msgspec.structs.replace(info, target=target)


OFFERS = {
    "native": target_info(
        "native", formats=("onnx", "ort"), providers=("cpu", "cuda"), settings=("threads", "prepared")
    ),
    "torch": target_info("torch", formats=("pt",)),
    "narrow": target_info("narrow", formats=("onnx", "ort"), model_format="onnx"),
    "own": with_preparation(target_info("own", formats=("onnx", "engine"), settings=("threads", "prepared")), "engine"),
    "saved": with_preparation(target_info("saved", formats=("engine",), model_format="pt"), "engine", always=True),
}


def plan(*targets: str, **settings: Any) -> tuple[Case, ...]:
    commands = resolve({"prepared": True, **settings})
    return tuple(plan_case("net", "classify", commands, ("life",), ("pt", "onnx"), OFFERS[name]) for name in targets)


def prepare(program: Program, cases: tuple[Case, ...], *formats: str) -> tuple[Prepared, list[str]]:
    messages: list[str] = []
    return prepare_models(cases, {"net": model(*formats)}, OFFERS, program, messages.append), messages


def test_targets_that_support_it_get_the_prepared_file(program: Program) -> None:
    planned = plan("native", "torch", "narrow")
    ready, messages = prepare(program, planned)
    assert [(case.format, case.made_from) for case in ready.cases] == [("ort", "onnx"), ("pt", ""), ("onnx", "")]
    assert [(case.id, case.variant) for case in ready.cases] == [(case.id, case.variant) for case in planned]
    request = make_request(ready.cases[0], ready.models["net"], LIFE, Path("/out"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (request.model.format, request.model.path, request.model.sha256) == ("ort", str(program.file), digest)
    assert make_request(ready.cases[1], ready.models["net"], LIFE, Path("/out")).model.path == "/store/net/model.pt"
    assert messages == ["runoff-ort prepared net for this machine (0.0 s, once)"]
    assert ready.reasons == {}


def test_a_model_is_prepared_and_reported_once(program: Program) -> None:
    program.made = False
    ready, messages = prepare(program, (*plan("native"), *plan("native", threads=2)))
    assert [case.format for case in ready.cases] == ["ort", "ort"]
    ((_, *arguments),) = program.commands
    folder = str(paths.prepared())
    assert arguments == ["prepare", "--model", "/store/net/model.onnx", "--folder", folder, "--json"]
    assert messages == []


@pytest.mark.parametrize("settings", [{"prepared": False}, {"prepared": None}])
def test_nothing_is_prepared_unless_requested(settings: dict[str, Any], program: Program) -> None:
    ready, _ = prepare(program, plan("native", **settings))
    assert (ready.cases[0].format, program.commands) == ("onnx", [])


def test_a_model_without_an_onnx_file_is_not_prepared(program: Program) -> None:
    ready, _ = prepare(program, plan("torch"), "pt")
    assert (ready.cases[0].format, program.commands) == ("pt", [])


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ({"exit_code": 1, "stderr": "error: no room\n"}, "exited with code 1: error: no room"),
        ({"exit_code": -9}, "was ended by SIGKILL"),
        ({"stdout": "hello"}, "did not report the file that it made"),
        ({"stdout": '{"path": "/nowhere.ort", "made": true, "key": {}}'}, "/nowhere.ort"),
    ],
)
def test_a_failing_program_falls_back_to_the_usual_format(ended: dict[str, Any], words: str, program: Program) -> None:
    program.ended = ended
    ready, messages = prepare(program, plan("native", "torch"))
    assert [case.format for case in ready.cases] == ["onnx", "pt"]
    assert ready.models["net"].prepared == {}
    assert words in str(ready.reasons["net"])
    assert messages == [f"net is measured without a prepared file by {ready.reasons['net']}"]


def test_a_missing_program_falls_back_to_the_usual_format(program: Program, tmp_path: Path) -> None:
    (tmp_path / "runoff-ort").unlink()
    ready, messages = prepare(program, plan("native"))
    assert (ready.cases[0].format, program.commands) == ("onnx", [])
    assert "run: nox -s build" in messages[0]


def test_a_file_that_was_prepared_from_another_model_is_not_used(program: Program) -> None:
    program.key["model_sha256"] = "00" * 32
    ready, _ = prepare(program, plan("native"))
    assert ready.cases[0].format == "onnx"
    assert "from a file other than" in str(ready.reasons["net"])


def test_other_providers_do_not_get_the_file_prepared_for_the_cpu(program: Program) -> None:
    ready, messages = prepare(program, (*plan("native"), *plan("native", provider="cuda")))
    assert [case.format for case in ready.cases] == ["ort", "onnx"]
    assert messages[-1].endswith("models are prepared for cpu in fp32 only")


def resume(program: Program, ready: Prepared, sha256: str) -> Prepared:
    info = info_of(*ready.cases)
    info.models = {"net": {"prepared": {"onnx": {"sha256": sha256}}}}
    return find_again(info, {"net": model()}, OFFERS, program, print)


def test_an_interrupted_run_resumes_with_the_same_file(program: Program) -> None:
    ready, _ = prepare(program, plan("native", "torch"))
    again = resume(program, ready, hashlib.sha256(CONTENT).hexdigest())
    assert again.cases == ready.cases
    assert again.models["net"].prepared == ready.models["net"].prepared


def test_an_interrupted_run_does_not_resume_with_another_file(program: Program) -> None:
    ready, _ = prepare(program, plan("native"))
    with pytest.raises(RunoffError, match="differs from that of the run"):
        resume(program, ready, "00" * 32)
    program.ended = {"exit_code": 1}
    with pytest.raises(RunoffError, match="the prepared net of the run is missing"):
        resume(program, ready, hashlib.sha256(CONTENT).hexdigest())


def test_a_run_started_without_a_prepared_file_resumes_without(program: Program) -> None:
    again = resume(program, Prepared(plan("native"), {}, {}), "")
    assert (again.cases[0].format, program.commands) == ("onnx", [])


def test_an_optimized_onnx_file_stands_beside_the_other(program: Program) -> None:
    planned = (*plan("native"), *plan("native", prepared="onnx"), *plan("torch", prepared="onnx"))
    ready, _ = prepare(program, planned)
    assert [(case.format, case.made_from) for case in ready.cases] == [("ort", "onnx"), ("onnx", "onnx"), ("pt", "")]
    assert [command[-2:] for command in program.commands] == [(folder_of(program), "--json"), ("--format", "onnx")]
    assert set(ready.models["net"].prepared) == {"onnx", "onnx of onnx"}
    request = make_request(ready.cases[1], ready.models["net"], LIFE, Path("/out"))
    assert (request.model.format, request.model.path) == ("onnx", str(program.file))
    info = info_of(*ready.cases)
    info.models = {"net": ready.models["net"].provenance(None)}
    assert (
        find_again(info, {"net": model()}, OFFERS, program, print).models["net"].prepared
        == ready.models["net"].prepared
    )


def test_without_an_optimized_onnx_file_the_case_is_skipped(program: Program) -> None:
    program.ended = {"exit_code": 1}
    ready, _ = prepare(program, plan("native", prepared="onnx"))
    assert "runoff-ort prepare exited with code 1" in str(ready.cases[0].skipped)


def folder_of(program: Program) -> str:
    return str(program.commands[0][-2])


def test_a_target_prepares_files_of_its_own_next_to_those_of_onnxruntime(program: Program) -> None:
    ready, _ = prepare(program, (*plan("native", "own"), *plan("own", threads=2)))
    assert [(case.format, case.made_from) for case in ready.cases] == [("ort", "onnx"), *[("engine", "onnx")] * 2]
    assert set(ready.models["net"].prepared) == {"onnx", "engine of onnx"}
    _, command = program.commands
    assert command[:2] == ("/bin/true", "prepare")
    spec = msgspec.json.decode(command[command.index("--spec") + 1])
    assert spec["inputs"] == [{"name": "input", "dtype": "float32", "shape": [1, 0]}]
    assert (spec["batch"], spec["builder"]) == (1, None)
    info = info_of(*ready.cases)
    info.models = {"net": ready.models["net"].provenance(None)}
    again = find_again(info, {"net": model()}, OFFERS, program, print)
    assert again.models["net"].prepared == ready.models["net"].prepared


def test_a_file_for_one_batch_is_not_used_for_another(program: Program) -> None:
    program.key |= {"batch": 1}
    ready, messages = prepare(program, (*plan("own"), *plan("own", batch=4)))
    assert [case.format for case in ready.cases] == ["engine", "onnx"]
    assert messages[-1].endswith("models are prepared for cpu in fp32, batch 1 only")


def test_others_do_not_read_what_onnxruntime_optimized_for_itself(program: Program) -> None:
    ready, _ = prepare(program, plan("own", prepared="onnx"))
    assert (ready.cases[0].format, program.commands) == ("onnx", [])


def test_a_target_that_reads_nothing_else_is_prepared_in_every_profile(program: Program) -> None:
    ready, _ = prepare(program, plan("saved", prepared=None))
    (case,) = ready.cases
    assert (case.format, case.made_from) == ("engine", "pt")
    request = make_request(case, ready.models["net"], LIFE, Path("/out"))
    assert (request.model.format, request.model.builder) == ("engine", "package:function")
    program.ended = {"exit_code": 1, "stderr": "saved: runtime-missing: no compiler"}
    (skipped,) = prepare(program, plan("saved", prepared=None))[0].cases
    assert "no compiler" in str(skipped.skipped)


def test_examples_of_several_shapes_are_not_prepared_for(program: Program) -> None:
    stored = model()
    file = StoredFile("other", "cd" * 32, 8)
    examples = (*stored.manifest.examples, example_of("wider", file, file, file))
    both = StoredModel(stored.folder, msgspec.structs.replace(stored.manifest, examples=examples))
    ready = prepare_models(plan("own"), {"net": both}, OFFERS, program, print)
    assert "the examples of net differ in shape" in str(ready.reasons["net"])
