"""The drop-in `runoff_ort.onnxruntime`: the same code in both, with equal results; what is missing is named."""

from __future__ import annotations

import json
import queue
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import runoff_ort
import runoff_ort.onnxruntime as drop_in
from both import save
from both_modules import BOTH, FLOAT, adding_model, agree, feeds
from generated import one_node
from onnx import numpy_helper
from programs import SIDE, slow_model

if TYPE_CHECKING:
    from collections.abc import Callable

LOGREG = Path(onnxruntime.__file__).parent / "datasets" / "logreg_iris.onnx"


@pytest.fixture
def adding(tmp_path: Path) -> str:
    return str(save(adding_model(), tmp_path / "add.onnx"))


def run_once(source: Any, names: Any, ort: Any) -> Any:
    return ort.InferenceSession(source).run(names, feeds())


def test_run(adding: str) -> None:
    content = Path(adding).read_bytes()
    for source in (adding, Path(adding), content):
        for names in (None, [], ["y"], ["y", "y"]):
            agree(partial(run_once, source, names))


def test_options(adding: str) -> None:
    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        assert options.intra_op_num_threads == 0
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.log_severity_level = 3
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.add_free_dimension_override_by_name("x0", 3)
        assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
        session = ort.InferenceSession(adding, options, [("CPUExecutionProvider", {})])
        assert session.get_session_options().intra_op_num_threads == 1
        return session.run(["y"], feeds(), ort.RunOptions())

    agree(call)


def test_descriptions(adding: str) -> None:
    def describe(ort: Any) -> Any:
        found = []
        for path in (adding, LOGREG):
            session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
            found += [(node.name, node.type, node.shape) for node in session.get_inputs() + session.get_outputs()]
            found.append(session.get_providers())
        meta = ort.InferenceSession(adding).get_modelmeta()
        texts = (meta.producer_name, meta.graph_name, meta.graph_description, meta.domain, meta.description)
        return (*found, *texts, meta.version, meta.custom_metadata_map)

    agree(describe)
    agree(lambda ort: ort.InferenceSession(LOGREG).run(None, {"float_input": np.ones((3, 2), FLOAT)}))
    assert drop_in.__version__ == drop_in.get_version_string() == onnxruntime.__version__
    assert drop_in.get_available_providers()[-1] == "CPUExecutionProvider"
    agree(lambda ort: ort.get_device())


def test_lists_and_scalars(adding: str) -> None:
    agree(lambda ort: ort.InferenceSession(adding).run(None, {"x": [[1.5, 2.0]], "z": [[1.0, 2.0]]}))


def test_values_and_binding(adding: str) -> None:
    def call(ort: Any) -> Any:
        session = ort.InferenceSession(adding)
        given = feeds()
        x = ort.OrtValue.ortvalue_from_numpy(given["x"])
        assert (x.shape(), x.data_type(), x.device_name(), x.is_tensor()) == ([3, 4], "tensor(float)", "cpu", True)
        z = ort.OrtValue.ortvalue_from_shape_and_type([3, 4], np.float32)
        z.update_inplace(given["z"])
        (direct,) = session.run_with_ort_values(["y"], {"x": x, "z": z})
        binding, into = session.io_binding(), np.zeros((3, 4), FLOAT)
        binding.bind_cpu_input("x", given["x"])
        binding.bind_ortvalue_input("z", z)
        binding.bind_output("y")
        session.run_with_iobinding(binding)
        answers = [direct.numpy(), binding.copy_outputs_to_cpu()[0], binding.get_outputs()[0].numpy()]
        binding.clear_binding_outputs()
        binding.clear_binding_inputs()
        for name, array in given.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        binding.bind_output("y", "cpu", 0, np.float32, into.shape, into.ctypes.data)
        binding.synchronize_inputs()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return [*answers, into]

    agree(call)


def test_values_are_exchanged_in_place() -> None:
    def call(ort: Any) -> Any:
        shared = []
        for array in (np.arange(6, dtype=FLOAT).reshape(2, 3), np.array([True, False]), np.zeros((0, 4), FLOAT)):
            source = ort.OrtValue.ortvalue_from_numpy(array)
            assert source.__dlpack_device__() == (1, 0)
            values = [ort.OrtValue.from_dlpack(made) for made in (source, source.__dlpack__(), array)]
            assert [value.numpy().dtype for value in values] == [array.dtype] * 3
            assert all(np.array_equal(value.numpy(), array) for value in values)
            shared.append([value.data_ptr() == source.data_ptr() for value in values] if array.size else [])
        return tuple(map(tuple, shared))

    assert agree(call) == ((True, True, True), (True, True, True), ())


def test_profiling(adding: str, tmp_path: Path) -> None:
    def operators(ort: Any) -> Any:
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / ort.__name__.replace(".", "-"))
        session = ort.InferenceSession(adding, options)
        assert abs(time.time_ns() - session.get_profiling_start_time_ns()) < 60e9
        session.run(None, feeds())
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return sorted({event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})})

    assert agree(operators) == ["Add"]


def test_a_run_is_terminated(tmp_path: Path) -> None:
    path = slow_model(tmp_path)

    def call(ort: Any) -> Any:
        options = ort.RunOptions()
        options.terminate = True
        session = ort.InferenceSession(path)
        slow = {"times": np.array(10), "x": np.zeros((SIDE, SIDE), FLOAT)}
        with pytest.raises(Exception, match=r"terminate|cancelled"):
            session.run(None, slow, options)
        options.terminate = False
        return session.run(None, slow, options)

    agree(call)


def test_overridable_initializers(tmp_path: Path) -> None:
    made = one_node("Add", FLOAT, 2)
    made.graph.initializer.append(numpy_helper.from_array(np.full((1, 4), 2, FLOAT), "z"))
    path = save(made, tmp_path / "added.onnx")

    def call(ort: Any) -> Any:
        session = ort.InferenceSession(path)
        names = [[(node.name, node.type, node.shape) for node in nodes] for nodes in described(session)]
        assert names == [[("x", "tensor(float)", ["x0", "x1"])], [("z", "tensor(float)", ["z0", "z1"])]]
        return session.run(None, {"x": feeds()["x"]}) + session.run(None, feeds(1))

    def described(session: Any) -> Any:
        return session.get_inputs(), session.get_overridable_initializers()

    agree(call)
    session = runoff_ort.Session(path)
    assert [info.name for info in session.overridable_initializers] == ["z"]
    assert runoff_ort.Session(LOGREG).overridable_initializers == []


def test_run_async(adding: str) -> None:
    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        session, done = ort.InferenceSession(adding, options), queue.Queue[Any]()
        session.run_async(["y"], feeds(), lambda *given: done.put(given), "mine")
        outputs, mine, error = done.get(timeout=60)
        assert (mine, error) == ("mine", "")
        wrong = {**feeds(), "z": np.zeros((3, 2), FLOAT)}
        session.run_async(None, wrong, lambda *given: done.put(given), None)
        failed, mine, error = done.get(timeout=60)
        assert (failed, mine) == ([], None)
        assert error
        with pytest.raises(ValueError, match="z"):
            session.run_async(None, {"x": feeds()["x"]}, print, None)
        return outputs

    agree(call)


def test_errors(adding: str) -> None:
    for ort in BOTH:
        session = ort.InferenceSession(adding)
        with pytest.raises(ValueError, match="z"):
            session.run(None, {"x": feeds()["x"]})
        with pytest.raises(Exception, match="float"):
            session.run(None, {name: array.astype(np.float64) for name, array in feeds().items()})
        with pytest.raises(Exception, match="nothing"):
            session.run(["nothing"], feeds())
        with pytest.raises(Exception, match="gone"):
            ort.InferenceSession("gone.onnx")
        with pytest.raises(TypeError, match="Unable to load"):
            ort.InferenceSession(7)
        with pytest.warns(UserWarning, match="not in available provider names"):
            ort.InferenceSession(adding, providers=["NoExecutionProvider", "CPUExecutionProvider"])


MISSING: dict[str, Callable[[], object]] = {
    "SparseTensor": lambda: drop_in.SparseTensor,
    "SessionOptions.enable_mem_reuse = False": lambda: setattr(drop_in.SessionOptions(), "enable_mem_reuse", False),
    "RunOptions.only_execute_path_to_fetches = True": lambda: setattr(
        drop_in.RunOptions(), "only_execute_path_to_fetches", True
    ),
    "InferenceSession.get_tuning_results": lambda: drop_in.InferenceSession(LOGREG).get_tuning_results,
    "SessionOptions.set_load_cancellation_flag": lambda: drop_in.SessionOptions().set_load_cancellation_flag,
    "memory of cuda:0": lambda: drop_in.OrtValue.ortvalue_from_numpy(np.zeros(1), "cuda"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"^runoff_ort.onnxruntime has no {name}") as raised:
        MISSING[name]()
    assert isinstance(raised.value, AttributeError)


def test_every_name_of_onnxruntime_is_there_or_named() -> None:
    for ort, ours in (
        (onnxruntime, drop_in),
        (onnxruntime.InferenceSession, drop_in.InferenceSession(LOGREG)),
        (onnxruntime.SessionOptions, drop_in.SessionOptions()),
        (onnxruntime.RunOptions, drop_in.RunOptions()),
        (onnxruntime.OrtValue, drop_in.OrtValue(np.zeros(1))),
        (onnxruntime.IOBinding, drop_in.InferenceSession(LOGREG).io_binding()),
        (onnxruntime.NodeArg, drop_in.InferenceSession(LOGREG).get_inputs()[0]),
        (onnxruntime.ModelMetadata, drop_in.InferenceSession(LOGREG).get_modelmeta()),
    ):
        for name in dir(ort):
            if not name.startswith("_") and not hasattr(ours, name):
                with pytest.raises(NotImplementedError, match=name):
                    getattr(ours, name)
