"""The runner of Core ML: what it says where there is none, and what it does over a stand-in for its native class."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import (
    MODEL,
    TURNS,
    Document,
    Outcome,
    Runner,
    execute,
    golden,
    launch,
    tensor_request,
    validate,
)

from machine import skip_because
from runoff import paths
from runoff.measure.parity import compare_outputs, tolerance, worst
from runoff.plan.target import Target
from runoff.records.protocol import Capabilities, Effective, Result
from runoff.targets.base import runner_in

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDIN = Path(__file__).with_name("coreml_standin.py")
CHECKLIST = paths.root() / "docs" / "coreml-checklist.md"
PACKAGES = ("model", "model-fp16", "model-flexible", "model-fp16-flexible")


def on_this_system() -> Runner:
    """Return the runner as it is: on Linux it can do nothing."""
    return Runner("coreml", lambda: runner_in(sys.executable, "coreml", "coreml_runner"), "mlpackage")


def standin(form: str = "mlpackage", **variables: str) -> Runner:
    """Return the runner over the stand-in, in the environment that has coremltools."""
    python = paths.environments() / "export" / "bin" / "python"
    if not list(python.parent.parent.glob("lib/python3*/site-packages/coremltools")):
        skip_because(f"coremltools is not in the environment of {python}; run: nox -s export")
    env = {"PYTHONPATH": str(paths.runners().parent), **variables}
    return Runner("coreml", lambda: Target(name="coreml", command=(str(python), "-P", str(STANDIN)), env=env), form)


@pytest.fixture(scope="session")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model's folder with packages that the stand-in takes."""
    made = tmp_path_factory.mktemp("net")
    for name in ("model.onnx", "china.tensor.bin", "china.reference.bin"):
        (made / name).symlink_to(models / MODEL / name)
    for name in PACKAGES:
        (made / f"{name}.mlpackage" / "Data").mkdir(parents=True)
        (made / f"{name}.mlpackage" / "Manifest.json").write_text("{}")
        (made / f"{name}.mlpackage" / "Data" / "weight.bin").write_text(name)
    return made


def request_for(runner: Runner, name: str, models: Path, folder: Path, tmp_path: Path) -> Document:
    """Return a golden request on the package of the runner's format, one item at a time where that is fixed."""
    return on_package(golden(name, runner, models, tmp_path), runner, folder)


def on_package(request: Document, runner: Runner, folder: Path) -> Document:
    """Return the request, for the package of the runner's format."""
    request["model"]["path"] = str(folder / f"model{runner.format.removeprefix('mlpackage')}.mlpackage")
    request["settings"]["precision"] = "fp16" if "fp16" in runner.format else "fp32"
    if "flexible" not in runner.format:
        request["settings"]["batch"] = 1
    return request


def effective_of(outcome: Outcome) -> Effective:
    assert outcome.result.status == "ok", outcome.result.message
    assert outcome.result.effective is not None
    return outcome.result.effective


def test_elsewhere_it_needs_a_mac_and_imports_nothing_to_say_so(models: Path, tmp_path: Path) -> None:
    target = on_this_system().make()
    traced = msgspec.structs.replace(target, command=(target.command[0], "-X", "importtime", *target.command[1:]))
    probe = launch(Runner("coreml", lambda: traced, "mlpackage"), "--probe")
    assert probe.returncode == 3
    assert "coremltools" not in probe.stderr
    assert "numpy" not in probe.stderr
    validate(json.loads(probe.stdout), "capabilities")
    lack = msgspec.json.decode(probe.stdout, type=Capabilities).unavailable
    assert lack is not None
    assert (lack.kind, lack.message) == ("needs-macos", "execution not run: needs macOS")
    asked = golden("once-classify", on_this_system(), models, tmp_path)
    execute(on_this_system(), asked, tmp_path).assert_failed("needs-macos", 3)
    prepared = launch(on_this_system(), "prepare", "--model", "/a.mlpackage", "--folder", str(tmp_path), "--json")
    assert (prepared.returncode, prepared.stdout) == (3, "")
    assert prepared.stderr == "coreml: needs-macos: execution not run: needs macOS\n"


@pytest.mark.parametrize(
    ("variables", "providers"),
    [
        ({}, ("cpu", "coreml", "coreml-cpu", "coreml-gpu", "coreml-ne")),
        ({"STANDIN_DEVICES": "cpu gpu"}, ("cpu", "coreml", "coreml-cpu", "coreml-gpu")),
        ({"STANDIN_DEVICES": "cpu"}, ("cpu", "coreml", "coreml-cpu")),
        # macOS does not tell its devices yet
        (
            {"STANDIN_DEVICES": "cpu", "STANDIN_MACOS": "13.6"},
            ("cpu", "coreml", "coreml-cpu", "coreml-gpu", "coreml-ne"),
        ),
    ],
)
def test_it_offers_the_devices_of_the_mac(variables: dict[str, str], providers: tuple[str, ...]) -> None:
    probe = launch(standin(**variables), "--probe")
    assert probe.returncode == 0, probe.stderr
    validate(json.loads(probe.stdout), "capabilities")
    can = msgspec.json.decode(probe.stdout, type=Capabilities)
    assert can.providers == providers
    assert can.precisions == ("fp32", "fp16")
    assert can.formats[-1] == "mlmodelc"
    assert (can.runtime, can.version) == ("coreml", variables.get("STANDIN_MACOS", "15.1"))
    assert ("planned devices" in (can.build or "")) == ("STANDIN_MACOS" in variables)


def test_a_short_process_compiles_loads_and_answers(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = standin()
    outcome = execute(runner, request_for(runner, "once-classify", models, folder, tmp_path), tmp_path)
    effective = effective_of(outcome)
    names = [phase.name for phase in outcome.result.phases]
    assert names == ["start", "imports", "compile", "load", "preprocess", "inference", "output"]
    assert (effective.provider, effective.threads, effective.planned) == ("cpu", None, None)
    assert effective.ignored == ("threads",)
    assert outcome.result.top[0][0].label == "palace"
    # what was compiled is gone with the process
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["logits.0.bin"]


@pytest.mark.parametrize("form", ["mlpackage", "mlpackage-fp16", "mlpackage-flexible", "mlpackage-fp16-flexible"])
def test_every_package_gives_the_right_answers(form: str, models: Path, folder: Path, tmp_path: Path) -> None:
    runner = standin(form)
    names = ("china", "flower", "rocket")
    request = tensor_request(runner, models, tmp_path, *names)
    request["settings"] = {"provider": "coreml", "batch": 2}
    outcome = execute(runner, on_package(request, runner, folder), tmp_path)
    effective = effective_of(outcome)
    references = [models / MODEL / f"{name}.reference.bin" for name in names]
    found = worst(compare_outputs(outcome.result.outputs, references))
    assert found <= tolerance("tensor", request["settings"]["precision"])
    assert (found > 1e-5) == ("fp16" in form)
    assert (effective.provider, effective.planned) == ("coreml", {"neural-engine": 2})
    batches = [(0, 1), (2,)] if "flexible" in form else [(0,), (1,), (2,)]
    assert [tensor.items for tensor in outcome.result.outputs] == batches


def test_settings_that_are_not_core_mls_are_named(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = standin("mlpackage-flexible")
    request = request_for(runner, "latency-tensor", models, folder, tmp_path)
    outcome = execute(runner, request, tmp_path)
    known = {"threads", "inter_threads", "optimization", "spinning", "arena", "prepacking", "execution"}
    assert set(effective_of(outcome).ignored) == known
    assert len(outcome.result.samples["inference"].warm_ns) >= request["measure"]["min_samples"]


def test_a_prepared_package_is_compiled_once(models: Path, folder: Path, tmp_path: Path) -> None:
    package, runner = folder / "model-fp16.mlpackage", standin("mlpackage-fp16")
    arguments = ("prepare", "--model", str(package), "--folder", str(tmp_path / "prepared"), "--json")
    first, second = (json.loads(launch(runner, *arguments).stdout) for _ in range(2))
    assert (first["made"], second["made"]) == (True, False)
    assert first["path"] == second["path"]
    assert first["key"]["model_sha256"] == _package_sha256(package)
    assert [path.suffix for path in (tmp_path / "prepared").iterdir()] == [".mlmodelc"]
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["model"] |= {"format": "mlmodelc", "path": first["path"]}
    request["settings"]["prepared"] = True
    (tmp_path / "asked").mkdir()
    outcome = execute(runner, {**request, "outputs_dir": str(tmp_path / "out")}, tmp_path / "asked")
    assert effective_of(outcome).ignored == ("threads",)
    assert "compile" not in [phase.name for phase in outcome.result.phases]
    assert Path(first["path"]).is_dir()


def _package_sha256(package: Path) -> str:
    """Return the hash that the store's manifest has of a package."""
    files = sorted(path for path in package.rglob("*") if path.is_file())
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    lines = [f"{own}  {path.relative_to(package.parent)}\n" for own, path in zip(hashes, files, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    ("provider", "units"),
    [("coreml-cpu", "CPU_ONLY"), ("coreml-gpu", "CPU_AND_GPU"), ("coreml-ne", "CPU_AND_NE")],
)
def test_compute_units_are_those_of_the_provider(
    provider: str, units: str, models: Path, folder: Path, tmp_path: Path
) -> None:
    runner = standin()
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["settings"]["provider"] = provider
    outcome = execute(runner, request, tmp_path)
    assert effective_of(outcome).provider == provider
    assert f"loading for {units}" in outcome.stderr


def test_a_device_that_is_not_there_is_told_as_what_computed(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = standin(STANDIN_DEVICES="cpu")
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["settings"]["provider"] = "coreml-ne"
    assert effective_of(execute(runner, request, tmp_path)).provider == "coreml-cpu"


def test_an_older_macos_plans_nothing_and_says_so(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = standin(STANDIN_MACOS="14.2")
    effective = effective_of(
        execute(runner, request_for(runner, "accuracy-classify", models, folder, tmp_path), tmp_path)
    )
    assert effective.planned is None
    assert (effective.build or "").endswith("which reports no planned devices (macOS 14.4 does)")


@pytest.fixture
def turning(models: Path, folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the runner in the measure `turns`."""
    runner = standin()
    request = request_for(runner, TURNS, models, folder, tmp_path)
    (tmp_path / "request.json").write_text(json.dumps(request))
    target = runner.make()
    asked = ("--request", str(tmp_path / "request.json"), "--result", str(tmp_path / "result.json"))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*target.command, *asked], env=target.environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        yield process
        process.kill()


def test_it_takes_turns_on_a_stdout_of_its_own(turning: subprocess.Popen[str], tmp_path: Path) -> None:
    out, err = turning.communicate("1 0\noutputs\n", timeout=120)
    ready, took, written = out.splitlines()
    assert ready == "ready"
    assert {len(part) for part in json.loads(took).values()} == {2}
    assert json.loads(written)[0]["items"] == [0]
    assert "compiling" in err
    result = msgspec.json.decode((tmp_path / "result.json").read_bytes(), type=Result)
    assert list(result.samples["inference"].warm_ns) == json.loads(took)["inference"]


BROKEN: dict[str, tuple[Document, str, int, str]] = {
    "package": ({"path": "{}/broken.mlpackage"}, "model-unreadable", 1, "loaded: Failed to open the package at"),
    "no package": ({"path": "{}/none.mlpackage"}, "model-missing", 1, "no such folder"),
    "not compiled": ({"path": "{}/broken.mlpackage", "format": "mlmodelc"}, "model-unreadable", 1, "not a valid"),
    "input": ({"inputs": "pixels"}, "runtime-failed", 1, "is required but not specified."),
    "output": ({"outputs": "boxes"}, "model-mismatch", 1, "names boxes; the model gives logits"),
    "format": ({"format": "onnx"}, "bad-request", 2, "mlpackage-fp16-flexible"),
    "precision": ({"format": "mlpackage-fp16"}, "bad-request", 2, "is fp32; a model in the format mlpackage-fp16"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_what_core_ml_refuses_is_said_in_one_line(mistake: str, models: Path, folder: Path, tmp_path: Path) -> None:
    changes, kind, code, words = BROKEN[mistake]
    elsewhere = folder.parent
    (elsewhere / "broken.mlpackage").mkdir(exist_ok=True)
    runner = standin()
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    for field, value in changes.items():
        if field in ("inputs", "outputs"):
            request["model"][field][0]["name"] = value
        else:
            request["model"][field] = value.format(elsewhere)
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed(kind, code)
    assert words in (outcome.result.message or "")


@pytest.mark.parametrize(("field", "value"), [("provider", "abacus"), ("precision", "fp4")])
def test_what_it_cannot_do_is_unsupported(field: str, value: str, models: Path, folder: Path, tmp_path: Path) -> None:
    runner = standin()
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["settings"][field] = value
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert value in (outcome.result.message or "")


def test_preparing_what_cannot_be_read_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mlpackage").mkdir()
    asked = ("--folder", str(tmp_path / "prepared"), "--json")
    for name, code, words in (("broken", 1, "cannot be compiled: Failed to open"), ("none", 1, "no such folder")):
        process = launch(standin(), "prepare", "--model", str(tmp_path / f"{name}.mlpackage"), *asked)
        assert (process.returncode, process.stdout) == (code, "")
        last = process.stderr.splitlines()[-1]
        assert last.startswith("coreml: model-")
        assert words in last
    assert launch(standin(), "prepare", "--model", str(folder)).returncode == 2


def test_the_program_of_the_checklist_proves_what_it_says(folder: Path, tmp_path: Path) -> None:
    """Over the stand-in, which shows that the program is right; what it says of Core ML only a Mac can."""
    (program,) = re.findall(r"<<'END'\n(.*?)^END$", CHECKLIST.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    program = f"import coreml_standin\ncoreml_standin.load_target()\n{program}"
    python, *_ = standin().make().command
    own = f"{paths.runners().parent}:{STANDIN.parent}"
    env = {"PYTHONPATH": own, "MODEL": str(folder), "SCRATCH": str(tmp_path)}
    done = subprocess.run([python, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert [line.count(" True") for line in lines] == [4] * 8
    assert [line.endswith("{'cpu': 2}") for line in lines] == ["CPU_ONLY" in line for line in lines]
