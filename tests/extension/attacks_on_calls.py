"""Attacks on everything but arrays: numbers, lists, models, settings, threads, the process."""

from __future__ import annotations

import collections
import contextlib
import copy
import ctypes
import os
import pickle
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import runoff_ort
from attacking import COUNT, FEEDS, HUGE, fails, session

BUSY_S = 1.0
IMAGE = ("bilinear", [0.0] * 3, [1.0] * 3)


# Numbers, lists and models


def numbers_are_out_of_range(folder: Path) -> None:
    """Give numbers beyond every limit: an error names the number and the limits."""
    path = folder / "add.onnx"
    for number in (0, -1, 2**31, 2**32, 2**32 + 1, 2**63, 2**64, 10**40, -(10**40)):
        for name in ("threads", "inter_threads", "batch"):
            error = fails(partial(runoff_ort.Session, path, **{name: number}), ValueError, word=name)
            assert "not from 1 to" in str(error), error
        fails(partial(runoff_ort.Session, path, dimensions={"n": number}), ValueError, word="dimensions")
        for sides in ((number, 1), (64, number), (number, number)):
            fails(partial(runoff_ort.preprocess, [], *sides, *IMAGE), ValueError, word="preprocess")
    for word in (1.5, "1", None, [1], b"1"):
        fails(partial(runoff_ort.Session, path, batch=word), TypeError)
        fails(partial(runoff_ort.preprocess, [], word, 1, *IMAGE), TypeError)
    fails(lambda: runoff_ort.preprocess([], 200_000, 200_000, *IMAGE), ValueError, word="200000")
    fails(lambda: runoff_ort.preprocess(["none.jpg"] * 10**5, 16_384, 16_384, *IMAGE), MemoryError, ValueError)
    assert runoff_ort.preprocess([], 64, 64, *IMAGE).shape == (0, 3, 64, 64)
    add = runoff_ort.Session(path)
    spec = {"resize": 64, "crop": 64, "interpolation": "bilinear", "mean": [0.0] * 3, "std": [1.0] * 3}
    for number in (-1, 2**31, 10**40):
        fails(partial(add.classify, "none.jpg", spec, top=number), ValueError, word="top")
        fails(partial(add.classify_batch, ["none.jpg"], spec, batch=number), ValueError, word="batch")
    fails(lambda: add.classify("none.jpg", {**spec, "crop": HUGE}), ValueError, word="crop")
    fails(lambda: add.classify("none.jpg", {**spec, "std": [0.0] * 3}), ValueError, word="std")
    fails(lambda: add.classify("none.jpg", {}), KeyError, TypeError)


def sequences_lie(folder: Path) -> None:
    """Give sequences with a length that they do not have."""

    class Long(collections.UserList[Any]):
        def __len__(self) -> int:
            return self.claimed

        claimed = HUGE

    add = session(folder, "add")
    for claimed in (2**40, HUGE, 2**62):
        Long.claimed = claimed
        assert list(add.run(FEEDS, Long(["y"]))) == ["y"]
        assert runoff_ort.preprocess(Long([]), 64, 64, *IMAGE).shape[0] == 0
        fails(lambda: add.classify_batch(Long([]), {"resize": 1}))
    fails(lambda: add.run(FEEDS, "y"), TypeError)
    fails(lambda: runoff_ort.preprocess("none.jpg", 64, 64, *IMAGE), TypeError)


def models_are_no_models(folder: Path) -> None:
    """Load what is not a model, from files and from memory."""
    good = (folder / "add.onnx").read_bytes()
    rng = np.random.default_rng(1)
    wrong: list[Any] = [
        b"",
        b"\0",
        b"ORTM",
        bytes(4) + b"ORTM" + bytes(100),
        good[:-7],
        good[: len(good) // 2],
        bytes(2**31),
    ]
    for count in range(40):
        bent = bytearray(good)
        for place in rng.integers(0, len(good), 1 + count % 5):
            bent[place] = rng.integers(0, 256)
        wrong.append(bytes(bent))
    for model in wrong:
        with contextlib.suppress(runoff_ort.RunoffOrtError):
            runoff_ort.Session(model)
    for model in (None, 1, [], object(), memoryview(good)[::-1], "a\0b", folder, folder / "none.onnx", "\ud800"):
        fails(partial(runoff_ort.Session, model))
    held = bytearray(good)
    for model in (good, held, memoryview(held), np.frombuffer(good, np.uint8)):
        made = runoff_ort.Session(model)
        held[:] = bytes(len(held))
        assert made.run(FEEDS)["y"][1] == 1
        held[:] = good


def a_model_in_memory_is_freed(folder: Path) -> None:
    """Ask for a model in memory to be used in place, then free it: the session has a copy."""
    prepared = Path(runoff_ort.prepare(folder / "weights.onnx", folder))
    entries = dict.fromkeys(
        ("session.use_ort_model_bytes_directly", "session.use_ort_model_bytes_for_initializers"), "1"
    )
    data = bytearray(prepared.read_bytes())
    made = [runoff_ort.Session(kind(data), profile="cold", config=entries) for kind in (bytes, memoryview, np.array)]
    data[:] = bytes(len(data))
    filler = [np.full(len(data), 255, np.uint8) for _ in range(8)]
    for opened in made:
        assert opened.run({"x": np.ones((1, 512), np.float32)})["y"].tolist() == [[512.0] * 512]
    del filler


def settings_are_nonsense(folder: Path) -> None:
    """Give configurations, options and timeouts that mean nothing."""
    path, add = folder / "add.onnx", session(folder, "add")
    for name, value in (
        ("config", {"a\0b": "1"}),
        ("config", {"a": "1\0"}),
        ("config", {"a": 1}),
        ("config", {1: "a"}),
        ("config", ["a"]),
        ("config", {"\ud800": "1"}),
        ("dimensions", {"n": "1"}),
        ("dimensions", [1]),
        ("log_level", "loud"),
        ("provider", "\0"),
        ("precision", "fp32\0"),
        ("profile", ""),
        ("optimization", "\ud800"),
        ("execution", "both"),
        ("denotations", {"n": 0}),
        ("session_options", {"none": 1}),
        ("session_options", {"logid": "a\0b"}),
        ("session_options", {"enable_mem_pattern": "no"}),
        ("session_options", {"graph_optimization_level": 4}),
        ("session_options", {"log_verbosity_level": 2**40}),
        ("initializers", {"w": [1.0]}),
        ("initializers", {"w": np.array(["a"])}),
        ("initializers", {"w": np.array([(1, 2)], "i,i")}),
        ("initializers", {1: np.zeros(1)}),
        ("external_initializers", {"w": 1}),
        ("external_initializers", {"a\0b": np.zeros(1)}),
    ):
        fails(partial(runoff_ort.Session, path, **{name: value}))
    for timeout in (0, -1, float("nan"), float("inf"), 1e300, "1", None.__class__):
        fails(partial(add.run, FEEDS, timeout=timeout), TypeError, ValueError)
    no_options: list[Any] = [{}, None.__class__, "x"]
    for options in no_options:
        fails(partial(add.run, FEEDS, options=options), TypeError)
    fails(lambda: add.run(FEEDS, timeout=1, options=runoff_ort.RunOptions()), ValueError)
    fails(lambda: runoff_ort.RunOptions(tag="a\0b"))
    fails(add.end_profiling, ValueError)
    for call in (
        lambda: object.__new__(runoff_ort.Session),
        lambda: runoff_ort.Session.__new__(runoff_ort.Session),
        lambda: type("Own", (runoff_ort.Session,), {}),
        runoff_ort.Binding,
        lambda: pickle.dumps(runoff_ort.Session(path.read_bytes())),
        lambda: pickle.dumps(add.bind(FEEDS)),
        lambda: copy.copy(add.bind(FEEDS)),
    ):
        fails(call, TypeError)


# Failures, threads, the process


def failures_are_not_repeated(folder: Path) -> None:
    """Fail a small call in between: the model ran once for it, and small calls go on as before.

    Each run draws the next random number, so one run too many shows in every later one.
    """
    wanted = session(folder, "drawing")
    drawn = [wanted.run({"place": np.array([0])})["drawn"][0] for _ in range(8)]
    model = session(folder, "drawing")
    got = []
    for turn in range(8):
        if turn in {2, 5}:
            fails(lambda: model.run({"place": np.array([99])}), runoff_ort.RunoffOrtError)
        else:
            got.append(model.run({"place": np.array([0])})["drawn"][0])
    assert got == [drawn[turn] for turn in (0, 1, 3, 4, 6, 7)], (got, drawn)


def a_promise_is_broken(folder: Path) -> None:
    """Run a model that promises one shape and returns others."""
    model = session(folder, "promise")
    for count in (8, 3, 0, 8, 8, 1):
        x = (np.arange(8) < count).astype(np.float32)
        assert model.run({"x": x})["y"].shape == (1, count)


def threads_change_everything(folder: Path) -> None:
    """Call sessions from 8 threads, while 4 others change the feeds, and the arrays in them, all the time."""
    sessions = [session(folder, "add"), session(folder, "small64")]
    sizes = [COUNT, 8]
    shared: list[dict[str, Any]] = [{"x": np.zeros(size), "z": np.zeros(size)} for size in sizes]
    ends = time.monotonic() + BUSY_S
    calls: collections.Counter[str] = collections.Counter()
    panics: list[BaseException] = []

    def change(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < ends:
            place = int(rng.integers(2))
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                change_once(int(rng.integers(9)), shared[place], sizes[place])

    def call(place: int) -> None:
        feeds, model, size = shared[place], sessions[place], sizes[place]
        while time.monotonic() < ends:
            try:
                y = model.run(feeds)["y"]
            except Exception as error:  # noqa: BLE001 (any is plain)
                calls[type(error).__name__] += 1
            except BaseException as error:  # noqa: BLE001 (a panic)
                panics.append(error)
                return
            else:
                assert y.shape[0] in {size, 4 * size, 8 * size, 32 * size}, y.shape
                calls["right"] += 1

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(4)]
    threads += [threading.Thread(target=call, args=(place % 2,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not panics, panics
    assert calls["right"] > 0, calls


def change_once(act: int, feeds: dict[str, Any], size: int) -> None:
    """Change a dictionary of feeds, or the array `x` in it."""
    array = feeds.get("x")
    if act < 2:
        feeds["xz"[act]] = np.zeros(size)
    elif act == 2:
        feeds.pop("z", None)
    elif act == 3:
        feeds[str(time.monotonic_ns() % 50)] = 1
    elif act == 4:
        for number in range(50):
            feeds.pop(str(number), None)
    elif act == 5:
        array.shape = (2, size // 2)  # type: ignore[union-attr]
    elif act == 6:
        array.resize(4 * size, refcheck=False)  # type: ignore[union-attr]
    else:
        array.dtype = np.dtype([np.uint8, np.float64][act - 7])  # type: ignore[union-attr]


def bindings_are_shared(folder: Path) -> None:
    """Run one binding from 8 threads, and drop the session and its arrays."""
    add = session(folder, "add")
    binding = add.bind({name: array.copy() for name, array in FEEDS.items()})
    del add
    results: list[bool] = []

    def work() -> None:
        results.extend(binding.run()["y"][-1] == COUNT - 1 for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400
    assert all(results)


def the_environment_is_read(_: Path) -> None:
    """Make the environment while 8 threads read variables: none is moved or freed, and none is left behind.

    `os.putenv` and `os.unsetenv` change the list of variables under native readers, so they must not be called.
    """
    os.environ.pop("ORT_DISABLE_TELEMETRY", None)
    for number in range(50):
        os.environ[f"RUNOFF_TEST_{number}"] = str(number)

    def refuse(*_: Any) -> None:
        raise AssertionError("the environment was changed")

    os.putenv = os.unsetenv = refuse
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_char_p
    entries = ctypes.POINTER(ctypes.c_char_p)

    def variables() -> list[bytes]:
        place = entries.in_dll(library, "environ")
        found: list[bytes] = []
        while place[len(found)]:
            found.append(place[len(found)])
        return found

    before, done = variables(), threading.Event()
    wrong: list[int] = []

    def read() -> None:
        while not done.is_set():
            wrong.extend(n for n in range(50) if library.getenv(b"RUNOFF_TEST_%d" % n) != b"%d" % n)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    runoff_ort.create_environment()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert variables() == before
