"""Attacks on arrays: those that change after their check, and what passes for one."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gc
import mmap
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import runoff_ort
from attacking import COUNT, FEEDS, HUGE, Liar, fails, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# Arrays that change after their check


def a_later_feed_changes(folder: Path) -> None:
    """Change dtype, shape or strides of a feed while a later one is read: what was checked is computed with."""

    def set_strides(array: Any) -> None:
        array.strides = (0,)

    acts: list[Callable[[Any], object]] = [
        lambda array: setattr(array, "dtype", np.uint8),
        lambda array: setattr(array, "shape", (2, COUNT // 2)),
        set_strides,
        lambda array: array.setflags(write=False),
    ]
    add = session(folder, "add")
    for act in acts:
        x = np.arange(COUNT, dtype=np.float64)
        made = add.run({"x": x, "z": Liar(np.zeros(COUNT), partial(act, x))})
        assert made["y"].tolist() == list(range(COUNT))


def a_later_feed_resizes(folder: Path) -> None:
    """Resize a feed, and the array that a feed is a view of, while a later one is read: NumPy refuses."""
    add = session(folder, "add")
    for is_view in (False, True):
        owner = np.arange(COUNT, dtype=np.float64)
        x = owner[:] if is_view else owner
        refused: list[Exception] = []

        def act(owner: Any = owner, refused: Any = refused) -> None:
            refused.append(fails(lambda: owner.resize(4 * COUNT * COUNT, refcheck=False), ValueError))

        made = add.run({"x": x, "z": Liar(np.zeros(COUNT), act)})
        assert made["y"][-1] == COUNT - 1
        assert refused
        del x
        owner.resize(4, refcheck=False)


def another_thread_resizes(folder: Path) -> None:
    """Resize an input from another thread during a run: NumPy refuses, and allows it afterwards."""
    slow = session(folder, "slow")
    side = slow.inputs[1].shape[0]
    x, held = np.zeros((side, side), np.float32), threading.Event()
    feeds = {"x": x, "times": Liar(np.array(200), held.set)}
    running = threading.Thread(target=slow.run, args=(feeds,))
    running.start()
    held.wait()
    refusals = 0
    while running.is_alive():
        try:
            x.resize((1, 1), refcheck=False)
        except ValueError:
            refusals += 1
        else:
            break
    running.join()
    assert refusals > 0
    x.resize((1, 1), refcheck=False)


def a_bound_array_is_resized(folder: Path) -> None:
    """Resize the arrays of a binding: NumPy refuses as long as it lives."""
    add = session(folder, "add")
    x, z, y = FEEDS["x"].copy(), FEEDS["z"].copy(), np.zeros(COUNT)
    binding = add.bind({"x": x, "z": z}, {"y": y})
    for array in (x, z, y):
        fails(partial(array.resize, 10**7, refcheck=False), ValueError)
    x.dtype = np.uint8
    y.shape = (2, COUNT // 2)
    binding.run()
    assert y.ravel()[-1] == COUNT - 1
    del binding
    gc.collect()
    x.resize(4, refcheck=False)


def an_initializer_is_freed(folder: Path) -> None:
    """Resize or drop an array that a session reads; give arrays of other dtypes and shapes than the model's."""
    x, w = np.ones((1, 512), np.float32), np.full((512, 512), 2, np.float32)
    model = runoff_ort.Session(folder / "weights.onnx", initializers={"w": w}, optimization="disable")
    fails(partial(w.resize, 10**7, refcheck=False), ValueError)
    del w
    gc.collect()
    filler = [np.full((512, 512), 255, np.float32) for _ in range(8)]
    assert model.run({"x": x})["y"].tolist() == [[1024.0] * 512]
    del filler
    others: list[Any] = [np.ones((512, 512)), np.ones((512, 8), np.float32), np.ones((0, 512), np.float32), np.ones(())]
    others += [np.ones((2048, 512), np.float32), np.ones((512, 2048), np.float32), np.ones((512, 512), np.float16)]
    for other in others:
        for level in ("disable", "all"):
            with contextlib.suppress(runoff_ort.RunoffOrtError):
                made = runoff_ort.Session(folder / "weights.onnx", initializers={"w": other}, optimization=level)
                made.run({"x": x})


def feeds_change_while_they_are_read(folder: Path) -> None:
    """Change the dictionary of feeds, or drop its arrays, while a feed is read."""
    for name in ("add", "small"):
        model = session(folder, name)
        count, dtype = (COUNT, np.float64) if name == "add" else (8, np.float32)
        acts: list[Callable[[dict[str, Any]], object]] = [
            lambda feeds: feeds.clear(),
            lambda feeds: feeds.update({str(index): None for index in range(1000)}),
            lambda feeds: [feeds.pop("x", None), feeds.update(other=1)],
        ]
        for act in acts:
            feeds: dict[str, Any] = {}
            feeds["x"] = np.ones(count, dtype)
            feeds["z"] = Liar(np.ones(count, dtype), partial(act, feeds))
            if name == "small":
                feeds = {"x": Liar(np.ones(count, dtype), partial(act, feeds))}
            assert model.run(feeds)["y"].tolist() == [2] * count


def a_map_changes_while_it_is_read(folder: Path) -> None:
    """Change a dictionary that is one value while its keys or values are read."""
    vector = session(folder, "map")
    given: dict[Any, Any] = {1: 0.5}

    class Number(float):
        def __float__(self) -> float:
            given.clear()
            given.update(dict.fromkeys(range(100), 1.0))
            return 2.0

    given[3] = Number(2.0)
    with contextlib.suppress(TypeError, runoff_ort.RunoffOrtError):
        assert vector.run({"x": given})["y"].size == 2


def mappings_lie(folder: Path) -> None:
    """Give mappings that lie or fail, and two names that are equal."""
    add = session(folder, "add")

    class Other(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            return self is other

    class Odd(collections.UserDict[str, Any]):
        def __iter__(self) -> Iterator[str]:
            yield "x"
            raise KeyError("gone")

    fails(lambda: add.run({"x": FEEDS["x"], Other("x"): FEEDS["x"], "z": FEEDS["z"]}), ValueError, word="twice")
    y = np.zeros(COUNT)
    fails(lambda: add.run_into(FEEDS, {"y": y, Other("y"): y.copy()}), ValueError, word="twice")
    fails(lambda: add.bind({"x": FEEDS["x"], Other("x"): FEEDS["x"], "z": FEEDS["z"]}), ValueError, word="twice")
    fails(lambda: add.run(Odd(FEEDS)), KeyError)
    for name in ("\ud800", "x\0", b"x", 1, None, ("x",)):
        fails(partial(add.run, {**FEEDS, name: FEEDS["x"]}))
        fails(partial(add.run, FEEDS, [name]))
    itself: dict[str, Any] = {}
    itself["x"] = itself["z"] = itself
    fails(lambda: add.run(itself), TypeError)


# Arrays and what passes for one


def arrays_of_every_kind(folder: Path) -> None:
    """Give arrays that onnxruntime has no tensors of, or that lie oddly in memory."""
    add = session(folder, "add")
    zeros = np.zeros(COUNT)
    right = [np.ones(2 * COUNT)[::-2], np.ones(COUNT, ">f8"), np.broadcast_to(np.float64(1), COUNT)]
    packed = np.zeros(COUNT, [("a", "u1"), ("b", "f8")])
    packed["b"] = 1
    locked = np.ones(COUNT)
    locked.setflags(write=False)
    for x in [*right, packed["b"], locked]:
        assert add.run({"x": x, "z": zeros})["y"].tolist() == [1] * COUNT
    wrong = [
        np.zeros(COUNT, np.longdouble),
        np.zeros(COUNT, "V8"),
        np.zeros(COUNT, "M8[s]"),
        np.zeros(COUNT, "V2"),
        np.zeros(COUNT, "S8"),
        packed,
        np.full(COUNT, None, object),
        np.zeros((0, 2**40)),
        np.array(1.0),
        np.broadcast_to(np.float64(1), (2**30, 2**29)),
    ]
    for x in wrong:
        for call in (add.run, add.bind):
            fails(partial(call, {"x": x, "z": zeros}), TypeError, ValueError, MemoryError)
    empty = add.run({"x": np.zeros(0), "z": np.zeros(0)})
    assert empty["y"].shape == (0,)
    fails(lambda: add.run({"x": np.broadcast_to(np.float64(1), 2**59), "z": zeros}), MemoryError, ValueError)


def subclasses_lie(folder: Path) -> None:
    """Give arrays of subclasses whose Python attributes and methods say something else."""
    add, same = session(folder, "add"), session(folder, "strings")

    class Lying(np.ndarray[Any, Any]):
        dtype: Any = np.dtype(np.uint8)
        shape: Any = (HUGE,)
        size: Any = HUGE
        nbytes: Any = HUGE

        def __getattribute__(self, name: str) -> Any:
            if name in {"flags", "data", "strides", "ctypes", "__array_interface__"}:
                raise RuntimeError(name)
            return super().__getattribute__(name)

        def __len__(self) -> int:
            return HUGE

        def flatten(self, *_: Any, **__: Any) -> Any:
            return np.array(["a"], object)

    made = add.run({"x": FEEDS["x"].view(Lying), "z": FEEDS["z"]})
    assert made["y"].tolist() == FEEDS["x"].tolist()
    fails(lambda: same.run({"x": np.full(COUNT, "b", object).view(Lying)}), ValueError, word="1 strings")
    fails(lambda: same.run({"x": np.broadcast_to("b", 2**40)}), MemoryError)
    fails(lambda: same.run({"x": np.array(["\ud800"], object)}), UnicodeEncodeError)
    fails(lambda: same.run({"x": np.array(["a", 1], object)}), TypeError)


def what_passes_for_a_tensor_lies(folder: Path) -> None:
    """Give objects whose protocols return nonsense, raise, or call the session again."""
    add = session(folder, "add")

    class Claims:
        def __init__(self, made: Any, device: Any = (1, 0)) -> None:
            self.made, self.device = made, device

        def __dlpack__(self, **_: Any) -> Any:
            return self.made() if callable(self.made) else self.made

        def __dlpack_device__(self) -> Any:
            return self.device

    class Interface:
        __array_interface__: ClassVar[Any] = {"shape": (HUGE,), "typestr": "<f8", "data": (8, False), "version": 3}

    class Fails:
        @property
        def __dlpack__(self) -> Any:
            raise ZeroDivisionError

    used = FEEDS["x"].__dlpack__()
    np.from_dlpack(Claims(used))
    wrong = [None, 7, "x", used, lambda: 1 / 0, ctypes.pythonapi, lambda: FEEDS["x"]]
    for x in [*map(Claims, wrong), Interface(), Fails()]:
        fails(partial(add.run, {"x": x, "z": FEEDS["z"]}))
    for device in ((2, 0), "gpu", None):
        with contextlib.suppress(TypeError, BufferError):
            assert add.run({"x": Claims(FEEDS["x"].__dlpack__, device), "z": FEEDS["z"]})["y"][1] == 1
    again = Liar(FEEDS["x"], lambda: add.run(FEEDS))
    assert add.run({"x": again, "z": FEEDS["z"]})["y"][1] == 1
    nested: dict[str, Any] = {"z": FEEDS["z"]}
    nested["x"] = Liar(FEEDS["x"], lambda: add.run(nested))
    fails(lambda: add.run(nested), TypeError, RecursionError)


def lists_nest(folder: Path) -> None:
    """Give lists that hold themselves, are deep, ragged or of the wrong things."""
    add, small = session(folder, "add"), session(folder, "small")
    itself: list[Any] = []
    itself.append(itself)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    class Number:
        def __float__(self) -> float:
            raise ZeroDivisionError

    for x in (
        itself,
        deep,
        [[1.0], 2.0],
        [Number()],
        ["a"],
        [None],
        [1j],
        [HUGE**3],
        [[1.0] * COUNT] * 2,
        {1.0},
        iter([1.0]),
    ):
        fails(partial(add.run, {"x": x, "z": FEEDS["z"]}))
        fails(partial(small.run, {"x": x}))
    deep.clear()


def buffers_are_freed(folder: Path) -> None:
    """Free what lies under an array as far as Python allows: it keeps what is in use."""
    add = session(folder, "add")
    store = bytearray(8 * COUNT)
    x = np.frombuffer(store, np.float64)
    binding = add.bind({"x": x, "z": FEEDS["z"]})
    fails(store.clear, BufferError)
    del x
    fails(store.clear, BufferError)
    assert binding.run()["y"].sum() == 0
    pages = mmap.mmap(-1, 8 * COUNT)
    view = memoryview(pages)
    y = np.frombuffer(view, np.float64)
    binding = add.bind(FEEDS, {"y": y})
    fails(pages.close, BufferError)
    view.release()
    fails(pages.close, BufferError)
    binding.run()
    assert y[1] == 1
    with (folder / "pages").open("wb") as file:
        file.truncate(8 * COUNT)
    locked = np.memmap(folder / "pages", np.float64, mode="r")
    fails(lambda: add.run_into(FEEDS, {"y": locked}), ValueError, word="read-only")
    assert add.run({"x": locked, "z": locked})["y"].sum() == 0


def outputs_overlap(folder: Path) -> None:
    """Write outputs over inputs, over another view of the same memory, and over a part of it."""
    add = session(folder, "add")
    whole = np.zeros(2 * COUNT)
    x, half = whole[:COUNT], whole[COUNT // 2 : COUNT // 2 + COUNT]
    for y in (x, x[:], half):
        fails(partial(add.run_into, {"x": x, "z": FEEDS["z"]}, {"y": y}), ValueError, word="shares memory")
        fails(partial(add.bind, {"x": x, "z": FEEDS["z"]}, {"y": y}), ValueError, word="shares memory")
