"""The runner of Core ML: its error on other systems, and its behaviour over a fake of the native class."""

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
    stored_tensors,
    tensor_request,
    validate,
)

from machine import skip_because
from outputs import compare_outputs
from runoff import paths
from runoff.measure.parity import tolerance, worst
from runoff.plan.target import Target
from runoff.records.protocol import Capabilities, Effective, Result
from runoff.targets.base import runner_in

if TYPE_CHECKING:
    from collections.abc import Iterator

FAKE = Path(__file__).with_name("fake_coreml.py")
CHECKLIST = paths.root() / "docs" / "coreml-checklist.md"
PACKAGES = ("model", "model-fp16", "model-flexible", "model-fp16-flexible")


def on_this_system() -> Runner:
    """Return the real runner, which is unavailable on Linux."""
    return Runner("coreml", lambda: runner_in(sys.executable, "coreml", "coreml"), "mlpackage")


def fake_runner(form: str = "mlpackage", **variables: str) -> Runner:
    """Return the runner over the fake, in the environment that has coremltools."""
    python = paths.environments() / "export" / "bin" / "python"
    if not list(python.parent.parent.glob("lib/python3*/site-packages/coremltools")):
        skip_because(f"coremltools is not in the environment of {python}; run: nox -s export")
    env = {"PYTHONPATH": str(paths.runners().parent), **variables}
    return Runner("coreml", lambda: Target(name="coreml", command=(str(python), "-P", str(FAKE)), env=env), form)


@pytest.fixture(scope="session")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model's folder with packages for the fake."""
    made = tmp_path_factory.mktemp("net")
    for name in ("model.onnx", "china.tensor.bin", "china.reference.bin"):
        (made / name).symlink_to(models / MODEL / name)
    for name in PACKAGES:
        (made / f"{name}.mlpackage" / "Data").mkdir(parents=True)
        (made / f"{name}.mlpackage" / "Manifest.json").write_text("{}")
        (made / f"{name}.mlpackage" / "Data" / "weight.bin").write_text(name)
    return made


def request_for(runner: Runner, name: str, models: Path, folder: Path, tmp_path: Path) -> Document:
    """Return a golden request on the package of the runner's format, with batch 1 if the batch is fixed."""
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


def test_on_linux_the_runner_reports_needs_macos_and_imports_nothing(models: Path, tmp_path: Path) -> None:
    target = on_this_system().make()
    traced = msgspec.structs.replace(target, command=(target.command[0], "-X", "importtime", *target.command[1:]))
    probe = launch(Runner("coreml", lambda: traced, "mlpackage"), "--probe")
    assert probe.returncode == 3
    assert "coremltools" not in probe.stderr
    assert "numpy" not in probe.stderr
    validate(json.loads(probe.stdout), "capabilities")
    reason = msgspec.json.decode(probe.stdout, type=Capabilities).unavailable
    assert reason is not None
    assert (reason.kind, reason.message) == ("needs-macos", "execution not run: needs macOS")
    request = golden("once-classify", on_this_system(), models, tmp_path)
    execute(on_this_system(), request, tmp_path).assert_failed("needs-macos", 3)
    prepared = launch(on_this_system(), "prepare", "--model", "/a.mlpackage", "--folder", str(tmp_path), "--json")
    assert (prepared.returncode, prepared.stdout) == (3, "")
    assert prepared.stderr == "coreml: needs-macos: execution not run: needs macOS; run: nox -s bench, on a Mac\n"


@pytest.mark.parametrize(
    ("variables", "providers"),
    [
        ({}, ("cpu", "coreml", "coreml-cpu", "coreml-gpu", "coreml-ne")),
        ({"FAKE_DEVICES": "cpu gpu"}, ("cpu", "coreml", "coreml-cpu", "coreml-gpu")),
        ({"FAKE_DEVICES": "cpu"}, ("cpu", "coreml", "coreml-cpu")),
        # this macOS does not report its devices yet
        (
            {"FAKE_DEVICES": "cpu", "FAKE_MACOS": "13.6"},
            ("cpu", "coreml", "coreml-cpu", "coreml-gpu", "coreml-ne"),
        ),
    ],
)
def test_the_devices_of_the_mac_are_reported(variables: dict[str, str], providers: tuple[str, ...]) -> None:
    probe = launch(fake_runner(**variables), "--probe")
    assert probe.returncode == 0, probe.stderr
    validate(json.loads(probe.stdout), "capabilities")
    can = msgspec.json.decode(probe.stdout, type=Capabilities)
    assert can.providers == providers
    assert can.precisions == ("fp32", "fp16")
    assert can.formats[-1] == "mlmodelc"
    assert (can.runtime, can.version) == ("coreml", variables.get("FAKE_MACOS", "15.1"))
    assert ("planned devices" in (can.build or "")) == ("FAKE_MACOS" in variables)


def test_a_short_process_compiles_loads_and_infers(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = fake_runner()
    outcome = execute(runner, request_for(runner, "once-classify", models, folder, tmp_path), tmp_path)
    effective = effective_of(outcome)
    names = [phase.name for phase in outcome.result.phases]
    assert names == ["start", "imports", "compile", "load", "preprocess", "inference", "output"]
    assert (effective.provider, effective.threads, effective.planned) == ("cpu", None, None)
    assert effective.ignored == ("threads",)
    assert outcome.result.top[0][0].label == "palace"
    # the compiled package is deleted with the process
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["logits.0.bin"]


@pytest.mark.parametrize("form", ["mlpackage", "mlpackage-fp16", "mlpackage-flexible", "mlpackage-fp16-flexible"])
def test_every_package_computes_the_right_outputs(form: str, models: Path, folder: Path, tmp_path: Path) -> None:
    runner = fake_runner(form)
    names = ("china", "flower", "rocket")
    request = tensor_request(runner, models, tmp_path, *names)
    request["settings"] = {"provider": "coreml", "batch": 2}
    outcome = execute(runner, on_package(request, runner, folder), tmp_path)
    effective = effective_of(outcome)
    references = stored_tensors("references", models, names)
    found = worst(compare_outputs(outcome.result.outputs, references))
    assert found <= tolerance("tensor", request["settings"]["precision"])
    assert (found > 1e-5) == ("fp16" in form)
    assert (effective.provider, effective.planned) == ("coreml", {"neural-engine": 2})
    batches = [(0, 1), (2,)] if "flexible" in form else [(0,), (1,), (2,)]
    assert [tensor.items for tensor in outcome.result.outputs] == batches


def test_settings_that_are_not_core_mls_are_named(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = fake_runner("mlpackage-flexible")
    request = request_for(runner, "latency-tensor", models, folder, tmp_path)
    outcome = execute(runner, request, tmp_path)
    known = {
        "threads",
        "inter_threads",
        "optimization",
        "spinning",
        "spin_duration_us",
        "spin_backoff_max",
        "arena",
        "prepacking",
        "execution",
    }
    assert set(effective_of(outcome).ignored) == known
    assert len(outcome.result.samples["inference"].warm_ns) >= request["measure"]["min_samples"]


def test_a_prepared_package_is_compiled_once(models: Path, folder: Path, tmp_path: Path) -> None:
    package, runner = folder / "model-fp16.mlpackage", fake_runner("mlpackage-fp16")
    arguments = ("prepare", "--model", str(package), "--folder", str(tmp_path / "prepared"), "--json")
    first, second = (json.loads(launch(runner, *arguments).stdout) for _ in range(2))
    assert (first["made"], second["made"]) == (True, False)
    assert first["path"] == second["path"]
    assert first["key"]["model_sha256"] == _package_sha256(package)
    assert [path.suffix for path in (tmp_path / "prepared").iterdir()] == [".mlmodelc"]
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["model"] |= {"format": "mlmodelc", "path": first["path"]}
    request["settings"]["prepared"] = True
    (tmp_path / "named").mkdir()
    outcome = execute(runner, {**request, "outputs_dir": str(tmp_path / "out")}, tmp_path / "named")
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
def test_compute_units_match_the_provider(
    provider: str, units: str, models: Path, folder: Path, tmp_path: Path
) -> None:
    runner = fake_runner()
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["settings"]["provider"] = provider
    outcome = execute(runner, request, tmp_path)
    assert effective_of(outcome).provider == provider
    assert f"loading for {units}" in outcome.stderr


def test_a_missing_device_is_reported_as_what_computed(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = fake_runner(FAKE_DEVICES="cpu")
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["settings"]["provider"] = "coreml-ne"
    assert effective_of(execute(runner, request, tmp_path)).provider == "coreml-cpu"


def test_an_older_macos_reports_no_plan(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = fake_runner(FAKE_MACOS="14.2")
    effective = effective_of(
        execute(runner, request_for(runner, "accuracy-classify", models, folder, tmp_path), tmp_path)
    )
    assert effective.planned is None
    assert (effective.build or "").endswith("which reports no planned devices (macOS 14.4 does)")


@pytest.fixture
def turning(models: Path, folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the runner in the measure `turns`."""
    runner = fake_runner()
    request = request_for(runner, TURNS, models, folder, tmp_path)
    (tmp_path / "request.json").write_text(json.dumps(request))
    target = runner.make()
    arguments = ("--request", str(tmp_path / "request.json"), "--result", str(tmp_path / "result.json"))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*target.command, *arguments], env=target.environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        yield process
        process.kill()


def test_turns_use_a_separate_stdout(turning: subprocess.Popen[str], tmp_path: Path) -> None:
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
def test_core_ml_errors_are_one_line(mistake: str, models: Path, folder: Path, tmp_path: Path) -> None:
    changes, kind, code, words = BROKEN[mistake]
    elsewhere = folder.parent
    (elsewhere / "broken.mlpackage").mkdir(exist_ok=True)
    runner = fake_runner()
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    for field, value in changes.items():
        if field in ("inputs", "outputs"):
            request["model"][field][0]["name"] = value
        else:
            request["model"][field] = value.format(elsewhere)
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed(kind, code)
    assert words in (outcome.result.message or "")


def test_an_unknown_provider_is_reported(models: Path, folder: Path, tmp_path: Path) -> None:
    runner = fake_runner()
    request = request_for(runner, "once-classify", models, folder, tmp_path)
    request["settings"]["provider"] = "abacus"
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert "abacus" in (outcome.result.message or "")


def test_preparing_an_unreadable_package_is_a_one_line_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mlpackage").mkdir()
    options = ("--folder", str(tmp_path / "prepared"), "--json")
    for name, code, words in (
        ("broken", 1, "cannot be compiled: Failed to open"),
        ("none", 1, "no such file or folder"),
    ):
        process = launch(fake_runner(), "prepare", "--model", str(tmp_path / f"{name}.mlpackage"), *options)
        assert (process.returncode, process.stdout) == (code, "")
        last = process.stderr.splitlines()[-1]
        assert last.startswith("coreml: model-")
        assert words in last
    assert launch(fake_runner(), "prepare", "--model", str(folder)).returncode == 2


def test_the_program_of_the_checklist_verifies_its_claims(folder: Path, tmp_path: Path) -> None:
    """Over the fake, which verifies the program; only a Mac can verify its claims about Core ML."""
    (program,) = re.findall(r"<<'END'\n(.*?)^END$", CHECKLIST.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    program = f"import fake_coreml\nfake_coreml.load_target()\n{program}"
    python, *_ = fake_runner().make().command
    own = f"{paths.runners().parent}:{FAKE.parent}"
    env = {"PYTHONPATH": own, "MODEL": str(folder), "SCRATCH": str(tmp_path)}
    done = subprocess.run([python, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert [line.count(" True") for line in lines] == [4] * 8
    assert [line.endswith("{'cpu': 2}") for line in lines] == ["CPU_ONLY" in line for line in lines]
