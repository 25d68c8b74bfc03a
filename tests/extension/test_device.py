"""Tensors in a device's memory, and unavailable providers.

The memory is the host's, so everything except the copies to a GPU runs anywhere; a GPU is tested too if present.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import runoff_ort
from both import BFLOAT16, save
from comparing import differences
from generated import any_bits, both, model, one_node, tensor
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = np.dtype(np.float32)
NVIDIA = ("cuda", "tensorrt")


def steps(binding: runoff_ort.DeviceBinding, feeds: dict[str, Any]) -> dict[str, Any]:
    binding.copy_in(feeds)
    binding.compute()
    answer: dict[str, Any] = binding.copy_out()
    return answer


@pytest.mark.parametrize("dtype", [FLOAT, np.dtype(np.int64), np.dtype(bool), BFLOAT16], ids=str)
def test_outputs_equal_those_of_run_for_every_shape(dtype: Any) -> None:
    same = both("Identity", dtype, 2)
    binding = same.ours.on_device()
    for shape in [(2, 3), (2, 3), (5, 700), (0, 3), (1, 1), (2, 3)]:
        feeds = {"x": any_bits(7, dtype, shape)}
        assert differences(steps(binding, feeds), same.theirs.run(feeds)) == []


def test_inputs_may_come_in_any_order_and_layout() -> None:
    sums = both("Concat", FLOAT, 2)
    x, z = np.arange(6, dtype=FLOAT).reshape(3, 2).T, np.ones((1, 3), FLOAT)
    answer = steps(sums.ours.on_device(), {"z": z, "x": x})["y"]
    assert answer.tolist() == [[0, 2, 4], [1, 3, 5], [1, 1, 1]]


def test_inputs_may_change_and_outputs_stay() -> None:
    same = both("Identity", FLOAT, 1)
    binding = same.ours.on_device()
    x = np.arange(5000, dtype=FLOAT)
    binding.copy_in({"x": x})
    x[:] = -1
    binding.compute()
    first = binding.copy_out()["y"]
    second = steps(binding, {"x": x})["y"]
    assert np.array_equal(first, np.arange(5000, dtype=FLOAT))
    assert np.array_equal(second, x)


def test_an_output_of_unknown_shape_is_allocated_each_time(tmp_path: Path) -> None:
    node = helper.make_node("NonZero", ["x"], ["places"])
    found = model([node], [tensor("x", FLOAT, 1)], [tensor("places", np.dtype(np.int64), 2)])
    binding = runoff_ort.Session(save(found, tmp_path / "found.onnx")).on_device()
    for x in ([0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]):
        assert steps(binding, {"x": np.array(x, FLOAT)})["places"].tolist() == [np.flatnonzero(x).tolist()]


def test_threads_take_turns() -> None:
    twice = both("Add", FLOAT, 1).ours

    def work(number: int) -> bool:
        binding = twice.on_device()
        x = np.full(100 + number, number, FLOAT)
        return all(np.array_equal(steps(binding, {"x": x, "z": x})["y"], x + x) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_steps_out_of_order_are_refused() -> None:
    binding = both("Identity", FLOAT, 1).ours.on_device()
    with pytest.raises(runoff_ort.RunoffOrtError, match="no outputs") as raised:
        binding.copy_out()
    assert raised.value.kind == "runtime-failed"
    with pytest.raises(TypeError, match="takes an array"):
        binding.copy_in({"x": np.zeros(3)})
    with pytest.raises(runoff_ort.RunoffOrtError, match="also needs") as raised:
        binding.copy_in({})
    assert raised.value.kind == "model-mismatch"


def test_device_memory_holds_only_numbers() -> None:
    with pytest.raises(runoff_ort.RunoffOrtError, match="device memory cannot hold") as raised:
        both("Identity", np.dtype(object), 1).ours.on_device()
    assert raised.value.kind == "model-mismatch"


def test_an_initialiser_is_part_of_the_model(tmp_path: Path) -> None:
    added = one_node("Add", FLOAT, 1)
    added.graph.initializer.append(numpy_helper.from_array(np.ones(1, FLOAT), "z"))
    binding = runoff_ort.Session(save(added, tmp_path / "added.onnx")).on_device()
    x = np.arange(3, dtype=FLOAT)
    assert steps(binding, {"x": x})["y"].tolist() == [1, 2, 3]
    with pytest.raises(runoff_ort.RunoffOrtError, match="initialiser") as raised:
        binding.copy_in({"x": x, "z": x})
    assert raised.value.kind == "bad-request"


def test_the_cpu_is_not_a_device() -> None:
    assert both("Identity", FLOAT, 1).ours.device is None


def test_every_provider_is_available_or_has_a_reason() -> None:
    here, unavailable = runoff_ort.providers(), runoff_ort.unavailable_providers()
    assert "cpu" in here
    assert {name for name in NVIDIA if name in here} ^ set(unavailable) == set(NVIDIA)
    assert all(reason and not reason.endswith(".") for reason in unavailable.values())


class Foreign:
    """A tensor of another library, which passes on a capsule of an array or of a `DeviceTensor`."""

    def __init__(self, tensor: Any, device: tuple[int, int] = (1, 0)) -> None:
        self.tensor, self.device, self.capsules = tensor, device, list[Any]()

    def __dlpack__(self, **options: Any) -> Any:
        if self.device != (1, 0):
            message = f"no tensor for {options}"
            raise BufferError(message)
        self.capsules.append(self.tensor.__dlpack__(**options))
        return self.capsules[-1]

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


@pytest.mark.parametrize("dtype", [FLOAT, np.dtype(np.int64), np.dtype(bool), np.dtype(np.float16)], ids=str)
def test_outputs_are_passed_on_in_place(dtype: Any) -> None:
    same = both("Identity", dtype, 2).ours
    binding, x = same.on_device(), any_bits(5, dtype, (3, 4))
    with pytest.raises(runoff_ort.RunoffOrtError, match="no outputs"):
        binding.outputs()
    steps(binding, {"x": x})
    y = binding.outputs()["y"]
    assert (y.dtype, y.shape, y.__dlpack_device__()) == (dtype.name, (3, 4), (1, 0))
    assert repr(y) == f"DeviceTensor(dtype='{dtype.name}', shape=(3, 4))"
    shown, other = np.from_dlpack(y), np.from_dlpack(binding.outputs()["y"])
    assert shown.ctypes.data == other.ctypes.data
    assert shown.tobytes() == x.tobytes()
    del binding, y, other
    gc.collect()
    assert shown.tobytes() == x.tobytes()


def test_a_capsule_that_nobody_takes_gives_the_tensor_back() -> None:
    binding = both("Identity", FLOAT, 1).ours.on_device()
    steps(binding, {"x": np.ones(3, FLOAT)})
    y = binding.outputs()["y"]
    before = sys.getrefcount(y)
    capsule = y.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=False)
    assert sys.getrefcount(y) == before + 1
    del capsule
    assert sys.getrefcount(y) == before
    for options in ({"copy": True}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="not copied"):
            y.__dlpack__(**options)


def test_tensors_of_other_libraries_are_copied_from_where_they_are() -> None:
    binding = both("Identity", FLOAT, 2).ours.on_device()
    x = np.arange(6, dtype=FLOAT).reshape(2, 3)
    first = Foreign(x)
    assert np.array_equal(steps(binding, {"x": first})["y"], x)
    assert [repr(capsule).split('"')[1] for capsule in first.capsules] == ["used_dltensor"]
    # NumPy converts what ONNX Runtime cannot take as it is
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (x.T, x[:, ::-1], x[::2], frozen):
        assert np.array_equal(steps(binding, {"x": Foreign(other)})["y"], other)
    unfit: list[tuple[Any, Any]] = [(x.astype("float64"), TypeError), (x[0].copy(), runoff_ort.InvalidValueError)]
    for given, error in unfit:
        with pytest.raises(error, match="float"):
            binding.copy_in({"x": Foreign(given)})
    with pytest.raises(TypeError, match="no tensor for"):
        binding.copy_in({"x": Foreign(x, (2, 0))})


def test_one_model_after_another() -> None:
    twice = both("Add", FLOAT, 1).ours
    first, second = twice.on_device(), twice.on_device()
    x = np.arange(2000, dtype=FLOAT)
    steps(first, {"x": x, "z": x})
    assert np.array_equal(steps(second, {"x": first.outputs()["y"], "z": x})["y"], 3 * x)
    # its own output too, which the next run writes into
    assert np.array_equal(steps(first, {"x": first.outputs()["y"], "z": x})["y"], 3 * x)


def test_an_output_that_is_an_input_can_be_the_input_again() -> None:
    ends = [tensor(name, FLOAT, 1) for name in "xy"]
    node = helper.make_node("Add", ["x", "x"], ["y"])
    binding = runoff_ort.Session(model([node], ends[:1], ends).SerializeToString()).on_device()
    x = np.arange(2000, dtype=FLOAT)
    steps(binding, {"x": x})
    for _ in range(2):
        outputs = steps(binding, {"x": binding.outputs()["x"]})
        assert differences(outputs, {"x": x, "y": 2 * x}) == []


@pytest.mark.parametrize("provider", NVIDIA)
def test_a_gpu_works_or_one_line_gives_the_reason(provider: str, tmp_path: Path) -> None:
    path = save(one_node("Add", FLOAT, 2), tmp_path / "add.onnx")
    x = any_bits(3, FLOAT, (4, 5))
    reason = runoff_ort.unavailable_providers().get(provider)
    if reason is None:
        session = runoff_ort.Session(path, provider=provider)
        assert session.device
        feeds = {"x": x, "z": x}
        expected = runoff_ort.Session(path).run(feeds)
        assert differences(session.run(feeds), expected) == []
        binding = session.on_device()
        assert differences(steps(binding, feeds), expected) == []
        y = binding.outputs()["y"]
        assert y.__dlpack_device__() == (2, 0)
        again = session.on_device()
        more = runoff_ort.Session(path).run({"x": expected["y"], "z": x})
        assert differences(steps(again, {"x": y, "z": x}), more) == []
        return
    program = f"import runoff_ort; runoff_ort.Session({str(path)!r}, provider={provider!r})"
    with pytest.raises(runoff_ort.RunoffOrtError) as raised:
        runoff_ort.Session(path, provider=provider)
    assert raised.value.kind == "provider-unavailable"
    assert raised.value.message == f"settings.provider: {provider!r} cannot be used: {reason}"
    assert raised.value.hint == 'docker run --gpus all ..., or set provider = "cpu"'
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    # ONNX Runtime logs nothing: only the exception follows the lines of the traceback
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("Traceback", " "))]
    assert lines == [f"runoff_ort.RunoffOrtError: {raised.value}"]
