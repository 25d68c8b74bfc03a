"""Sampled stacks: the output of ``perf script`` and of ``py-spy record --format raw``, read and added up.

A stack is a tuple of frames, the outermost first. Each weighs the CPU time that its samples stand for.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PYTHON, C_LIBRARY, KERNEL = "Python", "C library", "kernel"
GENERATED, UNKNOWN = "generated code", "unknown callers"
TIMED = ("_Loop.latency", "_Loop._iterate")
"""Functions of `runoff_runners.measure`: a stack with both, the second called by the first, is of a timed iteration."""

_SAMPLE = re.compile(r"(?P<comm>.*?)\s+(?P<pid>\d+)/(?P<tid>\d+)\s+(?P<s>\d+)\.(?P<ns>\d{9}):")
_FRAME = re.compile(r"\s+[0-9a-f]+ (?P<symbol>.*) \((?P<library>.*)\)$")
_SPIED = re.compile(r"(?P<symbol>.*) \((?P<library>[^()]*)\)$")
_ADDRESS = re.compile(r"0x[0-9a-f]+$|\[unknown\]$")
_C_LIBRARY = re.compile(r"(?:lib(?:c|m|dl|rt|pthread|stdc\+\+|gcc_s)|ld-(?:linux|musl).*)\.so")
_PYTHON = re.compile(r"(?:lib)?python\d*[\d.]*(?:\.so.*)?$")
_ENTRY = re.compile(r"_start$|__libc_start|clone|__clone|start_thread$|_dl_start_user$|ret_from_fork|entry_SYSCALL")
"""Functions that begin a thread or a program: they are in every complete stack, and say nothing."""
_DEEPEST_ENTRY = 3
"""``_start`` has no symbol in a stripped program, but is followed by functions of the C library that have one."""


class Frame(NamedTuple):
    """A function in a stack; without a symbol, the library that it is in."""

    name: str
    group: str
    """What it belongs to: a package (``onnxruntime``), a program, or one of the constants of this module."""
    named: bool = True
    """Whether it has a symbol."""


Stack = tuple[Frame, ...]


class Sample(NamedTuple):
    """A sample of perf."""

    program: str
    pid: int
    tid: int
    time_ns: int
    """On the monotonic clock."""
    stack: Stack
    """Empty if perf could not read it."""


class Times(Counter[Stack]):
    """CPU time by stack, in nanoseconds."""

    def by(self, key: Callable[[Frame], str]) -> dict[str, float]:
        """Return the shares of CPU time of the innermost frames, by `key`, the largest first."""
        found: Counter[str] = Counter()
        for stack, ns in self.items():
            found[key(stack[-1])] += ns
        return {name: ns / self.total() for name, ns in found.most_common()}

    def divided(self, number: int) -> Times:
        """Return the times of one of `number` inferences or processes."""
        return Times({stack: round(ns / number) for stack, ns in self.items()})


def read_perf(lines: Iterable[str]) -> Iterator[Sample]:
    """Yield the samples in the output of ``perf script --ns -F comm,pid,tid,time,ip,sym,dso``."""
    found, frames = None, list[Frame]()
    for line in lines:
        if match := _SAMPLE.match(line):
            found, frames = match, []
        elif match := _FRAME.match(line):
            frames.append(_frame(match["symbol"], match["library"]))
        elif found and not line.strip():
            yield _sample(found, frames)
            found = None
    if found:
        yield _sample(found, frames)


def _sample(found: re.Match[str], frames: list[Frame]) -> Sample:
    time_ns = int(found["s"]) * 10**9 + int(found["ns"])
    return Sample(found["comm"].strip(), int(found["pid"]), int(found["tid"]), time_ns, _complete(frames[::-1]))


def _complete(frames: list[Frame]) -> Stack:
    """Return a stack without its entry functions; one that has none was cut off, which its first frame says.

    Code without unwinding information, such as an engine's kernels in assembly, leaves perf with addresses that are
    nowhere, and no callers.
    """
    begins = not frames or any(_ENTRY.match(frame.name) for frame in frames[:_DEEPEST_ENTRY])
    kept = [frame for frame in frames if not _ENTRY.match(frame.name)]
    nowhere = next((place for place, frame in enumerate(kept) if frame.named or frame.group != GENERATED), 0)
    return _merged(kept if begins else [Frame("[callers unknown]", UNKNOWN, named=False), *kept[nowhere:]])


def read_py_spy(text: str) -> Counter[Stack]:
    """Return the number of samples of each stack in py-spy's raw format.

    The frames of the interpreter's start, before the first one in Python, are omitted; and those of the import system
    between a module and what it imports.
    """
    found: Counter[Stack] = Counter()
    for line in text.splitlines():
        folded, _, count = line.rpartition(" ")
        frames = [_spied(part) for part in folded.split(";")]
        first = next((place for place, frame in enumerate(frames) if frame.named and frame.group == PYTHON), 0)
        kept = (
            frame for frame, inner in zip_longest(frames[first:], frames[first + 1 :]) if not _imports(frame, inner)
        )
        found[_merged(kept)] += int(count)
    return found


def _imports(frame: Frame, inner: Frame | None) -> bool:
    """Return whether a frame is of the import system, and calls another one in Python."""
    return (
        "(<frozen importlib" in frame.name and inner is not None and inner.name.endswith(")") and inner.group == PYTHON
    )


def _spied(text: str) -> Frame:
    """Return py-spy's ``function (file:line)`` as a frame; the line, which differs between releases, is omitted."""
    match = _SPIED.match(text)
    if not match:
        return Frame(text, UNKNOWN)
    place = re.sub(r":\d+$", "", match["library"])
    if place.endswith(".py") or place.startswith("<"):
        return Frame(f"{match['symbol']} ({_module(place)})", PYTHON)
    return _frame(match["symbol"], place)


def _module(path: str) -> str:
    """Return the part of a Python file's path that is the same on every machine: the package and what is in it."""
    installed = re.sub(r"^.*/(?:site-packages|dist-packages|lib/python[\d.]+)/", "", path)
    return installed if installed != path else "/".join(path.split("/")[-2:])


def _frame(symbol: str, library: str) -> Frame:
    """Return a native frame."""
    short, group = _library(library)
    named = not _ADDRESS.match(symbol)
    # `;` separates frames, and `->` colours from names
    return Frame(symbol.replace(";", ":").replace("->", "→") if named else f"[{short}]", group, named)


@cache
def _library(path: str) -> tuple[str, str]:
    """Return the short name of a library and the group that it belongs to."""
    name = path.rpartition("/")[2]
    if path.startswith(("[kernel", "[vdso", "[vsyscall", "[guest")) or name.endswith(".ko"):
        return KERNEL, KERNEL
    generated = ("?", "[unknown]", "//anon", "[heap]", "[stack]")
    if path in generated or path.startswith("/memfd:") or re.match(r"perf-\d+\.map$", name):
        return GENERATED, GENERATED
    if _C_LIBRARY.match(name):
        return name, C_LIBRARY
    if _PYTHON.match(name) or "/lib-dynload/" in path:
        return name, PYTHON
    package = path.rpartition("-packages/")[2].partition("/")[0] if "-packages/" in path else name
    # the pip packages of a library's dependencies: numpy.libs
    return name, package.removesuffix(".libs")


def _merged(frames: Iterable[Frame]) -> Stack:
    """Return a stack in which unnamed frames of a library that call each other are one."""
    kept: list[Frame] = []
    for frame in frames:
        if frame.named or not kept or kept[-1] != frame:
            kept.append(frame)
    return tuple(kept)


def timed_part(stack: Stack) -> Stack:
    """Return the part of a stack in Python that is in a timed iteration; empty if it is not in one."""
    functions = [frame.name.partition(" (")[0] for frame in stack]
    for place in range(len(stack) - 1):
        if tuple(functions[place : place + 2]) == TIMED:
            return stack[place + 1 :]
    return ()


def joined(native: Iterable[Sample], spied: Counter[Stack], period_ns: float) -> Times:
    """Return the CPU time of perf's samples, each of `period_ns`, with the stacks of py-spy for threads in Python.

    perf sees how much time these threads take, and py-spy in which functions of Python. If py-spy saw none, perf's
    stacks are all there is.
    """
    samples = [sample for sample in native if sample.stack]
    interpreted = {sample.tid for sample in samples if any(frame.group == PYTHON for frame in sample.stack)}
    interpreted |= {sample.tid for sample in samples if sample.tid == sample.pid}
    times = Times()
    for sample in samples:
        if not spied or sample.tid not in interpreted:
            times[sample.stack] += round(period_ns)
    covered_ns = period_ns * sum(sample.tid in interpreted for sample in samples)
    for stack, count in spied.items():
        times[stack] += round(covered_ns * count / spied.total())
    return times


def from_engine(times: Times, engine: str) -> Times:
    """Return the times with each stack cut off above where it enters `engine`, and without unnamed frames in it.

    What an engine does is then at the same place whatever language calls it. Python that the engine's module calls, as
    when it imports NumPy, is not the engine.
    """
    found = Times()
    for stack, ns in times.items():
        after_python = max((place for place, frame in enumerate(stack) if frame.group == PYTHON), default=-1) + 1
        entries = (place for place in range(after_python, len(stack)) if stack[place].group == engine)
        first = next(entries, None)
        if first is None:
            found[stack] += ns
        else:
            inner = (frame for frame in stack[first:] if frame.named or frame.group != engine)
            found[Frame(engine, engine), *inner] += ns
    return found


def folded(*sides: Times) -> Iterator[str]:
    """Yield lines of the folded format, with a number of nanoseconds for each side."""
    for stack in sorted({stack for side in sides for stack in side}):
        counts = [side[stack] for side in sides]
        if any(counts):
            yield f"{';'.join(frame.name for frame in stack)} {' '.join(map(str, counts))}"
