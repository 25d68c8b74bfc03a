"""``runoff profile`` without a process: the output of perf and py-spy, shares, differences, words and the page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from runoff.profiling.draw import colour_of, comparable
from runoff.profiling.profile import Profiled
from runoff.profiling.recording import CaseProfile, Graph, of_runner, timed_window
from runoff.profiling.show import document, page, sentences
from runoff.profiling.stacks import (
    C_LIBRARY,
    GENERATED,
    KERNEL,
    PYTHON,
    Frame,
    Sample,
    Stack,
    Times,
    folded,
    from_engine,
    joined,
    read_perf,
    read_py_spy,
    timed_part,
)
from runoff.records.protocol import Phase, Result, Timings

if TYPE_CHECKING:
    from pathlib import Path

SITE = "/env/lib/python3.11/site-packages"
ORT = f"{SITE}/onnxruntime/capi/libonnxruntime.so.1.32.0"
TAB = "\t"  # perf indents by it
PERF = f"""
py-spy 10/10   400.000000001:
{TAB}            abc read (/usr/lib/x86_64-linux-gnu/libc.so.6)

ort rust 11/11   401.803607123:
{TAB}ffffffff81630019 clear_page_erms ([kernel.kallsyms])
{TAB}          1019b3 __memmove_avx512 (/usr/lib/x86_64-linux-gnu/libc.so.6)
{TAB}         192b50a [unknown] ({ORT})
{TAB}         192b999 [unknown] ({ORT})
{TAB}            1001 [unknown] (/bin/runoff-ort)
{TAB}           27249 __libc_start_call_main (/usr/lib/x86_64-linux-gnu/libc.so.6)
{TAB}            1080 [unknown] (/bin/runoff-ort)

ort rust 11/12   401.804607999:
{TAB}         192b50a [unknown] ({ORT})
{TAB}    7f0011223344 [unknown] ([unknown])

py-spy 11/11   401.900000000:

"""
MEASURE = "/checkout/python/runoff_runners/measure.py"
IMPORTLIB = "<frozen importlib._bootstrap"
SPIED = (
    f"0x7f (/lib/libc.so.6);<module> (/x/runoff_runners/runner.py:1);_Loop.latency ({MEASURE}:190);"
    f"_Loop._iterate ({MEASURE}:300);Conv2d.forward ({SITE}/torch/nn/modules/conv.py:5);"
    f"at::_ops<int ()->void>::call ({SITE}/torch/lib/libtorch_cpu.so);0x7f90 (?) 30\n"
    f"<module> (/x/runoff_runners/runner.py:1);_Loop._warm_up ({MEASURE}:270);_Loop._iterate ({MEASURE}:300) 5\n"
    f"<module> (/usr/lib/python3.11/json/decoder.py:1);_find_and_load ({IMPORTLIB}>:1165);"
    f"<module> ({SITE}/numpy/__init__.py:1);_compile_bytecode ({IMPORTLIB}_external>:729);"
    "PyMarshal_Read (/usr/lib/libpython3.11.so.1.0) 65\n"
)


def frames(*names: str, group: str = "onnxruntime") -> Stack:
    return tuple(Frame(name, group, named=not name.startswith("[")) for name in names)


def test_perf_names_functions_else_libraries_and_says_which_stacks_were_cut_off() -> None:
    samples = list(read_perf(PERF.splitlines(keepends=True)))
    assert [(one.program, one.pid, one.tid) for one in samples[1:3]] == [("ort rust", 11, 11), ("ort rust", 11, 12)]
    assert samples[1].time_ns == 401_803_607_123
    assert [(frame.name, frame.group, frame.named) for frame in samples[1].stack] == [
        ("[runoff-ort]", "runoff-ort", False),
        ("[libonnxruntime.so.1.32.0]", "onnxruntime", False),  # two of them call each other
        ("__memmove_avx512", C_LIBRARY, True),
        ("clear_page_erms", KERNEL, True),
    ]
    assert [frame.name for frame in samples[2].stack] == ["[callers unknown]", "[libonnxruntime.so.1.32.0]"]
    assert [one.tid for one in of_runner(samples)] == [11, 12]


def test_py_spy_joins_python_and_native_frames() -> None:
    spied = read_py_spy(SPIED)
    assert spied.total() == 100
    (first, *_) = spied
    assert [(frame.name, frame.group) for frame in first] == [
        ("<module> (runoff_runners/runner.py)", PYTHON),
        ("_Loop.latency (runoff_runners/measure.py)", PYTHON),
        ("_Loop._iterate (runoff_runners/measure.py)", PYTHON),
        ("Conv2d.forward (torch/nn/modules/conv.py)", PYTHON),
        ("at::_ops<int ()→void>::call", "torch"),
        (f"[{GENERATED}]", GENERATED),
    ]
    assert [len(timed_part(stack)) for stack in spied] == [4, 0, 0]
    assert [frame.name for frame in list(spied)[2]] == [
        "<module> (json/decoder.py)",
        "<module> (numpy/__init__.py)",
        "_compile_bytecode (<frozen importlib._bootstrap_external>)",
        "PyMarshal_Read",
    ]


def test_the_timed_functions_are_those_of_the_runners() -> None:
    from runoff_runners.measure import _Loop

    assert {_Loop.latency.__qualname__, _Loop._iterate.__qualname__} == {"_Loop.latency", "_Loop._iterate"}
    assert "_iterate" in _Loop.latency.__code__.co_names


@pytest.mark.parametrize(
    ("library", "group"),
    [
        (f"{SITE}/torch/lib/libtorch_cpu.so", "torch"),
        (f"{SITE}/numpy.libs/libscipy_openblas64_-32a4b2a6.so", "numpy"),
        ("/usr/lib/libpython3.11.so.1.0", PYTHON),
        ("/usr/bin/python3.11", PYTHON),
        ("/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so", PYTHON),
        ("/usr/lib/x86_64-linux-gnu/libm.so.6", C_LIBRARY),
        ("/usr/lib64/ld-linux-x86-64.so.2", C_LIBRARY),
        ("/lib/modules/6.1/ext4.ko", KERNEL),
        ("[vdso]", KERNEL),
        ("/tmp/perf-20904.map", GENERATED),  # noqa: S108 (perf says so)
        ("//anon", GENERATED),
        ("/opt/bin/my-runner", "my-runner"),
    ],
)
def test_groups_of_libraries(library: str, group: str) -> None:
    (sample,) = read_perf(["x 1/1 1.000000000:\n", f"\t ab main ({library})\n", "\n"])
    assert sample.stack[-1].group == group


def test_perf_says_how_much_and_py_spy_where() -> None:
    interpreter, worker = frames("_PyEval_EvalFrameDefault", group=PYTHON), frames("kernel")
    native = [Sample("python", 1, 1, at, interpreter) for at in range(60)]
    native += [Sample("python", 1, 2, at, worker) for at in range(40)]
    spied = Counter({frames("a", group=PYTHON): 1, frames("b", group=PYTHON): 2})
    times = joined(native, spied, 1000.0)
    assert times == {frames("a", group=PYTHON): 20_000, frames("b", group=PYTHON): 40_000, worker: 40_000}
    assert joined(native, Counter(), 1000.0) == {interpreter: 60_000, worker: 40_000}


def graph(times: Times, region: str) -> Graph:
    return Graph(region=region, times=times, native=times, samples=1000, spied=0, count=10)


def side(name: str, times: Times) -> CaseProfile:
    graphs = {region: graph(times, region) for region in ("timed", "process")}
    return CaseProfile(name=name, graphs=graphs, plain_ns=(1e6, 3e6), sampled_ns=2.2e6)


PYTHON_SIDE = side(
    "py",
    Times({(*frames("run", group=PYTHON), *frames("[ort.so]")): 6_000_000, frames("run", group=PYTHON): 2_000_000}),
)
RUST_SIDE = side("rust", Times({(*frames("[rust]", group="rust"), *frames("[libort.so]")): 7_000_000}))


def test_two_languages_are_compared_where_they_enter_the_engine() -> None:
    assert PYTHON_SIDE.engine == RUST_SIDE.engine == "onnxruntime"
    assert list(folded(*comparable((PYTHON_SIDE, RUST_SIDE), "timed"))) == [
        "onnxruntime 6000000 7000000",
        "run 2000000 0",
    ]


def test_python_that_an_engine_imports_is_not_the_engine() -> None:
    imported = (*frames("[ort.so]"), *frames("numpy", group=PYTHON), *frames("malloc", group=C_LIBRARY))
    assert from_engine(Times({imported: 1}), "onnxruntime") == {imported: 1}
    called = (*imported[:2], *frames("[ort.so]", "Run", "[ort.so]"), *frames("malloc", group=C_LIBRARY))
    cut = (Frame("onnxruntime", "onnxruntime"), *frames("Run"), *frames("malloc", group=C_LIBRARY))
    assert from_engine(Times({called: 1}), "onnxruntime") == {cut: 1}


def test_words_numbers_and_a_page_without_other_files(tmp_path: Path) -> None:
    for name in ("py", "rust", "difference"):
        for region in ("timed", "process"):
            (tmp_path / f"{region}-{name}.svg").write_text('<svg width="1200" height="86"></svg>')
    profiled = Profiled(model="net", sides=(PYTHON_SIDE, RUST_SIDE), unavailable="", folder=tmp_path)
    said = list(sentences(profiled))
    assert said[0] == (
        "py, warm iterations: 8 ms of CPU time per iteration: onnxruntime 75.0%, Python 25.0% "
        "(10 sampled: 1,000 samples at 999 Hz)"
    )
    assert said[1] == (
        "py, warm iterations, most of it in: [ort.so] 75.0%, run 25.0%; "
        "in brackets: 75.0% is in functions without a symbol"
    )
    assert said[4] == (
        "py, cost of sampling: an inference takes 2.2 ms while it is sampled, 1 ms and 3 ms in two processes that are "
        "not: 1.10 times as long"
    )
    assert said[-2] == "rust compared with py: -1 ms of CPU time per iteration: run -2 ms, onnxruntime +1 ms"
    assert document(profiled)["sides"][0]["regions"]["timed"]["groups"] == {"onnxruntime": 0.75, PYTHON: 0.25}
    text = page(profiled)
    assert text.count("data:image/svg+xml;base64,") == 6
    assert "height:88px" in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_without_samples_or_py_spy_it_says_so(tmp_path: Path) -> None:
    empty = CaseProfile(
        name="x",
        graphs={
            region: Graph(region=region, times=Times(), native=Times(), samples=0, spied=0, count=1)
            for region in ("timed", "process")
        },
        plain_ns=(1.0, 1.0),
        sampled_ns=1.0,
    )
    said = list(sentences(Profiled(model="net", sides=(empty,), unavailable="py-spy not found", folder=tmp_path)))
    assert said[0] == "x, warm iterations: no samples; raise --time"
    assert said[-1] == "no frames of Python: py-spy not found"
    assert empty.engine == ""


def test_colours_distinguish_the_engine_from_other_libraries() -> None:
    names = [colour_of(Frame("f", group), "torch") for group in ("torch", GENERATED, PYTHON, "numpy")]
    assert names == ["engine", "engine", PYTHON, "other libraries and programs"]


def test_the_window_is_that_of_the_warm_iterations() -> None:
    result = Result(
        protocol=1,
        case="c",
        status="ok",
        phases=(Phase("load", 0, 10), Phase("warm", 10, 100)),
        samples={
            "inference": Timings(5, 5, (20, 20)),
            "preprocess": Timings(1, 1, (2, 3)),
            "decode": Timings(1, 1, (9,)),
        },
    )
    assert timed_window(result) == (55, 100)
