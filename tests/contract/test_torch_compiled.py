"""Ways to compile or convert a network of PyTorch: on a small one, as some take half a minute for a real one."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from runners_under_test import Document, Outcome, Runner, execute, launch

from machine import thorough
from runoff.records.protocol import Capabilities
from runoff.targets.base import in_environment
from runoff.targets.mobile import executorch, litert
from runoff.targets.torch import torch, torch_aoti, torch_compile, torchscript

if TYPE_CHECKING:
    from pathlib import Path

BUILDER = "runoff_runners.torch_builders:layers_3x4"
SHAPE = [1, 3, 8, 8]
SPEC = {"name": "input", "dtype": "float32", "shape": SHAPE}
EAGER = Runner("torch", torch, "pt")
COMPILE = Runner("torch-compile", torch_compile, "pt")
SCRIPT, AOTI = Runner("torchscript", torchscript, "torchscript"), Runner("torch-aoti", torch_aoti, "aoti")
MOBILE = (Runner("litert", litert, "tflite"), Runner("executorch", executorch, "pte"))
SAVED = (SCRIPT, *(pytest.param(runner, marks=thorough) for runner in (AOTI, *MOBILE)))
RUNTIMES = {"torchscript": "torch", "torch-aoti": "torch"}
WITHOUT_COMPILER = {"CXX": "no-such-compiler"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the weights of the network, and an input."""
    folder = tmp_path_factory.mktemp("network")
    target = EAGER.make()
    program = f"import torch, {BUILDER.partition(':')[0]} as b; torch.save(b.layers_3x4().state_dict(), 'model.pt')"
    subprocess.run([target.command[0], "-c", program], env=target.environment(), cwd=folder, check=True)
    np.random.default_rng(1).normal(size=SHAPE).astype(np.float32).tofile(folder / "input.bin")
    return folder


def request_for(form: str, path: Path, store: Path, folder: Path, **settings: Any) -> Document:
    """Return a request for one inference on the file at `path`."""
    (folder / "out").mkdir(parents=True, exist_ok=True)
    spec = {**SPEC, "shape": [None, *SHAPE[1:]]}
    model = {"name": "layers", "path": str(path), "format": form, "sha256": "", "inputs": [spec], "builder": BUILDER}
    return {
        "protocol": 1,
        "case": "layers.tensor.any",
        "workload": "tensor",
        "model": {**model, "outputs": [{**spec, "name": "output"}]},
        "inputs": [{"tensors": {"input": {"path": str(store / "input.bin"), "dtype": "float32", "shape": SHAPE}}}],
        "settings": {"threads": 1, **settings},
        "outputs_dir": str(folder / "out"),
    }


def prepared(runner: Runner, store: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Return the finished program that prepares the network."""
    spec = json.dumps({"inputs": [SPEC], "batch": 1, "builder": BUILDER, "builder_folder": None})
    files = ("--model", str(store / "model.pt"), "--folder", str(store / "prepared"))
    target = runner.make()
    if target.prepares and target.prepares.environment:
        target = in_environment(target, target.prepares.environment)
    preparer = msgspec.structs.replace(runner, target=lambda: target)
    return launch(preparer, "prepare", *files, "--spec", spec, "--json", **variables)


def output_of(outcome: Outcome) -> np.ndarray[Any, np.dtype[np.float32]]:
    assert outcome.result.status == "ok", outcome.stderr
    return np.fromfile(outcome.result.outputs[0].path, np.float32)


def phases_of(outcome: Outcome) -> list[str]:
    return [phase.name for phase in outcome.result.phases]


@pytest.fixture(scope="module")
def eager(store: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the output of the network that was not compiled."""
    folder = tmp_path_factory.mktemp("eager")
    outcome = execute(EAGER, request_for("pt", store / "model.pt", store, folder), folder)
    assert outcome.result.effective is not None
    assert outcome.result.effective.precision == "fp32"
    return output_of(outcome)


@pytest.mark.parametrize("runner", SAVED, ids=lambda runner: runner.name)
def test_a_saved_program_computes_the_same(
    runner: Runner, store: Path, eager: np.ndarray[Any, np.dtype[np.float32]], tmp_path: Path
) -> None:
    made, again = (json.loads(prepared(runner, store).stdout) for _ in range(2))
    assert (made["made"], again) == (True, {**made, "made": False})
    assert (made["key"]["provider"], made["key"]["precision"], made["key"]["batch"]) == ("cpu", "fp32", 1)
    path = store / "prepared" / made["path"]
    outcome = execute(runner, request_for(runner.format, path, store, tmp_path, prepared=True), tmp_path)
    assert np.allclose(output_of(outcome), eager, rtol=1e-5, atol=1e-6)
    assert phases_of(outcome) == ["start", "imports", "load", "preprocess", "inference", "output"]
    effective = outcome.result.effective
    assert effective is not None
    assert effective.runtime == RUNTIMES.get(runner.name, runner.name)
    assert (effective.provider, effective.threads, effective.ignored) == ("cpu", 1, ())


@thorough
def test_torch_compile_has_a_phase_for_it(
    store: Path, eager: np.ndarray[Any, np.dtype[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "run"
    folder.mkdir()
    outcome = execute(COMPILE, request_for("pt", store / "model.pt", store, folder, prepared=True), folder)
    assert np.allclose(output_of(outcome), eager, rtol=1e-5, atol=1e-6)
    assert phases_of(outcome) == ["start", "imports", "compile", "preprocess", "inference", "output"]
    assert outcome.result.effective is not None
    # what it compiled is kept by default, and there is no other way to prepare it
    assert outcome.result.effective.ignored == ("prepared",)
    kept = tmp_path / "home" / "prepared" / "inductor"
    assert any(kept.rglob("*.so"))


def test_without_a_compiler_torch_compile_is_unavailable(store: Path, tmp_path: Path) -> None:
    probe = launch(COMPILE, "--probe", **WITHOUT_COMPILER)
    assert probe.returncode == 3
    unavailable = msgspec.json.decode(probe.stdout, type=Capabilities).unavailable
    assert unavailable is not None
    assert (unavailable.kind, unavailable.hint) == ("runtime-missing", "install one (apt install g++), or set CXX")
    assert "no-such-compiler is not on the PATH" in unavailable.message
    target = COMPILE.make()
    without = msgspec.structs.replace(target, env={**target.env, **WITHOUT_COMPILER})
    request = request_for("pt", store / "model.pt", store, tmp_path)
    execute(Runner("torch-compile", lambda: without, "pt"), request, tmp_path).assert_failed("runtime-missing", 3)


def test_without_a_compiler_no_package_is_made(store: Path) -> None:
    process = prepared(AOTI, store / "..", **WITHOUT_COMPILER)
    assert (process.returncode, process.stdout) == (1, "")
    process = launch(
        AOTI,
        *("prepare", "--model", str(store / "input.bin"), "--folder", str(store / "none")),
        *("--spec", json.dumps({"inputs": [SPEC], "batch": 1, "builder": BUILDER, "builder_folder": None}), "--json"),
        **WITHOUT_COMPILER,
    )
    assert (process.returncode, process.stdout) == (3, "")
    assert "torch-aoti: runtime-missing: AOTInductor needs a C++ compiler" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("runner", [SCRIPT, AOTI, SAVED[2]], ids=lambda runner: runner.name)
def test_a_damaged_program_is_unreadable(runner: Runner, store: Path, tmp_path: Path) -> None:
    broken = tmp_path / f"broken.{runner.format}"
    if runner is AOTI:
        broken.mkdir()
        (broken / "archive_format").write_text("pt2")
    else:
        broken.write_bytes((store / "model.pt").read_bytes()[:100])
    folder = tmp_path / "run"
    folder.mkdir()
    outcome = execute(runner, request_for(runner.format, broken, store, folder), folder)
    outcome.assert_failed("model-unreadable", 1)


@pytest.mark.parametrize("runner", [COMPILE, SCRIPT, AOTI], ids=lambda runner: runner.name)
def test_another_provider_is_unavailable(runner: Runner, store: Path, tmp_path: Path) -> None:
    request = request_for(runner.format, store / "model.pt", store, tmp_path, provider="cuda")
    execute(runner, request, tmp_path).assert_failed("provider-unavailable", 3)
