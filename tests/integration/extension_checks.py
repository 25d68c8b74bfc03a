"""Checks of the extension ``runoff_ort``, run in the environment of the target ort-pyo3.

``python extension_checks.py MODEL_FOLDER NAME ...`` prints the tracebacks of the checks that fail, by name, as JSON.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import json
import os
import subprocess
import sys
import threading
import tomllib
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import extension_arrays
import numpy as np
from extension_helpers import FOLDER, doubling, noise, raises
from onnx_files import FLOAT, write

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bicubic",
    "mean": (127.0, 127.0, 127.0),
    "std": (128.0, 128.0, 128.0),
}


def telemetry_is_not_opened(_: Path) -> None:
    """Create the environment with telemetry not disabled: nothing is recorded, and no variable is left behind."""
    import runoff_ort

    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ["HOME"] = str(FOLDER)
    runoff_ort.Session(doubling(8)).run({"x": np.ones(8, np.float32)})
    assert [file.name for file in FOLDER.rglob("*") if file.is_file()] == ["double.onnx"]
    show = [sys.executable, "-c", "import os; print(sorted(os.environ))"]
    assert "TELEMETRY" not in subprocess.run(show, capture_output=True, text=True, check=True).stdout


def import_brings_no_library(_: Path) -> None:
    """Import the extension: neither the Python onnxruntime nor the library is loaded."""
    import runoff_ort

    assert "onnxruntime" not in sys.modules
    assert "libonnxruntime" not in Path("/proc/self/maps").read_text(encoding="utf-8")
    runoff_ort.load_runtime()
    assert "libonnxruntime" in Path("/proc/self/maps").read_text(encoding="utf-8")


def same_as_onnxruntime(folder: Path) -> None:
    """Run a model on arrays: the bits equal those of onnxruntime in Python."""
    import onnxruntime
    import runoff_ort

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(folder / "model.onnx", options)
    mine = runoff_ort.Session(folder / "model.onnx", threads=1)
    for batch in (1, 3):
        feeds = {"input": noise(batch)}
        (expected,) = theirs.run(None, feeds)
        assert np.array_equal(mine.run(feeds)["logits"], expected)


def errors_name_the_expected_value(folder: Path) -> None:
    """Give a wrong dtype, name, rank or size: an exception names the expected value."""
    import runoff_ort

    failed = runoff_ort.RunoffOrtError
    session = runoff_ort.Session(folder / "model.onnx")
    array = noise(1)
    raises(TypeError, "float32", lambda: session.run({"input": array.astype(np.float64)}))
    raises(TypeError, "not set", lambda: session.run({"input": {1.0}}))
    raises(failed, "[?, 3, 224, 224]", lambda: session.run({"input": [1.0]}))
    raises(TypeError, "mapping", lambda: session.run([array]))
    raises(TypeError, "str", lambda: session.run({"input": array}, "logits"))
    raises(failed, "it has: input", lambda: session.run({"pixels": array}))
    raises(failed, "[?, 3, 224, 224]", lambda: session.run({"input": array[0]}))
    raises(failed, "[1, 3, 224, 200]", lambda: session.run({"input": array[:, :, :, :200]}))
    raises(failed, "needs the input", lambda: session.run({}))
    raises(failed, "it has: logits", lambda: session.run({"input": array}, ["classes"]))
    raises(failed, "no output", lambda: session.run({"input": array}, []))


def bad_models_and_settings_are_reported(folder: Path) -> None:
    """Open a missing or invalid file, and use unknown settings."""
    import runoff_ort

    failed = runoff_ort.RunoffOrtError
    missing = raises(failed, "nowhere.onnx", lambda: runoff_ort.Session("nowhere.onnx"))
    assert (missing.kind, bool(missing.hint)) == ("model-missing", True)
    text = raises(failed, "labels.txt", lambda: runoff_ort.Session(folder / "labels.txt"))
    assert text.kind == "model-unreadable"
    path = folder / "model.onnx"
    for words, settings in (
        ("cold, latency", {"profile": "warm"}),
        ("extended", {"optimization": "most"}),
        ("threads is 0", {"threads": 0}),
        ("batch is 0", {"batch": 0}),
    ):
        error = raises(failed, words, partial(runoff_ort.Session, path, **settings))
        assert error.kind == "bad-request"
    assert raises(failed, "cuda", lambda: runoff_ort.Session(path, provider="cuda")).kind == "provider-unavailable"
    assert "cuda" not in runoff_ort.providers()


def weights_outside_the_folder_are_refused(_: Path) -> None:
    """Open models with external weights, in all spellings of the path: only the model's folder is read."""
    import runoff_ort

    folder = FOLDER / "model"
    folder.mkdir()
    outside, x = FOLDER / "outside.bin", np.ones(8, np.float32)
    for weights in (outside, folder / "inside.bin"):
        np.arange(8, dtype=np.float32).tofile(weights)
    (folder / "link.bin").symlink_to(outside)
    (folder / "up").symlink_to(FOLDER)

    def model(file: str) -> Path:
        nodes = [("Add", ["x", "w"], ["y"])]
        return write(folder / "model.onnx", nodes, {"x": (8,)}, {"y": (FLOAT, (8,))}, {"w": (8, file)})

    for file in ("inside.bin", "./inside.bin"):
        assert runoff_ort.Session(model(file)).run({"x": x})["y"][7] == 8
    for elsewhere in ("../outside.bin", str(outside), "link.bin", "up/outside.bin", "../model/../outside.bin"):
        path = model(elsewhere)
        for call in (partial(runoff_ort.Session, path), partial(runoff_ort.prepare, path, FOLDER / "prepared")):
            error = raises(runoff_ort.RunoffOrtError, "model.onnx", call)
            assert error.kind == "model-unreadable"
            # ONNX Runtime's words, and those of `prepare`, which looks before it reads
            assert "xternal data" in error.message or "outside the model's folder" in error.message, error


def classify_names_the_photo(folder: Path) -> None:
    """Classify a photo in a file, and in batches."""
    import runoff_ort

    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    session = runoff_ort.Session(folder / "model.onnx")
    photo = folder / "coffee.jpg"
    (index, confidence), *others = session.classify(photo, SPEC, top=3)
    assert labels[index] == "espresso"
    assert 1 >= confidence >= others[0][1] >= others[1][1] > 0
    for batch in (None, 1, 2):
        answers = session.classify_batch([photo] * 3, SPEC, top=3, batch=batch)
        assert [[guess[0] for guess in answer] for answer in answers] == [[index, *(other[0] for other in others)]] * 3
    assert session.classify_batch([], SPEC) == []
    raises(runoff_ort.RunoffOrtError, "batch is 0", lambda: session.classify_batch([photo], SPEC, batch=0))
    lost = raises(runoff_ort.RunoffOrtError, "lost.jpg", lambda: session.classify_batch([photo, "lost.jpg"], SPEC))
    assert lost.kind == "image-missing"


def fixed_batches_are_filled(folder: Path) -> None:
    """Classify with a model that takes two images at a time: any number of images is accepted."""
    import runoff_ort

    path = write(
        FOLDER / "pairs.onnx",
        [("GlobalAveragePool", ["x"], ["mean"]), ("Flatten", ["mean"], ["y"])],
        {"x": (2, 3, 224, 224)},
        {"y": (FLOAT, (2, 3))},
    )
    session = runoff_ort.Session(path)
    photos = [folder / "coffee.jpg", folder / "rocket.jpg", folder / "coffee.jpg"]
    one, two, three = session.classify_batch(photos, SPEC, top=3)
    assert one == three
    assert one != two
    assert session.classify(photos[1], SPEC, top=3) == two


def model_is_described(folder: Path) -> None:
    """Read names, dtypes and shapes of inputs and outputs, the metadata, and the engine."""
    import onnxruntime
    import runoff_ort

    path = folder / "model.onnx"
    session = runoff_ort.Session(path, threads=2)
    (given,), (made,) = session.inputs, session.outputs
    assert (given.name, given.dtype, given.shape) == ("input", "float32", (None, 3, 224, 224))
    assert given.dimensions[1:] == (None, None, None)
    assert repr(made) == "TensorInfo(name='logits', dtype='float32', shape=(None, 1000))"
    assert given == runoff_ort.Session(path).inputs[0] != made
    assert len({given, made, session.inputs[0]}) == 2
    metadata, theirs = session.metadata, onnxruntime.InferenceSession(path).get_modelmeta()
    assert (metadata.producer, metadata.graph, metadata.domain) == (
        theirs.producer_name,
        theirs.graph_name,
        theirs.domain,
    )
    assert (metadata.description, metadata.custom) == (theirs.description, theirs.custom_metadata_map)
    assert metadata == session.metadata
    assert repr(metadata).startswith(f"Metadata(producer={metadata.producer!r}, ")
    assert session.threads == 2
    assert runoff_ort.runtime_version() in runoff_ort.library_path()


def prepared_models_give_the_same_outputs(folder: Path) -> None:
    """Prepare a model and run it: the file is found again, and outputs equal the model's."""
    import runoff_ort

    prepared = runoff_ort.prepare(folder / "model.onnx", FOLDER / "prepared")
    made = Path(prepared).stat().st_mtime_ns
    assert runoff_ort.prepare(folder / "model.onnx", FOLDER / "prepared") == prepared
    assert Path(prepared).stat().st_mtime_ns == made
    feeds = {"input": noise(2)}
    expected = runoff_ort.Session(folder / "model.onnx", profile="latency").run(feeds)["logits"]
    session = runoff_ort.Session(prepared, profile="cold")
    logits = session.run(feeds)["logits"]
    del session
    assert np.allclose(logits, expected, rtol=1e-4, atol=1e-4)


def a_file_of_settings_is_a_profile(folder: Path) -> None:
    """Open a model with a profile that `runoff tune` could have written; a model that is not prepared is a warning."""
    import pickle
    import warnings

    import runoff_ort

    path = FOLDER / "tuned.toml"
    path.write_text('threads = 2  # 1.4x faster\nspinning = false\nprepared = true\nteardown = "skip"\n')
    model = folder / "model.onnx"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = runoff_ort.Session(model, profile=str(path))
    assert session.threads == 2
    assert [str(one.message).partition(": ")[2][:28] for one in caught] == ["not applied: prepared = true"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared = runoff_ort.prepare(model, FOLDER / "prepared")
        assert runoff_ort.Session(prepared, profile=str(path), threads=1).threads == 1
        again = pickle.loads(pickle.dumps(runoff_ort.Session(prepared, profile=str(path))))  # noqa: S301 (our own)
    assert again.threads == 2
    path.write_text("spining = false\n")
    error = raises(
        runoff_ort.RunoffOrtError, "unknown field `spining`", partial(runoff_ort.Session, model, profile=str(path))
    )
    assert error.kind == "bad-request"


def profiles_equal_the_files(_: Path) -> None:
    """Compare the profiles with runoff's files, without the settings that a program decides, not a session."""
    import runoff_ort

    folder = Path(__file__).parents[2] / "python" / "runoff" / "profiles"
    files = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.toml")}
    of_programs = {"prepared", "overlap", "teardown"}
    for name, settings in files.items():
        expected = {key: value for key, value in settings.items() if key not in of_programs}
        assert runoff_ort.PROFILES[name] == expected
    assert runoff_ort.PROFILES.keys() == files.keys()


def examples_in_the_stubs_run(_: Path) -> None:
    """Run every example in the stubs, in order, in one namespace."""
    source = Path(__file__).parents[2] / "rust" / "runoff-py" / "python" / "runoff_ort" / "__init__.pyi"
    os.chdir(FOLDER)
    doubling("n", 3)
    known: dict[str, Any] = {}
    count = 0
    for name, text in _documentation(ast.parse(source.read_text(encoding="utf-8"))):
        examples = doctest.DocTestParser().get_doctest(text, known, name, str(source), 0)
        runner = doctest.DocTestRunner(verbose=False)
        outcome = runner.run(examples, clear_globs=False)
        known.update(examples.globs)
        assert outcome.failed == 0, name
        count += outcome.attempted
    assert count > 20


def threads_share_a_session(folder: Path) -> None:
    """Run one session, and one binding of it, from concurrent threads: each call has its own output."""
    import runoff_ort

    session = runoff_ort.Session(folder / "model.onnx")
    arrays = [noise(1, seed) for seed in range(4)]
    expected = [session.run({"input": array})["logits"] for array in arrays]
    bound = session.bind({"input": arrays[0]})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda turn: session.run({"input": arrays[turn % 4]})["logits"], range(16)))
        repeated = list(pool.map(lambda _: bound.run()["logits"], range(8)))
    assert all(np.array_equal(answer, expected[turn % 4]) for turn, answer in enumerate(answers))
    assert all(np.array_equal(answer, expected[0]) for answer in repeated)


def threads_share_a_small_model(_: Path) -> None:
    """Run one small model from several threads with separate memory: no call sees another's output."""
    import runoff_ort

    session = runoff_ort.Session(doubling(8))

    def loop(number: int) -> bool:
        x = np.full(8, number, np.float32)
        return all(np.array_equal(session.run({"x": x + turn})["y"], 2 * (x + turn)) for turn in range(2000))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(loop, (0, 10_000, 20_000, 30_000)))


def interpreter_keeps_running(folder: Path) -> None:
    """Run the model next to another thread and the event loop: both continue."""
    import runoff_ort

    session, feeds = runoff_ort.Session(folder / "model.onnx"), {"input": noise(16)}
    ticks = 0
    running = threading.Event()
    running.set()

    def tick() -> None:
        nonlocal ticks
        while running.is_set():
            ticks += 1

    async def both() -> int:
        work = asyncio.create_task(asyncio.to_thread(session.run, feeds))
        turns = 0
        while not work.done():
            turns += 1
            await asyncio.sleep(0.001)
        return turns

    counter = threading.Thread(target=tick)
    counter.start()
    before = ticks
    session.run(feeds)
    meanwhile = ticks - before
    running.clear()
    counter.join()
    assert meanwhile > 1000
    assert asyncio.run(both()) > 1


def _documentation(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, str]]:
    yield getattr(node, "name", "module"), ast.get_docstring(node) or ""
    for part in node.body:
        if isinstance(part, ast.ClassDef | ast.FunctionDef):
            yield from _documentation(part)
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and part is not node.body[0]:
            yield "attribute", str(part.value.value)


CHECKS = (
    telemetry_is_not_opened,
    import_brings_no_library,
    same_as_onnxruntime,
    errors_name_the_expected_value,
    bad_models_and_settings_are_reported,
    weights_outside_the_folder_are_refused,
    classify_names_the_photo,
    fixed_batches_are_filled,
    model_is_described,
    prepared_models_give_the_same_outputs,
    a_file_of_settings_is_a_profile,
    profiles_equal_the_files,
    examples_in_the_stubs_run,
    threads_share_a_session,
    threads_share_a_small_model,
    interpreter_keeps_running,
    *extension_arrays.CHECKS,
)

if __name__ == "__main__":
    failed = {}
    for check in CHECKS:
        if check.__name__ in sys.argv[2:]:
            try:
                check(Path(sys.argv[1]))
            except BaseException:  # noqa: BLE001 (a panic is none of Exception)
                failed[check.__name__] = traceback.format_exc()
    sys.stdout.write(json.dumps(failed))
