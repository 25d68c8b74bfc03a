"""What a session and a run can be given: bytes, configuration, dimensions, an end; and errors, pickles, help."""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import struct
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import runoff_ort
from both import BFLOAT16, save
from comparing import differences
from generated import any_bits, both, model, one_node, tensor
from onnx import helper, numpy_helper
from programs import slow_call

if TYPE_CHECKING:
    from collections.abc import Callable

FLOAT = np.dtype(np.float32)
FEEDS = {"x": any_bits(1, FLOAT, (2, 3)), "z": any_bits(2, FLOAT, (2, 3))}


@pytest.fixture
def adding(tmp_path: Path) -> Path:
    return save(one_node("Add", FLOAT, 2), tmp_path / "add.onnx")


def test_a_session_of_bytes(adding: Path) -> None:
    content = adding.read_bytes()
    prepared = Path(runoff_ort.prepare(adding, adding.parent)).read_bytes()
    expected = runoff_ort.Session(adding).run(FEEDS)
    for source in (content, bytearray(content), memoryview(content), np.frombuffer(content, np.uint8), prepared):
        assert differences(runoff_ort.Session(source).run(FEEDS), expected) == []
    with pytest.raises(runoff_ort.InvalidValueError, match="model of 10 bytes"):
        runoff_ort.Session(content[:10])


def test_configuration_entries_reach_onnxruntime(adding: Path) -> None:
    assert runoff_ort.Session(adding, config={"session.load_model_format": "ONNX"}).run(FEEDS)
    with pytest.raises(runoff_ort.InvalidValueError, match=r"add\.onnx"):
        runoff_ort.Session(adding, config={"session.load_model_format": "ORT"})
    with pytest.raises(runoff_ort.RunoffOrtError, match="applying the settings"):
        runoff_ort.Session(adding, config={"a" * 5000: "1"})


def test_dimensions_can_be_fixed(adding: Path) -> None:
    session = runoff_ort.Session(adding, dimensions={"x0": 2, "z0": 2})
    assert [info.shape for info in session.inputs] == [(2, None), (2, None)]
    assert differences(session.run(FEEDS), runoff_ort.Session(adding).run(FEEDS)) == []


def test_onnxruntime_chooses_the_threads(adding: Path) -> None:
    assert runoff_ort.Session(adding, threads=None).run(FEEDS)["y"].shape == (2, 3)


def test_log_level(adding: Path) -> None:
    code = "import sys, runoff_ort; runoff_ort.Session(sys.argv[1], log_level=sys.argv[2])"
    printed = {}
    for level in ("verbose", "fatal"):
        command = [sys.executable, "-c", code, str(adding), level]
        printed[level] = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "InferenceSession" in printed["verbose"] or "[V:" in printed["verbose"]
    assert printed["fatal"] == ""


def test_a_profile_is_written(adding: Path, tmp_path: Path) -> None:
    session = runoff_ort.Session(adding, profiling=tmp_path / "times")
    session.run(FEEDS)
    path = Path(session.end_profiling())
    assert path.parent == tmp_path
    events = json.loads(path.read_text(encoding="utf-8"))
    assert any(event.get("args", {}).get("op_name") == "Add" for event in events)
    with pytest.raises(runoff_ort.InvalidValueError, match="no profile"):
        session.end_profiling()


def test_a_run_times_out(tmp_path: Path) -> None:
    session, feeds = slow_call(tmp_path, 10)
    short = {**feeds, "times": np.array(3)}
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"longer than 0\.1 s") as raised:
        session.run(feeds, timeout=0.1)
    assert isinstance(raised.value, runoff_ort.RunTimeoutError)
    assert raised.value.kind == "timed-out"
    assert time.monotonic() - began < 8
    assert np.count_nonzero(session.run(short, timeout=60)["y"]) == 0
    into = np.ones_like(feeds["x"])
    with pytest.raises(runoff_ort.RunTimeoutError):
        session.run_into(feeds, {"y": into}, timeout=0.1)


def test_a_run_is_cancelled(tmp_path: Path) -> None:
    session, feeds = slow_call(tmp_path, 10)
    options = runoff_ort.RunOptions(
        config={"memory.enable_memory_arena_shrinkage": "cpu:0"}, log_level="error", tag="t"
    )
    threading.Timer(0.2, options.cancel).start()
    with pytest.raises(runoff_ort.RunoffOrtError, match="cancelled") as raised:
        session.run(feeds, options=options)
    assert (raised.value.kind, options.cancelled) == ("cancelled", True)
    options.reset()
    assert np.count_nonzero(session.run({**feeds, "times": np.array(3)}, options=options)["y"]) == 0


def test_a_bound_run_is_stopped(tmp_path: Path) -> None:
    session, feeds = slow_call(tmp_path, 10)
    binding, options = session.bind({**feeds, "times": np.array(feeds["times"])}), runoff_ort.RunOptions()
    with pytest.raises(runoff_ort.RunTimeoutError):
        binding.run(timeout=0.1)
    options.cancel()
    with pytest.raises(runoff_ort.RunoffOrtError, match="cancelled"):
        binding.run(options=options)
    binding.inputs["times"][...] = 3
    assert np.count_nonzero(binding.run(timeout=60)["y"]) == 0


def test_sessions_with_initializers_are_pickled(tmp_path: Path) -> None:
    made = one_node("Add", FLOAT, 2)
    made.graph.input.pop()
    made.graph.initializer.append(numpy_helper.from_array(FEEDS["z"][::-1], "z"))
    optimized = tmp_path / "optimized.onnx"
    session = runoff_ort.Session(
        save(made, tmp_path / "added.onnx"),
        initializers={"z": np.asfortranarray(FEEDS["z"])},
        denotations={"NONE": 2},
        session_options={"enable_mem_pattern": False, "optimized_model_filepath": optimized},
    )
    optimized.unlink()
    copy = pickle.loads(pickle.dumps(session))  # noqa: S301 (made here)
    assert optimized.is_file()
    for one in (session, copy):
        assert differences(one.run({"x": FEEDS["x"]})["y"], FEEDS["x"] + FEEDS["z"]) == []


@pytest.mark.parametrize("options", [{"none": 1}, {"graph_optimization_level": 4}, {"log_verbosity_level": -2}])
def test_session_options_are_checked(options: dict[str, Any], adding: Path) -> None:
    with pytest.raises(runoff_ort.InvalidValueError, match=next(iter(options))):
        runoff_ort.Session(adding, session_options=options)
    with pytest.raises(TypeError, match=r'session_options\["logid"\]'):
        runoff_ort.Session(adding, session_options={"logid": 7})


def test_sessions_are_pickled(adding: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(adding.parent)
    session = runoff_ort.Session(adding.name, threads=2, optimization="basic", dimensions={"x0": 2}, config={"a": "b"})
    monkeypatch.chdir("/")
    copy = pickle.loads(pickle.dumps(session))  # noqa: S301 (made here)
    assert copy.threads == 2
    assert copy.inputs == session.inputs
    assert differences(copy.run(FEEDS), session.run(FEEDS)) == []
    code = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(session), check=True)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [[1, 2.5], [3.0, -0.1]]),
        ("float64", (1, 2, 3)),
        ("float16", 1.5),
        ("int64", [[2**62, -1]]),
        ("uint8", [255]),
        ("bool", [True, False]),
        ("float32", np.float32(3)),
        ("float32", []),
        (object, ["a", "ä", ""]),
        (object, "one"),
        (BFLOAT16, [1.5, 2]),
    ],
    ids=str,
)
def test_lists_and_scalars_are_converted(dtype: Any, values: Any) -> None:
    same = both("Identity", np.dtype(dtype), None)
    expected = np.array(values, np.dtype(dtype))
    assert differences(same.ours.run({"x": values})["y"], expected) == []


@pytest.mark.parametrize(("dtype", "values"), [("int64", [1.5]), ("uint8", [256]), ("bool", [1]), ("float32", ["1"])])
def test_lists_that_would_lose_something_are_refused(dtype: str, values: Any) -> None:
    with pytest.raises(TypeError, match=dtype):
        both("Identity", np.dtype(dtype), None).ours.run({"x": values})


def test_sequences_of_lists() -> None:
    kind = helper.make_sequence_type_proto(tensor("x", FLOAT, None).type)
    ends = [helper.make_value_info(name, kind) for name in "xy"]
    session = runoff_ort.Session(
        model([helper.make_node("Identity", ["x"], ["y"])], ends[:1], ends[1:]).SerializeToString()
    )
    assert [item.tolist() for item in session.run({"x": [[1, 2], 3.0]})["y"]] == [[1, 2], 3]


ERRORS: dict[str, tuple[type[Exception], Callable[[Any], object]]] = {
    "model-missing": (FileNotFoundError, lambda _: runoff_ort.Session("gone.onnx")),
    "model-unreadable": (ValueError, lambda _: runoff_ort.Session(__file__)),
    "model-mismatch": (ValueError, lambda session: session.run({})),
    "bad-request": (ValueError, lambda session: session.run(FEEDS, [])),
    "image-missing": (
        FileNotFoundError,
        lambda _: runoff_ort.preprocess(["gone.jpg"], 8, 8, "bilinear", [0] * 3, [1] * 3),
    ),
    "image-unreadable": (ValueError, lambda _: runoff_ort.preprocess([__file__], 8, 8, "bilinear", [0] * 3, [1] * 3)),
    "provider-unavailable": (RuntimeError, lambda _: runoff_ort.Session(__file__, provider="none")),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_are_pythons_own_too(kind: str, adding: Path) -> None:
    own, call = ERRORS[kind]
    with pytest.raises(own) as raised:
        call(runoff_ort.Session(adding))
    error: Any = raised.value
    assert isinstance(error, runoff_ort.RunoffOrtError)
    assert error.kind == kind
    assert str(error) == (f"{error.message} ({error.hint})" if error.hint else error.message)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    assert (type(copy), str(copy), copy.kind) == (type(error), str(error), kind)


def test_an_image_is_a_file_or_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "two_by_two.bmp"
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 70, 0, 0, 54, 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
    path.write_bytes(head + bytes(range(0, 48, 3)))
    content, spec = path.read_bytes(), (2, 2, "bilinear", [0] * 3, [1] * 3)
    batch = runoff_ort.preprocess([path, content, bytearray(content), str(path)], *spec)
    assert batch.max() > 0
    assert (batch == batch[0]).all()
    with pytest.raises(ValueError, match=r"^image: not a JPEG"):
        runoff_ort.preprocess([content[1:]], *spec)


def test_the_version_is_that_of_the_package() -> None:
    assert runoff_ort.__version__ == version("runoff-ort")
    assert "__version__" in runoff_ort.__all__


def test_help_is_the_stub() -> None:
    stub = Path(runoff_ort.__file__).with_name("__init__.pyi")
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    assert inspect.getdoc(runoff_ort) == ast.get_docstring(tree)
    checked = 0
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or not hasattr(runoff_ort, node.name):
            continue
        parts = [node, *node.body] if isinstance(node, ast.ClassDef) else [node]
        for part in parts:
            if not isinstance(part, ast.ClassDef | ast.FunctionDef):
                continue
            owner = getattr(runoff_ort, node.name)
            shown = owner if part is node else getattr(owner, part.name)
            if documented := ast.get_docstring(part):
                assert inspect.getdoc(shown) == documented, part.name
                checked += 1
    assert checked > 50
