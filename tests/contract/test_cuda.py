"""CUDA and TensorRT: the parts of an inference, the options of sessions, and the one-line error without a GPU.

The code that runs on a GPU runs on the CPU in these tests, with host memory in place of the GPU's.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import IN_RUST, PHOTOS, PROGRAMS, Document, Outcome, Runner, execute, golden, launch
from test_turns import assert_right, photos, started

from machine import thorough
from runoff import paths
from runoff.plan.target import Target
from runoff.records.protocol import Capabilities
from runoff.targets.onnxruntime import ort_python
from runoff.targets.torch import torch

if TYPE_CHECKING:
    from runoff.records.protocol import Timings

HERE = Path(__file__).parent
PARTS = ("copy_in", "compute", "copy_out")
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
UNUSABLE = "settings.provider: '{}' cannot be used: "
# these runners have no backend for these GPUs
NOT_ON_GPU = ("openvino-python", "tract-python", *(runner.name for runner in IN_RUST), "webnn-compute", "wasm", "node")
ON_GPU = [runner for runner in PROGRAMS if runner.computes and not runner.name.endswith(NOT_ON_GPU)]


def fake_ort(session_file: Path, took: str = TENSORRT) -> Runner:
    """Return `ort-python` over an ONNX Runtime that reports a GPU; the provider `took` is reported for the model."""
    env = {"PYTHONPATH": str(paths.runners().parent), "FAKE_PROVIDER": took, "FAKE_SESSION_FILE": str(session_file)}
    command = (ort_python().command[0], "-P", str(HERE / "fake_ort_cuda.py"))
    return Runner("ort-python", lambda: Target(name="ort-python", command=command, env=env), "onnx")


def fake_torch(model_format: str, full: str = "") -> Runner:
    """Return `torch` over a PyTorch that reports a GPU; `full` names the call that runs out of memory."""
    env = {"PYTHONPATH": str(paths.runners().parent), "FAKE_FULL": full}
    command = (torch().command[0], "-P", str(HERE / "fake_torch_cuda.py"))
    return Runner("torch", lambda: Target(name="torch", command=command, env=env), model_format, names_inputs=False)


@pytest.fixture
def session_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file with the options of the session."""
    return tmp_path_factory.mktemp("session") / "session.json"


@pytest.fixture
def fake_runner(request: pytest.FixtureRequest, session_file: Path) -> Runner:
    """Return the fake runner of the format that the test names."""
    return fake_ort(session_file) if request.param == "onnx" else fake_torch(request.param)


def numbers(timings: Timings) -> list[int]:
    """Return all durations, in order."""
    second = [] if timings.second_ns is None else [timings.second_ns]
    return [timings.first_ns, *second, *timings.warm_ns]


def assert_parts(outcome: Outcome, device: str = "Fake GPU (0)") -> None:
    """Assert that every inference has three parts that add up to it, and that the device is named."""
    assert outcome.exit_code == 0, outcome.stderr
    samples, effective = outcome.result.samples, outcome.result.effective
    assert effective is not None
    assert (effective.device or "").startswith(device)
    whole = numbers(samples["inference"])
    parts = [numbers(samples[name]) for name in PARTS]
    assert all(len(part) == len(whole) for part in parts)
    for inference, *inside in zip(whole, *parts, strict=True):
        assert min(inside) > 0
        assert 0.5 * inference < sum(inside) <= inference


@pytest.mark.clock
@pytest.mark.parametrize("name", ["once-classify", "latency-tensor", "accuracy-classify"])
def test_every_inference_has_its_parts(name: str, models: Path, tmp_path: Path, session_file: Path) -> None:
    runner = fake_ort(session_file)
    request = golden(name, runner, models, tmp_path)
    request["settings"] = {**request.get("settings", {}), "provider": "cuda", "batch": 1}
    assert_parts(execute(runner, request, tmp_path))


@pytest.mark.parametrize(
    ("fake_runner", "batch"), [("onnx", 1), ("onnx", 2), ("pt", 2), ("pt2", 2)], indirect=["fake_runner"]
)
def test_turns_have_the_parts_and_the_right_outputs(
    fake_runner: Runner, batch: int, models: Path, tmp_path: Path
) -> None:
    request = photos(fake_runner, models, tmp_path, batch)
    request["settings"]["provider"] = "cuda"
    with started(fake_runner, request, tmp_path) as live:
        for items in ((4, 1), (2,), ()):
            assert set(live.turn(*items)) == {"inference", *PARTS}
            if items:
                assert_right(live.outputs(), items[-1], batch, models)
        result, exit_code, _ = live.end()
    assert exit_code == 0
    assert [len(result.samples[name].warm_ns) for name in ("inference", *PARTS)] == [3, 3, 3, 3]


@pytest.mark.clock
@pytest.mark.parametrize(("provider", "own"), [("cuda", []), ("tensorrt", [[TENSORRT, {}]])])
def test_sessions_are_strict_and_of_fixed_shape(
    provider: str, own: list[object], models: Path, tmp_path: Path, session_file: Path
) -> None:
    request = golden("latency-tensor", fake_ort(session_file), models, tmp_path)
    request["settings"] = {"batch": 2, "provider": provider}
    outcome = execute(fake_ort(session_file), request, tmp_path)
    assert_parts(outcome)
    assert outcome.result.effective is not None
    assert outcome.result.effective.provider == provider
    entries = json.loads(session_file.read_text())
    assert entries["providers"] == [*own, [CUDA, {"use_tf32": "0"}]]
    assert entries["enable_fallback"] == 0
    assert entries["entries"]["session.disable_cpu_ep_fallback"] == "1"
    request["model"]["inputs"][0]["shape"][0] = 3
    fixed = execute(fake_ort(session_file), request, tmp_path)
    fixed.assert_failed("model-mismatch", 1)
    assert "in the file [2, 3, 224, 224]" in (fixed.result.message or "")


def test_tensorrt_that_takes_no_nodes_is_refused(models: Path, tmp_path: Path, session_file: Path) -> None:
    runner = fake_ort(session_file, took=CUDA)
    request = golden("once-classify", runner, models, tmp_path)
    request["settings"] = {"provider": "tensorrt"}
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert "takes no operation of this model" in (outcome.result.message or "")


def in_ort_python(code: str, *arguments: str) -> list[str]:
    """Run `code` in the environment of `ort-python`; return the printed lines."""
    command = [ort_python().command[0], "-P", "-c", code, *arguments]
    env = {"PYTHONPATH": str(paths.runners().parent)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_an_output_of_unknown_shape_is_allocated_each_time() -> None:
    code = """
import sys, numpy as np, onnxruntime as ort
from runoff_runners.ort_cuda import DeviceModel
session = ort.InferenceSession(sys.argv[1])
places = {"name": "places", "dtype": "int64", "shape": [2, None]}
x, twice = ({"name": name, "dtype": "float32", "shape": [1, 4]} for name in ("x", "twice"))
model = DeviceModel(session, [x], [places, twice], "cpu")
for x in ([0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]):
    answer = model.run({"x": np.array([x], np.float32)})
    print(answer["places"][1].tolist(), answer["twice"][0].tolist())
"""
    found = paths.root() / "rust" / "runoff-session" / "tests" / "data" / "found.onnx"
    assert in_ort_python(code, str(found)) == [
        "[1, 2] [0.0, 2.0, 2.0, 0.0]",
        "[0] [2.0, 0.0, 0.0, 0.0]",
        "[] [0.0, 0.0, 0.0, 0.0]",
        "[0, 1, 2, 3] [2.0, 2.0, 2.0, 2.0]",
    ]


@pytest.mark.parametrize("fake_runner", ["onnx", "pt"], indirect=True)
def test_buffers_out_of_memory_are_a_runtime_failure(fake_runner: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", fake_runner, models, tmp_path)
    request["settings"] = {"provider": "cuda", "batch": 1 << 40}
    outcome = execute(fake_runner, request, tmp_path)
    outcome.assert_failed("runtime-failed", 1)
    assert "alloc" in (outcome.result.message or "")


@pytest.mark.parametrize(("model_format", "full"), [("pt", "synchronize"), ("pt2", "move_to_device_pass")])
def test_a_full_gpu_while_torch_loads_is_a_runtime_failure(
    model_format: str, full: str, models: Path, tmp_path: Path
) -> None:
    runner = fake_torch(model_format, full)
    request = golden("once-classify", runner, models, tmp_path)
    request["settings"] = {"provider": "cuda"}
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("runtime-failed", 1)
    assert outcome.result.message == "CUDA out of memory. Tried to allocate 20.00 MiB."


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "/src/cuda_call.cc:154 CudaCall CUDA failure 2: out of memory ; GPU=0 ; hostname=here ; file=/src/x.cc",
            "runtime-failed",
            "settings.provider: 'cuda': CUDA failure 2: out of memory",
        ),
        (
            "Parse Failed: CUDA failure 36: API call is not supported ; GPU=-1 ; hostname=here",
            "provider-unavailable",
            f"{UNUSABLE.format('cuda')}CUDA failure 36: API call is not supported",
        ),
        (
            "nodes are assigned to the CPU EP, but fallback to CPU EP has been explicitly disabled by the user.",
            "provider-unavailable",
            f"{UNUSABLE.format('cuda')}.*libonnxruntime_providers_cuda.so: cannot open shared object file.*",
        ),
        (
            "initialization: /src/bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 67108864",
            "runtime-failed",
            "settings.provider: 'cuda': Failed to allocate memory for requested buffer of size 67108864",
        ),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed.", "None", "None"),
        ("Load model from /a failure /model.onnx failed: Protobuf parsing failed.", "None", "None"),
    ],
)
def test_provider_errors(text: str, kind: str, words: str) -> None:
    assert_error("cuda", text, kind, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Please install TensorRT libraries as mentioned in the GPU requirements page.",
            ".*libonnxruntime_providers_tensorrt.so: cannot open shared object file.*",
        ),
        (
            "nodes are assigned to the CPU EP, but fallback to CPU EP has been explicitly disabled by the user.",
            ".*libonnxruntime_providers_cuda.so: cannot open shared object file.*",
        ),
        (
            "[ONNXRuntimeError] : 11 : EP_FAIL : TensorRT EP failed to create engine from network for fused node: a_0",
            "TensorRT EP failed to create engine from network for fused node: a_0",
        ),
        (
            "[ONNXRuntimeError] : 11 : EP_FAIL : TensorRT EP could not build execution context for fused node: a_0",
            "TensorRT EP could not build execution context for fused node: a_0",
        ),
    ],
)
def test_tensorrt_errors(text: str, words: str) -> None:
    assert_error("tensorrt", text, "provider-unavailable", f"{UNUSABLE.format('tensorrt')}{words}")


def assert_error(provider: str, text: str, kind: str, words: str) -> None:
    """Assert the kind and message for the `text` of an ONNX Runtime error."""
    code = (
        "import sys; from runoff_runners.ort_cuda import failure; found = failure(sys.argv[1], Exception(sys.argv[2]));"
        "print(found and found.kind); print(found)"
    )
    reported, message = in_ort_python(code, provider, text)
    assert reported == kind
    assert re.fullmatch(words, message)


def test_partial_batches_are_a_bad_request(models: Path, tmp_path: Path, session_file: Path) -> None:
    runner = fake_ort(session_file)
    request = golden("accuracy-classify", runner, models, tmp_path)
    request["inputs"] = request["inputs"][:1] * 3
    request["settings"] = {"provider": "cuda", "batch": 2}
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("bad-request", 2)
    assert "3 items do not fill batches of 2" in (outcome.result.message or "")


@pytest.mark.clock
@pytest.mark.parametrize("model_format", ["pt", pytest.param("pt2", marks=thorough)])
def test_torch_has_the_parts_and_takes_a_smaller_last_batch(model_format: str, models: Path, tmp_path: Path) -> None:
    runner = msgspec.structs.replace(fake_torch(model_format), forks=False)
    request = photos(runner, models, tmp_path, batch=4)
    request |= {"measure": {"kind": "accuracy"}, "settings": {"provider": "cuda", "batch": 4}}
    outcome = execute(runner, request, tmp_path)
    assert_parts(outcome)
    assert [tensor.shape for tensor in outcome.result.outputs] == [(4, 1000), (len(PHOTOS) - 4, 1000)]


def test_on_the_cpu_there_are_no_parts(models: Path, tmp_path: Path, session_file: Path) -> None:
    outcome = execute(
        fake_ort(session_file), golden("once-classify", fake_ort(session_file), models, tmp_path), tmp_path
    )
    assert set(outcome.result.samples) == {"inference", "preprocess"}
    assert outcome.result.effective is not None
    assert outcome.result.effective.device is None


@pytest.mark.parametrize("runner", ON_GPU, ids=lambda runner: runner.name)
def test_without_a_gpu_a_runner_reports_the_unavailable_providers(runner: Runner) -> None:
    probe = launch(runner, "--probe", **NO_GPU)
    can = msgspec.json.decode(probe.stdout, type=Capabilities)
    assert (probe.returncode, probe.stderr) == (0, "")
    assert set(can.providers) == {"cpu"}
    assert set(can.unavailable_providers) == ({"cuda"} if can.runtime == "torch" else {"cuda", "tensorrt"})
    assert all(can.unavailable_providers.values())


def without_gpu(runner: Runner) -> Runner:
    """Return the runner with all GPUs of the machine hidden."""
    target = runner.make()
    hidden = msgspec.structs.replace(target, env={**target.env, **NO_GPU})
    return msgspec.structs.replace(runner, target=lambda: hidden)


@pytest.mark.parametrize(
    ("runner", "provider"),
    # to PyTorch, tensorrt is as unknown as any other name
    [(runner, "cuda") for runner in ON_GPU] + [(runner, "tensorrt") for runner in ON_GPU if runner.format == "onnx"],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_requesting_a_missing_gpu_is_a_one_line_error(
    runner: Runner, provider: str, models: Path, tmp_path: Path
) -> None:
    request: Document = golden("once-classify", runner, models, tmp_path)
    request["settings"] = {**request.get("settings", {}), "provider": provider}
    outcome = execute(without_gpu(runner), request, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert (outcome.result.message or "").startswith(UNUSABLE.format(provider))
    assert outcome.result.hint
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
