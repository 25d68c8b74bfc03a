"""Options of the drop-in: their defaults, types and effects are onnxruntime's, or the option is named as missing."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
import runoff_ort.onnxruntime as drop_in
from both import BFLOAT16, save
from both_modules import BOTH, CPU, FLOAT, adding_model, agree, feeds
from generated import any_bits, model, one_node, tensor
from onnx import helper, numpy_helper
from programs import SIDE, slow_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHT = any_bits(3, FLOAT, (4,))
OTHER = any_bits(4, FLOAT, (4,))
X = any_bits(5, FLOAT, (3, 4))
BFLOAT16_NUMBER = 16


@pytest.fixture
def adding(tmp_path: Path) -> str:
    return str(save(adding_model(), tmp_path / "add.onnx"))


def weighted() -> onnx.ModelProto:
    """Return a model that adds a weight of its own, and returns it too."""
    nodes = [helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Identity", ["w"], ["same"])]
    ends = [tensor(name, FLOAT, 1) for name in ("same", "w")]
    made = model(nodes, [tensor("x", FLOAT, 2)], [tensor("y", FLOAT, 2), *ends])
    made.graph.initializer.append(numpy_helper.from_array(WEIGHT, "w"))
    return made


def without_its_weight(folder: Path) -> bytes:
    """Return a model whose weight would be in a file that does not exist."""
    onnx.save(weighted(), folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").unlink()
    return (folder / "m.onnx").read_bytes()


def properties(options: Any) -> dict[str, Any]:
    """Return the attributes that are not methods; enumerations as numbers."""
    found = {name: getattr(options, name) for name in dir(options) if not name.startswith("_")}
    return {name: getattr(value, "value", value) for name, value in found.items() if not callable(value)}


@pytest.mark.parametrize("kind", ["SessionOptions", "RunOptions"])
def test_defaults_and_types(kind: str) -> None:
    theirs, ours = (getattr(ort, kind)() for ort in BOTH)
    listed = {name: value for name, value in properties(ours).items() if not name.isupper()}
    assert listed == properties(theirs)
    for name, value in listed.items():
        wrong = 7 if isinstance(value, str) else "1"
        for options in (theirs, ours):
            with pytest.raises(TypeError):
                setattr(options, name, wrong)
            setattr(options, name, getattr(options, name))


def test_numbers_are_converted() -> None:
    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.enable_profiling = np.int64(2), np.True_
        for add, value in ((options.add_session_config_entry, 1), (options.add_free_dimension_override_by_name, "1")):
            with pytest.raises(TypeError):
                add("a", value)
        return options.intra_op_num_threads, options.enable_profiling

    assert agree(call) == (2, True)


def test_the_optimized_model_is_written(tmp_path: Path) -> None:
    node = [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Add", ["a", "a"], ["y"])]
    path = save(model(node, [tensor("x", FLOAT, 1)], [tensor("y", FLOAT, 1)]), tmp_path / "m.onnx")

    def call(ort: Any) -> Any:
        target, options = tmp_path / f"{ort.__name__}.onnx", ort.SessionOptions()
        options.optimized_model_filepath = str(target)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_LAYOUT
        ort.InferenceSession(path, options, [CPU])
        return [node.op_type for node in onnx.load(target).graph.node]

    assert agree(call) == ["Add"]


def test_other_options(adding: str) -> None:
    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        options.enable_mem_pattern, options.use_deterministic_compute = False, True
        options.log_verbosity_level = 1
        session = ort.InferenceSession(adding, options, disabled_optimizers=["ConstantFolding"])
        run_options = ort.RunOptions()
        run_options.log_verbosity_level = 1
        return session.run(None, feeds(), run_options)

    agree(call)


def test_the_log_has_the_id(adding: str, capfd: pytest.CaptureFixture[str]) -> None:
    for ort in BOTH:
        options = ort.SessionOptions()
        options.logid, options.log_severity_level = "of-this-session", 0
        ort.InferenceSession(adding, options, [CPU])
        assert "of-this-session" in capfd.readouterr().err, ort.__name__


def test_initializers(tmp_path: Path) -> None:
    path = save(weighted(), tmp_path / "m.onnx")

    def call(level: str, ort: Any) -> Any:
        options, value = ort.SessionOptions(), ort.OrtValue.ortvalue_from_numpy(OTHER.copy())
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.add_initializer("w", value)
        session = ort.InferenceSession(path, options, [CPU])
        assert not any(np.shares_memory(output, value.numpy()) for output in session.run(None, {"x": X}))
        if ort is drop_in:
            # the session alone keeps the memory
            del options, value
            gc.collect()
        return session.run(None, {"x": X})

    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        y, *_ = agree(partial(call, level))
        assert np.array_equal(y, X + OTHER, equal_nan=True)


def test_external_initializers(tmp_path: Path) -> None:
    content, buffer = without_its_weight(tmp_path), bytearray(OTHER.tobytes() + b"more")

    def call(add: Callable[[Any, Any], None], ort: Any) -> Any:
        options = ort.SessionOptions()
        add(ort, options)
        return ort.InferenceSession(content, options, [CPU]).run(["y"], {"x": X})

    def value(ort: Any, options: Any) -> None:
        options.add_external_initializers(["w"], [ort.OrtValue.ortvalue_from_numpy(OTHER)])

    def file(_: Any, options: Any) -> None:
        options.add_external_initializers_from_files_in_memory(["w.bin"], [buffer], [OTHER.nbytes])

    for add in (value, file):
        (y,) = agree(partial(call, add))
        assert np.array_equal(y, X + OTHER, equal_nan=True)


def test_initializers_that_cannot_be_meant() -> None:
    options, value = drop_in.SessionOptions(), drop_in.OrtValue.ortvalue_from_numpy(OTHER)
    array: Any = OTHER
    with pytest.raises(ValueError, match="different lengths: 1, 0"):
        options.add_external_initializers(["w"], [])
    with pytest.raises(TypeError, match="an OrtValue is needed"):
        options.add_initializer("w", array)
    options.add_initializer("w", value)
    with pytest.raises(ValueError, match="'w' is given twice"):
        options.add_initializer("w", value)


def test_dimensions_are_fixed_by_denotation(tmp_path: Path) -> None:
    made = one_node("Identity", FLOAT, 2)
    made.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    path = save(made, tmp_path / "m.onnx")

    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        options.add_free_dimension_override_by_denotation("DATA_BATCH", 3)
        return ort.InferenceSession(path, options, [CPU]).get_inputs()[0].shape

    assert agree(call) == [3, "x1"]


def test_providers_of_the_options(adding: str) -> None:
    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        assert not options.has_providers()
        options.add_provider(CPU, {})
        with pytest.raises((RuntimeError, ValueError), match="NoProvider"):
            options.add_provider("NoProvider", {})
        assert options.has_providers()
        assert ort.InferenceSession(adding, options).get_providers() == [CPU]
        with pytest.warns(UserWarning, match="providers"):
            return ort.InferenceSession(adding, options, [CPU]).run(None, feeds())

    agree(call)
    everything = onnxruntime.get_all_providers()
    assert [name for name in everything if name in drop_in.get_all_providers()] == drop_in.get_all_providers()


def test_levels_of_all_sessions(adding: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        drop_in.set_default_logger_severity(0)
        drop_in.set_default_logger_verbosity(1)
        drop_in.InferenceSession(adding)
        assert capfd.readouterr().err
        options = drop_in.SessionOptions()
        options.log_severity_level = 4
        drop_in.InferenceSession(adding, options)
        assert not capfd.readouterr().err
        with pytest.raises(ValueError, match="severity is 5"):
            drop_in.set_default_logger_severity(5)
    finally:
        drop_in._log_defaults.clear()


def test_a_bound_run_is_terminated(tmp_path: Path) -> None:
    path, times, x = slow_model(tmp_path), np.array(10), np.zeros((SIDE, SIDE), FLOAT)

    def call(ort: Any) -> Any:
        session, options = ort.InferenceSession(path), ort.RunOptions()
        binding = session.io_binding()
        binding.bind_cpu_input("times", times)
        binding.bind_cpu_input("x", x)
        binding.bind_output("y")
        options.terminate = True
        with pytest.raises(Exception, match=r"terminate|cancelled"):
            session.run_with_iobinding(binding, options)
        options.terminate = False
        session.run_with_iobinding(binding, options)
        return binding.copy_outputs_to_cpu()

    agree(call)


def test_values(adding: str) -> None:
    def call(ort: Any) -> Any:
        value = ort.OrtValue.ortvalue_from_shape_and_type([2], np.float32)
        other = ort.OrtValue.ortvalue_from_numpy(np.array([1, 2], FLOAT))
        value.update_inplace(other)
        with pytest.raises(TypeError, match=r"numpy\.ndarray or an OrtValue"):
            value.update_inplace([1, 2])
        bits = np.array([1.5, 2], BFLOAT16).view(np.uint16)
        bfloat16 = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, BFLOAT16_NUMBER)
        assert (bfloat16.data_type(), bfloat16.data_ptr()) == ("tensor(bfloat16)", bits.ctypes.data)
        assert ort.OrtValue.ortvalue_from_shape_and_type([1], BFLOAT16_NUMBER).element_type() == BFLOAT16_NUMBER
        with pytest.raises(ValueError, match="element_type"):
            ort.InferenceSession(adding).io_binding().bind_output("y", buffer_ptr=bits.ctypes.data)
        with pytest.raises(RuntimeError):
            ort.OrtValue.ortvalue_from_shape_and_type([2], np.str_)
        return [value.numpy()]

    agree(call)


def test_bindings_are_checked(adding: str) -> None:
    def call(ort: Any) -> Any:
        binding = (session := ort.InferenceSession(adding)).io_binding()
        binding.bind_output("y")
        assert [value.has_value() for value in binding.get_outputs()] == [False]
        with pytest.raises((RuntimeError, ValueError), match="nothing"):
            binding.bind_cpu_input("nothing", X)
        binding.clear_binding_outputs()
        for name, array in feeds().items():
            binding.bind_cpu_input(name, array)
        with pytest.raises((RuntimeError, ValueError), match="At least one output"):
            session.run_with_iobinding(binding)
        binding.bind_output("y")
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    agree(call)
    unused = drop_in.InferenceSession(adding).io_binding()
    unused.bind_output("y")
    with pytest.raises(RuntimeError, match="not a tensor"):
        unused.copy_outputs_to_cpu()


REFUSED: dict[str, Callable[[str], object]] = {
    r"InferenceSession\(read_config_from_model=": lambda path: drop_in.InferenceSession(path, read_config_from_model=1),
    r"InferenceSession\(sess_option=": lambda path: drop_in.InferenceSession(path, sess_option=1),
    r"preload_dlls\(directory=": lambda _: drop_in.preload_dlls(directory="/lib"),
    "copy_tensors: use OrtValue.update_inplace": lambda _: drop_in.copy_tensors,
    "memory of gpu:0": lambda _: drop_in.OrtValue.ortvalue_from_numpy(X, "gpu", 0, 0x10DE),
    "SessionOptions.use_per_session_threads = False: .*set intra_op_num_threads": lambda _: setattr(
        drop_in.SessionOptions(), "use_per_session_threads", False
    ),
    "ModelCompiler: runoff_ort.prepare": lambda _: drop_in.ModelCompiler,
}


@pytest.mark.parametrize("message", REFUSED)
def test_arguments_that_are_missing_are_named(message: str, adding: str) -> None:
    with pytest.raises(NotImplementedError, match=message):
        REFUSED[message](adding)
    drop_in.preload_dlls()


def test_options_of_another_module_are_refused(adding: str) -> None:
    options: Any = onnxruntime.SessionOptions()
    with pytest.raises(TypeError, match="sess_options"):
        drop_in.InferenceSession(adding, options)
